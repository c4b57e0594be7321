/** What counts as slow: thresholds from legacy's own last ten minutes, and how many answers lie above them. */
import { LATENCY_BOUNDS_US, LATENCY_BUCKETS, latencyBucket, latencyQuantileMs } from "./latency.ts";
import type { Counts } from "./window.ts";

/** One event that an answer can be: slower than `factor` times a quantile of legacy. */
export interface SlowEvent {
  readonly name: string;
  readonly quantile: number;
  readonly factor: number;
  /** How many times as often as legacy the candidate may have it. */
  readonly tolerance: number;
}

/** The events, from the broadest to the rarest. The last one finds a few very slow answers that quantiles miss. */
export const SLOW_EVENTS: readonly SlowEvent[] = [
  { name: "p50", quantile: 0.5, factor: 1, tolerance: 1.3 },
  { name: "p90", quantile: 0.9, factor: 1, tolerance: 1.5 },
  { name: "p99", quantile: 0.99, factor: 1, tolerance: 2 },
  { name: "2 x p99", quantile: 0.99, factor: 2, tolerance: 1.5 },
];

/** A quantile is used once this many answers are expected above it. */
const EXPECTED_MIN = 20;
const SLOT_SECONDS = 10;
/** Ten minutes. */
const SLOTS = 60;

/**
 * Legacy's answers of the last ten minutes, and the thresholds they give.
 *
 * ```text
 *    slot % 61:  0   1   2  ...  60      a slot is 10 s; the sum holds the 60 complete ones, so that
 *               [ ] [ ] [ ] ... [ ]      the thresholds of a tick were known before it
 * ```
 * At most 61 slots of 133 counts and their sum: 33 KiB. Thresholds change every 10 s.
 *
 * A threshold is a bucket: an answer is slower when its bucket is a later one. The quantile is rounded up to the bound
 * of its bucket, by 17 % at most, twice for `2 x p99`. Both sides are measured by the same bound, so this makes events
 * a little rarer and cannot make an alarm.
 */
export class SlowThresholds {
  readonly #slots: (Uint32Array | undefined)[] = [];
  readonly #sum = new Float64Array(LATENCY_BUCKETS);
  #slot: number | null = null;
  #thresholds: readonly (number | null)[] = SLOW_EVENTS.map(() => null);

  /** The threshold bucket of each event for ticks in this second, null while there are too few answers. */
  at(second: number): readonly (number | null)[] {
    const slot = Math.floor(second / SLOT_SECONDS);
    if (this.#slot === null) this.#slot = slot;
    else if (slot > this.#slot) this.#advance(this.#slot, slot);
    return this.#thresholds;
  }

  /** Adds legacy's answers of a tick; they count for thresholds from the next slot on. */
  add(second: number, latency: Counts): void {
    this.at(second);
    if (latency.length === 0) return;
    const index = (this.#slot as number) % (SLOTS + 1);
    const counts = (this.#slots[index] ??= new Uint32Array(LATENCY_BUCKETS));
    for (const [bucket, count] of latency) counts[bucket] = (counts[bucket] ?? 0) + count;
  }

  #advance(from: number, to: number): void {
    // What was under way is complete now; a slot that comes round again held what is eleven minutes old.
    this.#apply(from, 1);
    for (let slot = Math.max(from + 1, to - SLOTS); slot <= to; slot++) {
      this.#apply(slot, -1);
      this.#slots[slot % (SLOTS + 1)]?.fill(0);
    }
    this.#slot = to;
    let total = 0;
    for (const count of this.#sum) total += count;
    this.#thresholds = SLOW_EVENTS.map((event) => this.#thresholdOf(event, total));
  }

  #apply(slot: number, sign: 1 | -1): void {
    const counts = this.#slots[slot % (SLOTS + 1)];
    if (counts === undefined) return;
    for (let i = 0; i < LATENCY_BUCKETS; i++) {
      this.#sum[i] = (this.#sum[i] as number) + sign * (counts[i] as number);
    }
  }

  #thresholdOf({ quantile, factor }: SlowEvent, total: number): number | null {
    // A ratio such as 1 - 0.99 is not exact: a whole number must not fall below itself.
    if (total * (1 - quantile) < EXPECTED_MIN - 1e-6) return null;
    const ms = latencyQuantileMs(this.#sum, quantile);
    return ms === null ? null : latencyBucket(Math.round(ms * 1000) * factor);
  }
}

/** How many answers are slower than a threshold bucket. */
export function countAbove(latency: Counts, threshold: number): number {
  let above = 0;
  for (const [bucket, count] of latency) if (bucket > threshold) above += count;
  return above;
}

/** A threshold in milliseconds; Infinity for the last bucket, which nothing is slower than. */
export function thresholdMs(threshold: number): number {
  return (LATENCY_BOUNDS_US[threshold] ?? Infinity) / 1000;
}
