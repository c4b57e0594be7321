/** Rollouts under any sequence of events: safety always acts, weights grow singly, and nothing happens twice. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { frozenUntil } from "../../src/domain/freeze.ts";
import { advance } from "../../src/domain/rollout.ts";
import type { CallGate, Effect, GateResult, RolloutEvent, Tick } from "../../src/domain/rollout_event.ts";
import { decodePlan, encodePlan } from "../../src/domain/rollout_plan.ts";
import { decodeRollout, encodeRollout, pendingRollout } from "../../src/domain/rollout_state.ts";
import type { RolloutPlan, RolloutState } from "../../src/domain/rollout_words.ts";
import { planArbitrary, windowArbitrary } from "../support/rollout_arbitrary.ts";
import { SHARES_TOTAL } from "../../src/domain/route.ts";

const HOUR_MS = 3_600_000;
/** What happens next; events are made from it when the state is known. */
type Happening =
  | { readonly kind: "person"; readonly type: Exclude<RolloutEvent["type"], "tick" | "gateResult"> }
  | { readonly kind: "tick"; readonly afterMs: number; readonly part: Partial<Tick>; readonly isOld: boolean }
  | { readonly kind: "answer"; readonly outcome: GateResult["outcome"]; readonly pick: number }
  | { readonly kind: "again" };

const CALM = { action: "none", signal: null, reason: "", proven: true } as const;
const PLENTY = { candidateRequests: 1000, frozen: null, storeOk: true, differencesProven: true } as const;
const verdictArbitrary = fc.oneof(
  { weight: 12, arbitrary: fc.constant(CALM) },
  { weight: 2, arbitrary: fc.constant({ ...CALM, proven: false }) },
  {
    weight: 2,
    arbitrary: fc.constant({ action: "hold", signal: "errors", reason: "r", proven: true } as const),
  },
  {
    weight: 1,
    arbitrary: fc.constant({ action: "rollback", signal: "errors", reason: "r", proven: true } as const),
  },
);
const happeningArbitrary: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("tick" as const),
      afterMs: fc.oneof(fc.constantFrom(-5000, 0, 1, 250, 90 * 24 * HOUR_MS), fc.nat({ max: HOUR_MS })),
      part: fc.record({
        verdict: verdictArbitrary,
        candidateRequests: fc.constantFrom(0, 1, 1000, 1000, 1000),
        frozen: fc.constantFrom(null, null, null, { untilMs: 1, why: null }),
        storeOk: fc.constantFrom(true, true, true, true, false),
        differencesProven: fc.constantFrom(true, true, true, true, false),
      }),
      isOld: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("answer" as const),
      outcome: fc.constantFrom("passed" as const, "passed", "passed", "failed", "timeout"),
      pick: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("person" as const),
      type: fc.constantFrom(
        "start" as const,
        ...([
          "start",
          "resume",
          "resume",
          "pause",
          "promote",
          "abort",
          "rolledBack",
          "decommission",
        ] as const),
      ),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "again" as const }) },
);

interface Passage {
  readonly before: RolloutState;
  readonly event: RolloutEvent;
  readonly after: RolloutState;
  readonly effects: readonly Effect[];
}

/** Lives through the happenings, and tells `look` of every transition. */
function live(plan: RolloutPlan, happenings: readonly Happening[], look: (passage: Passage) => void): void {
  let state = pendingRollout(1_000_000);
  let nowMs = 1_000_000;
  let last: RolloutEvent = { type: "start", nowMs, reason: "" };
  const calls: CallGate[] = [];
  for (const happening of [{ kind: "again" } as const, ...happenings]) {
    if (happening.kind === "tick") nowMs = Math.max(0, nowMs + happening.afterMs);
    const event = eventOf(happening, state, nowMs, calls, last);
    const next = advance(plan, state, event);
    last = event;
    if (!next.ok) continue;
    calls.push(...next.effects.filter((effect) => effect.type === "callGate"));
    look({ before: state, event, after: next.state, effects: next.effects });
    state = next.state;
  }
}

function eventOf(
  happening: Happening,
  state: RolloutState,
  nowMs: number,
  calls: readonly CallGate[],
  last: RolloutEvent,
): RolloutEvent {
  switch (happening.kind) {
    case "person":
      return { type: happening.type, nowMs, reason: "" };
    case "tick": {
      const stepSinceMs = happening.isOld ? state.stepSinceMs - 1 : state.stepSinceMs;
      const usual = {
        verdict: CALM,
        candidateRequests: 0,
        frozen: null,
        storeOk: true,
        differencesProven: false,
      };
      return { type: "tick", nowMs, stepSinceMs, ...usual, ...happening.part };
    }
    case "answer": {
      const call = calls.at(-1 - (happening.pick % 2));
      if (call === undefined) return { type: "pause", nowMs, reason: "" };
      const { runId, step, point } = call;
      return {
        type: "gateResult",
        nowMs,
        runId,
        step,
        point,
        call: call.call,
        outcome: happening.outcome,
        detail: "",
      };
    }
    case "again":
      return last;
  }
}

function forAllLives(
  look: (passage: Passage, plan: RolloutPlan) => void,
  numRuns = 250,
  seed?: number,
): void {
  fc.assert(
    fc.property(
      planArbitrary,
      fc.array(happeningArbitrary, { maxLength: 60, size: "max" }),
      (plan, happenings) => {
        live(plan, happenings, (passage) => look(passage, plan));
      },
    ),
    seed === undefined ? { numRuns } : { numRuns, seed },
  );
}

describe("in every life of a rollout", () => {
  test("the weight grows by one step in a calm tick of a progressing rollout, or by a person's promotion", () => {
    let growths = 0;
    forAllLives(({ before, event, after }, plan) => {
      if (after.candidateShares <= before.candidateShares) return;
      growths++;
      if (event.type === "promote") {
        expect(after).toMatchObject({ phase: "promoted", candidateShares: SHARES_TOTAL });
        return;
      }
      if (event.type !== "tick") throw new Error(`the weight grew by ${event.type}`);
      expect(event).toMatchObject({ verdict: { action: "none" }, frozen: null, storeOk: true });
      expect(after.phase).toBe("progressing");
      const isBounded = after.candidateShares > (plan.differences?.aboveShares ?? SHARES_TOTAL);
      expect(event.differencesProven || !isBounded).toBe(true);
      // A hold ends with a bake, so only a rollout without any weight may go on at once.
      expect(before.phase === "progressing" || before.candidateShares === 0).toBe(true);
      expect(after.candidateShares).toBe(
        plan.steps.find(({ shares }) => shares > before.candidateShares)?.shares,
      );
      if (before.stage === "baking") {
        expect(event.stepSinceMs).toBe(before.stepSinceMs);
        expect(event.candidateRequests).toBeGreaterThanOrEqual(plan.minRequests);
        expect(event.nowMs - before.bakeSinceMs).toBeGreaterThanOrEqual(plan.steps[before.step]?.bakeMs ?? 0);
      }
    });
    expect(growths).toBeGreaterThan(100);
  });

  test("a rollback takes all traffic back in that very transition, whatever else is going on", () => {
    let rollbacks = 0;
    forAllLives(({ before, event, after, effects }) => {
      if (event.type !== "tick" || event.verdict.action !== "rollback") return;
      if (before.candidateShares === 0 || before.phase === "decommissioned") return;
      rollbacks++;
      expect(after).toMatchObject({ phase: "rolled_back", candidateShares: 0 });
      expect(effects[0]).toEqual({ type: "setShares", candidateShares: 0 });
    });
    expect(rollbacks).toBeGreaterThan(20);
  });

  test("nothing but a person's start leads out of a rollback, and to no traffic yet", () => {
    forAllLives(({ before, event, after }) => {
      if (before.phase !== "rolled_back" && before.phase !== "aborted") return;
      expect(after.candidateShares).toBe(0);
      if (after.phase !== before.phase) expect(event.type).toBe("start");
    });
  });

  test("the same tick or answer again changes nothing", () => {
    forAllLives(({ event, after }, plan) => {
      if (event.type !== "tick" && event.type !== "gateResult") return;
      const again = advance(plan, after, event);
      expect(again).toStrictEqual({ ok: true, state: after, effects: [] });
      expect(again.ok && again.state).toBe(after);
    });
  });

  test("only the call under way is answered; every other answer is stale", () => {
    forAllLives(({ before, event, after, effects }) => {
      if (event.type !== "gateResult" || before.gates?.call === event.call) return;
      expect(after).toBe(before);
      expect(effects).toEqual([]);
    });
  });

  test("every call has a number of its own, and waits for its answer before the next", () => {
    forAllLives(({ before, after, effects }) => {
      const calls = effects.filter((effect) => effect.type === "callGate");
      expect(calls.length).toBeLessThanOrEqual(1);
      expect(after.calls).toBe(before.calls + calls.length);
      for (const { call } of calls) expect(after.gates?.call).toBe(call);
    });
  });

  test("a weight is told once when it changes, and never another one", () => {
    forAllLives(({ before, event, after, effects }) => {
      const told = effects.filter((effect) => effect.type === "setShares");
      const isChange = after.candidateShares !== before.candidateShares;
      if (isChange || event.type === "start") expect(told).toHaveLength(1);
      for (const { candidateShares } of told) expect(candidateShares).toBe(after.candidateShares);
    });
  });

  test("every phase and every cause of a hold occurs", () => {
    const met = new Set<string>();
    forAllLives(({ after }) => met.add(after.heldBy ?? after.phase), 1000, 1);
    expect([...met].toSorted()).toEqual(
      ["aborted", "decommissioned", "evidence", "gate", "judge", "max_duration", "paused", "plan"].concat([
        "progressing",
        "promoted",
        "rolled_back",
      ]),
    );
  });

  test("every state can be stored and read again, so it never contradicts itself", () => {
    forAllLives(({ after }) => {
      const stored: unknown = JSON.parse(JSON.stringify(encodeRollout(after)));
      expect(decodeRollout(stored)).toStrictEqual({ ok: true, value: after });
    }, 100);
  });
});

describe("a rollout that nothing speaks against", () => {
  test("reaches its end under any plan", () => {
    fc.assert(
      fc.property(planArbitrary, (made) => {
        const plan = { ...made, maxDurationMs: null };
        let nowMs = 0;
        let state = pendingRollout(nowMs);
        let event: RolloutEvent = { type: "start", nowMs, reason: "" };
        for (let turn = 0; turn < 200 && (turn === 0 || state.phase === "progressing"); turn++) {
          const next = advance(plan, state, event);
          if (!next.ok) throw new Error(next.reason);
          state = next.state;
          const call = next.effects.find((effect) => effect.type === "callGate");
          nowMs += 91 * 24 * HOUR_MS;
          event =
            call === undefined
              ? { type: "tick", nowMs, verdict: CALM, stepSinceMs: state.stepSinceMs, ...PLENTY }
              : { ...call, type: "gateResult", nowMs, outcome: "passed", detail: "" };
        }
        const isWhole = plan.steps.at(-1)?.shares === SHARES_TOTAL;
        expect(state).toMatchObject(isWhole ? { phase: "promoted" } : { phase: "held", heldBy: "plan" });
        expect(state.candidateShares).toBe(plan.steps.at(-1)?.shares);
      }),
      { numRuns: 300 },
    );
  });
});

describe("plans", () => {
  test("decoding what was encoded gives the same plan", () => {
    fc.assert(
      fc.property(planArbitrary, (plan) => {
        const stored: unknown = JSON.parse(JSON.stringify(encodePlan(plan)));
        expect(decodePlan(stored)).toStrictEqual({ ok: true, value: structuredClone(plan) });
      }),
      { numRuns: 300 },
    );
  });
});

describe("freezes", () => {
  test("last until the moment they name, and no longer", () => {
    const moment = fc.integer({ min: 1_600_000_000, max: 2_000_000_000 }).map((seconds) => seconds * 1000);
    fc.assert(
      fc.property(fc.array(windowArbitrary, { minLength: 1, maxLength: 4 }), moment, (windows, nowMs) => {
        const freeze = frozenUntil(windows, nowMs);
        if (freeze === null) return;
        expect(freeze.untilMs).toBeGreaterThan(nowMs);
        expect(frozenUntil(windows, freeze.untilMs - 1)?.untilMs).toBeGreaterThanOrEqual(freeze.untilMs);
        // Four windows need more than two days to follow each other sixteen times.
        if (freeze.untilMs - nowMs < 48 * HOUR_MS) expect(frozenUntil(windows, freeze.untilMs)).toBe(null);
      }),
      { numRuns: 500 },
    );
  });
});
