/** Instances on one store: the traffic of each is in the windows of all. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NO_SAMPLE } from "../../../src/domain/window.ts";
import { known, MembersStage } from "../../support/members_stage.ts";
import { IDLE_WORKER } from "../../support/snapshots.ts";

let stage: MembersStage;

beforeEach(() => {
  stage = new MembersStage();
});

afterEach(async () => {
  await stage.close();
});

describe("the traffic of others", () => {
  test("is in the windows of every instance", async () => {
    const [a, b] = await stage.pair();
    a.serve(10);
    b.serve(32);
    await stage.pass(1_000, a, b);
    await stage.pass(1_000, a, b);
    expect([a.shown(), b.shown(), a.members.counted()]).toEqual([42, 42, 2]);
    expect(a.sampler.totals().cells.map(({ finished }) => finished)).toEqual([10]);
  });

  test("stops when an instance drops out, takes nothing away, and does not come back all at once", async () => {
    const [a, b] = await stage.pair();
    b.serve(5);
    await stage.pass(1_000, b, a);
    b.registry.isAway = true;
    for (let second = 0; second < 8; second++) {
      b.serve(100);
      await stage.pass(1_000, b, a);
    }
    expect([known(a), a.shown()]).toEqual(["a 0", 5]);
    b.registry.isAway = false;
    await stage.pass(1_000, b, a);
    expect([known(a), a.shown()]).toEqual(["a 0, b 0", 5]);
    b.serve(2);
    await stage.pass(1_000, b, a);
    expect(a.shown()).toBe(7);
  });

  test("is not shown all at once after the store was away for long here", async () => {
    const [a, b] = await stage.pair();
    b.serve(5);
    await stage.pass(1_000, b, a);
    a.registry.isAway = true;
    for (let second = 0; second < 20; second++) {
      b.serve(100);
      await stage.pass(1_000, b, a);
    }
    a.registry.isAway = false;
    await stage.pass(1_000, b, a);
    expect(a.shown()).toBe(5);
    b.serve(2);
    await stage.pass(1_000, b, a);
    expect(a.shown()).toBe(7);
  });

  test("begins anew with every run of an instance", async () => {
    const [a, b] = await stage.pair();
    b.serve(5);
    await stage.pass(1_000, b, a);
    b.registry.isAway = true;
    const again = stage.instance("b");
    again.serve(1_000);
    await again.members.start();
    await stage.pass(1_000, again, a);
    expect(a.shown()).toBe(5);
    again.serve(2);
    await stage.pass(1_000, again, a);
    expect(a.shown()).toBe(7);
  });

  test("that does not fit into a word is left out, and a warning says so", async () => {
    const [a] = await stage.pair();
    const counts = Array.from({ length: 130 }, (_, n): [number, number] => [n, 10_000_000_000_000]);
    const judged = { requests: 1, failures: 0, latency: counts };
    const cells = Array.from({ length: 1_500 }, (_, n) => {
      const place = { route: `r${n}`, backend: "old" };
      return { ...NO_SAMPLE, ...place, started: 1, finished: 1, latency: counts, judged };
    });
    a.sampler.report("0.1", IDLE_WORKER, cells);
    await stage.pass(1_000, a);
    expect(a.members.warnings()).toEqual([
      expect.stringMatching(/^the traffic of \d+ pairs of route and backend does not fit into a word: /),
    ]);
  });
});
