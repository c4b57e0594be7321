/** Random rollouts for property tests: plans and states as decoding gives them. */
import fc from "fast-check";
import {
  DECIDERS,
  GATE_POINTS,
  HOLD_CAUSES,
  PHASES,
  STAGES,
  type Bake,
  type FreezeWindow,
  type Gate,
  type RolloutPlan,
  type RolloutState,
} from "../../src/domain/rollout_words.ts";
import { SHARES_TOTAL } from "../../src/domain/route.ts";

const HOUR_MS = 3_600_000;
const SPAN_MS_MAX = 90 * 24 * HOUR_MS;
const ZONES = ["UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu"];
const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

const bakeArbitrary: fc.Arbitrary<Bake> = fc.oneof(
  fc.constant({ bakeMs: 0, proven: true }),
  fc.record({ bakeMs: fc.integer({ min: 1000, max: 24 * HOUR_MS }), proven: fc.boolean() }),
  fc.record({
    bakeMs: fc.integer({ min: 1, max: 2160 }).map((hours) => hours * HOUR_MS),
    proven: fc.boolean(),
  }),
);

/** Windows as decoding gives them. */
export const windowArbitrary: fc.Arbitrary<FreezeWindow> = fc.oneof(
  fc
    .record({
      days: fc.subarray([...DAYS], { minLength: 1 }),
      fromMinute: fc.nat({ max: 1439 }),
      toMinute: fc.nat({ max: 1440 }),
      zone: fc.constantFrom(...ZONES),
      why: fc.constantFrom(null, "sale"),
    })
    .filter(({ fromMinute, toMinute }) => fromMinute !== toMinute),
  fc
    .tuple(fc.nat({ max: 4_000_000_000 }), fc.integer({ min: 1, max: 10_000_000 }))
    .map(([from, span]) => ({ fromMs: from * 1000, toMs: (from + span) * 1000, why: null })),
);

const gateArbitrary = (weights: readonly number[]): fc.Arbitrary<Gate> =>
  fc
    .record({
      at: fc.constantFrom(...GATE_POINTS),
      url: fc.constantFrom("http://127.0.0.1:1/", "https://g.example/x?y=1"),
      timeoutMs: fc.integer({ min: 1, max: 60_000 }),
      retries: fc.nat({ max: 2 }),
      onTimeout: fc.constantFrom("hold", "continue", "rollback"),
      steps: fc.subarray([...weights]),
    })
    .map((gate) => ({
      ...gate,
      onTimeout: gate.at === "on-rollback" ? "hold" : gate.onTimeout,
      steps: gate.at === "before-step" || gate.at === "after-step" ? gate.steps : [],
    }));

/** Plans as decoding gives them. */
export const planArbitrary: fc.Arbitrary<RolloutPlan> = fc
  .uniqueArray(fc.oneof(fc.integer({ min: 1, max: SHARES_TOTAL }), fc.constant(SHARES_TOTAL)), {
    minLength: 1,
    maxLength: 6,
  })
  .map((weights) => weights.toSorted((a, b) => a - b))
  .chain((weights) =>
    fc.record({
      steps: fc
        .array(bakeArbitrary, { minLength: weights.length, maxLength: weights.length })
        .map((bakes) => weights.map((shares, index) => ({ shares, ...(bakes[index] as Bake) }))),
      minRequests: fc.integer({ min: 1, max: 100 }),
      differences: fc.constantFrom(null, null, null, { aboveShares: 5_000, belowPercent: 0.1 }),
      marginPercent: fc.constantFrom(0.1, 1, 12.5),
      maxDurationMs: fc.constantFrom(null, SPAN_MS_MAX),
      freeze: fc.array(windowArbitrary, { maxLength: 3 }),
      gates: fc.array(gateArbitrary(weights), { maxLength: 4 }),
    }),
  )
  .map((plan) => {
    const bakesMs = plan.steps.reduce((sum, { bakeMs }) => sum + bakeMs, 0);
    return { ...plan, maxDurationMs: bakesMs > SPAN_MS_MAX ? null : plan.maxDurationMs };
  });

const momentArbitrary = fc.nat({ max: 4_000_000_000 }).map((seconds) => seconds * 1000);

/** Any state of a plan that does not contradict itself, with `shares` where its phase leaves them open. */
export function stateArbitrary(plan: RolloutPlan, shares: number): fc.Arbitrary<RolloutState> {
  return fc
    .record({
      phase: fc.constantFrom(...PHASES),
      runId: fc.nat(),
      step: fc.nat({ max: plan.steps.length - 1 }),
      stage: fc.constantFrom(...STAGES),
      startedMs: momentArbitrary,
      phaseSinceMs: momentArbitrary,
      stepSinceMs: momentArbitrary,
      bakeSinceMs: momentArbitrary,
      limitSinceMs: momentArbitrary,
      heldBy: fc.constantFrom(...HOLD_CAUSES),
      gates: fc.option(
        fc.record({
          passed: fc.nat({ max: 4 }),
          point: fc.constantFrom(...GATE_POINTS),
          tries: fc.nat({ max: 3 }),
          call: fc.option(fc.nat({ max: 9 })),
          sinceMs: momentArbitrary,
        }),
      ),
      calls: fc.integer({ min: 9, max: 99 }),
      reason: fc.constantFrom("not started yet", "by a person", ""),
      by: fc.constantFrom(...DECIDERS),
    })
    .map((state) => {
      const { phase } = state;
      const isOut = phase === "pending" || phase === "rolled_back" || phase === "aborted";
      const isAll = phase === "promoted" || phase === "decommissioned";
      const mayAsk = phase === "progressing" || phase === "rolled_back" || phase === "aborted";
      return {
        ...state,
        candidateShares: isOut ? 0 : isAll ? SHARES_TOTAL : shares,
        heldBy: phase === "held" ? state.heldBy : null,
        gates: mayAsk && state.gates !== null ? { ...state.gates } : null,
      };
    });
}
