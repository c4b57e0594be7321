/** What the workers of this instance have compared, added up per route and basis, and kept over their ends. */
import { NO_COMPARISONS, sumOfComparisons, type ComparisonCounts } from "../domain/comparison_counts.ts";
import type { ComparisonReport } from "../shared/messages.ts";
import type { ComparisonWord } from "./comparison_word.ts";

/** Workers whose totals are kept apart; beyond it the first ones, which have long been gone, are put together. */
const WORKERS_MAX = 300;
/** Routes and bases at a time; what would be more is not counted. */
const CASES_MAX = 2_000;

interface Case {
  sinceMs: number;
  past: ComparisonCounts;
  /** By the id that a worker gives itself, the ones that came first in front. */
  readonly workers: Map<string, ComparisonCounts>;
  /** Everything together; null when it has to be added up again. */
  sum: ComparisonCounts | null;
  /** Counts changes, so that whoever keeps them knows whether there are new ones. */
  version: number;
}

/**
 * Adds up reports.
 *
 * They are totals of a worker since it began, so that a lost one is harmless, and one that comes again, to the next
 * control process, takes the place of what that one has read of the same worker from the store. A worker that is gone
 * leaves its totals behind.
 */
export class ComparisonTotals {
  /** `ROUTE BASIS` to what was counted. */
  readonly #cases = new Map<string, Case>();
  /** The ids of the workers behind each process of the fleet. */
  readonly #idsOf = new Map<string, Set<string>>();
  /** Those whose totals were put to the past: the store may still have them apart. The newest WORKERS_MAX. */
  readonly #gone = new Set<string>();

  /** Takes what one process of the fleet reports, by its key there. `nowMs` is Unix time. */
  report(place: string, reports: readonly ComparisonReport[], nowMs: number): void {
    for (const { route, basis, worker, counts } of reports) {
      const known = this.#caseOf(route, basis, nowMs);
      if (known === null) return;
      known.workers.set(worker, counts);
      touch(known);
      if (known.workers.size > WORKERS_MAX) foldFirst(known);
      const ids = this.#idsOf.get(place) ?? new Set<string>();
      this.#idsOf.set(place, ids.add(worker));
    }
  }

  /** Puts the totals of a process that is gone to the past. */
  retire(place: string): void {
    for (const id of this.#idsOf.get(place) ?? []) {
      for (const known of this.#cases.values()) fold(known, id);
      this.#gone.add(id);
    }
    for (const first of this.#gone) {
      if (this.#gone.size <= WORKERS_MAX) break;
      this.#gone.delete(first);
    }
    this.#idsOf.delete(place);
  }

  /** Takes what this instance had counted before its start, once for each route and basis. */
  restore(route: string, { basis, sinceMs, past, workers }: ComparisonWord): void {
    const known = this.#caseOf(route, basis, sinceMs);
    if (known === null) return;
    known.sinceMs = Math.min(known.sinceMs, sinceMs);
    known.past = sumOfComparisons(known.past, past);
    const reported = [...known.workers];
    known.workers.clear();
    for (const [id, counts] of workers) if (!this.#gone.has(id)) known.workers.set(id, counts);
    for (const [id, counts] of reported) known.workers.set(id, counts);
    touch(known);
  }

  /** What was counted of a route on a basis, for the store. */
  word(route: string, basis: string): ComparisonWord | null {
    const known = this.#cases.get(keyOf(route, basis));
    if (known === undefined) return null;
    return { basis, sinceMs: known.sinceMs, past: known.past, workers: [...known.workers] };
  }

  /** All of it together. */
  sum(route: string, basis: string): ComparisonCounts {
    const known = this.#cases.get(keyOf(route, basis));
    if (known === undefined) return NO_COMPARISONS;
    known.sum ??= [...known.workers.values()].reduce(sumOfComparisons, known.past);
    return known.sum;
  }

  /** Grows with every change. */
  version(route: string, basis: string): number {
    return this.#cases.get(keyOf(route, basis))?.version ?? 0;
  }

  /** Forgets everything but these routes and bases. */
  keep(wanted: readonly (readonly [route: string, basis: string])[]): void {
    const keys = new Set(wanted.map(([route, basis]) => keyOf(route, basis)));
    for (const key of this.#cases.keys()) if (!keys.has(key)) this.#cases.delete(key);
  }

  #caseOf(route: string, basis: string, nowMs: number): Case | null {
    const key = keyOf(route, basis);
    let known = this.#cases.get(key);
    if (known !== undefined) return known;
    if (this.#cases.size >= CASES_MAX) return null;
    known = { sinceMs: nowMs, past: NO_COMPARISONS, workers: new Map(), sum: null, version: 0 };
    this.#cases.set(key, known);
    return known;
  }
}

function keyOf(route: string, basis: string): string {
  return `${route} ${basis}`;
}

function touch(known: Case): void {
  known.sum = null;
  known.version++;
}

function fold(known: Case, id: string): void {
  const counts = known.workers.get(id);
  if (counts === undefined) return;
  known.workers.delete(id);
  known.past = sumOfComparisons(known.past, counts);
  touch(known);
}

function foldFirst(known: Case): void {
  for (const id of known.workers.keys()) {
    fold(known, id);
    return;
  }
}
