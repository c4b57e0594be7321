/** The gates of a rollout: which are asked, what follows from their answers, and the moves that can follow. */
import { writeDuration, writePercent } from "./quantity.ts";
import type { Effect, GateResult } from "./rollout_event.ts";
import { REASON_CHARS_MAX } from "./rollout_state.ts";
import type {
  Gate,
  GatePoint,
  GateProgress,
  HoldCause,
  Phase,
  RolloutPlan,
  RolloutState,
} from "./rollout_words.ts";
import { SHARES_TOTAL } from "./route.ts";

/** An answer may come so much later than a gate's timeout: it goes through another instance's clock. */
export const GATE_GRACE_MS = 5000;
/** Between two tries of a gate. */
export const GATE_RETRY_MS = 5000;

/** A state and what is to be done. */
export interface Move {
  readonly state: RolloutState;
  readonly effects: readonly Effect[];
}

/** The gates that a state asks, in order. Pre-flight is asked before the first step alone. */
export function gatesDue(plan: RolloutPlan, state: RolloutState): readonly Gate[] {
  const shares = plan.steps[state.step]?.shares ?? 0;
  const points = pointsOf(state, shares === SHARES_TOTAL);
  return points.flatMap((point) =>
    plan.gates.filter(({ at, steps }) => at === point && (steps.length === 0 || steps.includes(shares))),
  );
}

/** Calls the next gate when it is time to, and gives up on a call that is overdue. Passed: every one of them has. */
export function askGates(
  plan: RolloutPlan,
  start: Move,
  nowMs: number,
): { readonly move: Move; readonly passed: boolean } {
  let move = start;
  for (const [index, gate] of gatesDue(plan, start.state).entries()) {
    const gates = move.state.gates ?? firstGate(gate, nowMs);
    if (index < gates.passed) continue;
    if (gates.call === null) {
      const isEarly = gates.tries > 0 && nowMs - gates.sinceMs < GATE_RETRY_MS;
      return { move: isEarly ? move : callGate(move, gates, gate, nowMs), passed: false };
    }
    if (nowMs - gates.sinceMs < gate.timeoutMs + GATE_GRACE_MS) return { move, passed: false };
    const detail = `no answer within ${writeDuration(gate.timeoutMs)}`;
    move = settle(plan, move, gate, { outcome: "timeout", detail, nowMs });
    // Another try, or the rollout was stopped, which forgets its gates.
    if (move.state.gates?.passed !== index + 1) return { move, passed: false };
  }
  return { move, passed: true };
}

function firstGate(gate: Gate, nowMs: number): GateProgress {
  return { passed: 0, point: gate.at, tries: 0, call: null, sinceMs: nowMs };
}

function callGate(move: Move, gates: GateProgress, gate: Gate, nowMs: number): Move {
  const { runId, step, calls } = move.state;
  const call = calls + 1;
  const asked = { ...gates, point: gate.at, tries: gates.tries + 1, call, sinceMs: nowMs };
  return add(
    move,
    { calls: call, gates: asked },
    { type: "callGate", runId, step, point: gate.at, call, gate },
  );
}

/** Takes what came of one try. */
export function settle(
  plan: RolloutPlan,
  move: Move,
  gate: Gate,
  result: Pick<GateResult, "outcome" | "detail" | "nowMs">,
): Move {
  const { outcome, detail, nowMs } = result;
  const gates = move.state.gates ?? firstGate(gate, nowMs);
  const next = { ...gates, passed: gates.passed + 1, tries: 0, call: null, sinceMs: nowMs };
  const name = `gate ${gate.at} (${gate.url})`;
  if (outcome === "passed") return add(move, { gates: next }, announce(`${name} passed`));
  if (gates.tries <= gate.retries) return add(move, { gates: { ...gates, call: null, sinceMs: nowMs } });
  const said = outcome === "timeout" ? "did not answer in time" : "did not pass";
  const text = `${name} ${said} (tries: ${gates.tries}): ${detail}`;
  // The traffic is on legacy already, and nothing that a gate says may change that.
  if (gate.at === "on-rollback") return add(move, { gates: next }, announce(text));
  if (outcome === "timeout" && gate.onTimeout === "rollback") {
    const back = takeBack(plan, move.state, "rolled_back", text, nowMs);
    return { ...back, effects: [...move.effects, ...back.effects] };
  }
  const mayGoOn = outcome === "timeout" && gate.onTimeout === "continue";
  return mayGoOn
    ? add(move, { gates: next }, announce(`${text}; going on`))
    : hold(move, "gate", text, nowMs);
}

/** All traffic to legacy, and the gates after a rollback asked at once: they are effects behind the weight. */
export function takeBack(
  plan: RolloutPlan,
  state: RolloutState,
  phase: "rolled_back" | "aborted",
  why: string,
  nowMs: number,
  by: RolloutState["by"] = "machine",
): Move {
  const what = phase === "aborted" ? "aborted" : "rolled back";
  const text = `${what} at ${percentOf(state.candidateShares)}: ${why}`;
  const entered = still(enter(state, phase, text, by, nowMs));
  const part = { step: setStep(state), stage: "baking", candidateShares: 0 } as const;
  const move = add(entered, part, { type: "setShares", candidateShares: 0 }, announce(text));
  return askGates(plan, move, nowMs).move;
}

/** Stops where it is, until the cause is gone or a person resumes. */
export function hold(move: Move, cause: HoldCause, text: string, nowMs: number): Move {
  const held = { ...enter(move.state, "held", text, "machine", nowMs), heldBy: cause };
  return add({ ...move, state: held }, {}, announce(`held at ${percentOf(held.candidateShares)}: ${text}`));
}

/** Nothing happens. */
export function still(state: RolloutState): Move {
  return { state, effects: [] };
}

/** A move with more to it. */
export function add(move: Move, part: Partial<RolloutState>, ...effects: readonly Effect[]): Move {
  return { state: { ...move.state, ...part }, effects: [...move.effects, ...effects] };
}

/** A state in another phase. The gates of the stage are forgotten, so that coming back asks them again. */
export function enter(
  state: RolloutState,
  phase: Phase,
  text: string,
  by: RolloutState["by"],
  nowMs: number,
): RolloutState {
  const reason = text.length <= REASON_CHARS_MAX ? text : `${text.slice(0, REASON_CHARS_MAX - 3)}...`;
  return { ...state, phase, phaseSinceMs: nowMs, heldBy: null, gates: null, reason, by };
}

/** The step whose weight is set. */
export function setStep({ stage, step }: RolloutState): number {
  return stage === "entering" ? Math.max(0, step - 1) : step;
}

/** Something for people to hear. */
export function announce(text: string): Effect {
  return { type: "announce", text };
}

/** A weight as people write it. */
export function percentOf(shares: number): string {
  return `${writePercent(shares)} %`;
}

function pointsOf({ phase, stage, step }: RolloutState, isLast: boolean): readonly GatePoint[] {
  if (phase === "rolled_back" || phase === "aborted") return ["on-rollback"];
  if (stage === "baking") return [];
  if (stage === "leaving") return isLast ? ["after-step", "post-cutover"] : ["after-step"];
  const before: readonly GatePoint[] = isLast ? ["before-step", "before-promote"] : ["before-step"];
  return step === 0 ? ["pre-flight", ...before] : before;
}
