/** The judge of a route: what makes it hold, roll back and believe, and what must not. */
import { describe, expect, test } from "vitest";
import { JUDGE_DEFAULTS, RouteJudge, type JudgePolicy, type Side } from "../../../src/domain/judge.ts";
import { latencyBucket } from "../../../src/domain/latency.ts";
import type { Counts } from "../../../src/domain/window.ts";
import type { Verdict } from "../../../src/domain/verdict.ts";

function side(requests: number, failures = 0, latency: Counts = []): Side {
  return { requests, failures, latency };
}

/** A judge and its time: each step is a tick of a second. */
class Bench {
  readonly judge: RouteJudge;
  #nowMs = 0;

  constructor(policy: Partial<JudgePolicy> = {}) {
    this.judge = new RouteJudge({ ...JUDGE_DEFAULTS, ...policy });
  }

  /** A tick with the candidate at a weight. */
  tick(candidateShare: number, legacy: Side, candidate: Side, ms = 1000): Verdict {
    this.#nowMs += ms;
    return this.judge.tick({ nowMs: this.#nowMs, candidateShare, legacy, candidate });
  }

  /** The same tick again and again; the last verdict. */
  ticks(times: number, candidateShare: number, legacy: Side, candidate: Side): Verdict {
    let verdict = this.tick(candidateShare, legacy, candidate);
    for (let i = 1; i < times; i++) verdict = this.tick(candidateShare, legacy, candidate);
    return verdict;
  }

  /** Ticks until the action changes; how many that took, Infinity if it did not within an hour. */
  until(action: Verdict["action"], candidateShare: number, legacy: Side, candidate: Side): number {
    for (let i = 1; i <= 3600; i++)
      if (this.tick(candidateShare, legacy, candidate).action === action) return i;
    return Infinity;
  }
}

/** Answers of one millisecond for most and of `ms` for `slow` of them. */
function answers(count: number, slow = 0, ms = 1000): Counts {
  const quick: [number, number][] = Array.from({ length: 10 }, (_, i) => [
    latencyBucket((i + 1) * 1000),
    (count - slow) / 10,
  ]);
  return slow === 0 ? quick : [...quick, [latencyBucket(ms * 1000), slow]];
}

describe("errors", () => {
  test("a candidate that fails more often is held first, then rolled back, and stays so", () => {
    const bench = new Bench();
    const actions = Array.from({ length: 20 }, () => bench.tick(0.05, side(95, 1), side(5, 1)).action);
    expect(actions[0]).toBe("none");
    expect(actions.filter((action, i) => action !== actions[i - 1])).toEqual(["none", "hold", "rollback"]);
    const verdict = bench.ticks(600, 0.05, side(95, 5), side(5));
    expect(verdict).toMatchObject({ action: "rollback", signal: "errors", proven: false });
  });

  test("both sides may fail as much as they like, as long as they do alike", () => {
    const bench = new Bench();
    expect(bench.until("rollback", 0.25, side(75, 30), side(25, 10))).toBe(Infinity);
  });

  test("both sides that fail alike are held above the margin, until that is over", () => {
    const bench = new Bench();
    expect(bench.until("hold", 0.25, side(75, 1), side(25, 0))).toBe(Infinity);
    expect(bench.until("hold", 0.25, side(75, 30), side(25, 10))).toBeLessThan(3);
    const held = bench.ticks(600, 0.25, side(75, 30), side(25, 10));
    expect(held).toMatchObject({ action: "hold", signal: "errors", figures: { isAboveMargin: true } });
    expect(held.figures.hold.all).toBeLessThan(10);
    expect(bench.until("none", 0.25, side(75), side(25))).toBeLessThan(60);
    const unmindful = new Bench({ on: ["latency"] });
    expect(unmindful.until("hold", 0.25, side(75, 30), side(25, 10))).toBe(Infinity);
    const wide = new Bench({ margin: 0.4 });
    expect(wide.until("hold", 0.25, side(75, 30), side(25, 10))).toBe(Infinity);
    wide.judge.beginStage(1, 0.1);
    expect(wide.until("hold", 0.25, side(75, 30), side(25, 10))).toBeLessThan(10);
  });

  test("one failure among few requests never acts", () => {
    for (const share of [0.00001, 0.01, 0.5, 1]) {
      expect(new Bench().tick(share, side(0), side(1, 1)).action).toBe("none");
    }
  });

  test("the share is the larger of the weight and what the last minute really was", () => {
    const honest = new Bench();
    const misrouted = new Bench();
    // Half of the requests and of the failures are the candidate's, whatever its weight.
    expect(honest.until("rollback", 0.5, side(50, 1), side(50, 1))).toBe(Infinity);
    expect(misrouted.until("rollback", 0.05, side(50, 1), side(50, 1))).toBe(Infinity);
    // The weight counts at once where the traffic has not followed yet.
    const early = new Bench();
    early.ticks(60, 0.05, side(95), side(5));
    expect(early.until("rollback", 0.5, side(50, 1), side(50, 1))).toBe(Infinity);
  });

  test("without traffic nothing changes but the last minute", () => {
    const bench = new Bench();
    const before = bench.ticks(3, 0.05, side(95, 1), side(5, 1)).figures;
    const after = bench.ticks(300, 0.05, side(0), side(0)).figures;
    const { recent } = after;
    expect(after).toEqual({ ...before, candidatePerSecond: 0, recent });
    expect(before.recent.candidate).toMatchObject({ requests: 15, failures: 3 });
    expect(recent.candidate).toMatchObject({ requests: 0, failures: 0 });
    expect(before.rollback.all).toBeGreaterThan(1);
  });

  test("a tolerance of the policy lets through what is within it", () => {
    const strict = new Bench({ tolerance: 1.5 });
    const lenient = new Bench({ tolerance: 10 });
    expect(strict.until("rollback", 0.5, side(100, 1), side(100, 6))).toBeLessThan(60);
    expect(lenient.until("rollback", 0.5, side(100, 1), side(100, 6))).toBe(Infinity);
  });

  test("signals that are off are shown and do nothing", () => {
    const bench = new Bench({ on: [] });
    const verdict = bench.ticks(60, 0.05, side(95), side(5, 5));
    expect(verdict.action).toBe("none");
    expect(verdict.figures.rollback).toMatchObject({ errors: 10, all: 0 });
  });
});

describe("where legacy has almost no errors", () => {
  test("a candidate below the floor is held, and above it rolled back, however long it was held", () => {
    for (const minutes of [10, 600]) {
      const bench = new Bench();
      let held: Verdict | null = null;
      for (let i = 0; i < 60 * minutes; i++) held = bench.tick(0.25, side(750), side(250, i % 2));
      expect(held).toMatchObject({ action: "hold", signal: "errors", figures: { rollback: { all: 10 } } });
      expect(bench.until("rollback", 0.25, side(750), side(250, 10))).toBeLessThan(10);
    }
  });

  test("before that was shown, with a floor of zero and with errors of legacy it is left to the ratio", () => {
    expect(new Bench().until("rollback", 0.25, side(75), side(25, 1))).toBeLessThan(30);
    const zero = new Bench({ floor: 0 });
    zero.ticks(60, 0.25, side(750), side(250));
    expect(zero.until("rollback", 0.25, side(750), side(250, 1))).toBeLessThan(30);
    const failing = new Bench();
    failing.ticks(60, 0.25, side(750, 1), side(250));
    expect(failing.until("rollback", 0.25, side(750), side(250, 1))).toBeLessThan(60);
  });
});

describe("latency", () => {
  const quick = side(100, 0, answers(100));

  test("a slow candidate is rolled back for latency, and not at all where latency is off", () => {
    for (const [on, action] of [
      [["errors", "latency"], "rollback"],
      [["latency"], "rollback"],
      [["errors"], "none"],
    ] as const) {
      const bench = new Bench({ on });
      bench.ticks(60, 0.5, quick, quick);
      // Both fail alike, so that errors could be named and are not.
      const failing = side(100, 1, answers(100));
      const verdict = bench.ticks(60, 0.5, failing, side(100, 1, answers(100, 50)));
      expect(verdict).toMatchObject({ action, signal: action === "none" ? null : "latency" });
      expect(verdict.figures.rollback.latency).toBe(10);
      expect(verdict.figures.slow.at(-1)).toMatchObject({
        event: "2 x p99",
        thresholdMs: 20,
        legacy: { slow: 0 },
      });
    }
  });

  test("there is none to judge before legacy has shown what is normal", () => {
    const bench = new Bench();
    const verdict = bench.ticks(9, 0.5, quick, side(100, 0, answers(100, 100)));
    expect(verdict.action).toBe("none");
    expect(verdict.figures.slow.map(({ thresholdMs }) => thresholdMs)).toEqual([null, null, null, null]);
    expect(verdict.figures.rollback.latency).toBe(0);
  });

  test("a signal that shares the mean needs more evidence to fire alone, and says so in its score", () => {
    const scores = (["latency", "errors"] as const).map((other) => {
      const bench = new Bench({
        on: ["errors", other].slice(other === "errors" ? 1 : 0) as JudgePolicy["on"],
      });
      bench.ticks(60, 0.5, quick, quick);
      return bench.ticks(10, 0.5, quick, side(100, 1, answers(100))).figures.rollback;
    });
    const ofTwo = scores[0] ?? { all: NaN, errors: NaN };
    expect(ofTwo.errors).toBeLessThan(scores[1]?.errors ?? NaN);
    expect(ofTwo.errors).toBeGreaterThan(1);
    expect(ofTwo.errors).toBeCloseTo(ofTwo.all, 1);
    expect(scores[1]?.errors).toBe(scores[1]?.all);
  });

  test("both sides may slow down together", () => {
    const bench = new Bench();
    bench.ticks(60, 0.5, quick, quick);
    const slow = side(100, 0, answers(100, 50));
    expect(bench.ticks(300, 0.5, slow, slow).action).toBe("none");
  });
});

describe("at 0 %", () => {
  test("nothing is judged, and what still comes from the candidate is ignored", () => {
    const bench = new Bench();
    bench.ticks(20, 0.05, side(95, 1), side(5, 2));
    const verdict = bench.ticks(60, 0, side(95, 1), side(5, 5));
    expect(verdict).toMatchObject({ action: "none", signal: null });
    const { figures } = bench.tick(0.05, side(95), side(5));
    expect(figures.candidate).toMatchObject({ requests: 5, failures: 0 });
    expect(figures.rollback.all).toBe(0);
    expect(figures.candidatePerSecond).toBeLessThan(5);
  });

  test("what was spent stays spent: the second try needs more evidence than the first", () => {
    const bench = new Bench();
    const first = bench.until("rollback", 0.05, side(95, 1), side(5, 1));
    bench.ticks(2, 0, side(100), side(0));
    const second = bench.until("rollback", 0.05, side(95, 1), side(5, 1));
    expect(second).toBeGreaterThan(first);
    bench.ticks(2, 0, side(100), side(0));
    bench.judge.beginStage(1);
    expect(bench.until("rollback", 0.05, side(95, 1), side(5, 1))).toBe(first);
  });

  test("a planned stage renews what holds may spend as well", () => {
    const bench = new Bench();
    const holds = [0, 1, 2].map((stage) => {
      bench.ticks(2, 0, side(100), side(0));
      // The second try is not planned.
      if (stage !== 1) bench.judge.beginStage(stage);
      return bench.until("hold", 0.05, side(95, 1), side(5, 1));
    });
    expect(holds[1]).toBeGreaterThan(holds[0] ?? Infinity);
    expect(holds[2]).toBe(holds[0]);
  });
});

describe("at 100 %", () => {
  test("the candidate may fail three times as often as legacy did, and half a percent in any case", () => {
    const bench = new Bench();
    bench.ticks(200, 0.5, side(100, 2), side(100, 2));
    bench.judge.beginStage(1);
    expect(bench.until("rollback", 1, side(0), side(100, 5))).toBe(Infinity);
    expect(bench.until("rollback", 1, side(0), side(100, 30))).toBeLessThan(10);
    const fresh = new Bench();
    fresh.ticks(600, 1, side(0), side(400, 1));
    expect(fresh.tick(1, side(0), side(1)).action).toBe("none");
    expect(fresh.until("rollback", 1, side(0), side(100, 5))).toBeLessThan(10);
  });

  test("what legacy did is remembered over a stage without it", () => {
    const bench = new Bench();
    bench.ticks(200, 0.5, side(100, 2), side(100, 2));
    for (const stage of [1, 2]) {
      bench.judge.beginStage(stage);
      // The weight follows a moment later: a handful of requests tells nothing of legacy.
      bench.tick(stage === 1 ? 0.5 : 1, side(3), side(3));
      expect(bench.ticks(100, 1, side(0), side(100, 5)).action).toBe("none");
    }
    bench.judge.beginStage(3);
    expect(bench.until("rollback", 1, side(0), side(100, 30))).toBeLessThan(10);
    bench.judge.beginStage(4);
    // Back to a comparison, which knows nothing of the time without one.
    const verdict = bench.tick(0.5, side(100, 1), side(100, 1));
    expect(verdict.action).toBe("none");
    expect(verdict.figures.rollback.all).toBeLessThan(1);
  });
});

test("a comparison knows nothing of the one before the candidate was alone", () => {
  const bench = new Bench();
  expect(bench.ticks(4, 0.05, side(95, 1), side(5, 1)).figures.rollback.all).toBeGreaterThan(2);
  bench.tick(1, side(0), side(100));
  expect(bench.tick(0.05, side(95), side(5)).figures.rollback.all).toBe(0);
});

describe("stages", () => {
  test("a planned one renews everything once, a change of the weight nothing", () => {
    const bench = new Bench();
    const before = bench.ticks(4, 0.05, side(95, 1), side(5, 1)).figures;
    const moved = bench.tick(0.06, side(95), side(5)).figures;
    expect(moved.rollback).toEqual(before.rollback);
    bench.judge.beginStage(0);
    expect(bench.tick(0.06, side(95), side(5)).figures.rollback).toEqual(before.rollback);
    bench.judge.beginStage(7, 0.02);
    const { figures } = bench.tick(0.06, side(95), side(5));
    expect(figures).toMatchObject({
      stage: 7,
      margin: 0.02,
      rollback: { all: 0 },
      candidate: { requests: 5 },
    });
    bench.judge.beginStage(6, 0.5);
    expect(bench.tick(0.06, side(95), side(5)).figures).toMatchObject({ stage: 7, margin: 0.02 });
  });

  test("the proof is one of the stage, and a hold undoes it", () => {
    const bench = new Bench();
    const proven = bench.ticks(37, 0.05, side(190), side(10));
    expect(proven).toMatchObject({ action: "none", proven: true, figures: { requestsToProof: 0 } });
    expect(bench.ticks(100, 0, side(200), side(0)).proven).toBe(true);
    bench.judge.beginStage(1);
    const begun = bench.tick(0.05, side(190), side(10));
    expect(begun).toMatchObject({ proven: false, figures: { requestsToProof: 360 } });
    bench.ticks(40, 0.05, side(190), side(10));
    expect(bench.until("hold", 0.05, side(190, 1), side(10, 1))).toBeLessThan(10);
    expect(bench.tick(0.05, side(190), side(10)).proven).toBe(false);
  });
});

describe("a hold", () => {
  test("after a burst that is over ends, although nothing fails any more that it could be compared with", () => {
    const bench = new Bench();
    bench.ticks(60, 0.05, side(475), side(25));
    expect(bench.until("hold", 0.05, side(475), side(25, 1))).toBeLessThan(20);
    // One more failure after it began: from then on legacy is better for good.
    bench.tick(0.05, side(475), side(25, 1));
    expect(bench.until("none", 0.05, side(475), side(25))).toBeLessThan(600);
  });

  test("ends without any failures once the candidate was proven anew and is no worse", () => {
    const bench = new Bench();
    bench.until("hold", 0.05, side(190, 1), side(10, 1));
    expect(bench.ticks(36, 0.05, side(190), side(10)).action).toBe("hold");
    expect(bench.tick(0.05, side(190), side(10))).toMatchObject({ action: "none", proven: true });
  });

  test("does not end by a proof while the candidate fails more often than legacy", () => {
    const bench = new Bench({ tolerance: 50 });
    bench.until("hold", 0.5, side(1000, 1), side(1000, 5));
    expect(bench.ticks(600, 0.5, side(1000, 1), side(1000, 5))).toMatchObject({
      action: "hold",
      proven: false,
    });
  });

  test("ends when its evidence has come down to a tenth of the bar, not before", () => {
    const bench = new Bench({ tolerance: 50, margin: 0.1 });
    bench.until("hold", 0.5, side(100, 2), side(100, 10));
    const scores: number[] = [];
    for (let verdict = bench.tick(0.5, side(50, 5), side(50, 5)); verdict.action === "hold";) {
      scores.push(verdict.figures.hold.all);
      verdict = bench.tick(0.5, side(50, 5), side(50, 5));
    }
    expect(scores.length).toBeGreaterThan(1);
    // ln 0.1 of the first stake's ln 0.005: 5.66 of 10.
    expect(Math.min(...scores)).toBeGreaterThan(5.6);
    expect(Math.min(...scores)).toBeLessThan(8);
  });
});

describe("a long hold", () => {
  test("comes down as soon as a short one", () => {
    const lengths = [60, 3000].map((seconds) => {
      const bench = new Bench({ tolerance: 50, margin: 0.04 });
      bench.ticks(seconds, 0.5, side(100, 2), side(100, 10));
      return bench.until("none", 0.5, side(100, 4), side(100, 4));
    });
    expect(lengths[1]).toBe(lengths[0]);
    expect(lengths[1]).toBeLessThan(60);
  });
});

describe("input that can't be", () => {
  test("decides nothing where it is a count, and is a bug where it is a time or a share", () => {
    const bench = new Bench();
    for (const count of [NaN, -1, -Infinity, 0.5]) {
      expect(bench.ticks(20, 0.05, side(count, count), side(count, 3)).action).toBe("none");
    }
    expect(
      bench.tick(
        0.05,
        side(1),
        side(1, 0, [
          [-1, 5],
          [NaN, 5],
          [1e9, 5],
          [3, NaN],
        ]),
      ).action,
    ).toBe("none");
    for (const share of [NaN, -0.1, 1.1])
      expect(() => bench.tick(share, side(1), side(1))).toThrow("a share");
    expect(() => bench.tick(0.5, side(1), side(1), NaN)).toThrow("time is a number");
  });

  test("time that goes back is the last second that was known", () => {
    const bench = new Bench();
    bench.ticks(100, 0.05, side(95), side(5));
    expect(bench.tick(0.05, side(95, 1), side(5, 1), -50_000).figures.candidatePerSecond).toBeCloseTo(
      5.08,
      1,
    );
  });
});
