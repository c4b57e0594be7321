/** Simulated answer times: lognormal, with a median of 50 ms and a 99th percentile of 160 ms on legacy. */
import { LATENCY_BOUNDS_US, LATENCY_BUCKETS, latencyBucket } from "../../src/domain/latency.ts";
import type { Counts } from "../../src/domain/window.ts";
import type { Chance } from "./chance.ts";
import type { Latency } from "./road.ts";

const MEDIAN_US = 50_000;
/** ln(160 / 50) is 2.326 standard deviations. */
const SPREAD = 0.5;
/** Distributions are sampled once to this many answers, and drawn from after that. */
const SAMPLED = 1 << 16;

/** What makes the candidate slower: all answers by a factor, and some by a time. */
export interface Slowdown {
  readonly factor: number;
  readonly someRate: number;
  readonly someUs: number;
}

/** As fast as legacy. */
export const SAME: Slowdown = { factor: 1, someRate: 0, someUs: 0 };

/** Answers of both sides; the candidate's as slow as `slowdown` says whenever they are drawn. */
export function lognormal(chance: Chance, slowdown: () => Slowdown): Latency {
  const quick = Float64Array.from({ length: SAMPLED }, () => MEDIAN_US * Math.exp(SPREAD * chance.normal()));
  const buckets = Uint8Array.from(quick, latencyBucket);
  const counts = new Uint32Array(LATENCY_BUCKETS);
  return (side, answers) => {
    const { factor, someRate, someUs } = side === "legacy" ? SAME : slowdown();
    counts.fill(0);
    for (let i = 0; i < answers; i++) {
      const at = chance.draw(SAMPLED);
      let bucket = buckets[at] as number;
      if (factor !== 1 || someRate > 0) {
        const extra = someRate > 0 && chance.uniform() < someRate ? someUs : 0;
        bucket = latencyBucket((quick[at] as number) * factor + extra);
      }
      counts[bucket] = (counts[bucket] as number) + 1;
    }
    return countsOf(counts);
  };
}

function countsOf(buckets: Uint32Array): Counts {
  const counts: [number, number][] = [];
  for (let i = 0; i <= LATENCY_BOUNDS_US.length; i++) {
    const count = buckets[i] as number;
    if (count > 0) counts.push([i, count]);
  }
  return counts;
}
