/** What is known of the differences between the backends of each route, over all instances and restarts. */
import type { Clock } from "../base/clock.ts";
import { Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { ComparisonJudge } from "../domain/comparison.ts";
import { comparedPair, comparisonBasis, type ComparedPair } from "../domain/comparison_basis.ts";
import { NO_COMPARISONS, sumOfComparisons, type ComparisonCounts } from "../domain/comparison_counts.ts";
import type { Compared } from "../domain/comparison_report.ts";
import type { Document, Route } from "../domain/route.ts";
import type { ComparisonStore } from "../store/comparisons.ts";
import type { ComparisonTotals } from "./comparison_totals.ts";
import { readComparisonWord, writeComparisonWord } from "./comparison_word.ts";

/** How often judges look, and how often the store is asked and told. In milliseconds. */
const LOOK_MS = 1_000;
const SYNC_MS = 5_000;
/** How long a stop waits for the last words to be kept. */
const STOP_MS = 2_000;
/** Routes that are judged at a time, at 1 MiB each at the very most; a warning tells of the others. */
const CASES_MAX = 500;

/** What it works with. */
export interface ComparisonsParts {
  readonly store: ComparisonStore;
  readonly totals: ComparisonTotals;
  readonly publisher: { table(): { readonly document: Document } | null };
  /** The name of this instance. */
  readonly instance: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A route that compares. */
interface Case {
  readonly route: string;
  readonly basis: string;
  readonly pair: ComparedPair;
  readonly judge: ComparisonJudge;
  /** Whether what this instance counted before its start is in the totals. */
  isRestored: boolean;
  keptVersion: number;
  others: ComparisonCounts;
  othersSinceMs: number;
  /** Instances that have counted something, this one included. */
  instances: number;
}

/** What is known of a route. */
export interface RouteComparison extends Compared {
  readonly instances: number;
}

/**
 * Judges what is compared, once a second, from the sums of all instances.
 *
 * Each instance keeps its own counts in the store, every few seconds and when it stops, and reads those of the others.
 * What a kill -9 loses are the counts of the last seconds; nothing is counted twice. A store that is away changes
 * nothing but that, and a warning says so. Counts of another basis are not looked at.
 */
export class Comparisons {
  readonly #parts: ComparisonsParts;
  readonly #cases = new Map<string, Case>();
  #lookedMs = -Infinity;
  #syncedMs = -Infinity;
  #syncing: Promise<void> | null = null;
  #fault: string | null = null;
  #unjudged = 0;
  #isStopped = false;

  constructor(parts: ComparisonsParts) {
    this.#parts = parts;
  }

  /** Called every TICK_MS. */
  tick(): void {
    const { clock, publisher } = this.#parts;
    const nowMs = clock.nowMs();
    const table = publisher.table();
    if (this.#isStopped || table === null || nowMs < this.#lookedMs + LOOK_MS) return;
    this.#lookedMs = nowMs;
    this.#follow(table.document.routes);
    for (const one of this.#cases.values()) one.judge.tick(nowMs, this.#sumOf(one));
    if (nowMs < this.#syncedMs + SYNC_MS || this.#syncing !== null) return;
    this.#syncedMs = nowMs;
    this.#syncing = this.#sync().finally(() => (this.#syncing = null));
  }

  /** What is known of a route; null where nothing is compared, or not yet. */
  of(route: Route): RouteComparison | null {
    const one = this.#cases.get(route.id);
    if (one === undefined || one.basis !== comparisonBasis(route)) return null;
    const { totals, clock } = this.#parts;
    const ownSinceMs = totals.word(one.route, one.basis)?.sinceMs ?? clock.wallMs();
    return {
      pair: one.pair,
      basis: one.basis,
      sinceMs: Math.min(ownSinceMs, one.othersSinceMs),
      summary: one.judge.summary,
      fields: one.judge.fields,
      instances: one.instances,
    };
  }

  /** Whether the mismatch rate of a route was shown to be below `rate`, 0 to 1. */
  isProvenBelow(route: Route, rate: number): boolean {
    const one = this.#cases.get(route.id);
    return one !== undefined && one.basis === comparisonBasis(route) && one.judge.isProvenBelow(rate);
  }

  /** What this instance's own workers have compared, for every route that compares. */
  own(): [route: string, counts: ComparisonCounts][] {
    const { totals } = this.#parts;
    return [...this.#cases.values()].map(({ route, basis }) => [route, totals.sum(route, basis)]);
  }

  warnings(): string[] {
    const unkept = this.#fault === null ? [] : [`what is compared cannot be kept: ${this.#fault}`];
    const many = `${this.#unjudged} routes compare without being judged: there are ${this.#cases.size} already`;
    return this.#unjudged === 0 ? unkept : [...unkept, many];
  }

  /** Keeps what was counted last, as far as the store takes it in time. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_MS);
    });
    await Promise.race([late, Promise.resolve(this.#syncing).then(() => this.#sync())]);
    clearTimeout(timer);
  }

  /** One case for each route that compares, and none for others. */
  #follow(routes: readonly Route[]): void {
    this.#unjudged = 0;
    const wanted: [route: string, basis: string][] = [];
    for (const route of routes) {
      const [pair, basis] = [comparedPair(route), comparisonBasis(route)];
      if (pair === null || basis === null) continue;
      wanted.push([route.id, basis]);
      if (this.#cases.get(route.id)?.basis === basis) continue;
      this.#cases.delete(route.id);
      if (this.#cases.size >= CASES_MAX) this.#unjudged++;
      else this.#cases.set(route.id, newCase(route.id, basis, pair));
    }
    const names = new Set(wanted.map(([route]) => route));
    for (const route of this.#cases.keys()) if (!names.has(route)) this.#cases.delete(route);
    this.#parts.totals.keep(wanted);
  }

  #sumOf({ route, basis, others }: Case): ComparisonCounts {
    return sumOfComparisons(this.#parts.totals.sum(route, basis), others);
  }

  /** Reads what others have counted, and keeps what this instance has. */
  async #sync(): Promise<void> {
    try {
      for (const one of this.#cases.values()) await this.#syncOne(one);
      if (this.#fault !== null) this.#parts.log.info({}, "what is compared is kept again");
      this.#fault = null;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      if (this.#fault === null) this.#parts.log.warn({ detail: error.message }, "comparisons are not kept");
      this.#fault = error.message;
    }
  }

  async #syncOne(one: Case): Promise<void> {
    const { store, totals, instance } = this.#parts;
    const { route, basis } = one;
    let others = NO_COMPARISONS;
    let othersSinceMs = Infinity;
    let instances = 0;
    for (const entry of await store.of(route)) {
      const word = readComparisonWord(entry.text);
      if (word === null || word.basis !== basis) continue;
      if (entry.instance === instance) {
        if (!one.isRestored) totals.restore(route, word);
        continue;
      }
      others = [word.past, ...word.workers.map(([, counts]) => counts)].reduce(sumOfComparisons, others);
      othersSinceMs = Math.min(othersSinceMs, word.sinceMs);
      instances++;
    }
    one.isRestored = true;
    Object.assign(one, { others, othersSinceMs });
    const version = totals.version(route, basis);
    one.instances = instances + Number(version > 0);
    if (version === one.keptVersion) return;
    const word = totals.word(route, basis);
    const text = word === null ? null : writeComparisonWord(word);
    if (text !== null) await store.put(route, { instance, text });
    one.keptVersion = version;
  }
}

function newCase(route: string, basis: string, pair: ComparedPair): Case {
  return {
    route,
    basis,
    pair,
    judge: new ComparisonJudge(),
    isRestored: false,
    keptVersion: 0,
    others: NO_COMPARISONS,
    othersSinceMs: Infinity,
    instances: 0,
  };
}
