/** Which of two routes is tried first, and whether one leaves anything to the other. */
import type { Condition, Match, PathMatch, Route } from "./route.ts";

/** A route under one of its hosts: empty for any host, `*.x` for a wildcard. A route has one entry per host. */
export interface RouteEntry {
  readonly host: string;
  readonly route: Route;
  /** The route's place in the document. */
  readonly position: number;
}

/** An entry that never gets a request, because `earlier` is tried first and takes all of them. */
export interface Shadowed {
  readonly earlier: RouteEntry;
  readonly later: RouteEntry;
}

/** Expressions come before prefixes, so that one can carve something out of a route that takes everything. */
const PATH_RANK = { exact: 0, regex: 1, prefix: 2 } as const;

/** The entries of a list of routes, in the order of the list. */
export function entriesOf(routes: readonly Route[]): RouteEntry[] {
  return routes.flatMap((route, position) => hostsOf(route).map((host) => ({ host, route, position })));
}

/**
 * Orders entries by how specific they are: negative when `a` is tried before `b`.
 *
 * Host: full name, then wildcard by length, then any. Path: exact, then regular expression, then prefix by length.
 * Then more conditions, a list of methods counting as one; then more conditions that name a value; then fewer methods;
 * then the order of the document. So on the same host and path, whatever leaves a rest for others comes first.
 */
export function compareSpecificity(a: RouteEntry, b: RouteEntry): number {
  return (
    compareHosts(a.host, b.host) || compareMatches(a.route.match, b.route.match) || a.position - b.position
  );
}

/**
 * Whether `a` matches every request that `b` matches.
 *
 * May answer no where it is so: a regular expression is known to cover only one of the same text.
 */
export function covers(a: Match, b: Match): boolean {
  return coversHosts(a.hosts, b.hosts) && coversBelowHost(a, b);
}

/**
 * The entries that can never match, each with the one that takes its requests.
 *
 * An earlier entry covers a later one only on the same host: full names are tried before the wildcards that cover
 * them, and longer wildcards before shorter ones. So hosts are compared only for the few pairs whose rest collides,
 * and the work is one comparison per pair of routes, whatever the number of hosts.
 */
export function findShadowed(routes: readonly Route[]): Shadowed[] {
  const ordered = routes.map((route, position): RouteEntry => ({ host: "", route, position }));
  ordered.sort(compareSpecificity);
  const shadowed: Shadowed[] = [];
  for (const [index, later] of ordered.entries()) {
    const free = new Set(hostsOf(later.route));
    for (const earlier of ordered.slice(0, index)) {
      if (!coversBelowHost(earlier.route.match, later.route.match)) continue;
      for (const host of hostsOf(earlier.route)) {
        if (free.delete(host)) shadowed.push({ earlier: { ...earlier, host }, later: { ...later, host } });
      }
    }
  }
  return shadowed;
}

function hostsOf(route: Route): readonly string[] {
  return route.match.hosts.length === 0 ? [""] : route.match.hosts;
}

function compareHosts(a: string, b: string): number {
  const byRank = hostRank(a) - hostRank(b);
  if (byRank !== 0) return byRank;
  return hostRank(a) === 1 ? b.length - a.length : 0;
}

function hostRank(host: string): number {
  if (host === "") return 2;
  return host.startsWith("*.") ? 1 : 0;
}

function compareMatches(a: Match, b: Match): number {
  return (
    PATH_RANK[a.path.kind] - PATH_RANK[b.path.kind] ||
    (a.path.kind === "prefix" ? b.path.value.length - a.path.value.length : 0) ||
    restrictions(b) - restrictions(a) ||
    valued(b) - valued(a) ||
    a.methods.length - b.methods.length
  );
}

function restrictions(match: Match): number {
  return match.conditions.length + (match.methods.length > 0 ? 1 : 0);
}

function valued(match: Match): number {
  return match.conditions.filter((condition) => condition.value !== undefined).length;
}

function coversHosts(a: readonly string[], b: readonly string[]): boolean {
  if (a.length === 0) return true;
  return b.length > 0 && b.every((host) => a.some((pattern) => coversHost(pattern, host)));
}

function coversHost(pattern: string, host: string): boolean {
  if (pattern === host) return true;
  return pattern.startsWith("*.") && host.endsWith(pattern.slice(1));
}

function coversBelowHost(a: Match, b: Match): boolean {
  if (!coversPath(a.path, b.path)) return false;
  if (a.methods.length > 0) {
    if (b.methods.length === 0 || !b.methods.every((method) => a.methods.includes(method))) return false;
  }
  return a.conditions.every((wanted) => b.conditions.some((given) => implies(given, wanted)));
}

/** Whether whoever meets `given` also meets `wanted`. */
function implies(given: Condition, wanted: Condition): boolean {
  if (given.source !== wanted.source || given.name !== wanted.name) return false;
  return wanted.value === undefined || wanted.value === given.value;
}

function coversPath(a: PathMatch, b: PathMatch): boolean {
  if (a.kind !== "prefix") return a.kind === b.kind && a.value === b.value;
  if (a.value === "/") return true;
  if (b.kind === "regex") return false;
  if (a.value.endsWith("/")) return b.value.startsWith(a.value);
  return b.value === a.value || b.value.startsWith(`${a.value}/`);
}
