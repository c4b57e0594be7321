/** Intervals for rates: against the integral that defines them. */
import { expect, test } from "vitest";
import { rateInterval } from "../../../src/domain/rate.ts";

/** The mean likelihood under Jeffreys' prior over the likelihood at `rate`, by midpoints of an angle. */
function mixtureRatio(failures: number, requests: number, rate: number): number {
  const log = (p: number): number => failures * Math.log(p) + (requests - failures) * Math.log1p(-p);
  const steps = 20_000;
  let sum = 0;
  for (let i = 0; i < steps; i++)
    sum += Math.exp(log(Math.sin(((i + 0.5) / steps) * (Math.PI / 2)) ** 2) - log(rate));
  return sum / steps;
}

test("both ends are where the mixture has twenty times the likelihood", () => {
  for (const [failures, requests] of [
    [9, 2133],
    [1, 3],
    [40, 80],
    [1, 400],
  ] as const) {
    const { low, high } = rateInterval(failures, requests);
    expect(low).toBeLessThan(failures / requests);
    expect(high).toBeGreaterThan(failures / requests);
    expect(mixtureRatio(failures, requests, low)).toBeCloseTo(20, 4);
    expect(mixtureRatio(failures, requests, high)).toBeCloseTo(20, 4);
  }
});

test("without requests every rate is possible, and without failures every small one", () => {
  expect(rateInterval(0, 0)).toEqual({ low: 0, high: 1 });
  expect(rateInterval(0, 1000).low).toBe(0);
  expect(mixtureRatio(0, 1000, rateInterval(0, 1000).high)).toBeCloseTo(20, 4);
  expect(rateInterval(7, 7).high).toBe(1);
});

test("more requests make it narrower, up to a billion", () => {
  const widths = [1e2, 1e4, 1e6, 1e9].map((requests) => {
    const { low, high } = rateInterval(requests / 100, requests);
    expect(low).toBeLessThan(0.01);
    expect(high).toBeGreaterThan(0.01);
    return high - low;
  });
  expect(widths).toEqual(widths.toSorted((a, b) => b - a));
});
