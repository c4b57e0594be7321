/** The plan of a rollout: steps, bakes, gates and freezes, between the operator's form and ours. */
import { z } from "zod";
import { assert, type Result } from "../base/fault.ts";
import { closed, examine, examineKeys, isMap } from "./examine.ts";
import { encodeFreeze, FREEZE_WINDOWS_MAX, freezeSchema, readFreeze } from "./freeze.ts";
import { Findings, findProtoKeys, refuseRepeats, resultOf, type PathPart } from "./problems.ts";
import { durationMs, readDuration, readPercent, writeDuration, writePercent } from "./quantity.ts";
import {
  GATE_POINTS,
  ON_TIMEOUT,
  type Bake,
  type DifferencesBound,
  type Gate,
  type RolloutPlan,
  type RolloutStep,
} from "./rollout_words.ts";
import { duration, list, percentSchema, text, whole } from "./schema_parts.ts";
import { shorten } from "./syntax.ts";

/** What a plan gets for what it leaves out, in the operator's form. */
export const ROLLOUT_DEFAULTS = {
  steps: [1, 5, 10, 25, 50, 75, 90, 95, 100],
  bake: "5m",
  margin: 1,
  minRequests: 50,
  retries: 2,
  onTimeout: "hold",
} as const;

/** The most of each thing that one plan may hold. */
export const ROLLOUT_LIMITS = { steps: 50, gates: 32, retries: 10, requests: 1_000_000_000 } as const;

const DAY_MS = 86_400_000;
/** A migration takes weeks, so its spans may be longer than any other duration. */
const SPAN_DAYS_MAX = 90;
const URL_CHARS_MAX = 2048;

const DEFAULT_BAKE: Bake = { bakeMs: durationMs(ROLLOUT_DEFAULTS.bake), proven: false };

const spanMessage = `write a duration from 1s to ${SPAN_DAYS_MAX}d with its unit, such as "30s", "10m", "2h" or "3d"`;
const spanSchema = z
  .string({ error: spanMessage })
  .refine((value) => (readSpan(value) ?? 0) >= 1000, { error: spanMessage });

const untilSchema = z
  .enum(["proven"])
  .meta({ description: "Until the failure rate is proved to be below `margin`" });

const marginSchema = percentSchema.refine((percent) => percent > 0 && percent < 100, {
  error: "a margin is more than 0 and less than 100 percent",
});

const differencesSchema = closed({
  above: percentSchema
    .refine((percent) => percent < 100, { error: "no weight is above 100 percent" })
    .optional()
    .meta({ description: "Higher weights begin only once it is proved", default: 0 }),
  below: percentSchema
    .refine((percent) => percent > 0 && percent < 100, {
      error: "write more than 0 and less than 100 percent",
    })
    .meta({ description: "That fewer than so many percent of compared answers mismatch" }),
});

const weightSchema = percentSchema.refine((percent) => percent > 0, {
  error: "a step gives the candidate more than 0 percent",
});

/** A step that says how long it stays. */
const stepSchema = closed({
  weight: weightSchema,
  bake: spanSchema.optional(),
  until: untilSchema.optional(),
});

const gateSchema = closed({
  at: z.enum(GATE_POINTS),
  url: text(urlFault),
  timeout: duration(1).meta({ description: "Of one try" }),
  retries: whole(0, ROLLOUT_LIMITS.retries).optional().meta({ default: ROLLOUT_DEFAULTS.retries }),
  on_timeout: z.enum(ON_TIMEOUT).optional().meta({ default: ROLLOUT_DEFAULTS.onTimeout }),
  steps: list(percentSchema, 1, ROLLOUT_LIMITS.steps).optional(),
});

/** A plan in the operator's form. */
export const rolloutSchema = closed({
  steps: list(z.union([weightSchema, stepSchema]), 1, ROLLOUT_LIMITS.steps)
    .optional()
    .meta({ default: ROLLOUT_DEFAULTS.steps }),
  bake: spanSchema.optional().meta({ default: ROLLOUT_DEFAULTS.bake }),
  until: untilSchema.optional(),
  margin: marginSchema.optional().meta({ default: ROLLOUT_DEFAULTS.margin }),
  min_requests: whole(1, ROLLOUT_LIMITS.requests).optional().meta({ default: ROLLOUT_DEFAULTS.minRequests }),
  differences: differencesSchema
    .optional()
    .meta({ description: "What must be proved of mirrored answers before weights rise" }),
  max_duration: spanSchema.optional(),
  freeze: list(freezeSchema, 0, FREEZE_WINDOWS_MAX).optional(),
  gates: list(gateSchema, 0, ROLLOUT_LIMITS.gates).optional(),
});

/** A plan whose lists are still to be read, entry by entry. */
const planOutline = closed({
  ...rolloutSchema.shape,
  steps: list(z.unknown(), 1, ROLLOUT_LIMITS.steps).optional(),
  freeze: list(z.unknown(), 0, FREEZE_WINDOWS_MAX).optional(),
  gates: list(z.unknown(), 0, ROLLOUT_LIMITS.gates).optional(),
});

type Path = readonly PathPart[];

/** Reads a plan in the operator's form. Gives the plan, or every problem with its JSON pointer. */
export function decodePlan(input: unknown): Result<RolloutPlan> {
  const findings = new Findings();
  findProtoKeys(input, findings);
  return resultOf(readPlan(input, [], findings), findings);
}

/**
 * Reads a plan that is part of a larger input. Gives null after everything wrong was added to `findings`, with paths
 * that start with `path`.
 */
export function readPlan(input: unknown, path: Path, findings: Findings): RolloutPlan | null {
  const before = findings.count;
  const keys = examineKeys(planOutline, input, path, findings);
  if (keys === undefined) return null;
  const usual = bakeOf(keys.bake, keys.until) ?? DEFAULT_BAKE;
  const written = keys.steps ?? ROLLOUT_DEFAULTS.steps;
  const steps = written.map((step, index) => readStep(step, usual, [...path, "steps", index], findings));
  refuseFalling(steps, [...path, "steps"], findings);
  const weights = steps.includes(null) ? null : steps.map((step) => step?.shares ?? 0);
  const freeze = (keys.freeze ?? []).map((window, index) =>
    readFreeze(window, [...path, "freeze", index], findings),
  );
  const gates = (keys.gates ?? []).map((gate, index) =>
    readGate(gate, weights, [...path, "gates", index], findings),
  );
  const maxDurationMs = keys.max_duration === undefined ? null : spanMs(keys.max_duration);
  refuseLongBakes(steps, maxDurationMs, path, findings);
  if (findings.count > before) return null;
  return {
    steps: steps.filter((step) => step !== null),
    minRequests: keys.min_requests ?? ROLLOUT_DEFAULTS.minRequests,
    differences: differencesOf(keys.differences),
    marginPercent: keys.margin ?? ROLLOUT_DEFAULTS.margin,
    maxDurationMs,
    freeze: freeze.filter((window) => window !== null),
    gates: gates.filter((gate) => gate !== null),
  };
}

/** A plan in the operator's form. What equals its default is left out; decoding gives the same plan again. */
export function encodePlan(plan: RolloutPlan): unknown {
  const first = plan.steps[0] ?? DEFAULT_BAKE;
  const usual = plan.steps.every((step) => isSameBake(step, first)) ? first : DEFAULT_BAKE;
  const steps = plan.steps.map((step) => {
    const weight = writePercent(step.shares);
    return isSameBake(step, usual) ? weight : { weight, ...writeBake(step) };
  });
  return {
    ...(isUsualSteps(steps) ? {} : { steps }),
    ...(isSameBake(usual, DEFAULT_BAKE) ? {} : writeBake(usual)),
    ...(plan.marginPercent === ROLLOUT_DEFAULTS.margin ? {} : { margin: plan.marginPercent }),
    ...(plan.minRequests === ROLLOUT_DEFAULTS.minRequests ? {} : { min_requests: plan.minRequests }),
    ...(plan.differences === null ? {} : { differences: writeDifferences(plan.differences) }),
    ...(plan.maxDurationMs === null ? {} : { max_duration: writeSpan(plan.maxDurationMs) }),
    ...(plan.freeze.length === 0 ? {} : { freeze: plan.freeze.map(encodeFreeze) }),
    ...(plan.gates.length === 0 ? {} : { gates: plan.gates.map(encodeGate) }),
  };
}

function differencesOf(keys: z.output<typeof differencesSchema> | undefined): RolloutPlan["differences"] {
  if (keys === undefined) return null;
  return { aboveShares: readPercent(keys.above ?? 0) ?? 0, belowPercent: keys.below };
}

/** In the operator's form. */
function writeDifferences({ aboveShares, belowPercent }: DifferencesBound): Record<string, number> {
  return { ...(aboveShares === 0 ? {} : { above: writePercent(aboveShares) }), below: belowPercent };
}

function readStep(input: unknown, usual: Bake, path: Path, findings: Findings): RolloutStep | null {
  const isAlone = !isMap(input);
  const keys = isAlone ? {} : examineKeys(stepSchema, input, path, findings);
  const weight = isAlone ? examine(weightSchema, input, path, findings) : keys?.weight;
  const shares = weight === undefined ? null : readPercent(weight);
  return shares === null ? null : { shares, ...(bakeOf(keys?.bake, keys?.until) ?? usual) };
}

function readGate(
  input: unknown,
  weights: readonly number[] | null,
  path: Path,
  findings: Findings,
): Gate | null {
  const before = findings.count;
  const keys = examineKeys(gateSchema, input, path, findings);
  const { at, url, timeout, on_timeout: onTimeout, steps = [] } = keys ?? {};
  if (at === "on-rollback" && onTimeout !== undefined) {
    findings.add(
      [...path, "on_timeout"],
      "a rollback waits for no gate; leave this out at on-rollback",
      "key",
    );
  }
  if (steps.length > 0 && at !== undefined && at !== "before-step" && at !== "after-step") {
    findings.add([...path, "steps"], `only gates before-step and after-step have steps, not ${at}`, "key");
  }
  refuseRepeats(steps.map(String), [...path, "steps"], findings);
  const shares = steps.map((percent) => readPercent(percent) ?? 0);
  for (const [index, wanted] of shares.entries()) {
    if (weights === null || weights.includes(wanted)) continue;
    findings.add([...path, "steps", index], `the plan has no step with ${writePercent(wanted)} %`);
  }
  if (findings.count > before || at === undefined || url === undefined || timeout === undefined) return null;
  return {
    at,
    url,
    timeoutMs: durationMs(timeout),
    retries: keys?.retries ?? ROLLOUT_DEFAULTS.retries,
    onTimeout: onTimeout ?? ROLLOUT_DEFAULTS.onTimeout,
    steps: shares,
  };
}

function refuseFalling(steps: readonly (RolloutStep | null)[], path: Path, findings: Findings): void {
  for (const [index, step] of steps.entries()) {
    const last = steps[index - 1];
    if (!step || !last || step.shares > last.shares) continue;
    const percent = `${writePercent(step.shares)} % is not above the ${writePercent(last.shares)} %`;
    findings.add([...path, index], `steps must grow: ${percent} of the step before`);
  }
}

/** A rollout whose bakes take longer than it may would always be held before its end. */
function refuseLongBakes(
  steps: readonly (RolloutStep | null)[],
  maxDurationMs: number | null,
  path: Path,
  findings: Findings,
): void {
  const bakesMs = steps.reduce((sum, step) => sum + (step?.bakeMs ?? 0), 0);
  if (maxDurationMs === null || bakesMs <= maxDurationMs) return;
  const longest = steps.findIndex((step) => (step?.bakeMs ?? 0) > maxDurationMs);
  const what = longest < 0 ? "the bakes of all steps together" : `the bake of steps/${longest} alone`;
  findings.add([...path, "max_duration"], `${what} would take longer than this`);
}

/** A gate in the operator's form. */
export function encodeGate(gate: Gate): unknown {
  return {
    at: gate.at,
    url: gate.url,
    timeout: writeDuration(gate.timeoutMs),
    ...(gate.retries === ROLLOUT_DEFAULTS.retries ? {} : { retries: gate.retries }),
    ...(gate.onTimeout === ROLLOUT_DEFAULTS.onTimeout ? {} : { on_timeout: gate.onTimeout }),
    ...(gate.steps.length === 0 ? {} : { steps: gate.steps.map(writePercent) }),
  };
}

/** Null when neither is given. With both, both must be reached. */
function bakeOf(bake: string | undefined, until: "proven" | undefined): Bake | null {
  if (bake === undefined && until === undefined) return null;
  return { bakeMs: bake === undefined ? 0 : spanMs(bake), proven: until === "proven" };
}

/** A bake in the operator's form, as the keys of its step. */
export function writeBake({ bakeMs, proven }: Bake): Record<string, string> {
  return { ...(bakeMs === 0 ? {} : { bake: writeSpan(bakeMs) }), ...(proven ? { until: "proven" } : {}) };
}

function isSameBake(one: Bake, other: Bake): boolean {
  return one.bakeMs === other.bakeMs && one.proven === other.proven;
}

function isUsualSteps(steps: readonly unknown[]): boolean {
  const usual = ROLLOUT_DEFAULTS.steps;
  return steps.length === usual.length && usual.every((weight, index) => steps[index] === weight);
}

/** Milliseconds of a duration that may also be days and many hours, or null. */
function readSpan(value: string): number | null {
  const parts = /^(\d{1,4})(h|d)$/.exec(value);
  if (parts === null) return readDuration(value);
  const ms = (Number(parts[1]) * DAY_MS) / (parts[2] === "h" ? 24 : 1);
  return ms <= SPAN_DAYS_MAX * DAY_MS ? ms : null;
}

function spanMs(value: string): number {
  const ms = readSpan(value);
  assert(ms !== null, "only durations get past their schema");
  return ms;
}

/** A duration of up to 90 days as it is written. */
export function writeSpan(ms: number): string {
  return ms > DAY_MS && ms % DAY_MS === 0 ? `${ms / DAY_MS}d` : writeDuration(ms);
}

function urlFault(value: string): string | null {
  const url = URL.parse(value);
  const isWeb = url !== null && /^https?:$/.test(url.protocol) && /^https?:\/\//i.test(value);
  if (!isWeb) return `"${shorten(value)}" is not a URL to call; it begins with https:// or http://`;
  if (value.length > URL_CHARS_MAX) return `a URL has at most ${URL_CHARS_MAX} characters`;
  if (url.username !== "" || url.password !== "") return "a URL has no user and password: everybody reads it";
  return url.hash === "" ? null : 'a URL to call has no "#"';
}
