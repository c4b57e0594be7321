/** Whether one of two counted rates is higher than the other by more than chance, looked at once. */
import { assert } from "../base/fault.ts";
import { logGamma } from "./rate.ts";

/** Events among trials. */
export interface Counted {
  readonly events: number;
  readonly trials: number;
}

/**
 * The probability that `ours` has so many of the events or more, if both have the same rate: Fisher's exact test, on
 * one side.
 *
 * 1 where our rate is not the higher one. Holds for one look at the end; who looks again and again needs the detectors
 * of `evidence.ts`. Takes one step for each event of `theirs` at most.
 */
export function chanceOfSoMany(ours: Counted, theirs: Counted): number {
  for (const { events, trials } of [ours, theirs]) {
    assert(events >= 0 && events <= trials, "there are no more events than trials");
  }
  if (ours.events * theirs.trials <= theirs.events * ours.trials) return 1;
  const events = ours.events + theirs.events;
  const most = Math.min(events, ours.trials);
  let term = Math.exp(
    logChoose(ours.trials, ours.events) +
      logChoose(theirs.trials, theirs.events) -
      logChoose(ours.trials + theirs.trials, events),
  );
  let sum = term;
  for (let x = ours.events; x < most; x++) {
    // The next term of the hypergeometric distribution, from this one.
    term *= ((ours.trials - x) * (events - x)) / ((x + 1) * (theirs.trials - events + x + 1));
    sum += term;
  }
  return Math.min(1, sum);
}

function logChoose(n: number, k: number): number {
  return logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1);
}
