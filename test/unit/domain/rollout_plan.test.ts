/** Plans of rollouts: what they default to, how they are written, and everything that is wrong with one. */
import { describe, expect, test } from "vitest";
import type { Result } from "../../../src/base/fault.ts";
import { decodePlan, encodePlan, ROLLOUT_DEFAULTS } from "../../../src/domain/rollout_plan.ts";
import type { RolloutPlan } from "../../../src/domain/rollout_words.ts";

function planOf(input: unknown): RolloutPlan {
  const result: Result<RolloutPlan> = decodePlan(input);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.value;
}

function problemsOf(input: unknown): Record<string, string> {
  const result = decodePlan(input);
  if (result.ok) throw new Error("this plan was accepted");
  return Object.fromEntries(result.problems.map(({ path, message }) => [path, message]));
}

const GATE = { at: "before-step", url: "https://gates.example/go", timeout: "10s" };

describe("a plan that says nothing", () => {
  test("has the usual steps, five minutes each, and needs 50 requests", () => {
    const plan = planOf({});
    expect(plan.steps.map(({ shares }) => shares / 1000)).toEqual(ROLLOUT_DEFAULTS.steps);
    expect(plan.steps.every(({ bakeMs, proven }) => bakeMs === 300_000 && !proven)).toBe(true);
    expect(plan).toMatchObject({
      minRequests: 50,
      marginPercent: 1,
      differences: null,
      maxDurationMs: null,
      freeze: [],
      gates: [],
    });
  });

  test("is written as nothing", () => {
    expect(encodePlan(planOf({}))).toEqual({});
  });
});

describe("a plan that says everything", () => {
  const written = {
    steps: [0.5, { weight: 5, bake: "10m" }, { weight: 50, until: "proven" }, { weight: 100, bake: "2d" }],
    margin: 0.25,
    min_requests: 1000,
    differences: { above: 5, below: 0.1 },
    max_duration: "14d",
    freeze: [{ days: ["fri"], from: "16:00", to: "24:00", zone: "Europe/Berlin" }],
    gates: [
      { ...GATE, retries: 0, on_timeout: "rollback", steps: [5, 50] },
      { at: "on-rollback", url: "http://127.0.0.1:9/x?y=z", timeout: "1m" },
    ],
  };

  test("is counted in shares and milliseconds", () => {
    const plan = planOf(written);
    expect(plan.steps).toEqual([
      { shares: 500, bakeMs: 300_000, proven: false },
      { shares: 5000, bakeMs: 600_000, proven: false },
      { shares: 50_000, bakeMs: 0, proven: true },
      { shares: 100_000, bakeMs: 172_800_000, proven: false },
    ]);
    expect(plan.differences).toEqual({ aboveShares: 5000, belowPercent: 0.1 });
    expect(plan.maxDurationMs).toBe(14 * 86_400_000);
    expect(plan.gates[0]).toEqual({
      at: "before-step",
      url: GATE.url,
      timeoutMs: 10_000,
      retries: 0,
      onTimeout: "rollback",
      steps: [5000, 50_000],
    });
    expect(plan.gates[1]).toMatchObject({ retries: 2, onTimeout: "hold", steps: [] });
  });

  test("is written as it was read", () => {
    expect(encodePlan(planOf(written))).toEqual(written);
  });
});

describe("how long steps stay", () => {
  test("is what the plan says, unless a step says something of its own", () => {
    const { steps } = planOf({ steps: [1, { weight: 5, bake: "1h" }, { weight: 10 }], until: "proven" });
    expect(steps.map(({ bakeMs, proven }) => [bakeMs, proven])).toEqual([
      [0, true],
      [3_600_000, false],
      [0, true],
    ]);
  });

  test("can be a time and a proof at once, and is written for all steps when all are alike", () => {
    const written = { steps: [1, 100], bake: "36h", until: "proven" };
    expect(planOf(written).steps[1]).toEqual({ shares: 100_000, bakeMs: 129_600_000, proven: true });
    expect(encodePlan(planOf(written))).toEqual(written);
  });

  test("may end below 100 %", () => {
    expect(planOf({ steps: [1, 50] }).steps).toHaveLength(2);
  });
});

describe("refused is", () => {
  test.each<[string, object, Record<string, RegExp>]>([
    [
      "a step not above the one before",
      { steps: [5, 5, 4] },
      { "/steps/1": /5 % is not above the 5 %/, "/steps/2": /grow/ },
    ],
    ["a step over 100", { steps: [101] }, { "/steps/0": /0 to 100 percent/ }],
    ["a step of nothing", { steps: [{ weight: 0 }] }, { "/steps/0/weight": /more than 0/ }],
    ["a step without a weight", { steps: [{ bake: "5m" }] }, { "/steps/0/weight": /"weight" is missing/ }],
    ["a step as text", { steps: ["5%"] }, { "/steps/0": /number of percent/ }],
    ["no step", { steps: [] }, { "/steps": /1 to 50 entries/ }],
    [
      "more steps than 50",
      { steps: Array.from({ length: 51 }, (_, i) => i + 1) },
      { "/steps": /1 to 50 entries/ },
    ],
    ["an unknown end of a step", { until: "prooven" }, { "/until": /did you mean "proven"/ }],
    ["a bake without a unit", { bake: "5" }, { "/bake": /1s to 90d/ }],
    ["a bake over 90 days", { bake: "91d" }, { "/bake": /1s to 90d/ }],
    ["a bake below a second", { steps: [{ weight: 5, bake: "999ms" }] }, { "/steps/0/bake": /1s to 90d/ }],
    [
      "one bake over the whole",
      { steps: [1, 2], bake: "2h", max_duration: "1h" },
      { "/max_duration": /steps\/0 alone/ },
    ],
    ["bakes over the whole together", { bake: "10m", max_duration: "1h" }, { "/max_duration": /together/ }],
    ["a margin of nothing", { margin: 0 }, { "/margin": /more than 0/ }],
    [
      "a bound on differences without a rate",
      { differences: { above: 5 } },
      { "/differences/below": /is missing/ },
    ],
    ["a bound of nothing", { differences: { below: 0 } }, { "/differences/below": /more than 0/ }],
    [
      "a bound above everything",
      { differences: { above: 100, below: 1 } },
      { "/differences/above": /no weight/ },
    ],
    ["a step without requests", { min_requests: 0 }, { "/min_requests": /from 1 to/ }],
    ["an unknown key", { step: [1] }, { "/step": /did you mean "steps"/ }],
    ["a freeze with a fault", { freeze: [{ from: "16:00" }] }, { "/freeze/0/to": /"to" is missing/ }],
    ["more freezes than 16", { freeze: Array.from({ length: 17 }, () => ({})) }, { "/freeze": /at most 16/ }],
  ])("%s", (_, input, problems) => {
    const found = problemsOf(input);
    expect(Object.keys(found)).toEqual(Object.keys(problems));
    for (const [path, pattern] of Object.entries(problems)) expect(found[path]).toMatch(pattern);
  });

  test.each<[string, object, Record<string, RegExp>]>([
    ["without a timeout", { timeout: undefined }, { timeout: /"timeout" is missing/ }],
    ["at an unknown point", { at: "befor-step" }, { at: /did you mean "before-step"/ }],
    [
      "with an unknown end of its time",
      { on_timeout: "proceed" },
      { on_timeout: /hold, continue, rollback/ },
    ],
    ["that calls a file", { url: "file:///etc/passwd" }, { url: /https:\/\/ or http:\/\// }],
    ["that calls no URL", { url: "gates.example" }, { url: /is not a URL/ }],
    [
      "with a password in its URL",
      { url: "https://me:secret@gates.example" },
      { url: /no user and password/ },
    ],
    ["with a fragment in its URL", { url: "https://gates.example/#x" }, { url: /"#"/ }],
    ["at a step that the plan has not", { steps: [5, 7] }, { "steps/1": /no step with 7 %/ }],
    ["twice at a step", { steps: [5, 5] }, { "steps/1": /same as entry 0/ }],
    [
      "before the promotion at some steps",
      { at: "before-promote", steps: [5] },
      { steps: /not before-promote/ },
    ],
    [
      "that holds up a rollback",
      { at: "on-rollback", on_timeout: "continue" },
      { on_timeout: /waits for no gate/ },
    ],
  ])("a gate %s", (_, change, problems) => {
    const found = problemsOf({ gates: [{ ...GATE, ...change }] });
    expect(Object.keys(found)).toEqual(Object.keys(problems).map((path) => `/gates/0/${path}`));
    for (const [path, pattern] of Object.entries(problems))
      expect(found[`/gates/0/${path}`]).toMatch(pattern);
  });

  test("everything at once, with its places", () => {
    const found = problemsOf({
      steps: [5, { weight: 200 }, 4],
      bake: "x",
      gates: [{ at: "never" }],
      freeze: [{ from: "1", to: "2" }],
      __proto: 1,
    });
    expect(Object.keys(found).toSorted()).toEqual([
      "/__proto",
      "/bake",
      "/freeze/0/from",
      "/freeze/0/to",
      "/gates/0/at",
      "/gates/0/timeout",
      "/gates/0/url",
      "/steps/1/weight",
    ]);
  });

  test.each([null, [], "fast", 5])("%j as a plan", (input) => {
    expect(problemsOf(input)[""]).toMatch(/write a map here/);
  });
});
