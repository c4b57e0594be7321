/** What an instance has compared of a route, as the JSON text that a ComparisonStore keeps, and back. */
import { z } from "zod";
import { NOT_COMPARED_REASONS } from "../domain/compare_words.ts";
import { FIELDS_MAX, NO_COMPARISONS, type ComparisonCounts } from "../domain/comparison_counts.ts";
import { COMPARISON_TEXT_MAX } from "../store/comparisons.ts";

/** What one instance has counted on one basis. */
export interface ComparisonWord {
  readonly basis: string;
  /** When the first of it was counted, Unix milliseconds. */
  readonly sinceMs: number;
  /** Of workers that are gone. */
  readonly past: ComparisonCounts;
  /** Totals of workers that may still count, by their ids. */
  readonly workers: readonly (readonly [id: string, counts: ComparisonCounts])[];
}

/** Changes with the meaning of what was there before; additions keep it. */
const FORMAT = 1;

const WORKERS_MAX = 1_000;
const TEXT_MAX = 1_000;
const count = z.int().min(0);
const name = z.string().max(TEXT_MAX);
const kind = z.enum(["missing", "added", "type", "value", "length", "order"]);

const pairs = z.object({
  matched: count,
  mismatched: count,
  failures: count,
  // A later version may know more reasons, and an earlier one fewer.
  notCompared: z.record(name, count).transform((counts) => {
    const known = NOT_COMPARED_REASONS.map((reason) => [reason, counts[reason] ?? 0] as const);
    return { ...NO_COMPARISONS.pairs.notCompared, ...Object.fromEntries(known) };
  }),
});
const sample = z.object({ atMs: count, kind, left: name.nullable(), right: name.nullable() });
const field = z.object({
  pairs: count,
  noise: count,
  firstSeenMs: count,
  lastSeenMs: count,
  samples: z.array(sample).max(2),
});
const counts = z.object({
  pairs,
  noise: pairs,
  fields: z.array(z.tuple([name, field])).max(FIELDS_MAX + 1),
});
const wordSchema = z.object({
  format: z.literal(FORMAT),
  basis: name,
  sinceMs: count,
  past: counts,
  workers: z.array(z.tuple([name, counts])).max(WORKERS_MAX),
});

/** The text, or null when it is too long to be kept. */
export function writeComparisonWord(word: ComparisonWord): string | null {
  const text = JSON.stringify({ format: FORMAT, ...word });
  return text.length <= COMPARISON_TEXT_MAX ? text : null;
}

/** Reads a text; null for one that says nothing this version understands. */
export function readComparisonWord(text: string): ComparisonWord | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  const parsed = wordSchema.safeParse(value);
  return parsed.success ? parsed.data : null;
}
