/** The latency histogram: bounds, buckets and quantiles. */
import { describe, expect, test } from "vitest";
import {
  LATENCY_BOUNDS_US,
  LATENCY_BUCKETS,
  latencyBucket,
  latencyQuantileMs,
} from "../../../src/domain/latency.ts";

function counts(...durationsUs: number[]): Float64Array {
  const buckets = new Float64Array(LATENCY_BUCKETS);
  for (const us of durationsUs) buckets[latencyBucket(us)] = (buckets[latencyBucket(us)] ?? 0) + 1;
  return buckets;
}

describe("bounds", () => {
  test("ascend from 100 microseconds to 90 seconds without a repeat", () => {
    expect(LATENCY_BOUNDS_US[0]).toBe(100);
    expect(LATENCY_BOUNDS_US.at(-1)).toBe(90_000_000);
    for (let i = 1; i < LATENCY_BOUNDS_US.length; i++) {
      expect(LATENCY_BOUNDS_US[i]).toBeGreaterThan(LATENCY_BOUNDS_US[i - 1] ?? Infinity);
    }
  });

  test("are at most 17 percent apart", () => {
    for (let i = 1; i < LATENCY_BOUNDS_US.length; i++) {
      const ratio = (LATENCY_BOUNDS_US[i] ?? Infinity) / (LATENCY_BOUNDS_US[i - 1] ?? 1);
      expect(ratio).toBeLessThanOrEqual(7 / 6 + 1e-9);
    }
  });
});

describe("buckets", () => {
  test("a duration falls into the first bucket whose bound is not below it", () => {
    for (const us of [
      0, 1, 99, 100, 101, 110, 999, 1000, 5_000_001, 89_999_999, 90_000_000, 90_000_001, 1e12,
    ]) {
      const naive = LATENCY_BOUNDS_US.findIndex((bound) => us <= bound);
      expect(latencyBucket(us)).toBe(naive === -1 ? LATENCY_BUCKETS - 1 : naive);
    }
  });
});

describe("quantiles", () => {
  test("an empty histogram has none", () => {
    expect(latencyQuantileMs(new Float64Array(LATENCY_BUCKETS), 0.5)).toBeNull();
  });

  test("one duration is every quantile, rounded up to its bound", () => {
    expect(latencyQuantileMs(counts(4200), 0)).toBe(4.5);
    expect(latencyQuantileMs(counts(4200), 0.5)).toBe(4.5);
    expect(latencyQuantileMs(counts(4200), 1)).toBe(4.5);
  });

  test("the 99th of a hundred is the second longest", () => {
    const durations = Array.from({ length: 98 }, () => 1000);
    expect(latencyQuantileMs(counts(...durations, 50_000, 2_000_000), 0.99)).toBe(50);
    expect(latencyQuantileMs(counts(...durations, 50_000, 2_000_000), 0.995)).toBe(2000);
  });

  test("what is above the last bound has no upper bound", () => {
    expect(latencyQuantileMs(counts(91_000_000), 0.5)).toBe(Infinity);
  });
});
