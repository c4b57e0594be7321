/** What changed between two tables, in lines that a person can read. */
import { writePercent, writeSize } from "./quantity.ts";
import { SHARES_TOTAL, type Backend, type Condition, type Document, type Route } from "./route.ts";
import { writeStickyKey } from "./syntax.ts";

/** The most lines one difference has. The last one then counts what it leaves out. */
export const DIFFERENCE_LINES_MAX = 200;

/** Values longer than this are cut in a line: hosts and paths may have a thousand characters. */
const VALUE_CHARS_MAX = 160;

/** A part of a route by its name in the operator's form. Lists are compared entry by entry. */
type Part = readonly [name: string, value: string | readonly string[]];

/**
 * Says how `after` differs from `before`; null stands for no table at all.
 *
 * Gives no lines exactly when both mean the same: only the order of the backends means nothing. Lines come in a fixed
 * order: backends, then routes, each in the order of `after` and then those that are gone. At most
 * DIFFERENCE_LINES_MAX.
 */
export function differenceOf(before: Document | null, after: Document): string[] {
  const lines = [
    ...compareById(before?.backends ?? [], after.backends, "backend", compareBackends, describeBackend),
    ...compareById(before?.routes ?? [], after.routes, "route", compareRoutes, describeRoute),
    ...compareOrder(before?.routes ?? [], after.routes),
  ];
  if (before === null && lines.length === 0) lines.push("the first table, without backends and routes");
  if (lines.length <= DIFFERENCE_LINES_MAX) return lines;
  const shown = lines.slice(0, DIFFERENCE_LINES_MAX - 1);
  return [...shown, `and ${lines.length - shown.length} more differences`];
}

function compareById<Thing extends { readonly id: string }>(
  before: readonly Thing[],
  after: readonly Thing[],
  noun: string,
  compare: (was: Thing, is: Thing) => string[],
  describe: (thing: Thing) => string,
): string[] {
  const wasById = new Map(before.map((thing) => [thing.id, thing]));
  const kept = new Set(after.map((thing) => thing.id));
  const lines = after.flatMap((thing) => {
    const was = wasById.get(thing.id);
    const changes = was === undefined ? [`added, ${describe(thing)}`] : compare(was, thing);
    return changes.map((change) => `${noun} ${thing.id}: ${change}`);
  });
  const gone = before.filter((thing) => !kept.has(thing.id));
  return [...lines, ...gone.map((thing) => `${noun} ${thing.id}: removed`)];
}

function describeBackend(backend: Backend): string {
  const greeting = backend.proxyProtocol === undefined ? "" : `, proxy_protocol ${backend.proxyProtocol}`;
  return `at ${cut(addressesOf(backend).join(", "))}${greeting}`;
}

function compareBackends(was: Backend, is: Backend): string[] {
  return [
    ...comparePart("endpoints", addressesOf(was), addressesOf(is)),
    ...comparePart("proxy_protocol", was.proxyProtocol ?? "off", is.proxyProtocol ?? "off"),
  ];
}

function addressesOf(backend: Backend): string[] {
  return backend.endpoints.map((endpoint) => endpoint.address);
}

function describeRoute(route: Route): string {
  const { cutover, candidateShares } = route;
  const legacyShares = SHARES_TOTAL - candidateShares;
  return `${cutover.legacy} ${percent(legacyShares)}, ${cutover.candidate} ${percent(candidateShares)}`;
}

function compareRoutes(was: Route, is: Route): string[] {
  const lines: string[] = [];
  if (was.candidateShares !== is.candidateShares) {
    const moved = was.cutover.candidate === is.cutover.candidate ? "" : `${is.cutover.candidate} `;
    const [from, to] = [percent(was.candidateShares), percent(is.candidateShares)];
    lines.push(`${was.cutover.candidate} ${from} -> ${moved}${to}`);
  }
  const isParts = partsOf(is);
  for (const [index, [name, value]] of partsOf(was).entries()) {
    lines.push(...comparePart(name, value, isParts[index]?.[1] ?? []));
  }
  return lines;
}

/** Everything a route has besides its name and its weight, always in the same places. */
function partsOf(route: Route): Part[] {
  const { match, cutover, sticky, timeouts, retries } = route;
  const conditionsOn = (source: Condition["source"]): string[] =>
    match.conditions.filter((condition) => condition.source === source).map(writeCondition);
  return [
    ["match.hosts", match.hosts],
    ["match.path", `${match.path.kind} ${match.path.value}`],
    ["match.methods", match.methods],
    ["match.headers", conditionsOn("header")],
    ["match.query", conditionsOn("query")],
    ["match.cookies", conditionsOn("cookie")],
    ["cutover.legacy", cutover.legacy],
    ["cutover.candidate", cutover.candidate],
    ["sticky.keys", sticky.keys.map(writeStickyKey)],
    ["sticky.salt", sticky.salt],
    ["pins", route.pins.map(({ when, to }) => `${when.source} ${writeCondition(when)} to ${to}`)],
    ["timeouts.connect", duration(timeouts.connectMs)],
    ["timeouts.response", limit(timeouts.responseMs)],
    ["timeouts.idle", limit(timeouts.idleMs)],
    ["retries.attempts", String(retries.attempts)],
    ["retries.body", size(retries.bodyBytesMax)],
    ["websocket", String(route.websocket)],
    ["trailers", String(route.trailers)],
    ["expose", String(route.expose)],
  ];
}

function comparePart(name: string, was: Part[1], is: Part[1]): string[] {
  if (typeof was === "string" || typeof is === "string") {
    return was === is ? [] : [`${name} ${cut(String(was))} -> ${cut(String(is))}`];
  }
  const gained = is.filter((entry) => !was.includes(entry)).map((entry) => `${name} gains ${cut(entry)}`);
  const lost = was.filter((entry) => !is.includes(entry)).map((entry) => `${name} loses ${cut(entry)}`);
  if (gained.length + lost.length > 0) return [...gained, ...lost];
  const isSame = was.length === is.length && was.every((entry, index) => entry === is[index]);
  return isSame ? [] : [`${name} ${cut(was.join(", "))} -> ${cut(is.join(", "))}`];
}

/** Routes that are equally specific are tried in the order of the table, so it is worth a line. */
function compareOrder(before: readonly Route[], after: readonly Route[]): string[] {
  const remaining = new Set(after.map((route) => route.id));
  const known = new Set(before.map((route) => route.id));
  const was = before.map((route) => route.id).filter((id) => remaining.has(id));
  const is = after.map((route) => route.id).filter((id) => known.has(id));
  return comparePart("routes: order", was, is);
}

function writeCondition(condition: Condition): string {
  return condition.value === undefined
    ? condition.name
    : `${condition.name}=${JSON.stringify(condition.value)}`;
}

function percent(shares: number): string {
  return `${writePercent(shares)} %`;
}

function limit(ms: number): string {
  return ms === 0 ? "off" : duration(ms);
}

function duration(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`;
}

function size(bytes: number): string {
  const text = writeSize(bytes);
  return /^\d+$/.test(text) ? `${text} bytes` : text.replace(/(\d)(\D)/, "$1 $2");
}

/** Keeps both ends: hosts and paths often differ in their last part only. */
function cut(text: string): string {
  if (text.length <= VALUE_CHARS_MAX) return text;
  const half = VALUE_CHARS_MAX / 2;
  return `${text.slice(0, half)}...${text.slice(-half)}`;
}
