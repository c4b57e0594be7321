/** What each command makes of a table, apart from storing it: a document goes in, a decision comes out. */
import { FAULTS, type FaultCode, type Problem } from "../base/fault.ts";
import { blindness, decodeDocument, decodeRoute, decodeWeights, encodeDocument } from "../domain/document.ts";
import { nearestName } from "../domain/problems.ts";
import { decodePlan } from "../domain/rollout_plan.ts";
import type { Document, Route, RouteId } from "../domain/route.ts";
import { shorten } from "../domain/syntax.ts";
import { compileTable } from "../domain/table.ts";

/** Why nothing was changed. `problems` is empty unless the code is INVALID. */
export interface Refusal {
  readonly ok: false;
  readonly code: FaultCode;
  readonly detail: string;
  readonly problems: readonly Problem[];
}

/** The table that a command wants. `entry` is what the audit log says of it, where that is not the author's to say. */
export interface Decided {
  readonly ok: true;
  readonly document: Document;
  readonly entry?: { readonly action: string; readonly actor?: string; readonly reason?: string };
}

/** The table that a command wants, or its refusal. */
export type Decision = Decided | Refusal;

/** The decision for a table. */
export function decided(document: Document): Decided {
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

/** Why no worker could use a table, or null: it is compiled once, so that none like that is ever committed. */
export function compileFault(document: Document, revision: number): string | null {
  try {
    compileTable({ ...document, revision });
    return null;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return `the table cannot be used: ${why}`;
  }
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

/** Gives a route a plan in the operator's form, or another one. Paths of problems point into the plan. */
export function withRollout(document: Document, id: string, input: unknown): Decision {
  const route = document.routes.find((known) => known.id === id);
  if (route === undefined) return noSuchRoute(document, id);
  const decoded = decodePlan(input);
  if (!decoded.ok) return invalid(decoded.problems);
  const blind = blindness({ mirror: route.mirror, rollout: decoded.value });
  if (blind !== null) return invalid([{ path: "/differences", message: blind }]);
  return decided(withPart(document, route.id, { rollout: decoded.value }));
}

/** Takes the plan of a route away. */
export function withoutRollout(document: Document, id: string): Decision {
  const route = document.routes.find((known) => known.id === id);
  if (route === undefined) return noSuchRoute(document, id);
  return route.rollout === null ? noPlan(id) : decided(withPart(document, route.id, { rollout: null }));
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

/** A document in which a route's candidate has so many shares. */
export function withShares(document: Document, id: RouteId, candidateShares: number): Document {
  return withPart(document, id, { candidateShares });
}

function withPart(document: Document, id: RouteId, part: Partial<Route>): Document {
  const routes = document.routes.map((route) => (route.id === id ? { ...route, ...part } : route));
  return { ...document, routes };
}

/** The refusal for a route that has no plan. */
export function noPlan(id: string): Refusal {
  return refused(
    "NOT_FOUND",
    `Route "${id}" has no plan; give it one with \`crossfade rollout ${id} set FILE\``,
  );
}

/** The refusal for a route that is not in the table. */
export function noSuchRoute(document: Document, id: string): Refusal {
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
