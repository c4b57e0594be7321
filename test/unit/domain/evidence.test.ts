/** Evidence: the formulas against exact expectations, and what is spent on false alarms. */
import { describe, expect, test } from "vitest";
import {
  AbsoluteDetector,
  logMean,
  Proof,
  RatioDetector,
  requestsToProof,
  Spending,
} from "../../../src/domain/evidence.ts";

const BUDGET = { falseAlarm: 0.001, runLengthSeconds: 2_592_000 };

function ratioDetector(tolerance = 1.5, ceiling = Infinity): RatioDetector {
  return new RatioDetector(tolerance, new Spending(BUDGET), undefined, ceiling);
}

/** The probabilities of 0 to n events of n that are each as likely as `rate`. */
function binomial(n: number, rate: number): number[] {
  let probability = (1 - rate) ** n;
  return Array.from({ length: n + 1 }, (_, k) => {
    const now = probability;
    probability *= ((n - k) / (k + 1)) * (rate / (1 - rate));
    return now;
  });
}

/** The expected value of a function of a binomial number. */
function expectation(n: number, rate: number, value: (k: number) => number): number {
  return binomial(n, rate).reduce((sum, probability, k) => sum + probability * value(k), 0);
}

describe("spending", () => {
  test("gives one stake a second, and in t seconds no more than the false alarm and t in the run length", () => {
    const spending = new Spending(BUDGET);
    const first = spending.next(1);
    expect(first).toBe(spending.firstLog);
    expect(spending.next(1)).toBeNull();
    expect(spending.next(0)).toBeNull();
    let spent = Math.exp(first ?? 0);
    for (let second = 2; second <= 5000; second++) spent += Math.exp(spending.next(second) ?? 0);
    expect(spent).toBeLessThanOrEqual(0.001 + 5000 / 2_592_000);
    expect(spent).toBeCloseTo(0.001 + 5000 / 2_592_000, 5);
  });

  test("begins anew for a planned stage only", () => {
    const spending = new Spending(BUDGET);
    for (let second = 1; second <= 100; second++) spending.next(second);
    expect(spending.next(101)).toBeLessThan(-14);
    spending.renew();
    expect(spending.next(102)).toBe(spending.firstLog);
  });
});

describe("ratio detector", () => {
  test("gives the known evidence of ten ticks to six digits", () => {
    const detector = ratioDetector();
    const ticks = [
      [1, 1],
      [0, 1],
      [1, 1],
      [2, 2],
      [0, 0],
      [1, 2],
      [1, 1],
      [1, 1],
      [2, 2],
      [1, 1],
    ] as const;
    const logs = ticks.map(([kNew, k], second) => {
      detector.add(second, [{ kNew, k, w: 0.05 }]);
      return detector.logMean.toFixed(6);
    });
    expect(logs.join(" ")).toBe(
      "-5.510448 -6.647226 -4.612611 -0.170042 -0.170042 0.640775 2.895891 5.204264 9.932311 12.336239",
    );
  });

  test("is a fair bet where the rates have the tolerated ratio, and a losing one below it", () => {
    for (const [tolerance, w] of [
      [1.5, 0.05],
      [1, 0.25],
      [2, 0.9],
    ] as const) {
      const value = (kNew: number): number => {
        const detector = ratioDetector(tolerance);
        detector.add(1, [{ kNew, k: 6, w }]);
        return Math.exp(detector.logMean - new Spending(BUDGET).firstLog);
      };
      const shareAt = (ratio: number): number => (ratio * w) / (ratio * w + 1 - w);
      expect(expectation(6, shareAt(tolerance), value)).toBeCloseTo(1, 9);
      expect(expectation(6, shareAt(0.8 * tolerance), value)).toBeLessThan(1);
      expect(expectation(6, shareAt(3 * tolerance), value)).toBeGreaterThan(1);
    }
  });

  test("knows the same after a second, whether it came in one tick or in four", () => {
    const whole = ratioDetector();
    const parts = ratioDetector();
    for (const [second, quarters] of [
      [0, 1, 0, 1],
      [0, 0, 0, 0],
      [2, 0, 1, 0],
    ].entries()) {
      whole.add(second, [{ kNew: quarters.reduce((sum, one) => sum + one, 0), k: 4, w: 0.05 }]);
      for (const kNew of quarters) parts.add(second, [{ kNew, k: kNew > 1 ? 2 : 1, w: 0.05 }]);
      if (quarters[0] === 2) parts.add(second, [{ kNew: 0, k: 0, w: 0.05 }]);
    }
    // The third second has five events in quarters: one more on legacy for the whole.
    whole.add(2, [{ kNew: 0, k: 1, w: 0.05 }]);
    expect(parts.logMean).toBeCloseTo(whole.logMean, 10);
  });

  test("adds up what its strata say, each with its own share", () => {
    const together = ratioDetector();
    const apart = ratioDetector();
    together.add(1, [
      { kNew: 2, k: 3, w: 0.05 },
      { kNew: 1, k: 5, w: 0.5 },
    ]);
    apart.add(1, [{ kNew: 2, k: 3, w: 0.05 }]);
    apart.add(1, [{ kNew: 1, k: 5, w: 0.5 }]);
    expect(together.logMean).toBeCloseTo(apart.logMean, 12);
    expect(together.logMean).not.toBeCloseTo(ratioDetector().logMean);
  });

  test("stays a number under a billion failures, and under a ceiling if it has one", () => {
    const detector = ratioDetector();
    const bounded = ratioDetector(1.5, 1000);
    for (const one of [detector, bounded]) {
      one.add(1, [{ kNew: 1e9, k: 1e9, w: 0.001 }]);
      one.add(2, [{ kNew: 0, k: 1, w: 0.001 }]);
    }
    expect(detector.logMean).toBeGreaterThan(1e9);
    expect(detector.logMean).toBeLessThan(1e10);
    expect(bounded.logMean).toBeGreaterThan(6.5);
    expect(bounded.logMean).toBeLessThanOrEqual(Math.log(1000));
    bounded.add(3, [{ kNew: 0, k: 1000, w: 0.5 }]);
    expect(bounded.logMean).toBeLessThan(0);
  });
});

describe("absolute detector", () => {
  test("is a fair bet at the tolerated rate, and a losing one below it", () => {
    const value = (failures: number): number => {
      const detector = new AbsoluteDetector(new Spending(BUDGET));
      detector.aim(0.05);
      detector.add(1, { failures, requests: 40 });
      return Math.exp(detector.logMean - new Spending(BUDGET).firstLog);
    };
    expect(expectation(40, 0.05, value)).toBeCloseTo(1, 9);
    expect(expectation(40, 0.03, value)).toBeLessThan(1);
    expect(expectation(40, 0.2, value)).toBeGreaterThan(2);
  });

  test("fires on what is far above, and is not hurt by a rate of one", () => {
    const detector = new AbsoluteDetector(new Spending(BUDGET));
    detector.aim(0.005);
    for (let second = 1; second <= 10; second++) detector.add(second, { failures: 0, requests: 100 });
    expect(detector.logMean).toBeLessThan(0);
    for (let second = 11; second <= 14; second++) detector.add(second, { failures: 2, requests: 2 });
    expect(detector.logMean).toBeGreaterThan(0);
    detector.aim(0.9);
    detector.add(20, { failures: 5, requests: 10 });
    expect(detector.logMean).toBeLessThan(0);
  });
});

describe("proof", () => {
  test("is a fair bet at the margin, and a losing one above it", () => {
    const value = (failures: number): number => {
      const proof = new Proof(0.05);
      proof.add({ failures, requests: 30 });
      return Math.exp(logMean(proof.logBets));
    };
    expect(expectation(30, 0.05, value)).toBeCloseTo(1, 9);
    expect(expectation(30, 0.1, value)).toBeLessThan(1);
    expect(expectation(30, 0.01, value)).toBeGreaterThan(1.5);
  });

  test("needs as many requests as it said, and stays complete", () => {
    const proof = new Proof(0.01);
    const needed = requestsToProof(proof.logBets, 0.01, 0);
    expect(needed).toBe(370);
    proof.add({ failures: 0, requests: (needed ?? 0) - 1 });
    expect(proof.isComplete).toBe(false);
    expect(requestsToProof(proof.logBets, 0.01, 0)).toBe(1);
    proof.add({ failures: 0, requests: 1 });
    expect(proof.isComplete).toBe(true);
    proof.add({ failures: 50, requests: 50 });
    expect(proof.isComplete).toBe(true);
  });

  test("never comes for a rate at the margin, nor after a mountain of failures", () => {
    const proof = new Proof(0.01);
    expect(requestsToProof(proof.logBets, 0.01, 0.01)).toBeNull();
    expect(requestsToProof(proof.logBets, 0.01, 1)).toBeNull();
    proof.add({ failures: 1e9, requests: 1e9 });
    expect(requestsToProof(proof.logBets, 0.01, 0.0099)).toBeNull();
    expect(requestsToProof([-1e300, -1e300, -1e300, -1e300, -1e300], 0.01, 0)).toBeNull();
  });
});

test("the mean of nothing is nothing, and of logarithms that overflow still a number", () => {
  expect(logMean([])).toBe(-Infinity);
  expect(logMean([-Infinity, 0])).toBeCloseTo(Math.log(0.5), 12);
  expect(logMean([5000, 5000, -Infinity, -Infinity])).toBeCloseTo(5000 - Math.log(2), 9);
});
