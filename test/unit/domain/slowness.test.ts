/** Thresholds of slow answers: from ten minutes before, never from the tick itself. */
import { describe, expect, test } from "vitest";
import { latencyBucket } from "../../../src/domain/latency.ts";
import { countAbove, SLOW_EVENTS, SlowThresholds, thresholdMs } from "../../../src/domain/slowness.ts";

function at(thresholds: SlowThresholds, second: number): readonly (number | null)[] {
  return thresholds.at(second).map((threshold) => (threshold === null ? null : thresholdMs(threshold)));
}

/** `answers` of 1 to 100 ms, evenly. */
function even(answers: number): [number, number][] {
  return Array.from({ length: 100 }, (_, i) => [latencyBucket((i + 1) * 1000), answers / 100]);
}

describe("thresholds", () => {
  test("are the quantiles of what came before, on bounds of buckets", () => {
    const thresholds = new SlowThresholds();
    thresholds.add(5, even(2000));
    expect(at(thresholds, 9)).toEqual([null, null, null, null]);
    expect(at(thresholds, 10)).toEqual([50, 90, 100, 200]);
  });

  test("wait until twenty answers are expected above the quantile", () => {
    const thresholds = new SlowThresholds();
    thresholds.add(0, even(100));
    expect(at(thresholds, 10)).toEqual([50, null, null, null]);
    thresholds.add(10, even(100));
    expect(at(thresholds, 20)).toEqual([50, 90, null, null]);
    thresholds.add(20, even(1700));
    expect(at(thresholds, 30)).toEqual([50, 90, null, null]);
    thresholds.add(30, even(100));
    expect(at(thresholds, 40)).toEqual([50, 90, 100, 200]);
  });

  test("forget what is older than ten minutes, a little at a time or all at once", () => {
    const thresholds = new SlowThresholds();
    thresholds.add(5, even(2000));
    thresholds.add(15, [[latencyBucket(1000), 2000]]);
    expect(at(thresholds, 609)[2]).toBe(100);
    expect(at(thresholds, 610)).toEqual([1, 1, 1, 2]);
    expect(at(thresholds, 620)).toEqual([null, null, null, null]);
    thresholds.add(620, even(2000));
    expect(at(thresholds, 100_000)).toEqual([null, null, null, null]);
    thresholds.add(100_000, even(2000));
    expect(at(thresholds, 100_010)[0]).toBe(50);
  });

  test("above the last bound nothing is slower", () => {
    const thresholds = new SlowThresholds();
    thresholds.add(0, [[latencyBucket(1e12), 5000]]);
    expect(at(thresholds, 10)).toEqual([Infinity, Infinity, Infinity, Infinity]);
    expect(countAbove([[latencyBucket(1e12), 7]], thresholds.at(10)[0] ?? -1)).toBe(0);
  });
});

test("slower means a later bucket than the threshold's", () => {
  expect(SLOW_EVENTS).toHaveLength(4);
  expect(
    countAbove(
      [
        [3, 10],
        [4, 20],
        [5, 40],
      ],
      4,
    ),
  ).toBe(40);
  expect(
    countAbove(
      [
        [3, 10],
        [4, 20],
        [5, 40],
      ],
      -1,
    ),
  ).toBe(70);
});
