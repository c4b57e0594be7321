/** What a failure rate may really be, for people who look at it again and again. */
import { assert } from "../base/fault.ts";

/** Both ends of an interval for a rate, 0 to 1. */
export interface RateInterval {
  readonly low: number;
  readonly high: number;
}

/** The probability that the true rate is ever outside: 5 %. */
const MISS = 0.05;
/** Halvings of an interval of length 1: what is left is below the precision of a rate as a double. */
const HALVINGS = 60;
/** Stirling's series is exact to 12 digits from here on. */
const STIRLING_FROM = 10;

/**
 * The interval of rates that some failures of some requests still allow, at 95 %.
 *
 * Always valid: the true rate is outside at any time, however often one looks, with probability 5 % at most. It is
 * Robbins' mixture interval with Jeffreys' prior: the rates p for which B(k+1/2, n-k+1/2) / B(1/2, 1/2) is below
 * 20 p^k (1-p)^(n-k). Robbins, "Statistical methods related to the law of the iterated logarithm", 1970. It is wider
 * than Clopper and Pearson's interval, which holds for one look only. Without requests everything is possible.
 */
export function rateInterval(failures: number, requests: number): RateInterval {
  assert(failures >= 0 && requests >= failures && requests < Infinity, "failures are some of the requests");
  if (requests === 0) return { low: 0, high: 1 };
  const successes = requests - failures;
  const logBar = logBeta(failures + 0.5, successes + 0.5) - Math.log(Math.PI) + Math.log(MISS);
  const isAllowed = (rate: number): boolean =>
    times(failures, Math.log(rate)) + times(successes, Math.log1p(-rate)) > logBar;
  const observed = failures / requests;
  return {
    low: failures === 0 ? 0 : lastAllowed(isAllowed, observed, 0),
    high: successes === 0 ? 1 : lastAllowed(isAllowed, observed, 1),
  };
}

/** Halves its way from an allowed rate to the outermost allowed one on the way to `end`. */
function lastAllowed(isAllowed: (rate: number) => boolean, start: number, end: number): number {
  let inside = start;
  let outside = end;
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (inside + outside) / 2;
    if (isAllowed(middle)) inside = middle;
    else outside = middle;
  }
  return outside;
}

/** Zero times minus infinity is nothing here: no failures say nothing about the rate 0. */
function times(count: number, log: number): number {
  return count === 0 ? 0 : count * log;
}

function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

/** The logarithm of the gamma function, for x above 0: of (x - 1)! where x is whole. */
export function logGamma(x: number): number {
  let shift = 0;
  let at = x;
  for (; at < STIRLING_FROM; at++) shift += Math.log(at);
  const series = 1 / (12 * at) - 1 / (360 * at ** 3) + 1 / (1260 * at ** 5) - 1 / (1680 * at ** 7);
  return (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + series - shift;
}
