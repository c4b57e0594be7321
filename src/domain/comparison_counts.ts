/** What was counted of comparisons: totals that only grow, and add up over workers and instances. */
import {
  NOT_COMPARED_REASONS,
  OTHER_FIELD,
  type Comparison,
  type Mismatch,
  type MismatchKind,
  type NotComparedReason,
} from "./compare_words.ts";

/** The most fields that are counted by name; all further ones count as OTHER_FIELD. */
export const FIELDS_MAX = 500;

/** One mismatch of a field, and when it was seen, in Unix milliseconds. */
export interface FieldSample {
  readonly atMs: number;
  readonly kind: MismatchKind;
  readonly left: string | null;
  readonly right: string | null;
}

/** How often a field differed. */
export interface FieldCounts {
  /** Pairs of legacy and the candidate. */
  readonly pairs: number;
  /** Pairs of legacy and legacy. */
  readonly noise: number;
  /** In either kind of pair, Unix milliseconds. */
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
  /** The first mismatch of legacy and the candidate, and the newest: none, one or two. */
  readonly samples: readonly FieldSample[];
}

/** What came of pairs of one kind. Those that were compared are `matched` and `mismatched`. */
export interface PairCounts {
  readonly matched: number;
  readonly mismatched: number;
  /** Mismatches in which the second answer was a failure. */
  readonly failures: number;
  readonly notCompared: Readonly<Record<NotComparedReason, number>>;
}

/** Everything that was counted since some start. Plain values, as JSON carries them. */
export interface ComparisonCounts {
  readonly pairs: PairCounts;
  readonly noise: PairCounts;
  /** At most FIELDS_MAX and OTHER_FIELD, each once. */
  readonly fields: readonly (readonly [field: string, counts: FieldCounts])[];
}

const NO_PAIRS: PairCounts = Object.freeze<PairCounts>({
  matched: 0,
  mismatched: 0,
  failures: 0,
  notCompared: Object.freeze(byReason(() => 0)),
});

/** Nothing counted yet. */
export const NO_COMPARISONS: ComparisonCounts = Object.freeze<ComparisonCounts>({
  pairs: NO_PAIRS,
  noise: NO_PAIRS,
  fields: [],
});

/** Pairs that were compared. */
export function comparedOf({ matched, mismatched }: PairCounts): number {
  return matched + mismatched;
}

/** Both together. Which names are kept beyond FIELDS_MAX depends on when they were first seen, not on the order. */
export function sumOfComparisons(a: ComparisonCounts, b: ComparisonCounts): ComparisonCounts {
  const fields = new Map(a.fields);
  for (const [field, counts] of b.fields) {
    const before = fields.get(field);
    fields.set(field, before === undefined ? counts : sumOfFields(before, counts));
  }
  return {
    pairs: sumOfPairs(a.pairs, b.pairs),
    noise: sumOfPairs(a.noise, b.noise),
    fields: bounded(fields),
  };
}

/** Counts comparisons as they come: about 0.5 KiB for each field. */
export class ComparisonTally {
  #pairs = NO_PAIRS;
  #noise = NO_PAIRS;
  readonly #fields = new Map<string, FieldCounts>();

  /** Takes a comparison of legacy and the candidate. `nowMs` is Unix time. */
  add(comparison: Comparison, nowMs: number): void {
    this.#pairs = counted(this.#pairs, comparison);
    this.#addFields(comparison, nowMs, true);
  }

  /** Takes a comparison of legacy and legacy. */
  addNoise(comparison: Comparison, nowMs: number): void {
    this.#noise = counted(this.#noise, comparison);
    this.#addFields(comparison, nowMs, false);
  }

  get counts(): ComparisonCounts {
    return { pairs: this.#pairs, noise: this.#noise, fields: [...this.#fields] };
  }

  #addFields(comparison: Comparison, nowMs: number, isPair: boolean): void {
    if (comparison.result !== "mismatched") return;
    // A pair counts once for a name, however many of its fields go by it.
    const mismatches = new Map<string, Mismatch>();
    for (const one of comparison.fields) {
      const name = this.#nameOf(one.field);
      if (!mismatches.has(name)) mismatches.set(name, one);
    }
    for (const [name, one] of mismatches) {
      const seen = fieldOf(one, nowMs, isPair);
      const before = this.#fields.get(name);
      this.#fields.set(name, before === undefined ? seen : sumOfFields(before, seen));
    }
  }

  #nameOf(field: string): string {
    const room = FIELDS_MAX + Number(this.#fields.has(OTHER_FIELD));
    return this.#fields.has(field) || this.#fields.size < room ? field : OTHER_FIELD;
  }
}

function fieldOf({ kind, left, right }: Mismatch, nowMs: number, isPair: boolean): FieldCounts {
  return {
    pairs: Number(isPair),
    noise: Number(!isPair),
    firstSeenMs: nowMs,
    lastSeenMs: nowMs,
    samples: isPair ? [{ atMs: nowMs, kind, left, right }] : [],
  };
}

function counted(pairs: PairCounts, comparison: Comparison): PairCounts {
  switch (comparison.result) {
    case "matched":
      return { ...pairs, matched: pairs.matched + 1 };
    case "mismatched": {
      const failures = pairs.failures + Number(comparison.isFailure);
      return { ...pairs, mismatched: pairs.mismatched + 1, failures };
    }
    case "not compared": {
      const { reason } = comparison;
      const notCompared = { ...pairs.notCompared, [reason]: pairs.notCompared[reason] + 1 };
      return { ...pairs, notCompared };
    }
  }
}

function sumOfPairs(a: PairCounts, b: PairCounts): PairCounts {
  return {
    matched: a.matched + b.matched,
    mismatched: a.mismatched + b.mismatched,
    failures: a.failures + b.failures,
    notCompared: byReason((reason) => a.notCompared[reason] + b.notCompared[reason]),
  };
}

function byReason(countOf: (reason: NotComparedReason) => number): Record<NotComparedReason, number> {
  return Object.fromEntries(NOT_COMPARED_REASONS.map((reason) => [reason, countOf(reason)])) as Record<
    NotComparedReason,
    number
  >;
}

function sumOfFields(a: FieldCounts, b: FieldCounts): FieldCounts {
  const samples = [...a.samples, ...b.samples].toSorted((one, other) => one.atMs - other.atMs);
  return {
    pairs: a.pairs + b.pairs,
    noise: a.noise + b.noise,
    firstSeenMs: Math.min(a.firstSeenMs, b.firstSeenMs),
    lastSeenMs: Math.max(a.lastSeenMs, b.lastSeenMs),
    samples: samples.length <= 2 ? samples : [samples[0] as FieldSample, samples.at(-1) as FieldSample],
  };
}

/** Keeps the names that were seen first, and puts the others together. */
function bounded(fields: ReadonlyMap<string, FieldCounts>): ComparisonCounts["fields"] {
  const named = [...fields].filter(([field]) => field !== OTHER_FIELD);
  if (named.length <= FIELDS_MAX) return [...fields];
  named.sort(([a, one], [b, other]) => one.firstSeenMs - other.firstSeenMs || (a < b ? -1 : 1));
  const rest = named.slice(FIELDS_MAX).map(([, counts]) => counts);
  const others = [
    ...rest,
    ...[...fields].filter(([field]) => field === OTHER_FIELD).map(([, counts]) => counts),
  ];
  return [...named.slice(0, FIELDS_MAX), [OTHER_FIELD, others.reduce(sumOfFields)]];
}
