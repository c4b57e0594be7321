/** What is known of comparisons, as people and programs are told: one shape for the API, the command line and files. */
import {
  CONFIDENCE,
  explainComparison,
  type ComparisonSummary,
  type Differing,
  type FieldReport,
  type FieldVerdict,
} from "./comparison.ts";
import type { ComparedPair } from "./comparison_basis.ts";
import type { MismatchKind } from "./compare_words.ts";

/** One field that ever differed. Times are ISO 8601. */
export interface FieldSays {
  readonly field: string;
  readonly verdict: FieldVerdict;
  /** From 0 to 10, where a difference is real. */
  readonly evidence: number;
  readonly pairs: Differing;
  readonly noise: Differing;
  readonly first_seen: string;
  readonly last_seen: string;
  readonly samples: readonly {
    readonly at: string;
    readonly kind: MismatchKind;
    readonly left: string | null;
    readonly right: string | null;
  }[];
}

/** Everything about the comparisons of a route. Rates are from 0 to 1. */
export interface ComparisonSays {
  readonly legacy: string;
  readonly candidate: string;
  readonly basis: string;
  /** Since when it is counted. */
  readonly since: string;
  readonly summary: {
    /** In one sentence. */
    readonly text: string;
    readonly compared: number;
    readonly matched: number;
    readonly mismatched: number;
    readonly failures: number;
    readonly rate: number | null;
    readonly rate_below: number;
    readonly confidence: number;
    /** Reasons without any are left out. */
    readonly not_compared: Readonly<Record<string, number>>;
    readonly noise: Differing;
  };
  readonly fields: readonly FieldSays[];
}

/** What a report is made of. */
export interface Compared {
  readonly pair: ComparedPair;
  readonly basis: string;
  /** Unix milliseconds. */
  readonly sinceMs: number;
  readonly summary: ComparisonSummary;
  readonly fields: readonly FieldReport[];
}

/** Writes a report. */
export function comparisonReport({ pair, basis, sinceMs, summary, fields }: Compared): ComparisonSays {
  const { compared, matched, mismatched, failures, rate, rateBelow, notCompared, noise } = summary;
  return {
    legacy: pair.legacy,
    candidate: pair.candidate,
    basis,
    since: timeOf(sinceMs),
    summary: {
      text: explainComparison(summary),
      compared,
      matched,
      mismatched,
      failures,
      rate,
      rate_below: rateBelow,
      confidence: CONFIDENCE,
      not_compared: Object.fromEntries(Object.entries(notCompared).filter(([, count]) => count > 0)),
      noise,
    },
    fields: fields.map(fieldSays),
  };
}

function fieldSays({ firstSeenMs, lastSeenMs, samples, ...rest }: FieldReport): FieldSays {
  const { field, verdict, evidence, pairs, noise } = rest;
  return {
    field,
    verdict,
    evidence: Number(evidence.toFixed(2)),
    pairs,
    noise,
    first_seen: timeOf(firstSeenMs),
    last_seen: timeOf(lastSeenMs),
    samples: samples.map(({ atMs, kind, left, right }) => ({ at: timeOf(atMs), kind, left, right })),
  };
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
