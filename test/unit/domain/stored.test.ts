/** Tables as they are stored: states are kept, old tables are read, and a damaged state is never followed. */
import { describe, expect, test } from "vitest";
import { encodeDocument } from "../../../src/domain/document.ts";
import { encodeRollout, pendingRollout } from "../../../src/domain/rollout_state.ts";
import type { Document } from "../../../src/domain/route.ts";
import { decodeStored, encodeStored, withoutStates } from "../../../src/domain/stored.ts";
import { Story } from "../../support/rollout_story.ts";
import { BACKENDS, problemsOf, SHOP, tableWith, valueOf } from "../../support/table.ts";

const PLAN = { steps: [5, 50, 100] };
const AT_STEP_2 = new Story(PLAN).at(1).state;

/** A stored shop whose candidate has so many percent, with the states of rollouts. */
function storedWith(percent: number, rollouts: unknown, keys: object = { rollout: PLAN }): unknown {
  const split = { legacy: 100 - percent, new: percent };
  return { backends: BACKENDS, routes: [{ ...SHOP, split, ...keys }], rollouts };
}

function read(input: unknown): Document {
  return valueOf(decodeStored(input, 7));
}

describe("a stored table", () => {
  test("has where its rollouts are, and without them nothing more than the operator's form", () => {
    const document = read(storedWith(50, { shop: encodeRollout(AT_STEP_2) }));
    expect(document.rollouts).toEqual([{ route: "shop", state: AT_STEP_2 }]);
    expect(encodeStored(document)).toMatchObject({ rollouts: { shop: { phase: "progressing", step: 1 } } });
    expect(withoutStates(encodeStored(document))).toEqual(encodeDocument(document));
    const plain = read(tableWith(SHOP));
    expect(encodeStored(plain)).toEqual(encodeDocument(plain));
  });

  test("of a version before rollouts is read, and a plan without a state was never started", () => {
    expect(read(tableWith(SHOP)).rollouts).toEqual([]);
    expect(read(storedWith(20, undefined)).rollouts).toEqual([{ route: "shop", state: pendingRollout(7) }]);
    expect(read(storedWith(20, {})).routes[0]?.candidateShares).toBe(20_000);
  });

  test("may have any weight while its rollout does not own it", () => {
    const back = new Story(PLAN).at(1).person("rolledBack").state;
    expect(read(storedWith(20, { shop: encodeRollout(back) })).routes[0]?.candidateShares).toBe(20_000);
  });

  test.each<[string, unknown, string]>([
    ["states that are no map", storedWith(0, [1]), "/rollouts"],
    ["a damaged state", storedWith(50, { shop: { phase: "progressing" } }), "/rollouts/shop/run"],
    ["a state that is nothing", storedWith(50, { shop: null }), "/rollouts/shop"],
    [
      "a key that this version does not know",
      storedWith(50, { shop: { ...(encodeRollout(AT_STEP_2) as object), mood: 1 } }),
      "/rollouts/shop/mood",
    ],
    [
      "a state that contradicts itself",
      storedWith(50, { shop: { ...(encodeRollout(AT_STEP_2) as object), phase: "aborted" } }),
      "/rollouts/shop/candidate_shares",
    ],
    [
      "a route that has another weight than its rollout set",
      storedWith(60, { shop: encodeRollout(AT_STEP_2) }),
      "/rollouts/shop/candidate_shares",
    ],
    ["a state of no route", storedWith(50, { shop: encodeRollout(AT_STEP_2), cart: {} }), "/rollouts/cart"],
    ["a state without a plan", storedWith(50, { shop: encodeRollout(AT_STEP_2) }, {}), "/rollouts/shop"],
  ])("is refused with the place of what is wrong: %s", (_, input, path) => {
    expect(problemsOf(decodeStored(input, 7)).map((problem) => problem.path)).toContain(path);
  });

  test("that this version cannot read is shown without states all the same", () => {
    expect(withoutStates({ backends: 7, rollouts: {} })).toEqual({ backends: 7 });
    expect(withoutStates(null)).toBeNull();
  });
});
