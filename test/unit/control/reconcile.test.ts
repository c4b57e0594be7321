/** What becomes of rollouts when the table changes around them, phase by phase. */
import { describe, expect, it } from "vitest";
import { reconcile } from "../../../src/control/reconcile.ts";
import type { Phase, RolloutState } from "../../../src/domain/rollout_words.ts";
import { decodeDocument } from "../../../src/domain/document.ts";
import { ownsWeight, pendingRollout } from "../../../src/domain/rollout_state.ts";
import type { Document } from "../../../src/domain/route.ts";
import { Story } from "../../support/rollout_story.ts";
import { SHOP, tableWith, valueOf } from "../../support/table.ts";

const PLAN = { steps: [5, 50, 100] };
const NOW_MS = 1_000_000;

/** The shop with a plan and so many percent for its candidate. */
function shop(percent: number, keys: object = { rollout: PLAN }): Document {
  return valueOf(
    decodeDocument(tableWith({ ...SHOP, split: { legacy: 100 - percent, new: percent }, ...keys })),
  );
}

/** The second step of the plan, in a phase. */
function stateIn(phase: Phase): RolloutState {
  const story = new Story(PLAN);
  switch (phase) {
    case "pending":
      return story.state;
    case "progressing":
      return story.at(1).state;
    case "paused":
      return story.at(1).person("pause").state;
    case "held":
      return story.at(1).tick(1, { storeOk: false }).state;
    case "promoted":
      return story.at(1).person("promote").state;
    case "decommissioned":
      return story.at(1).person("promote").person("decommission").state;
    case "rolled_back":
      return story.at(1).person("rolledBack").state;
    case "aborted":
      return story.at(1).person("abort").state;
  }
}

/** The shop whose rollout is in a phase; where people set the weight, it is 20 %. */
function shopIn(phase: Phase): Document {
  const state = stateIn(phase);
  return {
    ...shop(ownsWeight(state) ? state.candidateShares / 1000 : 20),
    rollouts: [{ route: shop(0).routes[0]!.id, state }],
  };
}

function stateAfter(before: Document, after: Document): RolloutState | undefined {
  const decision = reconcile(before, after, NOW_MS);
  if (!decision.ok) throw new Error(decision.detail);
  expect(decision.document.routes).toEqual(after.routes);
  return decision.document.rollouts[0]?.state;
}

function refusalOf(before: Document, after: Document): string {
  const decision = reconcile(before, after, NOW_MS);
  expect(decision).toMatchObject({ ok: false, code: "CONFLICT" });
  return decision.ok ? "" : decision.detail;
}

const UNDER_WAY = ["progressing", "paused", "held"] as const;
const OWNING = [...UNDER_WAY, "promoted", "decommissioned"] as const;
const EVERY = [...OWNING, "pending", "rolled_back", "aborted"] as const;
const OTHER_CUTOVER = { cutover: { legacy: "legacy", candidate: "other" }, split: undefined, rollout: PLAN };

describe("a plan", () => {
  it("that is new is pending, with the weights as written", () => {
    const pending = pendingRollout(NOW_MS);
    expect(stateAfter(shop(20, {}), shop(30))).toEqual(pending);
    expect(stateAfter(valueOf(decodeDocument(tableWith())), shop(30))).toEqual(pending);
  });

  it.each(EVERY)("that changes while %s goes on from where it is", (phase) => {
    const before = shopIn(phase);
    const [route] = before.routes;
    const changed = shop((route?.candidateShares ?? 0) / 1000, { rollout: { steps: [10, 90] } });
    expect(stateAfter(before, changed)).toBe(before.rollouts[0]?.state);
  });

  it.each(EVERY)(
    "keeps its state when nothing else changes while %s, whatever the new table says of it",
    (phase) => {
      const before = shopIn(phase);
      const after = { ...before, rollouts: [{ route: before.routes[0]!.id, state: pendingRollout(1) }] };
      expect(reconcile(before, after, NOW_MS)).toEqual({ ok: true, document: before });
    },
  );

  it.each(["pending", "rolled_back", "aborted", "promoted", "decommissioned"] as const)(
    "that is %s goes with its state",
    (phase) => {
      const before = shopIn(phase);
      expect(stateAfter(before, shop((before.routes[0]?.candidateShares ?? 0) / 1000, {}))).toBeUndefined();
      expect(stateAfter(before, valueOf(decodeDocument(tableWith())))).toBeUndefined();
    },
  );

  it.each(UNDER_WAY)("cannot go while %s, nor can its route or its cutover", (phase) => {
    const before = shopIn(phase);
    const text =
      `A rollout is under way on "shop" (${phase}, step 2 of 3, 50 %): ` +
      "abort it first with `crossfade rollout shop abort`";
    expect(refusalOf(before, shop(50, {}))).toBe(text);
    expect(refusalOf(before, shop(50, OTHER_CUTOVER))).toBe(text);
    expect(refusalOf(before, valueOf(decodeDocument(tableWith())))).toBe(text);
  });

  it.each(["pending", "rolled_back", "promoted"] as const)(
    "that is %s begins anew with another cutover",
    (phase) => {
      const before = shopIn(phase);
      const { runId, calls } = before.rollouts[0]!.state;
      expect(stateAfter(before, shop(0, OTHER_CUTOVER))).toEqual({
        ...pendingRollout(NOW_MS),
        runId,
        calls,
        reason: "the backends of the cutover were changed",
      });
    },
  );
});

describe("weights by hand", () => {
  it.each(UNDER_WAY)("are refused while %s, with what can be done instead", (phase) => {
    const text = refusalOf(shopIn(phase), shop(60));
    expect(text).toContain(`"shop" (${phase}, step 2 of 3, 50 %)`);
    expect(text).toContain("`crossfade rollout shop promote`");
    expect(text).toContain("`crossfade rollout shop abort`");
    expect(text.includes("`crossfade rollout shop pause`")).toBe(phase === "progressing");
  });

  it.each(["promoted", "decommissioned"] as const)(
    "put a rollout that is %s back to its beginning",
    (phase) => {
      expect(stateAfter(shopIn(phase), shop(60))).toEqual({
        ...pendingRollout(NOW_MS),
        runId: 1,
        reason: "the weights were set by hand",
      });
    },
  );

  it.each(["pending", "rolled_back", "aborted"] as const)("are people's to set while %s", (phase) => {
    const before = shopIn(phase);
    expect(stateAfter(before, shop(60))).toBe(before.rollouts[0]?.state);
  });
});

it("one rollout under way refuses the whole change", () => {
  const { routes, rollouts } = shopIn("progressing");
  const cart = { ...shop(10).routes[0]!, id: "cart" as never };
  const before = {
    ...shop(0),
    routes: [cart, ...routes],
    rollouts: [{ route: cart.id, state: stateIn("promoted") }, ...rollouts],
  };
  expect(refusalOf(before, { ...before, routes: [cart], rollouts: [] })).toContain('"shop"');
});
