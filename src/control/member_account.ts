/** What an instance tells others of its traffic, and what there is to learn from what others tell. */
import type { Clock } from "../base/clock.ts";
import { deltaOf, NO_SAMPLE, sumOf, WINDOW_SECONDS_MAX, type Sample } from "../domain/window.ts";
import type { Account, PairAccount } from "./member_word.ts";
import { keyOf, moveToEnd, RINGS_MAX, type Addition } from "./sampler.ts";

/** A pair without traffic for so long is left out: no window shows it any more. In milliseconds. */
const IDLE_MS = (WINDOW_SECONDS_MAX + 1) * 1000;

/**
 * What was counted between two accounts is believed to belong to now, up to this age; what may be older is dropped,
 * because a window would show it as one second. In milliseconds.
 */
const GAP_MAX_MS = 10_000;

interface Entry {
  readonly route: string;
  readonly backend: string;
  readonly since: number;
  total: Sample;
  changedAtMs: number;
}

/**
 * The account of this instance: what entered its own windows, added up from when a pair began to be busy.
 *
 * Not the totals of the metrics: those take in at once what a worker that is taken over has counted for hours.
 */
export class OwnAccount {
  readonly run: string;
  readonly #clock: Clock;
  /** The pair that was idle longest is the first; over RINGS_MAX it goes. */
  readonly #entries = new Map<string, Entry>();
  /** The number of the last word. */
  word = 0;

  constructor(run: string, clock: Clock) {
    this.run = run;
    this.#clock = clock;
  }

  add({ route, backend, delta }: Addition): void {
    const key = keyOf(route, backend);
    const fresh = { route, backend, since: this.word + 1, total: NO_SAMPLE, changedAtMs: 0 };
    const entry: Entry = this.#entries.get(key) ?? fresh;
    entry.total = sumOf(entry.total, delta);
    entry.changedAtMs = this.#clock.nowMs();
    moveToEnd(this.#entries, key, entry, RINGS_MAX);
  }

  /** The account for the next word. */
  next(): Account {
    this.word++;
    const idleMs = this.#clock.nowMs() - IDLE_MS;
    for (const [key, { changedAtMs }] of this.#entries) {
      if (changedAtMs > idleMs) break;
      this.#entries.delete(key);
    }
    const pairs = [...this.#entries.values()].map(({ route, backend, since, total }) => ({
      ...total,
      route,
      backend,
      since,
    }));
    return { run: this.run, word: this.word, pairs };
  }
}

interface Heard {
  readonly run: string;
  readonly word: number;
  readonly atMs: number;
  readonly pairs: ReadonlyMap<string, PairAccount>;
}

/**
 * The account of another instance: the last one is subtracted from each new one.
 *
 * Accounts are cumulative, so a lost word is harmless. Nothing is learnt from the first account of a run, nor from one
 * that comes long after the one before: what it counts happened some time, but not now.
 */
export class HeardAccount {
  #last: Heard | null = null;

  /** What happened since the account before. `nowMs` is on this machine's monotonic clock. */
  hear(account: Account, nowMs: number): Addition[] {
    const { run, word } = account;
    const last = this.#last?.run === run ? this.#last : null;
    if (last !== null && word <= last.word) return [];
    const pairs = new Map(account.pairs.map((pair) => [keyOf(pair.route, pair.backend), pair]));
    this.#last = { run, word, atMs: nowMs, pairs };
    if (last === null || nowMs - last.atMs > GAP_MAX_MS) return [];
    return [...pairs].flatMap(([key, pair]) => {
      const before = beforeOf(pair, last.pairs.get(key), last.word);
      const { route, backend } = pair;
      return before === null ? [] : [{ route, backend, delta: deltaOf(pair, before) }];
    });
  }
}

/** What a pair's account said at an earlier word, or null when nobody knows any more. */
function beforeOf(pair: PairAccount, known: PairAccount | undefined, lastWord: number): Sample | null {
  if (known?.since === pair.since) return known;
  // It began to be counted after that word, so all of it is new. If not, it did not fit into the word.
  return pair.since > lastWord ? NO_SAMPLE : null;
}
