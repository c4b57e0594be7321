/** Where a rollout is, in lines for people: the step, what it waits for, what comes next, and why. */
import { bakeWants, wantsDifferences } from "./rollout.ts";
import type { Tick } from "./rollout_event.ts";
import { gatesDue, percentOf, setStep } from "./rollout_gates.ts";
import type { Freeze, Phase, RolloutPlan, RolloutState } from "./rollout_words.ts";
import { SHARES_TOTAL, type Cutover } from "./route.ts";

/** What is known beside the state. */
export interface Known extends Pick<Tick, "nowMs" | "candidateRequests" | "frozen" | "differencesProven"> {
  readonly proven: boolean;
  /** What is known of differences, in a sentence; null where nothing is compared. */
  readonly differences: string | null;
  /** Its names are what people read. */
  readonly cutover: Cutover;
}

/** What people call a phase. */
export const PHASE_WORDS: Readonly<Record<Phase, string>> = {
  pending: "not started",
  progressing: "progressing",
  paused: "paused",
  held: "held",
  promoted: "promoted",
  decommissioned: "decommissioned",
  rolled_back: "rolled back",
  aborted: "rolled back",
};

/** What a phase without steps leaves to do, in place of what comes next. */
const NEXT_WORDS: Readonly<Record<Exclude<Phase, "progressing" | "paused" | "held">, string>> = {
  pending: "a person starts it",
  promoted: "a person decommissions LEGACY; until then it can be rolled back",
  decommissioned: "nothing",
  rolled_back: "a person starts it again, from the first step",
  aborted: "a person starts it again, from the first step",
};

const WAIT_OF_PAUSE = "a person who resumes, promotes or aborts it";

/** A state in plain lines: phase and weight, what it waits for and until when, what comes next, why. */
export function describeRollout(plan: RolloutPlan, state: RolloutState, known: Known): string[] {
  const since = `since ${momentOf(state.phaseSinceMs)} (${spanOf(known.nowMs - state.phaseSinceMs)})`;
  const waits = waitsOf(plan, state, known);
  return [
    `${wordOf(state, known.frozen)} ${since}`,
    ...weightLines(plan, state, known),
    ...(waits.length === 0 ? [] : [`waits for: ${waits.join("; ")}`]),
    `next: ${nextOf(plan, state, known.cutover)}`,
    `why: ${state.reason}`,
  ];
}

function wordOf(state: RolloutState, frozen: Freeze | null): string {
  const word = PHASE_WORDS[state.phase];
  return state.phase === "progressing" && frozen !== null ? `${word}, ${freezeWords(frozen)},` : word;
}

function freezeWords({ untilMs, why }: Freeze): string {
  return `frozen until ${momentOf(untilMs)}${why === null ? "" : ` (${why})`}`;
}

/** Before a start, the weight is the operator's and not in the state. */
function weightLines(plan: RolloutPlan, state: RolloutState, { cutover, nowMs }: Known): string[] {
  const { candidateShares: shares, phase } = state;
  if (phase === "pending") return [];
  if (shares === 0) return [`weight: ${cutover.legacy} has all traffic`];
  const place =
    phase === "promoted" || phase === "decommissioned"
      ? ""
      : `step ${setStep(state) + 1} of ${plan.steps.length}: `;
  const since = `since ${momentOf(state.stepSinceMs)} (${spanOf(nowMs - state.stepSinceMs)})`;
  return [`weight: ${place}${cutover.candidate} has ${percentOf(shares)} ${since}`];
}

function waitsOf(plan: RolloutPlan, state: RolloutState, known: Known): string[] {
  switch (state.phase) {
    case "progressing": {
      const wants = [
        ...(state.stage === "baking" ? bakeWords(plan, state, known) : gateWords(plan, state)),
        ...differenceWords(plan, state, known),
      ];
      return known.frozen === null
        ? wants
        : [...wants, `the end of the freeze at ${momentOf(known.frozen.untilMs)}`];
    }
    case "paused":
      return [WAIT_OF_PAUSE];
    case "held":
      if (state.heldBy === "judge") return ["the judge to have no doubts"];
      return state.heldBy === "evidence" ? ["evidence that can be read"] : [WAIT_OF_PAUSE];
    case "rolled_back":
    case "aborted":
      return gateWords(plan, state);
    case "pending":
    case "promoted":
    case "decommissioned":
      return [];
  }
}

function bakeWords(plan: RolloutPlan, state: RolloutState, known: Known): string[] {
  const bakeMs = plan.steps[state.step]?.bakeMs ?? 0;
  const words = {
    time: `the bake, until ${momentOf(state.bakeSinceMs + bakeMs)}`,
    requests: `requests: ${known.candidateRequests} of at least ${plan.minRequests} seen`,
    proof: `proof that fewer than ${plan.marginPercent} % of requests fail`,
  };
  return bakeWants(plan, state, known).map((want) => words[want]);
}

function differenceWords(plan: RolloutPlan, state: RolloutState, known: Known): string[] {
  if (plan.differences === null || !wantsDifferences(plan, state, known)) return [];
  const proof = `proof that fewer than ${plan.differences.belowPercent} % of compared answers mismatch`;
  return [`${proof} (${known.differences ?? "nothing compared yet"})`];
}

function gateWords(plan: RolloutPlan, state: RolloutState): string[] {
  const { passed = 0, tries = 0 } = state.gates ?? {};
  const gate = gatesDue(plan, state)[passed];
  if (gate === undefined) return [];
  return [`gate ${gate.at} (${gate.url}), try ${Math.max(1, tries)} of ${gate.retries + 1}`];
}

function nextOf(plan: RolloutPlan, state: RolloutState, cutover: Cutover): string {
  const { phase, candidateShares: shares } = state;
  if (phase !== "progressing" && phase !== "paused" && phase !== "held") {
    return NEXT_WORDS[phase].replace("LEGACY", cutover.legacy);
  }
  const next = plan.steps.find((step) => step.shares > shares);
  if (next !== undefined) return `${percentOf(next.shares)} for ${cutover.candidate}`;
  return shares === SHARES_TOTAL ? "promoted" : "held for a person: the plan ends below 100 %";
}

function momentOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** The two largest units of a span, such as `3d 4h`, `2m 5s` or `0s`. */
function spanOf(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [
    `${Math.floor(seconds / 86_400)}d`,
    `${Math.floor(seconds / 3600) % 24}h`,
    `${Math.floor(seconds / 60) % 60}m`,
    `${seconds % 60}s`,
  ];
  const first = parts.findIndex((part) => !part.startsWith("0"));
  return first < 0
    ? "0s"
    : parts
        .slice(first, first + 2)
        .filter((part) => !part.startsWith("0"))
        .join(" ");
}
