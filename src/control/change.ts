/** What each command makes of a table, apart from storing it: a document goes in, a decision comes out. */
import { FAULTS, type FaultCode, type Problem } from "../base/fault.ts";
import { decodeDocument, decodeRoute, decodeWeights, encodeDocument } from "../domain/document.ts";
import { nearestName } from "../domain/problems.ts";
import type { Document, Route, RouteId } from "../domain/route.ts";
import { shorten } from "../domain/syntax.ts";

/** Why nothing was changed. `problems` is empty unless the code is INVALID. */
export interface Refusal {
  readonly ok: false;
  readonly code: FaultCode;
  readonly detail: string;
  readonly problems: readonly Problem[];
}

/** The table that a command wants, or its refusal. */
export type Decision = { readonly ok: true; readonly document: Document } | Refusal;

/** The decision for a table. */
export function decided(document: Document): Decision {
  return { ok: true, document };
}

/** A refusal; without words of its own it says what its code means. */
export function refused(code: FaultCode, detail: string = FAULTS[code].meaning): Refusal {
  return { ok: false, code, detail, problems: [] };
}

/** The refusal of an input, with everything that is wrong with it. */
export function invalid(problems: readonly Problem[], detail: string = FAULTS.INVALID.meaning): Refusal {
  return { ok: false, code: "INVALID", detail, problems };
}

/**
 * Adds a route in the operator's form, or replaces the one of that name where it stands.
 *
 * Paths of problems point into the route; what is wrong elsewhere in the table because of it is told without a path.
 */
export function withRoute(document: Document, id: string, input: unknown): Decision {
  const decoded = decodeRoute(id, input, document.backends);
  if (!decoded.ok) return invalid(decoded.problems);
  const found = document.routes.findIndex((route) => route.id === id);
  const place = found === -1 ? document.routes.length : found;
  const routes = document.routes.toSpliced(place, 1, decoded.value);
  // Only the table as a whole shows whether every route can still match and whether there are too many.
  const whole = decodeDocument(encodeDocument({ ...document, routes }));
  if (whole.ok) return decided(whole.value);
  return invalid(whole.problems.map((problem) => seenFromRoute(problem, place, routes)));
}

/** Removes a route. */
export function withoutRoute(document: Document, id: string): Decision {
  const routes = document.routes.filter((route) => route.id !== id);
  return routes.length === document.routes.length
    ? noSuchRoute(document, id)
    : decided({ ...document, routes });
}

/** Sets the weights of a route, in percent per backend of its cutover. */
export function withWeights(document: Document, id: string, weights: unknown): Decision {
  const route = document.routes.find((known) => known.id === id);
  if (route === undefined) return noSuchRoute(document, id);
  const decoded = decodeWeights(weights, route);
  return decoded.ok ? decided(withShares(document, route.id, decoded.value)) : invalid(decoded.problems);
}

/** Gives all weight of a route to legacy. */
export function withoutCandidate(document: Document, id: string): Decision {
  const route = document.routes.find((known) => known.id === id);
  return route === undefined ? noSuchRoute(document, id) : decided(withShares(document, route.id, 0));
}

function withShares(document: Document, id: RouteId, candidateShares: number): Document {
  const routes = document.routes.map((route) => (route.id === id ? { ...route, candidateShares } : route));
  return { ...document, routes };
}

function noSuchRoute(document: Document, id: string): Refusal {
  const ids = document.routes.map((route) => route.id);
  const nearest = nearestName(id, ids);
  const hint = nearest === null ? "" : `; did you mean "${nearest}"?`;
  return refused("NOT_FOUND", `There is no route "${shorten(id)}"${hint}`);
}

function seenFromRoute(problem: Problem, place: number, routes: readonly Route[]): Problem {
  const [, list, index, ...rest] = problem.path.split("/");
  if (list !== "routes" || index === undefined) return { path: "", message: problem.message };
  if (Number(index) === place)
    return { path: rest.map((part) => `/${part}`).join(""), message: problem.message };
  const { message } = problem;
  return { path: "", message: `route "${routes[Number(index)]?.id}" would be wrong then: ${message}` };
}
