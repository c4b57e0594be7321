/** The latency histogram: its bucket bounds, where a duration falls, and quantiles of counts. */

/** Steps within one decade. They contain 1, 2.5, 5 and 7.5, so the usual Prometheus bounds are bucket bounds too. */
const STEPS = [
  1, 1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 9,
];
/** From 100 microseconds to just under 100 seconds. */
const DECADES_US = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7];

/** Upper bounds of the buckets in whole microseconds, inclusive and ascending. One more bucket holds what is above. */
export const LATENCY_BOUNDS_US: Float64Array = Float64Array.from(
  DECADES_US.flatMap((decade) => STEPS.map((step) => Math.round(step * decade))),
);

/** How many buckets a histogram has, the last one without an upper bound. */
export const LATENCY_BUCKETS: number = LATENCY_BOUNDS_US.length + 1;

/** The bucket of a duration in microseconds: the first whose bound is not below it. */
export function latencyBucket(us: number): number {
  let low = 0;
  let high = LATENCY_BOUNDS_US.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (us <= (LATENCY_BOUNDS_US[middle] as number)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * A quantile of a histogram in milliseconds, or null when it is empty.
 *
 * Takes `counts` of LATENCY_BUCKETS entries and `ratio` from 0 to 1. Gives the upper bound of the bucket that holds
 * the quantile, so it is never too low and at most 17 % too high; Infinity above the last bound.
 */
export function latencyQuantileMs(counts: ArrayLike<number>, ratio: number): number | null {
  let total = 0;
  for (let i = 0; i < LATENCY_BUCKETS; i++) total += counts[i] ?? 0;
  if (total === 0) return null;
  const rank = Math.max(1, Math.ceil(ratio * total));
  let seen = 0;
  for (let i = 0; i < LATENCY_BUCKETS; i++) {
    seen += counts[i] ?? 0;
    if (seen >= rank) return (LATENCY_BOUNDS_US[i] ?? Infinity) / 1000;
  }
  return Infinity;
}
