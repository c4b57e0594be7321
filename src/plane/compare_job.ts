/** What the thread that compares is told, and what it answers. */
import type { CapturedAnswer, ComparePolicy } from "../domain/compare_words.ts";
import type { ComparisonCounts } from "../domain/comparison_counts.ts";

/** The answers to one request. */
export interface CompareJob {
  readonly route: string;
  readonly basis: string;
  /** Unix milliseconds. */
  readonly atMs: number;
  readonly legacy: CapturedAnswer;
  /** Null where only legacy's two answers are compared. */
  readonly candidate: CapturedAnswer | null;
  /** Legacy's second answer; null without one. */
  readonly second: CapturedAnswer | null;
}

/** Jobs that go together. */
export interface CompareBatch {
  readonly jobs: readonly CompareJob[];
  /** The policies of bases that this thread has not been told yet. */
  readonly policies: readonly (readonly [basis: string, policy: ComparePolicy])[];
}

/** What came of one batch, and of nothing else. */
export interface CompareResult {
  readonly route: string;
  readonly basis: string;
  readonly counts: ComparisonCounts;
}
