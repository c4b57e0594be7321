/** The routing table between its two forms: what operators write, and what the program works with. */
import type { Result } from "../base/fault.ts";
import { examine, examineKeys, isMap } from "./examine.ts";
import { encodeMatch, encodePin, readMatch, readPin, refuseStranger } from "./match.ts";
import { encodeMirror, readMirror } from "./mirror.ts";
import { findShadowed } from "./order.ts";
import {
  Findings,
  findProtoKeys,
  refuseRepeats,
  resultOf,
  unknownBackendMessage,
  type PathPart,
} from "./problems.ts";
import {
  durationMs,
  limitMs,
  writeLimit,
  readPercent,
  sizeBytes,
  writeDuration,
  writePercent,
  writeSize,
} from "./quantity.ts";
import { encodeRollback, readRollback } from "./rollback.ts";
import { encodePlan, readPlan } from "./rollout_plan.ts";
import { pendingRollout } from "./rollout_state.ts";
import {
  SHARES_TOTAL,
  type Backend,
  type BackendId,
  type Cutover,
  type Document,
  type Endpoint,
  type Route,
  type RouteId,
  type Sticky,
} from "./route.ts";
import {
  ROUTE_DEFAULTS,
  TABLE_LIMITS,
  backendSchema,
  routeOutline,
  tableOutline,
  weightsSchema,
} from "./schema.ts";
import { percentSchema } from "./schema_parts.ts";
import { nameFault, readEndpoint, readStickyKey, shorten, sure, writeStickyKey } from "./syntax.ts";

type Path = readonly PathPart[];

const DEFAULT_CONNECT_MS = durationMs(ROUTE_DEFAULTS.connect);
const DEFAULT_RESPONSE_MS = durationMs(ROUTE_DEFAULTS.response);
const DEFAULT_IDLE_MS = durationMs(ROUTE_DEFAULTS.idle);
const DEFAULT_BODY_BYTES = sizeBytes(ROUTE_DEFAULTS.body);

/** The key under which a stored table has the states of its rollouts. */
export const ROLLOUTS = "rollouts";

/** Reads a whole table in the operator's form. Gives the document, or every problem with its JSON pointer. */
export function decodeDocument(input: unknown): Result<Document> {
  const findings = new Findings();
  findProtoKeys(input, findings);
  return resultOf(inspectDocument(input, [], findings), findings);
}

/**
 * Reads one route in the operator's form for a table with these backends. The input may leave its id out; one that
 * differs from `id` is refused. Whether another route leaves anything to it is for decodeDocument to say.
 */
export function decodeRoute(id: string, input: unknown, backends: readonly Backend[]): Result<Route> {
  const findings = new Findings();
  findProtoKeys(input, findings);
  const names = backends.map((backend) => backend.id);
  const named = isMap(input) && input["id"] === undefined ? { ...input, id } : input;
  if (isMap(named) && typeof named["id"] === "string" && named["id"] !== id) {
    findings.add(["id"], `the route is called "${shorten(id)}"; leave its id out or repeat it`);
  }
  return resultOf(readRoute(named, names, [], findings), findings);
}

/** Reads percent per backend of a route's cutover. Gives the candidate's shares. */
export function decodeWeights(input: unknown, route: Route): Result<number> {
  const findings = new Findings();
  findProtoKeys(input, findings);
  return resultOf(readWeights(input, route.cutover, [], findings), findings);
}

/**
 * Reads a table in the operator's form that is part of a larger input. Gives null after everything wrong was added to
 * `findings`, with paths that start with `path`.
 *
 * Its plans are as nobody has started them: where rollouts are is not the operator's to write.
 */
export function inspectDocument(input: unknown, path: Path, findings: Findings): Document | null {
  const before = findings.count;
  const { [ROLLOUTS]: states, ...rest } = isMap(input) ? input : {};
  if (states !== undefined) {
    const message = "where rollouts are is not for writing; move one with `crossfade rollout`";
    findings.add([...path, ROLLOUTS], message, "key");
  }
  const known = isMap(input) ? rest : input;
  const outline = examineKeys(tableOutline, known, path, findings);
  const names = outline?.backends === undefined ? null : Object.keys(outline.backends);
  const backends = readAllBackends(outline?.backends ?? {}, [...path, "backends"], findings);
  const routes = readAllRoutes(outline?.routes ?? [], names, [...path, "routes"], findings);
  if (findings.count > before) return null;
  const planned = routes.filter(({ rollout }) => rollout !== null);
  return { backends, routes, rollouts: planned.map(({ id }) => ({ route: id, state: pendingRollout(0) })) };
}

/** A document in the operator's form. What equals its default is left out; decoding gives the same document again. */
export function encodeDocument(document: Omit<Document, "rollouts">): Record<string, unknown> {
  const backends = document.backends.map((backend) => [
    backend.id,
    present({
      endpoints: backend.endpoints.map((endpoint) => endpoint.address),
      proxy_protocol: backend.proxyProtocol,
    }),
  ]);
  return { backends: Object.fromEntries(backends), routes: document.routes.map(encodeRoute) };
}

/** One route in the operator's form, with its split always spelled out. */
export function encodeRoute(route: Route): unknown {
  const { cutover, timeouts, retries } = route;
  return present({
    id: route.id,
    match: unlessEmpty(encodeMatch(route.match)),
    cutover: { legacy: cutover.legacy, candidate: cutover.candidate },
    split: {
      [cutover.legacy]: writePercent(SHARES_TOTAL - route.candidateShares),
      [cutover.candidate]: writePercent(route.candidateShares),
    },
    sticky: unlessEmpty(encodeSticky(route.sticky, cutover)),
    pins: route.pins.length === 0 ? undefined : route.pins.map(encodePin),
    timeouts: unlessEmpty({
      connect: timeouts.connectMs === DEFAULT_CONNECT_MS ? undefined : writeDuration(timeouts.connectMs),
      response: timeouts.responseMs === DEFAULT_RESPONSE_MS ? undefined : writeLimit(timeouts.responseMs),
      idle: timeouts.idleMs === DEFAULT_IDLE_MS ? undefined : writeLimit(timeouts.idleMs),
    }),
    retries: unlessEmpty({
      attempts: retries.attempts === ROUTE_DEFAULTS.attempts ? undefined : retries.attempts,
      body: retries.bodyBytesMax === DEFAULT_BODY_BYTES ? undefined : writeSize(retries.bodyBytesMax),
    }),
    websocket: route.websocket === ROUTE_DEFAULTS.websocket ? undefined : route.websocket,
    trailers: route.trailers === ROUTE_DEFAULTS.trailers ? undefined : route.trailers,
    evacuate: route.evacuate === ROUTE_DEFAULTS.evacuate ? undefined : route.evacuate,
    expose: route.expose === ROUTE_DEFAULTS.expose ? undefined : route.expose,
    rollback: encodeRollback(route.rollback),
    mirror: route.mirror === null ? undefined : encodeMirror(route.mirror, route.sticky),
    rollout: route.rollout === null ? undefined : encodePlan(route.rollout),
  });
}

function readAllBackends(
  inputs: Readonly<Record<string, unknown>>,
  path: Path,
  findings: Findings,
): Backend[] {
  const entries = Object.entries(inputs);
  if (entries.length > TABLE_LIMITS.backends) {
    findings.add(path, `a table has at most ${TABLE_LIMITS.backends} backends`);
    return [];
  }
  return entries.map(([name, input]) => {
    const fault = nameFault(name);
    if (fault !== null) findings.add([...path, name], fault, "key");
    const keys = examineKeys(backendSchema, input, [...path, name], findings);
    const endpoints = (keys?.endpoints ?? []).map((address) => sure(readEndpoint(address)));
    refuseRepeats(endpoints.map(authorityOf), [...path, name, "endpoints"], findings);
    const greeting = keys?.proxy_protocol;
    return {
      id: name as BackendId,
      endpoints,
      ...(greeting === undefined ? {} : { proxyProtocol: greeting }),
    };
  });
}

/** What makes two endpoints the same, however they are written. */
function authorityOf(endpoint: Endpoint): string {
  return "path" in endpoint ? endpoint.path : `${endpoint.host} ${endpoint.port}`;
}

function readAllRoutes(
  inputs: readonly unknown[],
  names: readonly string[] | null,
  path: Path,
  findings: Findings,
): Route[] {
  const routes: Route[] = [];
  const places: Path[] = [];
  const firstByRouteId = new Map<string, number>();
  for (const [index, input] of inputs.entries()) {
    const place = [...path, index];
    const route = readRoute(input, names, place, findings);
    if (route !== null) {
      routes.push(route);
      places.push(place);
    }
    const id = isMap(input) ? input["id"] : undefined;
    if (typeof id !== "string") continue;
    const first = firstByRouteId.get(id);
    if (first === undefined) firstByRouteId.set(id, index);
    else findings.add([...place, "id"], `routes/${first} is called "${shorten(id)}" too`);
  }
  refuseShadowed(routes, places, findings);
  return routes;
}

function refuseShadowed(routes: readonly Route[], places: readonly Path[], findings: Findings): void {
  const shadowed = findShadowed(routes);
  const entryCounts = new Map<number, number>();
  for (const { later } of shadowed)
    entryCounts.set(later.position, (entryCounts.get(later.position) ?? 0) + 1);
  const reported = new Set<number>();
  for (const { earlier, later } of shadowed) {
    const { hosts } = later.route.match;
    const isWhole = entryCounts.get(later.position) === Math.max(1, hosts.length);
    if (isWhole && reported.has(later.position)) continue;
    reported.add(later.position);
    const place = places[later.position] ?? [];
    const what = isWhole ? "this route" : "this host of the route";
    findings.add(
      isWhole ? place : [...place, "match", "hosts", hosts.indexOf(later.host)],
      `${what} can never match: route "${earlier.route.id}" is tried first and takes every request`,
    );
  }
}

/** `names`: the backends of the table, or null when they could not be read. */
function readRoute(
  input: unknown,
  names: readonly string[] | null,
  path: Path,
  findings: Findings,
): Route | null {
  const before = findings.count;
  const keys = examineKeys(routeOutline, input, path, findings);
  if (keys === undefined) return null;
  const written = keys.cutover as Cutover | undefined;
  const cutover = written === undefined ? null : checkCutover(written, names, [...path, "cutover"], findings);
  const candidateShares =
    keys.split === undefined ? 0 : readWeights(keys.split, cutover, [...path, "split"], findings);
  const match = readMatch(keys.match ?? {}, [...path, "match"], findings);
  const pins = (keys.pins ?? []).map((pin, index) =>
    readPin(pin, cutover, [...path, "pins", index], findings),
  );
  const stickyKeys = keys.sticky?.keys ?? ROUTE_DEFAULTS.stickyKeys;
  const sticky = stickyKeys.map((key) => sure(readStickyKey(key)));
  refuseRepeats(sticky.map(writeStickyKey), [...path, "sticky", "keys"], findings);
  const rollback = readRollback(keys.rollback, [...path, "rollback"], findings);
  const isSticky = stickyKeys.length > 0;
  const mirror = readMirror(keys.mirror, { names, isSticky }, [...path, "mirror"], findings);
  const rollout = keys.rollout === undefined ? null : readPlan(keys.rollout, [...path, "rollout"], findings);
  const blind = blindness({ mirror, rollout });
  if (blind !== null) findings.add([...path, "rollout", "differences"], blind);
  if (findings.count > before || cutover === null || match === null || candidateShares === null) return null;
  return {
    id: keys.id as RouteId,
    match,
    cutover,
    candidateShares,
    sticky: { keys: sticky, salt: keys.sticky?.salt ?? defaultSalt(cutover) },
    pins: pins.filter((pin) => pin !== null),
    timeouts: {
      connectMs: durationMs(keys.timeouts?.connect ?? ROUTE_DEFAULTS.connect),
      responseMs: limitMs(keys.timeouts?.response ?? ROUTE_DEFAULTS.response),
      idleMs: limitMs(keys.timeouts?.idle ?? ROUTE_DEFAULTS.idle),
    },
    retries: {
      attempts: keys.retries?.attempts ?? ROUTE_DEFAULTS.attempts,
      bodyBytesMax: sizeBytes(keys.retries?.body ?? ROUTE_DEFAULTS.body),
    },
    websocket: keys.websocket ?? ROUTE_DEFAULTS.websocket,
    trailers: keys.trailers ?? ROUTE_DEFAULTS.trailers,
    evacuate: keys.evacuate ?? ROUTE_DEFAULTS.evacuate,
    expose: keys.expose ?? ROUTE_DEFAULTS.expose,
    rollback,
    mirror,
    rollout,
  };
}

/** Why a plan waits for something that will never be known, or null. */
export function blindness({ mirror, rollout }: Pick<Route, "mirror" | "rollout">): string | null {
  if (rollout === null || rollout.differences === null || (mirror !== null && mirror.compare !== null))
    return null;
  const what = mirror === null ? "has no mirror" : 'has a mirror that says "compare: off"';
  return `nothing is known of differences, because the route ${what}; let it compare, or leave this out`;
}

/** Gives null when the cutover's backends cannot be trusted for further checks. */
function checkCutover(
  cutover: Cutover,
  names: readonly string[] | null,
  path: Path,
  findings: Findings,
): Cutover | null {
  const before = findings.count;
  for (const role of ["legacy", "candidate"] as const) {
    if (names === null || names.includes(cutover[role])) continue;
    findings.add([...path, role], unknownBackendMessage(cutover[role], names));
  }
  if (cutover.legacy === cutover.candidate) {
    findings.add([...path, "candidate"], "legacy and candidate must be two different backends");
  }
  return findings.count === before ? cutover : null;
}

/** Without a cutover the names go unchecked, but the numbers are. */
function readWeights(input: unknown, cutover: Cutover | null, path: Path, findings: Findings): number | null {
  if (!isMap(input)) {
    examine(weightsSchema, input, path, findings);
    return null;
  }
  const before = findings.count;
  let sum: number | null = 0;
  let candidateShares = 0;
  for (const [name, value] of Object.entries(input)) {
    if (cutover !== null) refuseStranger(name, cutover, [...path, name], "key", findings);
    const percent = examine(percentSchema, value, [...path, name], findings);
    const shares = percent === undefined ? null : readPercent(percent);
    sum = sum === null || shares === null ? null : sum + shares;
    if (name === cutover?.candidate) candidateShares = shares ?? 0;
  }
  if (sum !== null && sum !== SHARES_TOTAL) {
    findings.add(path, `the weights add up to ${writePercent(sum)} %; they must add up to 100 %`);
  }
  return findings.count === before ? candidateShares : null;
}

function encodeSticky(sticky: Sticky, cutover: Cutover): Readonly<Record<string, unknown>> {
  const keys = sticky.keys.map(writeStickyKey);
  const isDefault = keys.join(" ") === ROUTE_DEFAULTS.stickyKeys.join(" ");
  return {
    keys: isDefault ? undefined : keys,
    salt: sticky.salt === defaultSalt(cutover) ? undefined : sticky.salt,
  };
}

/** Routes of one cutover share it, so that a client meets the same side of the product everywhere. */
function defaultSalt(cutover: Cutover): string {
  return `${cutover.legacy}/${cutover.candidate}`;
}

/** A map without the keys that have nothing to say. */
function present(map: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(map).filter(([, value]) => value !== undefined));
}

function unlessEmpty(map: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const left = present(map);
  return Object.keys(left).length === 0 ? undefined : left;
}
