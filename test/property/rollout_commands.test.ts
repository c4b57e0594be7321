/** Rollouts under any sequence of commands: weight and state stay together, and no traffic comes from nowhere. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Outcome } from "../../src/control/attempt.ts";
import { Commands, type MoveOutcome } from "../../src/control/commands.ts";
import type { PersonEvent, Tick } from "../../src/domain/rollout_event.ts";
import { isUnderWay, ownsWeight } from "../../src/domain/rollout_state.ts";
import type { RolloutPlan } from "../../src/domain/rollout_words.ts";
import { SHARES_TOTAL, type Document } from "../../src/domain/route.ts";
import { ManualClock } from "../support/clock.ts";
import { ALICE, weights } from "../support/commands_stage.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { SHOP, tableWith } from "../support/table.ts";

const PLANS = [{ steps: [5, 50, 100], min_requests: 1 }, { steps: [10, 20] }, {}] as const;
const ROUTES = ["shop", "cart"] as const;
const PERSON_MOVES = [
  "start",
  "start",
  "pause",
  "resume",
  "promote",
  "abort",
  "rolledBack",
  "decommission",
] as const;

/** What somebody does to a route. `percent` is a weight that is asked for, where one is. */
type Deed =
  | {
      readonly kind: "shift" | "put" | "apply";
      readonly id: string;
      readonly percent: number;
      readonly plan: number;
    }
  | {
      readonly kind: "plan" | "unplan" | "delete" | "rollback" | "itself";
      readonly id: string;
      readonly plan: number;
    }
  | { readonly kind: "restore"; readonly back: number }
  | { readonly kind: "person"; readonly id: string; readonly type: PersonEvent["type"] }
  | { readonly kind: "tick"; readonly id: string; readonly afterMs: number; readonly part: Partial<Tick> };

const idArbitrary = fc.constantFrom(...ROUTES);
/** A plan by its place, or none. */
const placeArbitrary = fc.integer({ min: -1, max: PLANS.length - 1 });
const verdictArbitrary = fc.constantFrom(
  ...(["none", "none", "none", "none", "hold", "rollback"] as const).map((action) => ({
    action,
    signal: null,
    reason: "r",
    proven: true,
  })),
);
const deedArbitrary: fc.Arbitrary<Deed> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("shift" as const, "put" as const, "apply" as const),
    id: idArbitrary,
    percent: fc.constantFrom(0, 5, 20, 50, 100),
    plan: placeArbitrary,
  }),
  fc.record({
    kind: fc.constantFrom("plan" as const, "unplan", "delete", "rollback", "itself"),
    id: idArbitrary,
    plan: fc.nat({ max: PLANS.length - 1 }),
  }),
  fc.record({ kind: fc.constant("restore" as const), back: fc.nat({ max: 5 }) }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("person" as const),
      id: idArbitrary,
      type: fc.constantFrom(...PERSON_MOVES),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("tick" as const),
      id: idArbitrary,
      afterMs: fc.constantFrom(1, 250, 300_000, 300_000),
      part: fc.record({ verdict: verdictArbitrary, storeOk: fc.constantFrom(true, true, true, false) }),
    }),
  },
);

/** A table of routes in the operator's form: each with its path, weight and plan. */
function routeOf(id: string, percent: number, plan: number): Record<string, unknown> {
  const rollout = plan < 0 ? {} : { rollout: PLANS[plan] };
  return { ...SHOP, id, match: { path: `/${id}` }, split: weights(percent), ...rollout };
}

class World {
  readonly clock = new ManualClock();
  readonly store = new MemoryStore(this.clock);
  readonly commands = new Commands(this.store, { clock: this.clock });

  async document(): Promise<Document> {
    return (await this.commands.current())?.document ?? { backends: [], routes: [], rollouts: [] };
  }

  async revision(): Promise<number> {
    return (await this.commands.current())?.revision ?? 0;
  }

  async carryOut(deed: Deed): Promise<Outcome | MoveOutcome> {
    const { commands } = this;
    const nowMs = this.clock.wallMs();
    switch (deed.kind) {
      case "shift":
        return commands.shift(deed.id, weights(deed.percent), ALICE);
      case "put":
        return commands.putRoute(deed.id, routeOf(deed.id, deed.percent, deed.plan), ALICE);
      case "apply": {
        const routes = ROUTES.map((id) => routeOf(id, deed.id === id ? deed.percent : 0, deed.plan));
        return commands.replaceTable(tableWith(...routes), ALICE);
      }
      case "plan":
        return commands.putRollout(deed.id, PLANS[deed.plan], ALICE);
      case "unplan":
        return commands.deleteRollout(deed.id, ALICE);
      case "delete":
        return commands.deleteRoute(deed.id, ALICE);
      case "rollback":
        return commands.rollback(deed.id, ALICE);
      case "itself":
        return commands.rollBackByItself(deed.id, "it fails");
      case "restore":
        return commands.restore((await this.revision()) - deed.back, ALICE);
      case "person":
        return commands.moveRollout(deed.id, { type: deed.type, nowMs, reason: "" }, ALICE);
      case "tick": {
        this.clock.advance(deed.afterMs);
        const known = { nowMs: this.clock.wallMs(), candidateRequests: 1000, frozen: null };
        const usual = {
          type: "tick",
          ...known,
          verdict: CALM,
          storeOk: true,
          differencesProven: true,
        } as const;
        return commands.moveRollout(
          deed.id,
          ({ stepSinceMs }) => ({ ...usual, stepSinceMs, ...deed.part }),
          ALICE,
        );
      }
    }
  }
}

const CALM = { action: "none", signal: null, reason: "", proven: true } as const;

interface Passage {
  readonly deed: Deed;
  readonly before: Document;
  readonly outcome: Outcome | MoveOutcome;
  readonly after: Document;
}

async function forAllLives(look: (passage: Passage, world: World) => void | Promise<void>): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(deedArbitrary, { minLength: 20, maxLength: 40 }), async (deeds) => {
      const world = new World();
      await world.commands.replaceTable(tableWith(routeOf("shop", 0, 0), routeOf("cart", 20, -1)), ALICE);
      for (const deed of deeds) {
        const before = await world.document();
        const outcome = await world.carryOut(deed);
        const after = await world.document();
        await look({ deed, before, outcome, after }, world);
      }
    }),
    { numRuns: 40 },
  );
}

function sharesOf({ routes }: Document, id: string): number {
  return routes.find((route) => route.id === id)?.candidateShares ?? 0;
}

/** Weights that somebody or something asked for with this deed. */
function askedFor(deed: Deed, plan: RolloutPlan | null): readonly number[] {
  if (deed.kind === "shift" || deed.kind === "put" || deed.kind === "apply") return [deed.percent * 1000];
  if (deed.kind === "person") return deed.type === "promote" ? [SHARES_TOTAL] : [];
  if (deed.kind === "tick" && deed.part.verdict?.action === "none") {
    return plan === null ? [] : plan.steps.map(({ shares }) => shares);
  }
  return [];
}

describe("in every life of a table with rollouts", () => {
  test("there is a state for each plan, and one that owns the weight has the weight of its route", async () => {
    let owning = 0;
    await forAllLives(({ after }) => {
      const planned = after.routes.filter(({ rollout }) => rollout !== null);
      expect(after.rollouts.map(({ route }) => route)).toEqual(planned.map(({ id }) => id));
      for (const { route, state } of after.rollouts) {
        if (!ownsWeight(state)) continue;
        owning++;
        expect(sharesOf(after, route)).toBe(state.candidateShares);
      }
    });
    expect(owning).toBeGreaterThan(100);
  });

  test("a candidate gets more only as far as an operator or a step asks for it", async () => {
    let growths = 0;
    await forAllLives(({ deed, before, after }) => {
      for (const { id, candidateShares, rollout } of after.routes) {
        if (deed.kind === "restore" || candidateShares <= sharesOf(before, id)) continue;
        growths++;
        expect(askedFor(deed, rollout)).toContain(candidateShares);
      }
    });
    expect(growths).toBeGreaterThan(50);
  });

  test("only a rollout's own moves and a rollback move a weight while it is under way", async () => {
    await forAllLives(({ deed, before, after }) => {
      for (const { route, state } of before.rollouts) {
        if (!isUnderWay(state)) continue;
        if (deed.kind === "person" || deed.kind === "tick") continue;
        const isAsked = "id" in deed && deed.id === route;
        const isBack =
          isAsked && (deed.kind === "rollback" || (deed.kind === "itself" && state.candidateShares > 0));
        expect(sharesOf(after, route)).toBe(isBack ? 0 : state.candidateShares);
        const now = after.rollouts.find((one) => one.route === route)?.state;
        expect(now).toEqual(isBack ? expect.objectContaining({ phase: "rolled_back" }) : state);
      }
    });
  });

  test("a refusal changes nothing, a commit says what, and effects come with commits alone", async () => {
    await forAllLives(({ before, outcome, after }) => {
      if (!outcome.ok || !outcome.changed) expect(after).toEqual(before);
      if (!outcome.ok) return;
      expect(outcome.difference.length > 0).toBe(outcome.changed);
      if ("effects" in outcome && !outcome.changed) expect(outcome.effects).toEqual([]);
      expect(outcome.document).toEqual(after);
    });
  });
});
