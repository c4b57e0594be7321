/** A rollout told event by event: steps and bakes, what stops it, who may do what, and the way back. */
import { describe, expect, test } from "vitest";
import type { PersonEvent } from "../../../src/domain/rollout_event.ts";
import { ALARM, CALM, DOUBT, FREEZE, gated, MINUTE_MS, planOf, Story } from "../../support/rollout_story.ts";

describe("an undisturbed rollout", () => {
  test("goes from step to step, one each time its bake is over, and is promoted after the last", () => {
    const story = new Story().person("start", "release 7");
    expect(story.effects).toEqual([
      { type: "setShares", candidateShares: 0 },
      { type: "announce", text: "started by a person: release 7" },
    ]);
    expect(story.tick(1).weight).toBe(5);
    expect(story.effects[0]).toEqual({ type: "setShares", candidateShares: 5000 });
    expect(story.tick(5 * MINUTE_MS - 1).effects).toEqual([]);
    expect(story.tick(1).weight).toBe(50);
    expect(story.tick(5 * MINUTE_MS).weight).toBe(100);
    expect(story.phase).toBe("progressing");
    expect(story.tick(5 * MINUTE_MS).phase).toBe("promoted");
    expect(story.state).toMatchObject({ by: "machine", runId: 1 });
    expect(story.tick(MINUTE_MS).effects).toEqual([]);
  });

  test("leaves no step without the requests it needs, however long that takes", () => {
    const story = new Story().at(0);
    expect(story.tick(24 * 60 * MINUTE_MS, { candidateRequests: 49 }).weight).toBe(5);
    expect(story.tick(1, { candidateRequests: 50 }).weight).toBe(50);
  });

  test("leaves a step that wants proof as soon as there is proof", () => {
    const story = new Story({ steps: [5, 50], until: "proven" }).at(0);
    expect(story.tick(60 * MINUTE_MS).weight).toBe(5);
    expect(story.tick(1, { verdict: { ...CALM, proven: true } }).weight).toBe(50);
  });

  test("takes no proof and no requests of another step", () => {
    const story = new Story({ steps: [5, 50, 100], until: "proven" }).at(0);
    const proof = { verdict: { ...CALM, proven: true }, stepSinceMs: story.state.stepSinceMs };
    expect(story.tick(1, proof).weight).toBe(50);
    expect(story.tick(60 * MINUTE_MS, proof).weight).toBe(50);
  });

  test("begins no weight in the millisecond of its start: evidence is told apart by it", () => {
    const story = new Story().person("start").tick(0);
    expect(story.weight).toBe(0);
    expect(story.tick(1).weight).toBe(5);
  });

  test("does nothing in a state that did not change", () => {
    const story = new Story().at(1);
    const before = story.state;
    expect(story.tick(1000).state).toBe(before);
  });

  test("is held after the last step when that is below 100 %", () => {
    const story = new Story({ steps: [5, 50] }).at(1).tick(5 * MINUTE_MS);
    expect(story.state).toMatchObject({ phase: "held", heldBy: "plan", candidateShares: 50_000 });
    expect(story.tick(60 * MINUTE_MS).phase).toBe("held");
    expect(story.refusal("resume")).toMatch(/no further step/);
    expect(story.person("promote").weight).toBe(100);
  });
});

describe("the judge", () => {
  test("with doubts holds; when they are gone the step bakes from its beginning", () => {
    const story = new Story().at(0).tick(4 * MINUTE_MS, { verdict: DOUBT });
    expect(story.state).toMatchObject({ phase: "held", heldBy: "judge", candidateShares: 5000 });
    expect(story.state.reason).toBe("the judge (errors): 4 of 50 failed");
    expect(story.tick(60 * MINUTE_MS, { verdict: DOUBT }).effects).toEqual([]);
    expect(story.tick(1).phase).toBe("progressing");
    expect(story.tick(5 * MINUTE_MS - 1).weight).toBe(5);
    expect(story.tick(1).weight).toBe(50);
  });

  test("with doubts before the next weight has the last step baked again", () => {
    const story = new Story(gated("before-step", { steps: [100] })).at(0).tick(5 * MINUTE_MS);
    expect(story.state).toMatchObject({ step: 1, stage: "entering" });
    story.tick(1, { verdict: DOUBT }).tick(1);
    expect(story.state).toMatchObject({
      phase: "progressing",
      step: 0,
      stage: "baking",
      bakeSinceMs: story.nowMs,
    });
  });

  test("cannot be overruled by a resume, but by a promotion", () => {
    const story = new Story().at(0).tick(1, { verdict: DOUBT });
    expect(story.refusal("resume")).toMatch(/by itself.*4 of 50 failed.*promote/);
    expect(story.person("promote").weight).toBe(100);
  });

  test.each<[string, (story: Story) => Story]>([
    ["progressing", (story) => story],
    ["paused", (story) => story.person("pause")],
    ["held", (story) => story.tick(1, { verdict: DOUBT })],
    ["frozen", (story) => story.tick(5 * MINUTE_MS, { frozen: FREEZE })],
    ["waiting for a gate", (story) => story.tick(5 * MINUTE_MS)],
    ["held by a gate", (story) => story.tick(5 * MINUTE_MS).answer("failed")],
    ["promoted", (story) => story.person("promote")],
  ])("rolls back at once while %s", (_, lead) => {
    const story = lead(new Story(gated("after-step")).at(0));
    story.tick(1, { verdict: ALARM, storeOk: false, frozen: FREEZE });
    expect(story.state).toMatchObject({
      phase: "rolled_back",
      candidateShares: 0,
      by: "machine",
      heldBy: null,
    });
    expect(story.state.reason).toMatch(/^rolled back at (5|100) %: the judge \(errors\): 40 of 50 failed$/);
    expect(story.effects[0]).toEqual({ type: "setShares", candidateShares: 0 });
  });

  test("holds a rollout that has no traffic to take back yet", () => {
    const story = new Story().person("start").tick(1, { verdict: ALARM });
    expect(story.state).toMatchObject({ phase: "held", heldBy: "judge" });
    expect(story.tick(1).weight).toBe(5);
  });

  test("is not heard any more after legacy was decommissioned", () => {
    const story = new Story().at(0).person("promote").person("decommission");
    expect(story.tick(1, { verdict: ALARM }).state).toMatchObject({
      phase: "decommissioned",
      candidateShares: 100_000,
    });
    expect(story.person("rolledBack").weight).toBe(0);
  });
});

describe("what can only hold", () => {
  test("evidence that cannot be read holds, until it can", () => {
    const story = new Story().at(0).tick(10 * MINUTE_MS, { storeOk: false });
    expect(story.state).toMatchObject({ phase: "held", heldBy: "evidence", candidateShares: 5000 });
    expect(story.tick(1, { storeOk: false }).phase).toBe("held");
    expect(story.tick(1).state).toMatchObject({ phase: "progressing", bakeSinceMs: story.nowMs });
  });

  test("differences that are not proved to be few let no weight above the bound begin", () => {
    const story = new Story({ steps: [5, 50, 100], differences: { above: 5, below: 0.1 } });
    story.person("start").tick(1);
    expect(story.weight).toBe(5);
    story.tick(10 * MINUTE_MS).tick(10 * MINUTE_MS);
    expect(story.state).toMatchObject({ phase: "progressing", candidateShares: 5000, stage: "entering" });
    expect(story.tick(1, { differencesProven: true }).weight).toBe(50);
    // What was proved once may be doubtful again: then the next weight waits again.
    story.tick(10 * MINUTE_MS);
    expect(story.weight).toBe(50);
    expect(story.tick(1, { verdict: ALARM }).state).toMatchObject({
      phase: "rolled_back",
      candidateShares: 0,
    });
  });

  test("a freeze lets no weight begin, and lets the bake go on", () => {
    const story = new Story().at(0).tick(10 * MINUTE_MS, { frozen: FREEZE });
    expect(story.state).toMatchObject({ phase: "progressing", candidateShares: 5000, stage: "entering" });
    expect(story.tick(1, { frozen: FREEZE }).effects).toEqual([]);
    expect(story.tick(1).weight).toBe(50);
  });

  test("a freeze keeps a start from its first weight", () => {
    const story = new Story().person("start").tick(1, { frozen: FREEZE });
    expect([story.phase, story.weight]).toEqual(["progressing", 0]);
    expect(story.tick(1).weight).toBe(5);
  });

  test("the longest duration holds until a person resumes, which grants as much again", () => {
    const story = new Story({ steps: [5, 100], max_duration: "1h" }).at(0);
    story.tick(60 * MINUTE_MS, { candidateRequests: 0 });
    expect(story.state).toMatchObject({ phase: "held", heldBy: "max_duration", candidateShares: 5000 });
    expect(story.tick(MINUTE_MS).phase).toBe("held");
    story.person("resume").tick(59 * MINUTE_MS, { candidateRequests: 0 });
    expect(story.phase).toBe("progressing");
    expect(story.tick(MINUTE_MS, { candidateRequests: 0 }).phase).toBe("held");
  });
});

describe("a person", () => {
  test("pauses and resumes: the weight stays, and the bake has gone on", () => {
    const story = new Story().at(0).tick(MINUTE_MS).person("pause", "lunch");
    expect(story.state).toMatchObject({ phase: "paused", by: "person", reason: "paused by a person: lunch" });
    expect(story.tick(60 * MINUTE_MS).weight).toBe(5);
    expect(story.person("resume").weight).toBe(5);
    expect(story.tick(1).weight).toBe(50);
  });

  test("promotes past every step, gate and freeze", () => {
    const story = new Story(gated("before-promote")).person("start").tick(1, { frozen: FREEZE });
    story.person("promote", "we know");
    expect(story.state).toMatchObject({ phase: "promoted", candidateShares: 100_000, by: "person" });
    expect(story.effects.map(({ type }) => type)).toEqual(["setShares", "announce"]);
  });

  test("rolls back in any phase, before the first weight too", () => {
    const story = new Story().person("start").person("pause").person("rolledBack");
    expect([story.phase, story.weight]).toEqual(["rolled_back", 0]);
    const before = story.state;
    expect(story.person("rolledBack").state).toBe(before);
  });

  test("starts again from the first step after a rollback, and nothing else starts again", () => {
    const story = new Story().at(2).tick(1, { verdict: ALARM });
    expect(story.tick(60 * MINUTE_MS).effects).toEqual([]);
    expect(story.person("start").tick(1).state).toMatchObject({ runId: 2, step: 0, candidateShares: 5000 });
  });

  const running = (story: Story) => story.at(0);
  test.each<[PersonEvent["type"], string, (story: Story) => Story, RegExp]>([
    ["pause", "was never started", (story) => story, /start it first/],
    ["promote", "was never started", (story) => story, /start it first/],
    ["abort", "was never started", (story) => story, /start it first/],
    ["start", "is under way", running, /pause, promote or abort/],
    ["resume", "is under way", running, /under way/],
    ["decommission", "is under way", running, /under way/],
    ["pause", "is paused", (story) => running(story).person("pause"), /resume, promote or abort/],
    ["resume", "was rolled back", (story) => running(story).person("rolledBack"), /start it again/],
    ["promote", "was aborted", (story) => running(story).person("abort"), /start it again/],
    ["abort", "is promoted", (story) => running(story).person("promote"), /roll it back/],
    ["start", "is promoted", (story) => running(story).person("promote"), /roll it back/],
    [
      "start",
      "is decommissioned",
      (story) => running(story).person("promote").person("decommission"),
      /over/,
    ],
  ])("cannot %s a rollout that %s", (wish, _, lead, advice) => {
    expect(lead(new Story()).refusal(wish)).toMatch(advice);
  });
});

describe("a plan that changes under way", () => {
  test("is followed from the step with the same weight", () => {
    const story = new Story().at(1);
    story.plan = planOf({ steps: [1, 5, 10, 50, 60] });
    expect(story.tick(5 * MINUTE_MS).state).toMatchObject({ step: 4, candidateShares: 60_000 });
  });

  test("and has no step with that weight holds, until a person resumes to the next higher one", () => {
    const story = new Story().at(1);
    story.plan = planOf({ steps: [40, 80] });
    expect(story.tick(60 * MINUTE_MS).state).toMatchObject({
      phase: "held",
      heldBy: "plan",
      candidateShares: 50_000,
    });
    expect(story.state.reason).toMatch(/no step with 50 %; resume to go on with 80 %/);
    expect(story.tick(60 * MINUTE_MS).phase).toBe("held");
    expect(story.person("resume").tick(1).weight).toBe(80);
  });
});
