/** One tier of judgement: the evidence of all signals against one tolerance, and their mean. */
import { AbsoluteDetector, logMean, RatioDetector, Spending, type Budget, type Seen } from "./evidence.ts";
import type { ROLLBACK_SIGNALS } from "./route.ts";
import { SLOW_EVENTS } from "./slowness.ts";

/** What can speak against the candidate. */
export type Signal = (typeof ROLLBACK_SIGNALS)[number];

/** Alternatives for slow answers. Half of legacy's are slower than its median, so large ratios alone won't do. */
const SLOW_RATIOS: readonly number[] = [1.3, 2, 5, 20, 100];

/** What sets a tier. `ceiling` bounds each R, so that it can come down again; Infinity for none. */
export interface TierOptions {
  readonly on: readonly Signal[];
  readonly tolerance: number;
  readonly budget: Budget;
  readonly ceiling: number;
}

/** Slow answers of a tick by one event of SLOW_EVENTS: of the candidate, and of both. */
export interface SlowCounts {
  readonly kNew: number;
  readonly k: number;
}

/**
 * The detectors of one tier.
 *
 * ```text
 *    errors:  RatioDetector, or AbsoluteDetector at 100 %    --> R ---+
 *                                                                     mean over the signals that are on
 *    latency: RatioDetector x 4 events --> mean of the 4 R   --> R ---+
 * ```
 * Latency takes part in the mean from the first tick that had a threshold, to the end of the stage: joining a mean only
 * lowers it, leaving one would raise it without a cause. At 100 % there is nothing to compare answers with.
 */
export class Tier {
  readonly #on: readonly Signal[];
  readonly #errorSpending: Spending;
  readonly #slowSpendings: readonly Spending[];
  readonly #ratio: RatioDetector;
  readonly #absolute: AbsoluteDetector;
  readonly #slow: readonly RatioDetector[];
  #isAbsolute = false;
  #hasLatency = false;
  /** The signals in the mean. */
  #parts: readonly Signal[];

  constructor({ on, tolerance, budget, ceiling }: TierOptions) {
    this.#on = on;
    this.#parts = on.filter((signal) => signal === "errors");
    // Both kinds of errors spend the same budget: an unplanned change to 100 % gives no fresh one.
    this.#errorSpending = new Spending(budget);
    this.#ratio = new RatioDetector(tolerance, this.#errorSpending, undefined, ceiling);
    this.#absolute = new AbsoluteDetector(this.#errorSpending, ceiling);
    this.#slowSpendings = SLOW_EVENTS.map(() => new Spending(budget));
    this.#slow = SLOW_EVENTS.map(
      (event, i) =>
        new RatioDetector(event.tolerance, this.#slowSpendings[i] as Spending, SLOW_RATIOS, ceiling),
    );
  }

  /** Takes a tick of both sides, with w the share of the candidate. `slow` has one place per event, null for none. */
  compare(
    second: number,
    w: number,
    candidate: Seen,
    legacy: Seen,
    slow: readonly (SlowCounts | null)[],
  ): void {
    if (this.#isAbsolute) this.#absolute.forget();
    this.#take(false, this.#hasLatency || slow.some((counts) => counts !== null));
    const k = candidate.failures + legacy.failures;
    this.#ratio.add(second, [{ kNew: candidate.failures, k, w }]);
    slow.forEach((counts, i) => {
      if (counts !== null && counts.k > 0) this.#slow[i]?.add(second, [{ ...counts, w }]);
    });
  }

  /** Takes a tick of the candidate alone. */
  alone(second: number, candidate: Seen): void {
    this.#absolute.add(second, candidate);
  }

  /** From here on the candidate is alone, and this failure rate is tolerated. */
  aim(tolerated: number): void {
    this.#take(true, this.#hasLatency);
    this.#absolute.aim(tolerated);
    this.#ratio.forget();
    for (const detector of this.#slow) detector.forget();
  }

  /** The logarithm of the mean R over the signals that are on and not left out; it fires at 0. */
  logMean(without: Signal | null = null): number {
    return logMean(this.#parts.map((signal) => (signal === without ? -Infinity : this.#logOf(signal))));
  }

  /** The signal with the most evidence of those that are on. */
  strongest(): Signal {
    if (this.#on.length === 1) return this.#on[0] as Signal;
    return this.#logOf("latency") > this.#logOf("errors") ? "latency" : "errors";
  }

  /** The logarithm of R of one signal, as it would have to be for the tier to fire by that signal alone at 0. */
  scoreLog(signal: Signal): number {
    return this.#logOf(signal) - (this.#parts.includes(signal) ? Math.log(this.#parts.length) : 0);
  }

  /** Where evidence starts: the logarithm of the first stake of a stage. */
  get firstLog(): number {
    return this.#errorSpending.firstLog;
  }

  /** Starts all evidence anew, or that of one signal. What was spent stays spent. */
  forget(signal?: Signal): void {
    if (signal !== "latency") {
      this.#ratio.forget();
      this.#absolute.forget();
    }
    if (signal !== "errors") for (const detector of this.#slow) detector.forget();
  }

  /** A new planned stage: all evidence anew, and `falseAlarm` may be spent again. */
  renew(): void {
    this.forget();
    this.#take(this.#isAbsolute, false);
    for (const spending of [this.#errorSpending, ...this.#slowSpendings]) spending.renew();
  }

  #take(isAbsolute: boolean, hasLatency: boolean): void {
    if (isAbsolute === this.#isAbsolute && hasLatency === this.#hasLatency) return;
    this.#isAbsolute = isAbsolute;
    this.#hasLatency = hasLatency;
    this.#parts = this.#on.filter((signal) => signal === "errors" || (hasLatency && !isAbsolute));
  }

  #logOf(signal: Signal): number {
    if (signal === "latency")
      return this.#hasLatency ? logMean(this.#slow.map((one) => one.logMean)) : -Infinity;
    return this.#isAbsolute ? this.#absolute.logMean : this.#ratio.logMean;
  }
}
