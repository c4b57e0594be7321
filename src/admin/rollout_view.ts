/** Rollouts and what the judge says of their routes, as the admin API shows them. */
import type { z } from "zod";
import { isProven } from "../control/rollouts.ts";
import { stateOf } from "../control/rollout_move.ts";
import { explainComparison } from "../domain/comparison.ts";
import { frozenUntil } from "../domain/freeze.ts";
import { setStep } from "../domain/rollout_gates.ts";
import { describeRollout } from "../domain/rollout_report.ts";
import type { Freeze, RolloutPlan, RolloutState } from "../domain/rollout_words.ts";
import type { Document, Route } from "../domain/route.ts";
import { explainHealth, type SideFigures, type Verdict } from "../domain/verdict.ts";
import type { AdminParts } from "./parts.ts";
import type { shapes } from "./shapes.ts";

type HealthAnswer = z.input<typeof shapes.HealthAnswer>;
type ShownJudgement = NonNullable<HealthAnswer["judgement"]>;

/** A route's plan and how far it is. */
export interface RolloutView {
  readonly plan: RolloutPlan;
  readonly state: RolloutState;
  /** For people. */
  readonly lines: readonly string[];
  /** The freeze that is in force. */
  readonly frozen: Freeze | null;
}

/** Where the rollout of a route is, or null when the route has no plan. */
export function viewRollout(
  { rollouts, comparisons, clock }: Pick<AdminParts, "rollouts" | "comparisons" | "clock">,
  document: Document,
  route: Route,
): RolloutView | null {
  const { rollout: plan, cutover } = route;
  const state = stateOf(document, route.id);
  if (plan === null || state === null) return null;
  const nowMs = clock.wallMs();
  const frozen = frozenUntil(plan.freeze, nowMs);
  const known = rollouts.verdict(route.id);
  // What was counted under another weight says nothing of this step.
  const verdict = known?.stepSinceMs === state.stepSinceMs ? known.verdict : null;
  const compared = comparisons.of(route);
  const lines = describeRollout(plan, state, {
    nowMs,
    frozen,
    cutover,
    candidateRequests: verdict?.figures.candidate.requests ?? 0,
    proven: verdict?.proven ?? false,
    differencesProven: isProven(route, plan, comparisons),
    differences: compared === null ? null : explainComparison(compared.summary),
  });
  return { plan, state, lines, frozen };
}

/** The step whose weight is set, counted from 1; 0 while legacy has all traffic. */
export function stepNumber(state: RolloutState): number {
  return state.candidateShares === 0 ? 0 : setStep(state) + 1;
}

/** A rollout in short. */
export function encodeBrief({ plan, state, lines }: RolloutView): NonNullable<HealthAnswer["rollout"]> {
  return { phase: state.phase, step: stepNumber(state), steps: plan.steps.length, lines: [...lines] };
}

/** What the judge says of a route, with its figures. */
export function encodeJudgement({ cutover }: Route, verdict: Verdict): ShownJudgement {
  const { figures } = verdict;
  return {
    action: verdict.action,
    signal: verdict.signal,
    proven: verdict.proven,
    summary: explainHealth({ legacy: cutover.legacy, candidate: cutover.candidate }, verdict),
    stage: figures.stage,
    legacy: encodeSide(figures.legacy),
    candidate: encodeSide(figures.candidate),
    evidence: { rollback: { ...figures.rollback }, hold: { ...figures.hold } },
    margin_percent: 100 * figures.margin,
    requests_to_proof: figures.requestsToProof,
    candidate_per_second: figures.candidatePerSecond,
    slow: figures.slow.map(({ event, thresholdMs, legacy, candidate }) => ({
      event,
      // JSON has no infinity: nothing is slower than the last bucket, so nothing counts.
      threshold_ms: thresholdMs === Infinity ? null : thresholdMs,
      legacy: { ...legacy },
      candidate: { ...candidate },
    })),
  };
}

function encodeSide({ requests, failures, rate, interval }: SideFigures): ShownJudgement["legacy"] {
  return {
    requests,
    failures,
    rate_percent: rate === null ? null : 100 * rate,
    rate_low_percent: 100 * interval.low,
    rate_high_percent: 100 * interval.high,
  };
}
