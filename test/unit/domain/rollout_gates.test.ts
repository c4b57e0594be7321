/** Gates of a rollout: when they are asked, what their answers do, and which answers count. */
import { describe, expect, test } from "vitest";
import type { GateResult } from "../../../src/domain/rollout_event.ts";
import { GATE_GRACE_MS, GATE_RETRY_MS } from "../../../src/domain/rollout_gates.ts";
import { FREEZE, gated, MINUTE_MS, Story } from "../../support/rollout_story.ts";

describe("gates", () => {
  test("are asked at their points, and nothing goes on before they passed", () => {
    const gates = ["pre-flight", "before-step", "after-step", "before-promote", "post-cutover"].map((at) => ({
      at,
      url: `https://g.example/${at}`,
      timeout: "10s",
    }));
    const story = new Story({ steps: [5, 100], gates }).person("start");
    const asked: string[] = [];
    for (let i = 0; i < 30 && story.phase === "progressing"; i++) {
      story.tick(5 * MINUTE_MS);
      for (const { point, step, gate } of story.calls) {
        expect(gate.url).toBe(`https://g.example/${point}`);
        asked.push(`${point} ${step} at ${story.weight}`);
        story.answer("passed");
      }
    }
    expect(asked).toEqual([
      "pre-flight 0 at 0",
      "before-step 0 at 0",
      "after-step 0 at 5",
      "before-step 1 at 5",
      "before-promote 1 at 5",
      "after-step 1 at 100",
      "post-cutover 1 at 100",
    ]);
    expect(story.phase).toBe("promoted");
  });

  test("at one point are asked one after the other, and only at their steps", () => {
    const gate = { at: "before-step", url: "https://g.example/1", timeout: "10s" };
    const gates = [gate, { ...gate, url: "https://g.example/2" }, { ...gate, steps: [100] }];
    const story = new Story({ steps: [5, 100], gates }).person("start").tick(1);
    expect(story.calls.map((call) => call.gate.url)).toEqual(["https://g.example/1"]);
    expect(story.tick(1).calls).toEqual([]);
    story.answer("passed").tick(1);
    expect(story.calls.map((call) => call.gate.url)).toEqual(["https://g.example/2"]);
    expect(story.answer("passed").tick(1).weight).toBe(5);
  });

  test("that fail are tried again after a pause, and then hold for a person", () => {
    const story = new Story(gated("after-step", { retries: 1 })).at(0).tick(5 * MINUTE_MS);
    expect(story.answer("failed").tick(GATE_RETRY_MS - 1).calls).toEqual([]);
    expect(story.tick(1).calls).toMatchObject([{ point: "after-step", call: 2, runId: 1, step: 0 }]);
    story.answer("failed");
    expect(story.state).toMatchObject({ phase: "held", heldBy: "gate", candidateShares: 5000, gates: null });
    expect(story.state.reason).toBe("gate after-step (https://g.example/) did not pass (tries: 2): 503");
    expect(story.tick(60 * MINUTE_MS).phase).toBe("held");
    expect(story.person("resume").tick(1).calls).toMatchObject([{ call: 3 }]);
    expect(story.answer("passed").tick(1).weight).toBe(100);
  });

  test.each<[string, "failed" | "timeout", object, object]>([
    ["no answer in time holds", "timeout", {}, { phase: "held", heldBy: "gate", candidateShares: 5000 }],
    [
      "no answer may go on",
      "timeout",
      { on_timeout: "continue" },
      { phase: "progressing", candidateShares: 100_000 },
    ],
    [
      "no answer may roll back",
      "timeout",
      { on_timeout: "rollback" },
      { phase: "rolled_back", candidateShares: 0 },
    ],
    ["a no never goes on", "failed", { on_timeout: "continue" }, { phase: "held", heldBy: "gate" }],
    ["a no never rolls back", "failed", { on_timeout: "rollback" }, { phase: "held", heldBy: "gate" }],
  ])("%s", (_, outcome, gate, after) => {
    const story = new Story(gated("after-step", gate)).at(0).tick(5 * MINUTE_MS);
    expect(story.calls).toHaveLength(1);
    expect(story.answer(outcome).tick(1).state).toMatchObject(after);
  });

  test("whose caller has died are given up by any instance that ticks", () => {
    const story = new Story(gated("after-step", { retries: 1 })).at(0).tick(5 * MINUTE_MS);
    expect(story.tick(10_000 + GATE_GRACE_MS - 1).state.gates?.call).toBe(1);
    expect(story.tick(1).state.gates?.call).toBe(null);
    expect(story.tick(GATE_RETRY_MS).calls).toMatchObject([{ call: 2 }]);
    expect(story.tick(10_000 + GATE_GRACE_MS).state.heldBy).toBe("gate");
  });

  test.each<[string, Partial<GateResult>]>([
    ["call", { call: 0 }],
    ["run", { runId: 0 }],
    ["step", { step: 1 }],
    ["point", { point: "before-step" }],
  ])("take no answer to another %s", (_, part) => {
    const story = new Story(gated("after-step")).at(0).tick(5 * MINUTE_MS);
    const before = story.state;
    expect(story.answer("passed", part).state).toBe(before);
    expect(story.effects).toEqual([]);
    expect(story.answer("passed").tick(1).weight).toBe(100);
  });

  test("are asked again after a pause, a hold or a freeze, and late answers are stale", () => {
    const story = new Story(gated("before-step", { steps: [100] })).at(0).tick(5 * MINUTE_MS);
    story.person("pause").answer("passed", { point: "before-step", call: 1 }).person("resume");
    expect(story.tick(1).calls).toMatchObject([{ call: 2 }]);
    expect(story.answer("passed").tick(1, { frozen: FREEZE }).weight).toBe(5);
    expect(story.tick(1).calls).toMatchObject([{ call: 3 }]);
    expect(story.answer("passed").tick(1).weight).toBe(100);
  });

  test("after a rollback are told the step whose weight was set, not the one to come", () => {
    const gates = ["before-step", "on-rollback"].map((at) => ({
      at,
      url: "https://g.example/",
      timeout: "10s",
    }));
    const story = new Story({ steps: [5, 50, 100], gates }).person("start").tick(1).answer("passed").tick(1);
    expect(story.tick(5 * MINUTE_MS).state).toMatchObject({ step: 1, stage: "entering" });
    expect(story.person("rolledBack").calls).toMatchObject([{ point: "on-rollback", step: 0 }]);
  });

  test("after a rollback are called behind the weight, and block nothing", () => {
    const story = new Story(gated("on-rollback", { retries: 1 })).at(0).person("abort", "enough");
    expect(story.state).toMatchObject({ phase: "aborted", candidateShares: 0, by: "person" });
    expect(story.effects.map(({ type }) => type)).toEqual(["setShares", "announce", "callGate"]);
    expect(story.answer("failed").tick(GATE_RETRY_MS).calls).toHaveLength(1);
    expect(story.answer("timeout").effects).toMatchObject([{ type: "announce" }]);
    expect(story.tick(60 * MINUTE_MS).effects).toEqual([]);
    expect(story.person("start").tick(1).weight).toBe(5);
  });
});
