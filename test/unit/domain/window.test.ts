/** Sums, deltas and the ring of seconds, by example. */
import { describe, expect, test } from "vitest";
import { latencyBucket } from "../../../src/domain/latency.ts";
import {
  deltaOf,
  inFlightOf,
  LATENCY_MS_MAX,
  NO_FIGURES,
  NO_SAMPLE,
  SecondRing,
  sumOf,
  WINDOW_SECONDS_MAX,
  type Sample,
} from "../../../src/domain/window.ts";

function sample(part: Partial<Sample>): Sample {
  return { ...NO_SAMPLE, ...part };
}

function answers(finished: number, us: number): Sample {
  return sample({ finished, latency: [[latencyBucket(us), finished]] });
}

describe("sums and deltas", () => {
  test("a sum merges counts by their key, in ascending order", () => {
    const a = sample({
      started: 3,
      codes: [
        [200, 2],
        [503, 1],
      ],
      faults: [["UPSTREAM_RESET", 1]],
    });
    const b = sample({
      started: 4,
      codes: [
        [101, 1],
        [200, 3],
        [404, 5],
      ],
      faults: [
        ["UPSTREAM_RESET", 2],
        ["POOL_FULL", 1],
      ],
    });
    const sum = sumOf(a, b);
    expect(sum.started).toBe(7);
    expect(sum.codes).toEqual([
      [101, 1],
      [200, 5],
      [404, 5],
      [503, 1],
    ]);
    expect(sum.faults).toEqual([
      ["UPSTREAM_RESET", 3],
      ["POOL_FULL", 1],
    ]);
  });

  test("a delta leaves out what did not change", () => {
    const before = sample({ finished: 3, codes: [[200, 3]], latency: [[5, 3]] });
    const now = sample({
      finished: 5,
      codes: [
        [200, 3],
        [500, 2],
      ],
      latency: [
        [5, 3],
        [9, 2],
      ],
    });
    expect(deltaOf(now, before)).toEqual(sample({ finished: 2, codes: [[500, 2]], latency: [[9, 2]] }));
  });

  test("a delta never takes anything away, even when the totals went back", () => {
    const before = sample({ started: 9, finished: 9, codes: [[200, 9]], faults: [["LOOP", 2]] });
    expect(deltaOf(NO_SAMPLE, before)).toEqual(NO_SAMPLE);
  });

  test("what began and has neither been answered nor given up is in flight", () => {
    expect(inFlightOf(sample({ started: 10, finished: 6, aborted: 1 }))).toBe(3);
    expect(inFlightOf(sample({ started: 1, finished: 2 }))).toBe(0);
  });
});

describe("the ring of seconds", () => {
  test("a window has the second under way and so many whole ones before it", () => {
    const ring = new SecondRing();
    for (let second = 100; second <= 120; second++) ring.add(second, answers(1, 1000));
    expect(ring.requests(120, 10)).toBe(11);
    expect(ring.requests(120, 0)).toBe(1);
    expect(ring.requests(125, 10)).toBe(6);
    expect(ring.requests(131, 10)).toBe(0);
  });

  test("old seconds make room for new ones", () => {
    const ring = new SecondRing();
    ring.add(0, answers(1000, 1000));
    for (let second = 1; second <= 200; second++) ring.add(second, answers(1, 1000));
    expect(ring.requests(200, WINDOW_SECONDS_MAX)).toBe(61);
    expect(ring.newestSecond).toBe(200);
  });

  test("figures count failures and requests that were given up, and take quantiles of what was answered", () => {
    const ring = new SecondRing();
    ring.add(7, answers(98, 2000));
    ring.add(8, sample({ finished: 2, aborted: 3, failures: 4, latency: [[latencyBucket(500_000), 2]] }));
    expect(ring.figures(8, 10)).toEqual({
      requests: 103,
      failures: 4,
      aborted: 3,
      p50Ms: 2,
      p90Ms: 2,
      p99Ms: 500,
    });
  });

  test("an empty window has no quantiles", () => {
    expect(new SecondRing().figures(5, 60)).toEqual(NO_FIGURES);
  });

  test("an answer slower than every bound shows as the last bound, so that JSON can hold it", () => {
    const ring = new SecondRing();
    ring.add(1, answers(1, 500_000_000));
    expect(ring.figures(1, 10).p50Ms).toBe(LATENCY_MS_MAX);
    expect(LATENCY_MS_MAX).toBe(90_000);
  });

  test("what arrives late counts for the newest second", () => {
    const ring = new SecondRing();
    ring.add(50, answers(1, 1000));
    ring.add(40, answers(1, 1000));
    expect(ring.requests(50, 0)).toBe(2);
  });
});
