/** States of rollouts as they are stored: read again as they were, or refused with every reason. */
import { describe, expect, test } from "vitest";
import { decodeRollout, encodeRollout, pendingRollout } from "../../../src/domain/rollout_state.ts";
import type { RolloutState } from "../../../src/domain/rollout_words.ts";

const HELD: RolloutState = {
  ...pendingRollout(1000),
  phase: "held",
  runId: 3,
  step: 2,
  stage: "leaving",
  candidateShares: 10_000,
  heldBy: "judge",
  calls: 4,
  reason: "the judge (errors): 4 of 50 failed",
  by: "machine",
};
const ASKING: RolloutState = {
  ...HELD,
  phase: "progressing",
  heldBy: null,
  gates: { passed: 1, point: "after-step", tries: 2, call: 4, sinceMs: 5000 },
};

function problemsOf(change: object): Record<string, string> {
  const result = decodeRollout({ ...(encodeRollout(ASKING) as object), ...change });
  if (result.ok) throw new Error("this state was accepted");
  return Object.fromEntries(result.problems.map(({ path, message }) => [path, message]));
}

describe("a state", () => {
  test.each([
    ["pending", pendingRollout(7)],
    ["held", HELD],
    ["asking", ASKING],
    ["between two calls", { ...ASKING, gates: { ...ASKING.gates!, call: null } }],
  ])("that is %s comes back as it was", (_, state) => {
    const stored: unknown = JSON.parse(JSON.stringify(encodeRollout(state)));
    expect(decodeRollout(stored)).toStrictEqual({ ok: true, value: state });
  });

  test("is stored under plain names, without what does not apply", () => {
    expect(encodeRollout(HELD)).toEqual({
      phase: "held",
      run: 3,
      step: 2,
      stage: "leaving",
      candidate_shares: 10_000,
      started_ms: 1000,
      phase_since_ms: 1000,
      step_since_ms: 1000,
      bake_since_ms: 1000,
      limit_since_ms: 1000,
      held_by: "judge",
      calls: 4,
      reason: "the judge (errors): 4 of 50 failed",
      by: "machine",
    });
  });
});

describe("refused is a state", () => {
  test.each<[string, object, Record<string, RegExp>]>([
    ["of a version with more keys", { canary: 1 }, { "/canary": /unknown key/ }],
    ["of a version with other phases", { phase: "verifying" }, { "/phase": /unknown choice "verifying"/ }],
    ["without its weight", { candidate_shares: undefined }, { "/candidate_shares": /is missing/ }],
    ["over 100 %", { candidate_shares: 100_001 }, { "/candidate_shares": /from 0 to 100000/ }],
    ["with a broken moment", { step_since_ms: -1 }, { "/step_since_ms": /from 0/ }],
    [
      "that is rolled back and has traffic",
      { phase: "rolled_back" },
      { "/candidate_shares": /has 0 shares/ },
    ],
    ["that is held for nothing", { phase: "held" }, { "/held_by": /for a cause/, "/gates": /while held/ }],
    ["with a cause, but not held", { held_by: "gate" }, { "/held_by": /only when held/ }],
    ["with a call that was never made", { calls: 3 }, { "/gates/call": /at most/ }],
  ])("%s", (_, change, problems) => {
    const found = problemsOf(change);
    expect(Object.keys(found)).toEqual(Object.keys(problems));
    for (const [path, pattern] of Object.entries(problems)) expect(found[path]).toMatch(pattern);
  });

  test("that is promoted without all traffic", () => {
    expect(decodeRollout(encodeRollout({ ...HELD, phase: "promoted", heldBy: null }))).toEqual({
      ok: false,
      problems: [{ path: "/candidate_shares", message: "a rollout that is promoted has 100000 shares" }],
    });
  });
});
