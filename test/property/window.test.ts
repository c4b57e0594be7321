/** Properties of counter arithmetic: against naive models, for any counters and any order of events. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { FaultCode } from "../../src/base/fault.ts";
import { LATENCY_BUCKETS } from "../../src/domain/latency.ts";
import {
  deltaOf,
  NO_SAMPLE,
  SecondRing,
  sumOf,
  WINDOW_SECONDS_MAX,
  type Sample,
} from "../../src/domain/window.ts";

const count = fc.nat({ max: 1_000_000 });
// Beyond 32 bits on purpose: totals are doubles and must not wrap.
const large = fc.nat({ max: 2 ** 45 });
const faults: fc.Arbitrary<FaultCode> = fc.constantFrom(
  "UPSTREAM_RESET",
  "POOL_FULL",
  "CLIENT_GONE",
  "NO_ROUTE",
);

function counts<Key>(key: fc.Arbitrary<Key>): fc.Arbitrary<[Key, number][]> {
  return fc
    .uniqueArray(fc.tuple(key, fc.integer({ min: 1, max: 2 ** 40 })), {
      selector: ([one]) => one,
      maxLength: 12,
    })
    .map((pairs) => pairs.toSorted(([a], [b]) => Number(a) - Number(b)));
}

const sample: fc.Arbitrary<Sample> = fc.record({
  started: large,
  finished: large,
  aborted: large,
  failures: large,
  retries: large,
  durationUsSum: large,
  codes: counts(fc.integer({ min: 100, max: 999 })),
  latency: counts(fc.integer({ min: 0, max: LATENCY_BUCKETS - 1 })),
  faults: counts(faults),
  judged: fc.record({
    requests: large,
    failures: large,
    latency: counts(fc.integer({ min: 0, max: LATENCY_BUCKETS - 1 })),
  }),
});

/** Order of faults does not matter. */
function sorted(value: Sample): Sample {
  return { ...value, faults: value.faults.toSorted(([a], [b]) => a.localeCompare(b)) };
}

test("what was added is the difference: a total plus a delta gives the next total", () => {
  fc.assert(
    fc.property(sample, sample, (before, added) => {
      const now = sumOf(before, added);
      expect(sorted(deltaOf(now, before))).toEqual(sorted(added));
      expect(sorted(sumOf(before, deltaOf(now, before)))).toEqual(sorted(now));
    }),
  );
});

test("sums do not depend on the order, and nothing added changes nothing", () => {
  fc.assert(
    fc.property(sample, sample, sample, (a, b, c) => {
      expect(sorted(sumOf(a, b))).toEqual(sorted(sumOf(b, a)));
      expect(sorted(sumOf(sumOf(a, b), c))).toEqual(sorted(sumOf(a, sumOf(b, c))));
      expect(sumOf(a, NO_SAMPLE)).toEqual(a);
      expect(deltaOf(a, a)).toEqual(NO_SAMPLE);
    }),
  );
});

test("a sample of a version that counted no evidence is one with none", () => {
  fc.assert(
    fc.property(sample, sample, (old, other) => {
      const { judged: _, ...told } = old;
      const none = { ...old, judged: NO_SAMPLE.judged };
      expect(sumOf(told, other)).toEqual(sumOf(none, other));
      expect(deltaOf(other, told)).toEqual(deltaOf(other, none));
      expect(deltaOf(told, other)).toEqual(deltaOf(none, other));
    }),
  );
});

test("counts stay ascending and positive, whatever is added or taken off", () => {
  fc.assert(
    fc.property(sample, sample, (a, b) => {
      for (const result of [sumOf(a, b), deltaOf(a, b)]) {
        expect(Math.min(result.judged.requests, result.judged.failures)).toBeGreaterThanOrEqual(0);
        for (const list of [result.codes, result.latency, result.judged.latency]) {
          for (const [at, [key, value]] of list.entries()) {
            expect(value).toBeGreaterThan(0);
            if (at > 0) expect(key).toBeGreaterThan(list[at - 1]?.[0] ?? Infinity);
          }
        }
      }
    }),
  );
});

test("a ring of seconds agrees with a list of everything that happened", () => {
  const step = fc.record({
    wait: fc.nat({ max: 40 }),
    finished: count,
    bucket: fc.nat({ max: LATENCY_BUCKETS - 1 }),
  });
  const seconds = fc.integer({ min: 0, max: WINDOW_SECONDS_MAX });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), seconds, fc.nat({ max: 100 }), (steps, window, later) => {
      const ring = new SecondRing();
      const happened: { second: number; finished: number }[] = [];
      let second = 0;
      for (const { wait, finished, bucket } of steps) {
        second += wait;
        ring.add(second, { ...NO_SAMPLE, finished, latency: finished === 0 ? [] : [[bucket, finished]] });
        happened.push({ second, finished });
      }
      const now = second + later;
      const naive = happened
        .filter((event) => event.second >= now - window)
        .reduce((sum, event) => sum + event.finished, 0);
      expect(ring.requests(now, window)).toBe(naive);
      expect(ring.figures(now, window).requests).toBe(naive);
    }),
  );
});
