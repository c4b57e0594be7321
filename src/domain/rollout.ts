/** How a rollout goes on: a plan, a state and an event to the next state and what is to be done. */
import type { Effect, GateResult, Judgement, PersonEvent, RolloutEvent, Tick } from "./rollout_event.ts";
import {
  add,
  announce,
  askGates,
  enter,
  gatesDue,
  hold,
  percentOf,
  setStep,
  settle,
  still,
  takeBack,
  type Move,
} from "./rollout_gates.ts";
import { writeSpan } from "./rollout_plan.ts";
import {
  PHASES,
  type Phase,
  type RolloutPlan,
  type RolloutState,
  type RolloutStep,
} from "./rollout_words.ts";
import { SHARES_TOTAL } from "./route.ts";

/** What comes of an event. A refusal says what to do instead; only what persons want can be refused. */
export type Advance = ({ readonly ok: true } & Move) | { readonly ok: false; readonly reason: string };

const END_TEXT = "the plan has no further step; promote or abort, or change the plan and resume";

/** The phases in which a person may want something. */
const MAY: Readonly<Record<PersonEvent["type"], readonly Phase[]>> = {
  start: ["pending", "rolled_back", "aborted"],
  pause: ["progressing", "held"],
  resume: ["paused", "held"],
  promote: ["progressing", "paused", "held"],
  abort: ["progressing", "paused", "held"],
  rolledBack: PHASES,
  decommission: ["promoted"],
};

/** What a person can do in each phase. */
const ADVICE: Readonly<Record<Phase, string>> = {
  pending: "it was never started: start it first",
  progressing: "it is under way: pause, promote or abort it",
  paused: "it is paused: resume, promote or abort it",
  held: "it is held: resume, promote or abort it",
  promoted: "the candidate has 100 %: roll it back, or decommission legacy",
  decommissioned: "legacy is decommissioned: the rollout is over",
  rolled_back: "it was rolled back: start it again",
  aborted: "it was aborted and rolled back: start it again",
};

/**
 * The state after an event, and the effects of getting there.
 *
 * State and shares must be committed together, and an event that met a conflict goes through here again with the state
 * that won: whatever was done already is not done twice. A state that comes back unchanged is the same object.
 */
export function advance(plan: RolloutPlan, state: RolloutState, event: RolloutEvent): Advance {
  if (event.type === "tick") return { ok: true, ...tick(plan, state, event) };
  if (event.type === "gateResult") return { ok: true, ...takeResult(plan, state, event) };
  const refusal = refusalOf(plan, state, event.type);
  if (refusal !== null) return { ok: false, reason: refusal };
  return { ok: true, ...obey(plan, state, event) };
}

/** What still keeps a step from being left, apart from gates; empty when nothing does. */
export function bakeWants(
  plan: RolloutPlan,
  state: RolloutState,
  seen: Pick<Tick, "nowMs" | "candidateRequests"> & { readonly proven: boolean },
): readonly ("time" | "requests" | "proof")[] {
  const step = plan.steps[state.step];
  const isYoung = seen.nowMs - state.bakeSinceMs < Math.max(1, step?.bakeMs ?? 0);
  return [
    ...(isYoung ? (["time"] as const) : []),
    ...(seen.candidateRequests < plan.minRequests ? (["requests"] as const) : []),
    ...(step?.proven === true && !seen.proven ? (["proof"] as const) : []),
  ];
}

/** Safety comes first, and in every phase: nothing that a rollout waits for may keep traffic on a failing candidate. */
function tick(plan: RolloutPlan, state: RolloutState, event: Tick): Move {
  const { verdict, nowMs } = event;
  const isOver = state.phase === "decommissioned";
  if (verdict.action === "rollback" && state.candidateShares > 0 && !isOver) {
    return takeBack(plan, state, "rolled_back", judgeText(verdict), nowMs);
  }
  if (state.phase === "rolled_back" || state.phase === "aborted") {
    return askGates(plan, still(state), nowMs).move;
  }
  if (state.phase === "progressing") return proceed(plan, still(state), event);
  const mayRelease = state.heldBy === "judge" || state.heldBy === "evidence";
  if (!mayRelease || verdict.action !== "none" || !event.storeOk) return still(state);
  return proceed(plan, release(state, nowMs), event);
}

function judgeText({ signal, reason }: Judgement): string {
  return `the judge${signal === null ? "" : ` (${signal})`}: ${reason}`;
}

/** Back to the bake of the step whose weight is set, from its beginning. */
function release(state: RolloutState, nowMs: number): Move {
  const isBefore = state.stage === "entering" && state.step === 0;
  const text = "what held the rollout is gone; it goes on";
  const at = isBefore ? {} : ({ step: setStep(state), stage: "baking", bakeSinceMs: nowMs } as const);
  return add(still(enter(state, "progressing", text, "machine", nowMs)), at, announce(text));
}

/** As far as this tick allows; at most one weight is set. */
function proceed(plan: RolloutPlan, start: Move, event: Tick): Move {
  const { verdict, nowMs } = event;
  const place = findPlace(plan, start.state);
  if (place === null) return hold(start, "plan", lostText(plan, start.state), nowMs);
  let move = place === start.state ? start : add(start, place);
  if (!event.storeOk) return hold(move, "evidence", "the evidence cannot be read completely", nowMs);
  if (verdict.action !== "none") {
    return hold(move, "judge", judgeText(verdict), nowMs);
  }
  if (isOverdue(plan, move.state, nowMs)) {
    const text = `the rollout has taken longer than its max_duration of ${writeSpan(plan.maxDurationMs ?? 0)}`;
    return hold(move, "max_duration", text, nowMs);
  }
  if (move.state.stage === "baking") {
    if (!isBaked(plan, move.state, event)) return move;
    move = add(move, { stage: "leaving", gates: null });
  }
  if (move.state.stage === "leaving") {
    const asked = askGates(plan, move, nowMs);
    if (!asked.passed) return asked.move;
    move = asked.move;
    if (move.state.candidateShares === SHARES_TOTAL) return promote(move, "every step was passed", nowMs);
    if (move.state.step + 1 >= plan.steps.length) return hold(move, "plan", END_TEXT, nowMs);
    move = add(move, { step: move.state.step + 1, stage: "entering", gates: null });
  }
  return enterStep(plan, move, event);
}

/** Whether the next weight may not begin before it is proved that answers seldom differ. */
export function wantsDifferences(
  { differences, steps }: RolloutPlan,
  { stage, step }: RolloutState,
  { differencesProven }: Pick<Tick, "differencesProven">,
): boolean {
  if (differences === null || differencesProven || stage !== "entering") return false;
  return (steps[step]?.shares ?? 0) > differences.aboveShares;
}

/** What gates said while something else kept the step from beginning may no longer hold: they are asked again. */
function enterStep(plan: RolloutPlan, move: Move, event: Tick): Move {
  if (event.frozen !== null || wantsDifferences(plan, move.state, event))
    return move.state.gates === null ? move : add(move, { gates: null });
  const asked = askGates(plan, move, event.nowMs);
  const { state } = asked.move;
  const step = plan.steps[state.step] as RolloutStep;
  // Two weights never begin in the same millisecond: evidence is told apart by it.
  if (!asked.passed || event.nowMs <= state.stepSinceMs) return asked.move;
  const text = `step ${state.step + 1} of ${plan.steps.length}: the candidate gets ${percentOf(step.shares)}`;
  return add(
    asked.move,
    {
      stage: "baking",
      gates: null,
      candidateShares: step.shares,
      stepSinceMs: event.nowMs,
      bakeSinceMs: event.nowMs,
      reason: text,
      by: "machine",
    },
    { type: "setShares", candidateShares: step.shares },
    announce(text),
  );
}

function isBaked(plan: RolloutPlan, state: RolloutState, event: Tick): boolean {
  const isAboutThis = event.stepSinceMs === state.stepSinceMs;
  return isAboutThis && bakeWants(plan, state, { ...event, proven: event.verdict.proven }).length === 0;
}

function isOverdue(plan: RolloutPlan, state: RolloutState, nowMs: number): boolean {
  return plan.maxDurationMs !== null && nowMs - state.limitSinceMs >= plan.maxDurationMs;
}

/**
 * The state at its place in the plan: itself, unless the plan was changed since and another step has its weight now.
 * Null when none has: then the way on is for a person to say.
 */
function findPlace(plan: RolloutPlan, state: RolloutState): RolloutState | null {
  const { candidateShares, stage, step } = state;
  const isHere =
    stage === "entering" ? step === nextStep(plan, state) : plan.steps[step]?.shares === candidateShares;
  if (isHere) return state;
  const same = plan.steps.findIndex(({ shares }) => shares === candidateShares);
  return same < 0 ? null : { ...state, step: same, stage: "baking", gates: null };
}

/** The first step with a higher weight, or -1. */
function nextStep(plan: RolloutPlan, { candidateShares }: RolloutState): number {
  return plan.steps.findIndex(({ shares }) => shares > candidateShares);
}

function lostText(plan: RolloutPlan, state: RolloutState): string {
  const next = plan.steps[nextStep(plan, state)];
  if (next === undefined) return END_TEXT;
  const here = `the plan was changed and has no step with ${percentOf(state.candidateShares)}`;
  return `${here}; resume to go on with ${percentOf(next.shares)}`;
}

/** Only the answer to the call under way counts. What follows from it is for the next tick, which knows more. */
function takeResult(plan: RolloutPlan, state: RolloutState, result: GateResult): Move {
  const { gates, runId, step } = state;
  const isOurs = gates !== null && gates.call === result.call && gates.point === result.point;
  const gate = isOurs ? gatesDue(plan, state)[gates.passed] : undefined;
  const isStale = runId !== result.runId || step !== result.step || gate?.at !== result.point;
  return gate === undefined || isStale ? still(state) : settle(plan, still(state), gate, result);
}

function promote(move: Move, why: string, nowMs: number, by: RolloutState["by"] = "machine"): Move {
  const text = `the candidate has 100 %: ${why}`;
  const promoted = { ...enter(move.state, "promoted", text, by, nowMs), candidateShares: SHARES_TOTAL };
  return add({ ...move, state: promoted }, {}, announce(text));
}

/** Does what a person wants and may. */
function obey(plan: RolloutPlan, state: RolloutState, event: PersonEvent): Move {
  const { nowMs } = event;
  const why = event.reason === "" ? "by a person" : `by a person: ${event.reason}`;
  const go = (phase: Phase, text: string, part: Partial<RolloutState> = {}, ...effects: Effect[]): Move =>
    add(still(enter(state, phase, text, "person", nowMs)), part, ...effects, announce(text));
  switch (event.type) {
    case "start":
      return go("progressing", `started ${why}`, freshRun(state, nowMs), {
        type: "setShares",
        candidateShares: 0,
      });
    case "pause":
      return go("paused", `paused ${why}`);
    case "resume":
      return go("progressing", `resumed ${why}`, {
        ...(state.heldBy === "plan" ? { step: nextStep(plan, state), stage: "entering" } : {}),
        ...(isOverdue(plan, state, nowMs) ? { limitSinceMs: nowMs } : {}),
      });
    case "decommission":
      return go("decommissioned", `legacy is no longer needed, ${why}`);
    case "promote": {
      const step = plan.steps.length - 1;
      const part = { step, stage: "baking", stepSinceMs: nowMs, bakeSinceMs: nowMs } as const;
      const all = add(still(state), part, { type: "setShares", candidateShares: SHARES_TOTAL });
      return promote(all, `promoted ${why}`, nowMs, "person");
    }
    case "abort":
      return takeBack(plan, state, "aborted", why, nowMs, "person");
    case "rolledBack":
      // Asked twice, or never started: there is nothing to take back.
      if (MAY.start.includes(state.phase)) return still(state);
      return takeBack(plan, state, "rolled_back", why, nowMs, "person");
  }
}

function freshRun(state: RolloutState, nowMs: number): Partial<RolloutState> {
  return {
    runId: state.runId + 1,
    step: 0,
    stage: "entering",
    candidateShares: 0,
    startedMs: nowMs,
    stepSinceMs: nowMs,
    bakeSinceMs: nowMs,
    limitSinceMs: nowMs,
  };
}

/** Why a person's wish does not fit, or null when it does. */
function refusalOf(plan: RolloutPlan, state: RolloutState, wish: PersonEvent["type"]): string | null {
  if (!MAY[wish].includes(state.phase)) return ADVICE[state.phase];
  if (wish !== "resume") return null;
  if (state.heldBy === "judge" || state.heldBy === "evidence") {
    return `it goes on by itself when this is gone: ${state.reason}; to go on all the same, promote it`;
  }
  return state.heldBy === "plan" && nextStep(plan, state) < 0 ? END_TEXT : null;
}
