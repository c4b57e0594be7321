/** What changed between two tables, in lines that a person can read. */
import { encodeCompare } from "./compare_policy.ts";
import { DEFAULT_ROLLBACK } from "./failure.ts";
import { encodeFreeze } from "./freeze.ts";
import { writePercent, writeSize } from "./quantity.ts";
import { setStep } from "./rollout_gates.ts";
import { encodeGate, writeBake, writeSpan } from "./rollout_plan.ts";
import { encodeRollout, isUnderWay } from "./rollout_state.ts";
import type { GateProgress, RolloutPlan, RolloutState } from "./rollout_words.ts";
import {
  SHARES_TOTAL,
  type Backend,
  type Condition,
  type Document,
  type MirrorPolicy,
  type RollbackPolicy,
  type Route,
} from "./route.ts";
import { writeStickyKey } from "./syntax.ts";

/** The most lines one difference has. The last one then counts what it leaves out. */
export const DIFFERENCE_LINES_MAX = 200;

/** Values longer than this are cut in a line: hosts and paths may have a thousand characters. */
const VALUE_CHARS_MAX = 160;

/** The names of the parts that hold conditions, and what these look at. */
const CONDITION_PARTS = [
  ["headers", "header"],
  ["query", "query"],
  ["cookies", "cookie"],
] as const;

/** A part of a route by its name in the operator's form. Lists are compared entry by entry. */
type Part = readonly [name: string, value: string | readonly string[]];

/**
 * Says how `after` differs from `before`; null stands for no table at all.
 *
 * Gives no lines exactly when both mean the same: only the order of the backends means nothing. Lines come in a fixed
 * order: backends, then routes, each in the order of `after` and then those that are gone, then where rollouts are. At
 * most DIFFERENCE_LINES_MAX.
 */
export function differenceOf(before: Document | null, after: Document): string[] {
  const lines = [
    ...compareById(before?.backends ?? [], after.backends, "backend", compareBackends, describeBackend),
    ...compareById(before?.routes ?? [], after.routes, "route", compareRoutes, describeRoute),
    ...compareOrder(before?.routes ?? [], after.routes),
    ...compareRollouts(before, after),
  ];
  if (before === null && lines.length === 0) lines.push("the first table, without backends and routes");
  if (lines.length <= DIFFERENCE_LINES_MAX) return lines;
  const shown = lines.slice(0, DIFFERENCE_LINES_MAX - 1);
  return [...shown, `and ${lines.length - shown.length} more differences`];
}

/** Whether some line of a difference is about a route. */
export function tellsOf(difference: readonly string[], route: string): boolean {
  return difference.some((line) => line.startsWith(`route ${route}: `));
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
  const rollback = route.rollback === null ? ", rollback off" : "";
  const rollout = route.rollout === null ? "" : `, ${describePlan(route.rollout)}`;
  const weights = `${cutover.legacy} ${percent(legacyShares)}, ${cutover.candidate} ${percent(candidateShares)}`;
  const mirror = route.mirror === null ? "" : `, mirror ${describeMirror(route.mirror)}`;
  return weights + rollback + mirror + rollout;
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
  return [
    ...lines,
    ...compareRollbacks(was.rollback, is.rollback),
    ...compareMirrors(was.mirror, is.mirror),
    ...comparePlans(was.rollout, is.rollout),
  ];
}

/** What a policy said before it was switched off means nothing any more; one that is switched on had the default. */
function compareRollbacks(was: RollbackPolicy | null, is: RollbackPolicy | null): string[] {
  const switched = comparePart("rollback", was === null ? "off" : "on", is === null ? "off" : "on");
  if (is === null) return switched;
  const before = was ?? DEFAULT_ROLLBACK;
  return [
    ...switched,
    ...comparePart("rollback.on", before.on, is.on),
    ...comparePart("rollback.tolerance", String(before.tolerance), String(is.tolerance)),
    ...comparePart("rollback.false_alarm", String(before.falseAlarm), String(is.falseAlarm)),
    ...comparePart("rollback.statuses", before.statuses.map(String), is.statuses.map(String)),
  ];
}

function describeMirror({ shares, to }: MirrorPolicy): string {
  return `${percent(shares)} to ${to}`;
}

function compareMirrors(was: MirrorPolicy | null, is: MirrorPolicy | null): string[] {
  if (was === null || is === null) {
    const [before, after] = [was, is].map((one) => (one === null ? "none" : describeMirror(one)));
    return comparePart("mirror", before ?? "", after ?? "");
  }
  const isParts = mirrorParts(is);
  return mirrorParts(was).flatMap(([name, value], index) =>
    comparePart(`mirror.${name}`, value, isParts[index]?.[1] ?? []),
  );
}

/** Everything a mirror has, always in the same places. */
function mirrorParts(mirror: MirrorPolicy): Part[] {
  const { path, conditions } = mirror.match;
  return [
    ["to", mirror.to],
    ["percent", percent(mirror.shares)],
    ["by", mirror.by],
    ["methods", mirror.methods],
    ["writes", mirror.writes],
    ["match.path", `${path.kind} ${path.value}`],
    ...CONDITION_PARTS.map(([key, source]): Part => [`match.${key}`, conditionsOn(conditions, source)]),
    ["max_body", size(mirror.bodyBytesMax)],
    ["timeout", duration(mirror.timeoutMs)],
    ["concurrency", String(mirror.inFlightMax)],
    ["compare", compareTexts(mirror.compare)],
  ];
}

/** What a policy says besides the defaults. */
function compareTexts(policy: MirrorPolicy["compare"]): Part[1] {
  if (policy === null) return "off";
  const told = Object.entries(encodeCompare(policy) ?? {}).map(
    ([key, value]) => `${key} ${JSON.stringify(value)}`,
  );
  return told.length === 0 ? "by default" : told.join(", ");
}

function describePlan({ steps }: RolloutPlan): string {
  const last = percent(steps.at(-1)?.shares ?? 0);
  return `rollout in ${steps.length} ${steps.length === 1 ? "step" : "steps"} to ${last}`;
}

function comparePlans(was: RolloutPlan | null, is: RolloutPlan | null): string[] {
  if (was === null || is === null) {
    return comparePart("rollout", was === null ? "none" : "planned", is === null ? "none" : describePlan(is));
  }
  const stepsOf = ({ steps }: RolloutPlan): string[] =>
    steps.map((step) => [percent(step.shares), ...Object.values(writeBake(step))].join(" "));
  const spanOf = ({ maxDurationMs }: RolloutPlan): string =>
    maxDurationMs === null ? "none" : writeSpan(maxDurationMs);
  const linesOf = (values: readonly unknown[]): string[] => values.map((value) => JSON.stringify(value));
  return [
    ...comparePart("rollout.steps", stepsOf(was), stepsOf(is)),
    ...comparePart("rollout.min_requests", String(was.minRequests), String(is.minRequests)),
    ...comparePart("rollout.margin", `${was.marginPercent} %`, `${is.marginPercent} %`),
    ...comparePart("rollout.differences", boundOf(was), boundOf(is)),
    ...comparePart("rollout.max_duration", spanOf(was), spanOf(is)),
    ...comparePart(
      "rollout.freeze",
      linesOf(was.freeze.map(encodeFreeze)),
      linesOf(is.freeze.map(encodeFreeze)),
    ),
    ...comparePart("rollout.gates", linesOf(was.gates.map(encodeGate)), linesOf(is.gates.map(encodeGate))),
  ];
}

function boundOf({ differences }: RolloutPlan): string {
  if (differences === null) return "none";
  const { aboveShares, belowPercent } = differences;
  return `below ${belowPercent} % above ${percent(aboveShares)}`;
}

/** Where rollouts are, for routes that had a plan and have one; a new plan that nobody has started says nothing. */
function compareRollouts(before: Document | null, after: Document): string[] {
  const states = new Map(before?.rollouts.map(({ route, state }) => [route, state]));
  const plans = new Map(after.routes.map(({ id, rollout }) => [id, rollout]));
  return after.rollouts.flatMap(({ route, state }) => {
    const was = states.get(route) ?? null;
    const plan = plans.get(route) ?? null;
    if (plan === null || (was === null && state.phase === "pending")) return [];
    return compareStates(was, state, plan).map((line) => `route ${route}: ${line}`);
  });
}

function compareStates(was: RolloutState | null, is: RolloutState, plan: RolloutPlan): string[] {
  if (was !== null && textOf(was) === textOf(is)) return [];
  const place = placeOf(is, plan);
  const gates = gatesText(is.gates);
  const lines = [
    ...(was !== null && placeOf(was, plan) === place ? [] : [`rollout ${place}`]),
    ...(was !== null && was.reason === is.reason ? [] : [`rollout because ${cut(is.reason)}`]),
    ...(gates === null || (was !== null && gatesText(was.gates) === gates) ? [] : [`rollout ${gates}`]),
  ];
  return lines.length > 0 ? lines : ["rollout counts its times or its calls anew"];
}

/** All that a state is, so that none that differs goes untold. */
function textOf(state: RolloutState): string {
  return JSON.stringify(encodeRollout(state));
}

function placeOf(state: RolloutState, { steps }: RolloutPlan): string {
  const phase = state.phase.replace("_", " ");
  if (!isUnderWay(state)) return phase;
  const step = `step ${setStep(state) + 1} of ${steps.length} at ${percent(state.candidateShares)}`;
  if (state.stage !== "entering") return `${phase}, ${step}${state.stage === "leaving" ? ", leaving" : ""}`;
  const next = `before step ${state.step + 1} of ${steps.length}`;
  return state.candidateShares === 0 ? `${phase}, ${next}` : `${phase}, ${step}, ${next}`;
}

function gatesText(gates: GateProgress | null): string | null {
  if (gates === null) return null;
  const { call, passed, point, tries } = gates;
  const asked = call === null ? "waits" : `is asked, call ${call}`;
  return `gate ${point} ${asked}: ${passed} passed, tries ${tries}`;
}

function conditionsOn(conditions: readonly Condition[], source: Condition["source"]): string[] {
  return conditions.filter((condition) => condition.source === source).map(writeCondition);
}

/** Everything else a route has, besides its name and its weight, always in the same places. */
function partsOf(route: Route): Part[] {
  const { match, cutover, sticky, timeouts, retries } = route;
  return [
    ["match.hosts", match.hosts],
    ["match.path", `${match.path.kind} ${match.path.value}`],
    ["match.methods", match.methods],
    ...CONDITION_PARTS.map(([key, source]): Part => [`match.${key}`, conditionsOn(match.conditions, source)]),
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
    ["evacuate", route.evacuate],
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
