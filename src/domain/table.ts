/** The routing table in the form that answers requests: compiled once per revision, then only read. */
import { assert } from "../base/fault.ts";
import type { ComparePolicy } from "./compare_words.ts";
import { comparedPair, comparisonBasis } from "./comparison_basis.ts";
import { compareSpecificity, entriesOf } from "./order.ts";
import {
  SHARES_TOTAL,
  type Backend,
  type BackendId,
  type Condition,
  type MirrorPolicy,
  type PathMatch,
  type Route,
  type TableSpec,
} from "./route.ts";

/** What routing needs to see of a request. */
export interface RequestView {
  readonly method: string;
  /** Lower case, without port. */
  readonly host: string;
  /** Decoded for matching, without query. */
  readonly path: string;
  /** Without the question mark. */
  readonly query: string;
  /** The first value of a field by its lower-case name. */
  field(name: string): string | undefined;
}

/** How the answers to mirrored requests are compared. */
export interface CompiledCompare {
  readonly policy: ComparePolicy;
  readonly basis: string;
  readonly legacy: Backend;
  readonly candidate: BackendId;
  /** Lower-case names of the header fields that are looked at. */
  readonly names: readonly string[];
  /** Of SHARES_TOTAL compared requests so many go to legacy twice. */
  readonly secondShares: number;
}

/** A mirror with its backend looked up, its expression compiled and its clients chosen. */
export interface CompiledMirror {
  readonly policy: MirrorPolicy;
  readonly backend: Backend;
  readonly expression: RegExp | null;
  /** The buckets whose requests have copies: from the first up to, but not including, the second. */
  readonly buckets: readonly [number, number];
  /** Null: answers are not compared. */
  readonly compare: CompiledCompare | null;
}

/** A route with its backends looked up and its expression compiled. */
export interface CompiledRoute {
  readonly route: Route;
  /** Place in `RouteTable.routes`. */
  readonly index: number;
  readonly legacy: Backend;
  readonly candidate: Backend;
  readonly expression: RegExp | null;
  /** Null also where no request would have a copy. */
  readonly mirror: CompiledMirror | null;
}

/** Routes of one host pattern, by the kind of their path. Lists are in the order of specificity. */
interface HostIndex {
  readonly exact: Map<string, CompiledRoute[]>;
  readonly prefix: Map<string, CompiledRoute[]>;
  /** How long the prefixes are: the part of a path that is as long as none of them need not be looked up. */
  readonly prefixLengths: Set<number>;
  readonly regex: CompiledRoute[];
}

/** One revision of the table, indexed. Frozen: a new revision is a new table. */
export interface RouteTable {
  readonly revision: number;
  readonly routes: readonly CompiledRoute[];
  readonly backends: ReadonlyMap<BackendId, Backend>;
  /** Full host names; the empty name holds the routes of every host. */
  readonly hosts: ReadonlyMap<string, HostIndex>;
  /** Whether there are any full names among them. */
  readonly hasNames: boolean;
  /** Suffixes such as `.example.com`, longest first. */
  readonly wildcards: readonly (readonly [string, HostIndex])[];
}

/** Compiles a table. Takes one that `decodeDocument` accepted; anything else is a bug and fails. */
export function compileTable(spec: TableSpec): RouteTable {
  const backends = new Map(spec.backends.map((backend) => [backend.id, backend]));
  const routes = spec.routes.map((route, index) => compileRoute(route, index, backends));
  const entries = entriesOf(spec.routes).toSorted(compareSpecificity);
  const hosts = new Map<string, HostIndex>();
  for (const entry of entries) {
    let index = hosts.get(entry.host);
    if (index === undefined) {
      index = { exact: new Map(), prefix: new Map(), prefixLengths: new Set(), regex: [] };
      hosts.set(entry.host, index);
    }
    file(index, routes[entry.position] as CompiledRoute);
  }
  // The entries were sorted, so the map's order has longer suffixes first.
  const wildcards = [...hosts]
    .filter(([host]) => host.startsWith("*."))
    .map(([host, index]) => [host.slice(1), index] as const);
  const hasNames = [...hosts.keys()].some((host) => host !== "" && !host.startsWith("*."));
  return Object.freeze({ revision: spec.revision, routes, backends, hosts, hasNames, wildcards });
}

function compileRoute(route: Route, index: number, backends: Map<BackendId, Backend>): CompiledRoute {
  const legacy = backends.get(route.cutover.legacy);
  const candidate = backends.get(route.cutover.candidate);
  assert(legacy !== undefined && candidate !== undefined, `route ${route.id} names backends of its table`);
  const expression = expressionOf(route.match.path);
  return { route, index, legacy, candidate, expression, mirror: compileMirror(route, backends) };
}

function compileMirror(route: Route, backends: Map<BackendId, Backend>): CompiledMirror | null {
  const policy = completed(route.mirror);
  if (policy === null || policy.shares === 0) return null;
  const backend = backends.get(policy.to);
  assert(backend !== undefined, `the mirror of route ${route.id} names a backend of its table`);
  // The candidate has the lowest buckets, and what it answers has no copy there: so its copies are of the highest.
  const first = policy.to === route.cutover.candidate ? SHARES_TOTAL - policy.shares : 0;
  return {
    policy,
    backend,
    expression: expressionOf(policy.match.path),
    buckets: [first, first + policy.shares],
    compare: compileCompare(route, backends),
  };
}

/** A control process of an earlier version knows less of mirrors, or nothing, and leaves the keys out. */
function completed(mirror: Partial<MirrorPolicy> | null | undefined): MirrorPolicy | null {
  return mirror ? ({ writes: [], compare: null, ...mirror } as MirrorPolicy) : null;
}

function compileCompare(route: Route, backends: Map<BackendId, Backend>): CompiledCompare | null {
  const policy = route.mirror?.compare ?? null;
  if (policy === null) return null;
  const [pair, basis] = [comparedPair(route), comparisonBasis(route)];
  assert(pair !== null && basis !== null, `the mirror of route ${route.id} says how it compares`);
  const legacy = backends.get(pair.legacy);
  assert(legacy !== undefined, `route ${route.id} names backends of its table`);
  const names = [...new Set(["content-type", ...policy.headers])];
  const secondShares = Math.round((policy.noisePercent / 100) * SHARES_TOTAL);
  return { policy, basis, legacy, candidate: pair.candidate, names, secondShares };
}

function expressionOf({ kind, value }: PathMatch): RegExp | null {
  return kind === "regex" ? new RegExp(`^(?:${value})$`) : null;
}

function file(index: HostIndex, compiled: CompiledRoute): void {
  const { kind, value } = compiled.route.match.path;
  if (kind === "regex") {
    index.regex.push(compiled);
    return;
  }
  if (kind === "prefix") index.prefixLengths.add(value.length);
  const map = kind === "exact" ? index.exact : index.prefix;
  const list = map.get(value);
  if (list === undefined) map.set(value, [compiled]);
  else list.push(compiled);
}

/**
 * The most specific route that matches, or null.
 *
 * Order: full host, then wildcard by length, then any host; within each: exact path, expression, prefix by length;
 * within each: more conditions first, then the order of the document.
 */
export function findRoute(table: RouteTable, view: RequestView): CompiledRoute | null {
  // Looking up a text that was just read takes a while: it is hashed first.
  const named = view.host === "" || !table.hasNames ? undefined : table.hosts.get(view.host);
  if (named !== undefined) {
    const found = findInHost(named, view);
    if (found !== null) return found;
  }
  for (const [suffix, index] of table.wildcards) {
    if (view.host.length <= suffix.length || !view.host.endsWith(suffix)) continue;
    const found = findInHost(index, view);
    if (found !== null) return found;
  }
  const any = table.hosts.get("");
  return any === undefined ? null : findInHost(any, view);
}

function findInHost(index: HostIndex, view: RequestView): CompiledRoute | null {
  const exact = index.exact.size === 0 ? null : firstMatching(index.exact.get(view.path), view);
  if (exact !== null) return exact;
  for (const compiled of index.regex) {
    if (compiled.expression?.test(view.path) && meetsConditions(compiled.route, view)) return compiled;
  }
  return index.prefix.size > 0 ? findByPrefix(index, view) : null;
}

/** Tries every prefix that ends at a segment's border, longest first: `/a/b`, `/a/`, `/a`, `/`. */
function findByPrefix({ prefix, prefixLengths }: HostIndex, view: RequestView): CompiledRoute | null {
  const { path } = view;
  let end = path.length;
  while (end > 0) {
    if (prefixLengths.has(end)) {
      const found = firstMatching(prefix.get(end === path.length ? path : path.slice(0, end)), view);
      if (found !== null) return found;
    }
    const isAfterSlash = path.charCodeAt(end - 1) === 0x2f;
    end = isAfterSlash ? end - 1 : path.lastIndexOf("/", end - 1) + 1;
  }
  return null;
}

function firstMatching(list: readonly CompiledRoute[] | undefined, view: RequestView): CompiledRoute | null {
  if (list === undefined) return null;
  for (const compiled of list) if (meetsConditions(compiled.route, view)) return compiled;
  return null;
}

function meetsConditions(route: Route, view: RequestView): boolean {
  const { methods, conditions } = route.match;
  if (methods.length > 0 && !methods.includes(view.method)) return false;
  for (const condition of conditions) if (!meets(condition, view)) return false;
  return true;
}

/** Whether a request meets one condition. */
export function meets(condition: Condition, view: RequestView): boolean {
  const value = lookUp(condition, view);
  return value !== undefined && (condition.value === undefined || condition.value === value);
}

function lookUp(condition: Condition, view: RequestView): string | undefined {
  switch (condition.source) {
    case "header":
      return view.field(condition.name);
    case "cookie":
      return cookieValue(view.field("cookie"), condition.name);
    case "query":
      return queryValue(view.query, condition.name);
  }
}

/** The first value of a cookie in a Cookie field, or undefined. Source: RFC 6265 section 4.2. */
export function cookieValue(field: string | undefined, name: string): string | undefined {
  if (field === undefined) return undefined;
  let at = 0;
  while (at < field.length) {
    let end = field.indexOf(";", at);
    if (end === -1) end = field.length;
    while (field.charCodeAt(at) === 0x20) at++;
    if (field.startsWith(name, at) && field.charCodeAt(at + name.length) === 0x3d) {
      const value = field.slice(at + name.length + 1, end);
      return value.startsWith('"') && value.endsWith('"') && value.length > 1 ? value.slice(1, -1) : value;
    }
    at = end + 1;
  }
  return undefined;
}

/** The first value of a query parameter, undecoded; empty when it has no `=`. */
function queryValue(query: string, name: string): string | undefined {
  for (const part of query.split("&")) {
    const equals = part.indexOf("=");
    if ((equals === -1 ? part : part.slice(0, equals)) === name)
      return equals === -1 ? "" : part.slice(equals + 1);
  }
  return undefined;
}
