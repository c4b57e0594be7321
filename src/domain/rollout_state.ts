/** Where a rollout is: its state as a value, and how it is stored. */
import { z } from "zod";
import type { Result } from "../base/fault.ts";
import { closed, examine } from "./examine.ts";
import { Findings, findProtoKeys, resultOf, type PathPart } from "./problems.ts";
import { SHARES_TOTAL } from "./route.ts";
import { ROLLOUT_LIMITS } from "./rollout_plan.ts";
import {
  DECIDERS,
  GATE_POINTS,
  HOLD_CAUSES,
  PHASES,
  STAGES,
  type GateProgress,
  type Phase,
  type RolloutState,
} from "./rollout_words.ts";
import { whole } from "./schema_parts.ts";

/** Longer reasons are cut: they come from judges, gates and people. */
export const REASON_CHARS_MAX = 500;

/** The latest moment of Temporal and Date. */
const MOMENT_MS_MAX = 8_640_000_000_000_000;

const count = whole(0, Number.MAX_SAFE_INTEGER);
const moment = whole(0, MOMENT_MS_MAX);

/** A state as it is stored and shown. What does not apply is left out. */
export const rolloutStateSchema = closed({
  phase: z.enum(PHASES),
  run: count,
  step: whole(0, ROLLOUT_LIMITS.steps - 1),
  stage: z.enum(STAGES),
  candidate_shares: whole(0, SHARES_TOTAL),
  started_ms: moment,
  phase_since_ms: moment,
  step_since_ms: moment,
  bake_since_ms: moment,
  limit_since_ms: moment,
  held_by: z.enum(HOLD_CAUSES).optional(),
  gates: closed({
    passed: whole(0, ROLLOUT_LIMITS.gates),
    point: z.enum(GATE_POINTS),
    tries: whole(0, ROLLOUT_LIMITS.retries + 1),
    call: count.optional(),
    since_ms: moment,
  }).optional(),
  calls: count,
  reason: z.string().max(REASON_CHARS_MAX, { error: `write at most ${REASON_CHARS_MAX} characters` }),
  by: z.enum(DECIDERS),
});

/** The state of a plan that nobody has started. */
export function pendingRollout(nowMs: number): RolloutState {
  return {
    phase: "pending",
    runId: 0,
    step: 0,
    stage: "entering",
    candidateShares: 0,
    startedMs: nowMs,
    phaseSinceMs: nowMs,
    stepSinceMs: nowMs,
    bakeSinceMs: nowMs,
    limitSinceMs: nowMs,
    heldBy: null,
    gates: null,
    calls: 0,
    reason: "not started yet",
    by: "person",
  };
}

/** Whether a rollout is started and not at its end: progressing, paused or held. */
export function isUnderWay({ phase }: Pick<RolloutState, "phase">): boolean {
  return phase === "progressing" || phase === "paused" || phase === "held";
}

/** Whether the weight of the route is the rollout's to set, and the same as in its state. Otherwise people set it. */
export function ownsWeight(state: Pick<RolloutState, "phase">): boolean {
  return isUnderWay(state) || state.phase === "promoted" || state.phase === "decommissioned";
}

/** A state as plain JSON; decodeRollout gives the same state again. */
export function encodeRollout(state: RolloutState): unknown {
  const { gates } = state;
  return {
    phase: state.phase,
    run: state.runId,
    step: state.step,
    stage: state.stage,
    candidate_shares: state.candidateShares,
    started_ms: state.startedMs,
    phase_since_ms: state.phaseSinceMs,
    step_since_ms: state.stepSinceMs,
    bake_since_ms: state.bakeSinceMs,
    limit_since_ms: state.limitSinceMs,
    ...(state.heldBy === null ? {} : { held_by: state.heldBy }),
    ...(gates === null ? {} : { gates: encodeGates(gates) }),
    calls: state.calls,
    reason: state.reason,
    by: state.by,
  };
}

/**
 * Reads a stored state. Refuses, with every problem, what another version means by more or other keys, and states that
 * contradict themselves.
 */
export function decodeRollout(input: unknown): Result<RolloutState> {
  const findings = new Findings();
  findProtoKeys(input, findings);
  return resultOf(readRollout(input, [], findings), findings);
}

/**
 * Reads a state that is part of a larger input. Gives null after everything wrong was added to `findings`, with paths
 * that start with `path`.
 */
export function readRollout(
  input: unknown,
  path: readonly PathPart[],
  findings: Findings,
): RolloutState | null {
  const before = findings.count;
  const keys = examine(rolloutStateSchema, input, path, findings);
  if (keys === undefined) return null;
  const state: RolloutState = {
    phase: keys.phase,
    runId: keys.run,
    step: keys.step,
    stage: keys.stage,
    candidateShares: keys.candidate_shares,
    startedMs: keys.started_ms,
    phaseSinceMs: keys.phase_since_ms,
    stepSinceMs: keys.step_since_ms,
    bakeSinceMs: keys.bake_since_ms,
    limitSinceMs: keys.limit_since_ms,
    heldBy: keys.held_by ?? null,
    gates: keys.gates === undefined ? null : readGates(keys.gates),
    calls: keys.calls,
    reason: keys.reason,
    by: keys.by,
  };
  findContradictions(state, path, findings);
  return findings.count > before ? null : state;
}

function encodeGates({ passed, point, tries, call, sinceMs }: GateProgress): unknown {
  return { passed, point, tries, ...(call === null ? {} : { call }), since_ms: sinceMs };
}

function readGates(keys: NonNullable<z.output<typeof rolloutStateSchema>["gates"]>): GateProgress {
  const { passed, point, tries, call = null, since_ms: sinceMs } = keys;
  return { passed, point, tries, call, sinceMs };
}

/** A state that gives traffic where its phase allows none must never be followed. */
function findContradictions(state: RolloutState, path: readonly PathPart[], findings: Findings): void {
  const wanted = sharesOf(state.phase);
  if (wanted !== null && state.candidateShares !== wanted) {
    findings.add([...path, "candidate_shares"], `a rollout that is ${state.phase} has ${wanted} shares`);
  }
  if ((state.heldBy !== null) !== (state.phase === "held")) {
    findings.add([...path, "held_by"], "a rollout is held for a cause, and has a cause only when held");
  }
  const mayAsk = state.phase === "progressing" || state.phase === "rolled_back" || state.phase === "aborted";
  if (state.gates !== null && !mayAsk)
    findings.add([...path, "gates"], `no gate is asked while ${state.phase}`);
  if ((state.gates?.call ?? 0) > state.calls) {
    findings.add([...path, "gates", "call"], "the number of a call is at most the number of calls");
  }
}

/** The shares that a phase fixes, or null when any are possible. */
function sharesOf(phase: Phase): number | null {
  if (phase === "pending" || phase === "rolled_back" || phase === "aborted") return 0;
  return phase === "promoted" || phase === "decommissioned" ? SHARES_TOTAL : null;
}
