/** Counter samples to windows: what happened between two samples, sums of samples, and the last seconds of a pair. */
import type { FaultCode } from "../base/fault.ts";
import { LATENCY_BOUNDS_US, LATENCY_BUCKETS, latencyQuantileMs } from "./latency.ts";

/** Counts by an ascending number: [status, requests] or [bucket of domain/latency, requests]. No count is zero. */
export type Counts = readonly (readonly [number, number])[];

/** Evidence for or against a backend: `failures` of `requests`, and how long those took that were answered whole. */
export interface Judged {
  readonly requests: number;
  readonly failures: number;
  /** By the bucket of domain/latency. */
  readonly latency: Counts;
}

/** The counters of one route and backend: totals since some start, or what was added between two moments. */
export interface Sample {
  readonly started: number;
  readonly finished: number;
  readonly aborted: number;
  readonly failures: number;
  readonly retries: number;
  readonly durationUsSum: number;
  readonly codes: Counts;
  readonly latency: Counts;
  readonly faults: readonly (readonly [FaultCode, number])[];
  /** What a judge may use of it. */
  readonly judged: Judged;
}

/** A sample from elsewhere: versions that counted no evidence leave it out, which stands for none. */
export type SampleAsTold = Omit<Sample, "judged"> & { readonly judged?: Judged };

/** No evidence yet. */
export const NOTHING_JUDGED: Judged = Object.freeze({ requests: 0, failures: 0, latency: [] });

/** Nothing counted yet. */
export const NO_SAMPLE: Sample = Object.freeze({
  started: 0,
  finished: 0,
  aborted: 0,
  failures: 0,
  retries: 0,
  durationUsSum: 0,
  codes: [],
  latency: [],
  faults: [],
  judged: NOTHING_JUDGED,
});

/** Both samples together. */
export function sumOf(a: SampleAsTold, b: SampleAsTold): Sample {
  const [judgedA, judgedB] = [a.judged ?? NOTHING_JUDGED, b.judged ?? NOTHING_JUDGED];
  return {
    started: a.started + b.started,
    finished: a.finished + b.finished,
    aborted: a.aborted + b.aborted,
    failures: a.failures + b.failures,
    retries: a.retries + b.retries,
    durationUsSum: a.durationUsSum + b.durationUsSum,
    codes: mergeCounts(a.codes, b.codes, 1),
    latency: mergeCounts(a.latency, b.latency, 1),
    faults: mergeFaults(a.faults, b.faults, 1),
    judged: {
      requests: judgedA.requests + judgedB.requests,
      failures: judgedA.failures + judgedB.failures,
      latency: mergeCounts(judgedA.latency, judgedB.latency, 1),
    },
  };
}

/**
 * What was added between two totals of the same counter cell.
 *
 * Totals only grow; where one did not, nothing was added: a delta never takes anything away.
 */
export function deltaOf(now: SampleAsTold, before: SampleAsTold): Sample {
  const [judgedNow, judgedBefore] = [now.judged ?? NOTHING_JUDGED, before.judged ?? NOTHING_JUDGED];
  return {
    started: grown(now.started, before.started),
    finished: grown(now.finished, before.finished),
    aborted: grown(now.aborted, before.aborted),
    failures: grown(now.failures, before.failures),
    retries: grown(now.retries, before.retries),
    durationUsSum: grown(now.durationUsSum, before.durationUsSum),
    codes: mergeCounts(now.codes, before.codes, -1),
    latency: mergeCounts(now.latency, before.latency, -1),
    faults: mergeFaults(now.faults, before.faults, -1),
    judged: {
      requests: grown(judgedNow.requests, judgedBefore.requests),
      failures: grown(judgedNow.failures, judgedBefore.failures),
      latency: mergeCounts(judgedNow.latency, judgedBefore.latency, -1),
    },
  };
}

/** Requests that were begun and have not ended. */
export function inFlightOf(sample: SampleAsTold): number {
  return grown(sample.started, sample.finished + sample.aborted);
}

function grown(now: number, before: number): number {
  return Math.max(0, now - before);
}

/** Adds the counts of `b` to those of `a` (sign 1) or takes them off (sign -1). What is left above zero stays. */
function mergeCounts(a: Counts, b: Counts, sign: 1 | -1): Counts {
  const merged: (readonly [number, number])[] = [];
  let j = 0;
  for (const [key, count] of a) {
    let other = b[j];
    for (; other !== undefined && other[0] < key; other = b[++j]) if (sign > 0) merged.push(other);
    const same = other?.[0] === key ? other[1] : null;
    if (same !== null) j++;
    const sum = count + sign * (same ?? 0);
    if (sum > 0) merged.push([key, sum]);
  }
  if (sign > 0) merged.push(...b.slice(j));
  return merged;
}

function mergeFaults(a: Sample["faults"], b: Sample["faults"], sign: 1 | -1): Sample["faults"] {
  const counts = new Map<FaultCode, number>(a);
  for (const [code, count] of b) counts.set(code, (counts.get(code) ?? 0) + sign * count);
  return [...counts].filter(([, count]) => count > 0);
}

/** What a window shows of one route and backend. */
export interface WindowFigures {
  /** Requests that ended in it: answered or given up. */
  readonly requests: number;
  readonly failures: number;
  /** Given up: the client left or the answer was cut. */
  readonly aborted: number;
  /** Quantiles of the complete answers in milliseconds, null without any; LATENCY_MS_MAX stands for all above it. */
  readonly p50Ms: number | null;
  readonly p90Ms: number | null;
  readonly p99Ms: number | null;
}

/** The longest window, in seconds. */
export const WINDOW_SECONDS_MAX = 60;

/** The last bound of the histogram in milliseconds: what is slower shows as this. */
export const LATENCY_MS_MAX: number = Math.max(...LATENCY_BOUNDS_US) / 1000;

/** What was added in one second. */
interface Slot {
  second: number;
  requests: number;
  failures: number;
  aborted: number;
  readonly latency: Uint32Array;
}

/**
 * The last seconds of one route and backend: a ring of WINDOW_SECONDS_MAX whole seconds and the one under way.
 *
 * ```text
 *    second % 61:  0   1   2  ...  60      a slot is cleared when a newer second comes round to it,
 *                 [ ] [ ] [ ] ... [ ]      and counts for a window only while its second is inside
 * ```
 * A slot costs about 600 bytes once its second saw traffic, so a ring takes at most 36 KiB.
 */
export class SecondRing {
  readonly #slots: (Slot | undefined)[] = [];
  #newestSecond = -Infinity;

  /** The newest second that anything was added in; -Infinity for none. */
  get newestSecond(): number {
    return this.#newestSecond;
  }

  /** Adds to a second. What belongs to a second that the ring has left behind counts for the newest instead. */
  add(second: number, delta: Sample): void {
    this.#newestSecond = Math.max(this.#newestSecond, second);
    const slot = this.#slotOf(this.#newestSecond);
    slot.requests += delta.finished + delta.aborted;
    slot.failures += delta.failures;
    slot.aborted += delta.aborted;
    for (const [bucket, count] of delta.latency) slot.latency[bucket] = (slot.latency[bucket] ?? 0) + count;
  }

  /** How many requests ended in the `seconds` whole seconds before `second` and in that one itself. */
  requests(second: number, seconds: number): number {
    let requests = 0;
    for (const slot of this.#slots) if (isInside(slot, second, seconds)) requests += slot.requests;
    return requests;
  }

  /** The figures of the `seconds` whole seconds before `second` and that one itself; at most WINDOW_SECONDS_MAX. */
  figures(second: number, seconds: number): WindowFigures {
    let requests = 0;
    let failures = 0;
    let aborted = 0;
    const latency = new Float64Array(LATENCY_BUCKETS);
    for (const slot of this.#slots) {
      if (!isInside(slot, second, seconds)) continue;
      requests += slot.requests;
      failures += slot.failures;
      aborted += slot.aborted;
      for (let i = 0; i < LATENCY_BUCKETS; i++) latency[i] = (latency[i] ?? 0) + (slot.latency[i] ?? 0);
    }
    return {
      requests,
      failures,
      aborted,
      p50Ms: quantile(latency, 0.5),
      p90Ms: quantile(latency, 0.9),
      p99Ms: quantile(latency, 0.99),
    };
  }

  #slotOf(second: number): Slot {
    const index = second % (WINDOW_SECONDS_MAX + 1);
    let slot = this.#slots[index];
    if (slot === undefined) {
      slot = { second, requests: 0, failures: 0, aborted: 0, latency: new Uint32Array(LATENCY_BUCKETS) };
      this.#slots[index] = slot;
    } else if (slot.second !== second) {
      slot.second = second;
      slot.requests = 0;
      slot.failures = 0;
      slot.aborted = 0;
      slot.latency.fill(0);
    }
    return slot;
  }
}

/** What a pair without traffic shows. */
export const NO_FIGURES: WindowFigures = Object.freeze({
  requests: 0,
  failures: 0,
  aborted: 0,
  p50Ms: null,
  p90Ms: null,
  p99Ms: null,
});

function isInside(slot: Slot | undefined, second: number, seconds: number): slot is Slot {
  return slot !== undefined && slot.second <= second && slot.second >= second - seconds;
}

function quantile(latency: Float64Array, ratio: number): number | null {
  const ms = latencyQuantileMs(latency, ratio);
  return ms === null ? null : Math.min(ms, LATENCY_MS_MAX);
}
