/** What people read of a rollout in each of its phases. */
import { describe, expect, test } from "vitest";
import { decodePlan } from "../../../src/domain/rollout_plan.ts";
import { describeRollout, type Known } from "../../../src/domain/rollout_report.ts";
import { pendingRollout } from "../../../src/domain/rollout_state.ts";
import type { RolloutPlan, RolloutState } from "../../../src/domain/rollout_words.ts";
import type { BackendId } from "../../../src/domain/route.ts";

const START_MS = Date.parse("2026-08-21T10:00:00Z");
const SEEN: Known = {
  nowMs: START_MS + 125_000,
  candidateRequests: 12,
  proven: false,
  frozen: null,
  differencesProven: false,
  differences: null,
  cutover: { legacy: "old" as BackendId, candidate: "new" as BackendId },
};
const GATES = [
  { at: "after-step", url: "https://g.example/", timeout: "10s" },
  { at: "on-rollback", url: "https://g.example/off", timeout: "10s" },
];
const BAKING: RolloutState = {
  ...pendingRollout(START_MS),
  phase: "progressing",
  runId: 1,
  step: 1,
  stage: "baking",
  candidateShares: 5000,
  reason: "step 2 of 3: the candidate gets 5 %",
  by: "machine",
};

function linesOf(part: Partial<RolloutState>, seen: Partial<Known> = {}, input: object = {}): string[] {
  const plan = decodePlan({ steps: [1, 5, 100], bake: "5m", until: "proven", gates: GATES, ...input });
  expect(plan.ok).toBe(true);
  return describeRollout(
    (plan as { value: RolloutPlan }).value,
    { ...BAKING, ...part },
    { ...SEEN, ...seen },
  );
}

describe("people read", () => {
  test("the step, since when, what it waits for and until when, what is next, and why", () => {
    expect(linesOf({})).toEqual([
      "progressing since 2026-08-21T10:00:00Z (2m 5s)",
      "weight: step 2 of 3: new has 5 % since 2026-08-21T10:00:00Z (2m 5s)",
      "waits for: the bake, until 2026-08-21T10:05:00Z; requests: 12 of at least 50 seen; " +
        "proof that fewer than 1 % of requests fail",
      "next: 100 % for new",
      "why: step 2 of 3: the candidate gets 5 %",
    ]);
  });

  test("only what is still missing of a bake", () => {
    const lines = linesOf({}, { nowMs: START_MS + 90_000_000, candidateRequests: 50 });
    expect(lines[2]).toBe("waits for: proof that fewer than 1 % of requests fail");
    expect(lines[0]).toMatch(/\(1d 1h\)$/);
  });

  test("until when it is frozen, and why", () => {
    const frozen = { untilMs: Date.parse("2027-01-02T00:00:00Z"), why: "Christmas" };
    const lines = linesOf({ stage: "entering", step: 2 }, { frozen });
    expect(lines[0]).toMatch(/^progressing, frozen until 2027-01-02T00:00:00Z \(Christmas\), since/);
    expect(lines[1]).toMatch(/^weight: step 2 of 3: new has 5 %/);
    expect(lines[2]).toBe("waits for: the end of the freeze at 2027-01-02T00:00:00Z");
  });

  test("what has to be proved of differences, and what is known", () => {
    const plan = { differences: { above: 5, below: 0.1 } };
    const differences = "1,204 compared, mismatch rate below 0.38 % with 99 % confidence";
    const lines = linesOf({ stage: "entering", step: 2 }, { differences }, plan);
    const proof = "proof that fewer than 0.1 % of compared answers mismatch";
    expect(lines[2]).toBe(`waits for: ${proof} (${differences})`);
    expect(linesOf({ stage: "entering", step: 2 }, {}, plan)[2]).toBe(
      `waits for: ${proof} (nothing compared yet)`,
    );
    const proven = linesOf({ stage: "entering", step: 2 }, { differencesProven: true }, plan);
    expect(proven.join()).not.toContain("proof");
  });

  test("which gate is asked, and for which time", () => {
    const gates = { passed: 0, point: "after-step", tries: 2, call: 7, sinceMs: START_MS } as const;
    const lines = linesOf({ stage: "leaving", gates });
    expect(lines[2]).toBe("waits for: gate after-step (https://g.example/), try 2 of 3");
  });

  test.each<[string, Partial<RolloutState>, string[]]>([
    ["that nobody started", { phase: "pending" }, ["not started", "next: a person starts it"]],
    [
      "that is paused",
      { phase: "paused" },
      ["paused", "waits for: a person who resumes, promotes or aborts it"],
    ],
    ["with doubts", { phase: "held", heldBy: "judge" }, ["held", "waits for: the judge to have no doubts"]],
    [
      "without evidence",
      { phase: "held", heldBy: "evidence" },
      ["held", "waits for: evidence that can be read"],
    ],
    ["that a gate holds", { phase: "held", heldBy: "gate" }, ["held", "waits for: a person who"]],
    [
      "at its end",
      { phase: "promoted", candidateShares: 100_000 },
      ["promoted", "next: a person decommissions old"],
    ],
    [
      "after its end",
      { phase: "decommissioned", candidateShares: 100_000 },
      ["decommissioned", "next: nothing"],
    ],
    [
      "that was aborted",
      { phase: "aborted", candidateShares: 0 },
      [
        "rolled back",
        "weight: old has all traffic",
        "waits for: gate on-rollback",
        "next: a person starts it again",
      ],
    ],
  ])("what a rollout is %s", (_, part, wanted) => {
    const lines = linesOf(part);
    for (const start of wanted) expect(lines.some((line) => line.startsWith(start))).toBe(true);
  });

  test("that a plan which ends below 100 % ends with a person", () => {
    const lines = linesOf({ step: 0, candidateShares: 1000 }, {}, { steps: [1] });
    expect(lines.at(-2)).toBe("next: held for a person: the plan ends below 100 %");
  });
});
