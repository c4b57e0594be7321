/** What is replayed against what: the two backends of a route, how answers are compared, which requests are its own. */
import { assert, type Problem } from "./base/fault.ts";
import type { ComparePolicy } from "./domain/compare_words.ts";
import { DEFAULT_COMPARE } from "./domain/compare_policy.ts";
import { comparisonBasis } from "./domain/comparison_basis.ts";
import { decodeDocument } from "./domain/document.ts";
import { decodedPath } from "./domain/path.ts";
import type { Backend, Route } from "./domain/route.ts";
import { compileTable, findRoute, type RequestView, type RouteTable } from "./domain/table.ts";
import type { RecordedRequest } from "./verify_input.ts";

/** One header field, as it is sent. */
export type Field = readonly [name: string, value: string];

/** A request that goes to both sides. */
export interface ReplayedRequest {
  readonly method: RecordedRequest["method"];
  readonly target: string;
  /** The same for both sides, Host among them. */
  readonly fields: readonly Field[];
}

/** Everything a replay needs to know of a table. */
export interface VerifyPlan {
  readonly route: string;
  readonly revision: number;
  readonly legacy: Backend;
  readonly candidate: Backend;
  readonly policy: ComparePolicy;
  /** Whether the route says so itself; otherwise it is the default. */
  readonly isPolicyOwn: boolean;
  /** What the comparisons are made of, as mirrors to the candidate would say it. */
  readonly basis: string;
  /** What is sent for a recorded request, or why it is not replayed. */
  toSend(recorded: RecordedRequest): ReplayedRequest | "another route" | "ambiguous";
}

/** What became of looking for a plan. */
export type Planning =
  | { readonly result: "planned"; readonly plan: VerifyPlan }
  | { readonly result: "no route"; readonly known: readonly string[] }
  /** The table is of another version of Crossfade, and can't be read here. */
  | { readonly result: "unreadable"; readonly problems: readonly Problem[] };

/** By what backends recognise copies, so that they may leave them out of their own figures. */
const SHADOW_FIELD: Field = ["Crossfade-Shadow", "1"];

/**
 * Plans a replay from the table that is served, in the operator's form.
 *
 * `fields` are sent with every request and win over what a line tells. Where neither tells a host, it is the route's
 * first full one, and the address of legacy where the route has none: both sides always get the same.
 */
export function planVerify(
  table: unknown,
  revision: number,
  routeId: string,
  fields: readonly Field[],
): Planning {
  const decoded = decodeDocument(table);
  if (!decoded.ok) return { result: "unreadable", problems: decoded.problems };
  const compiled = compileTable({ ...decoded.value, revision });
  const found = compiled.routes.find(({ route }) => route.id === routeId);
  if (found === undefined) return { result: "no route", known: compiled.routes.map(({ route }) => route.id) };
  const { route, legacy, candidate } = found;
  const own = route.mirror?.compare ?? null;
  const policy = own ?? DEFAULT_COMPARE;
  const basis = comparisonBasis({ cutover: route.cutover, mirror: { to: candidate.id, compare: policy } });
  assert(basis !== null, "a policy has a basis");
  const hostDefault = route.match.hosts.find((host) => !host.startsWith("*")) ?? authorityOf(legacy);
  const plan: VerifyPlan = {
    route: route.id,
    revision,
    legacy,
    candidate,
    policy,
    isPolicyOwn: own !== null,
    basis,
    toSend: (recorded) => toSend(compiled, route, recorded, fieldsFor(recorded, fields, hostDefault)),
  };
  return { result: "planned", plan };
}

/** Whoever logged the route saw all of the request; without that, the table is asked about what is known of it. */
function toSend(
  table: RouteTable,
  route: Route,
  { method, target, route: told }: RecordedRequest,
  fields: readonly Field[],
): ReplayedRequest | "another route" | "ambiguous" {
  const view = viewOf(method, target, fields);
  if (view === null) return "ambiguous";
  const takes = told ?? findRoute(table, view)?.route.id;
  return takes === route.id ? { method, target, fields } : "another route";
}

function fieldsFor(
  { host }: RecordedRequest,
  given: readonly Field[],
  hostDefault: string,
): readonly Field[] {
  const has = (name: string): boolean => given.some(([one]) => one.toLowerCase() === name);
  return [
    ...(has("host") ? [] : [["Host", host ?? hostDefault] as const]),
    ...(has("accept") ? [] : [["Accept", "*/*"] as const]),
    ...given,
    SHADOW_FIELD,
  ];
}

function viewOf(method: string, target: string, fields: readonly Field[]): RequestView | null {
  const mark = target.indexOf("?");
  const path = decodedPath(mark === -1 ? target : target.slice(0, mark));
  if (path === null) return null;
  const field = (name: string): string | undefined => fields.find(([one]) => one.toLowerCase() === name)?.[1];
  const host = (field("host") ?? "").toLowerCase().replace(/:\d*$/, "");
  return { method, host, path, query: mark === -1 ? "" : target.slice(mark + 1), field };
}

/** Host and port of the first endpoint; a Unix socket has neither. */
function authorityOf({ endpoints }: Backend): string {
  const [first] = endpoints;
  return first === undefined || "path" in first ? "localhost" : first.address.replace(/^https?:\/\//, "");
}
