/** Properties of the judge and its evidence: what holds for any traffic, any order and any nonsense. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { RatioDetector, Spending } from "../../src/domain/evidence.ts";
import { JUDGE_DEFAULTS, RouteJudge, type Side, type Tick } from "../../src/domain/judge.ts";
import { LATENCY_BUCKETS } from "../../src/domain/latency.ts";

const BUDGET = { falseAlarm: 0.001, runLengthSeconds: 2_592_000 };
const weight = fc.integer({ min: 1, max: 99_999 }).map((shares) => shares / 100_000);
const events = fc.record({ kNew: fc.nat({ max: 20 }), legacy: fc.nat({ max: 20 }) });

function detector(): RatioDetector {
  return new RatioDetector(1.5, new Spending(BUDGET));
}

/** The evidence after ticks of a second each. */
function evidence(stream: readonly { kNew: number; legacy: number }[], w: number): number {
  const one = detector();
  for (const [second, { kNew, legacy }] of stream.entries()) one.add(second, [{ kNew, k: kNew + legacy, w }]);
  return one.logMean;
}

/** Not lower, but for rounding. */
function expectNotBelow(a: number, b: number): void {
  expect(a).toBeGreaterThanOrEqual(b === -Infinity ? b : b - 1e-9 * Math.max(1, Math.abs(b)));
}

const latency: fc.Arbitrary<[number, number][]> = fc
  .uniqueArray(fc.tuple(fc.nat({ max: LATENCY_BUCKETS - 1 }), fc.integer({ min: 1, max: 1000 })), {
    selector: ([bucket]) => bucket,
    maxLength: 6,
  })
  .map((pairs) => pairs.toSorted(([a], [b]) => a - b));

function side(failures: fc.Arbitrary<number>, answers = latency): fc.Arbitrary<Side> {
  return fc.record({ requests: fc.nat({ max: 1000 }), failures, latency: answers });
}

const wait = fc.oneof(fc.constant(250), fc.constant(1000), fc.nat({ max: 3_600_000 }));
const share = fc.oneof(weight, fc.constantFrom(0, 0.05, 0.5, 1));

function ticks(candidate: fc.Arbitrary<Side>, length = 60): fc.Arbitrary<readonly Tick[]> {
  const step = fc.record({ wait, candidateShare: share, legacy: side(fc.nat({ max: 1000 })), candidate });
  return fc.array(step, { maxLength: length }).map((steps) => {
    let nowMs = 0;
    return steps.map(({ wait: ms, ...tick }) => ({ ...tick, nowMs: (nowMs += ms) }));
  });
}

test("a candidate without failures never acts by errors, whatever legacy does", () => {
  fc.assert(
    fc.property(ticks(side(fc.constant(0))), (stream) => {
      const judge = new RouteJudge({ ...JUDGE_DEFAULTS, on: ["errors"] });
      for (const tick of stream) expect(judge.tick(tick).action).toBe("none");
    }),
  );
});

test("more failures of the candidate in the newest tick never mean less evidence", () => {
  fc.assert(
    fc.property(
      fc.array(events, { maxLength: 30 }),
      events,
      fc.nat({ max: 50 }),
      weight,
      (before, last, more, w) => {
        const fewer = evidence([...before, last], w);
        expectNotBelow(evidence([...before, { ...last, kNew: last.kNew + more }], w), fewer);
      },
    ),
  );
});

test("nor in any earlier tick that saw a failure", () => {
  const eventful = events.filter(({ kNew, legacy }) => kNew + legacy > 0);
  fc.assert(
    fc.property(
      fc.array(eventful, { minLength: 1, maxLength: 30 }),
      fc.nat(),
      fc.nat({ max: 50 }),
      weight,
      (stream, at, more, w) => {
        const worse = stream.map((tick, i) =>
          i === at % stream.length ? { ...tick, kNew: tick.kNew + more } : tick,
        );
        expectNotBelow(evidence(worse, w), evidence(stream, w));
      },
    ),
  );
});

test("more failures of legacy in the newest tick never mean more evidence", () => {
  const last = events.filter(({ kNew, legacy }) => kNew + legacy > 0);
  fc.assert(
    fc.property(
      fc.array(events, { maxLength: 30 }),
      last,
      fc.nat({ max: 50 }),
      weight,
      (before, tick, more, w) => {
        const worse = { ...tick, legacy: tick.legacy + more };
        expectNotBelow(evidence([...before, tick], w), evidence([...before, worse], w));
      },
    ),
  );
});

test("a tick says the same however its counts are divided over strata of one share", () => {
  fc.assert(
    fc.property(fc.array(fc.array(events, { maxLength: 5 }), { maxLength: 20 }), weight, (stream, w) => {
      const divided = detector();
      const whole = detector();
      for (const [second, parts] of stream.entries()) {
        divided.add(
          second,
          parts.map(({ kNew, legacy }) => ({ kNew, k: kNew + legacy, w })),
        );
        const kNew = parts.reduce((sum, part) => sum + part.kNew, 0);
        const legacy = parts.reduce((sum, part) => sum + part.legacy, 0);
        whole.add(second, [{ kNew, k: kNew + legacy, w }]);
      }
      expectNotBelow(divided.logMean, whole.logMean);
      expectNotBelow(whole.logMean, divided.logMean);
    }),
  );
});

test("counts that come late, all at once, never mean more evidence than in time", () => {
  fc.assert(
    fc.property(fc.array(events, { minLength: 1, maxLength: 30 }), weight, (stream, w) => {
      const kNew = stream.reduce((sum, tick) => sum + tick.kNew, 0);
      const legacy = stream.reduce((sum, tick) => sum + tick.legacy, 0);
      const nothing = stream.slice(1).map(() => ({ kNew: 0, legacy: 0 }));
      expectNotBelow(evidence(stream, w), evidence([...nothing, { kNew, legacy }], w));
    }),
  );
});

test("empty ticks change no score and no action", () => {
  fc.assert(
    fc.property(ticks(side(fc.nat({ max: 3 })), 20), fc.nat({ max: 20 }), (stream, empty) => {
      const judge = new RouteJudge(JUDGE_DEFAULTS);
      const none: Side = { requests: 0, failures: 0, latency: [] };
      for (const tick of stream) {
        const before = judge.tick(tick);
        for (let i = 1; i <= empty; i++) {
          const { nowMs, candidateShare } = tick;
          const after = judge.tick({ nowMs: nowMs + i, candidateShare, legacy: none, candidate: none });
          expect(after.action).toBe(before.action);
          expect(after.figures.rollback).toEqual(before.figures.rollback);
          expect(after.figures.hold).toEqual(before.figures.hold);
        }
      }
    }),
    { numRuns: 30 },
  );
});

test("any counts at all give figures that are numbers within their bounds", () => {
  const anything = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(NaN, Infinity, -Infinity, 1e300, -0));
  const anyLatency = fc.array(fc.tuple(anything, anything), { maxLength: 5 });
  const anySide: fc.Arbitrary<Side> = fc.record({
    requests: anything,
    failures: anything,
    latency: anyLatency,
  });
  const step = fc.record({
    wait,
    candidateShare: share,
    legacy: anySide,
    candidate: anySide,
    isNew: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const judge = new RouteJudge(JUDGE_DEFAULTS);
      let nowMs = 0;
      for (const [i, { wait: ms, isNew, ...tick }] of steps.entries()) {
        if (isNew) judge.beginStage(i);
        const { action, signal, figures } = judge.tick({ ...tick, nowMs: (nowMs += ms) });
        expect(signal === null).toBe(action === "none");
        for (const scores of [figures.rollback, figures.hold]) {
          for (const score of Object.values(scores)) expect(score >= 0 && score <= 10).toBe(true);
        }
        for (const { requests, failures, interval } of [figures.legacy, figures.candidate]) {
          expect(failures >= 0 && failures <= requests && requests < Infinity).toBe(true);
          expect(interval.low >= 0 && interval.low <= interval.high && interval.high <= 1).toBe(true);
        }
        expect(figures.requestsToProof ?? 0).toBeGreaterThanOrEqual(0);
        expect(figures.candidatePerSecond).toBeGreaterThanOrEqual(0);
      }
    }),
  );
});

test("counts that are no numbers or below zero decide nothing", () => {
  const nonsense = fc.oneof(fc.constantFrom(NaN, -1, -Infinity), fc.double({ max: 0, noNaN: true }));
  const broken: fc.Arbitrary<Side> = fc.record({
    requests: nonsense,
    failures: fc.oneof(nonsense, fc.nat()),
    latency: fc.array(fc.tuple(fc.oneof(nonsense, fc.nat({ max: 132 })), nonsense), { maxLength: 5 }),
  });
  fc.assert(
    fc.property(ticks(broken), (stream) => {
      const judge = new RouteJudge(JUDGE_DEFAULTS);
      for (const tick of stream) expect(judge.tick(tick).action).toBe("none");
    }),
  );
});
