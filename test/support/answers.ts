/** Answers and totals of comparisons for tests. */
import {
  NOT_COMPARED_REASONS,
  type AnswerSummary,
  type NotComparedReason,
} from "../../src/domain/compare_words.ts";
import type { ComparisonCounts, FieldCounts, PairCounts } from "../../src/domain/comparison_counts.ts";

/** A whole answer of status 200 with a text as its body. */
export function answerWith(body: string, parts: Partial<AnswerSummary> = {}): AnswerSummary {
  const bytes = new TextEncoder().encode(body);
  return {
    status: 200,
    fields: [["Content-Type", "text/plain"]],
    body: bytes,
    bodyLength: bytes.length,
    isBodyWhole: true,
    fault: null,
    ...parts,
  };
}

/** The same with JSON. */
export function jsonAnswer(value: unknown, parts: Partial<AnswerSummary> = {}): AnswerSummary {
  return answerWith(JSON.stringify(value), { fields: [["content-type", "application/json"]], ...parts });
}

/** No answer: only a fault. */
export function noAnswer(fault: AnswerSummary["fault"]): AnswerSummary {
  return { status: 0, fields: [], body: null, bodyLength: 0, isBodyWhole: false, fault };
}

/** Pairs of which so many were compared and so many of those mismatched. */
export function pairsOf(compared: number, mismatched: number): PairCounts {
  const notCompared = Object.fromEntries(NOT_COMPARED_REASONS.map((reason) => [reason, 0]));
  return {
    matched: compared - mismatched,
    mismatched,
    failures: 0,
    notCompared: notCompared as Record<NotComparedReason, number>,
  };
}

/** Totals with these fields: [name, differing pairs, differing pairs of noise]. */
export function totalsOf(
  pairs: number,
  noise: number,
  fields: readonly (readonly [name: string, pairs: number, noise: number])[],
): ComparisonCounts {
  const counts = (d: number, d0: number): FieldCounts => ({
    pairs: d,
    noise: d0,
    firstSeenMs: 0,
    lastSeenMs: 0,
    samples: [],
  });
  const seen = fields.filter(([, d, d0]) => d + d0 > 0);
  return {
    pairs: pairsOf(pairs, Math.max(0, ...seen.map(([, d]) => d))),
    noise: pairsOf(noise, Math.max(0, ...seen.map(([, , d0]) => d0))),
    fields: seen.map(([name, d, d0]) => [name, counts(d, d0)] as const),
  };
}
