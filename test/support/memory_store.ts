/** A sequential model of RouteStore: the plainest thing that keeps the contract, for tests and to compare with. */
import type { Clock } from "../../src/base/clock.ts";
import { assert, Fault } from "../../src/base/fault.ts";
import {
  HISTORY_KEPT_MAX,
  HISTORY_PAGE_MAX,
  IDEMPOTENCY_KEPT_MAX,
  IDEMPOTENCY_KEPT_MS,
  assertHistory,
  assertRevision,
  type AuditEntry,
  type Change,
  type CommitOutcome,
  type HistoryQuery,
  type IdempotencyMark,
  type IdempotencyRecord,
  type RouteStore,
  type StoredTable,
} from "../../src/store/store.ts";

/** What a store keeps. Stores that share it behave as handles on one file. */
export class MemoryData {
  /** Oldest first. */
  revisions: StoredTable[] = [];
  /** In the order of use. */
  keys: (IdempotencyRecord & { readonly atMs: number })[] = [];
  /** What watchers threw. */
  readonly watcherFaults: unknown[] = [];
  readonly watchers = new Set<(revision: number) => void>();
}

/** A store in memory. Everything happens in the order of the calls; what it gives and takes is copied. */
export class MemoryStore implements RouteStore {
  readonly #clock: Clock;
  readonly #data: MemoryData;
  readonly #ends: (() => void)[] = [];
  #isClosed = false;

  constructor(clock: Clock, data: MemoryData = new MemoryData()) {
    this.#clock = clock;
    this.#data = data;
  }

  async read(): Promise<StoredTable | null> {
    this.#assertOpen();
    return structuredClone(this.#data.revisions.at(-1) ?? null);
  }

  async at(revision: number): Promise<StoredTable | null> {
    assertRevision(revision);
    this.#assertOpen();
    return structuredClone(this.#data.revisions.find((stored) => stored.revision === revision) ?? null);
  }

  async history({ limit, before = Infinity }: HistoryQuery): Promise<AuditEntry[]> {
    assert(Number.isInteger(limit) && limit >= 1 && limit <= HISTORY_PAGE_MAX, "a page has 1 to 500 entries");
    assert(before === Infinity || Number.isSafeInteger(before), "a revision is a whole number");
    assert(before >= 1, "revisions start at 1");
    this.#assertOpen();
    const entries = this.#data.revisions.filter((stored) => stored.revision < before).toReversed();
    return structuredClone(entries.slice(0, limit).map(({ document: _, ...entry }) => entry));
  }

  async recall(key: string): Promise<IdempotencyRecord | null> {
    this.#assertOpen();
    const known = this.#findKey(key);
    if (known === undefined) return null;
    const { atMs: _, ...record } = known;
    return record;
  }

  async commit(expectedRevision: number, change: Change): Promise<CommitOutcome> {
    assert(Number.isSafeInteger(expectedRevision) && expectedRevision >= 0, "a revision is a whole number");
    this.#assertOpen();
    const currentRevision = this.#data.revisions.at(-1)?.revision ?? 0;
    const { idempotency, ...rest } = change;
    const isKnown = idempotency !== undefined && this.#findKey(idempotency.key) !== undefined;
    if (currentRevision !== expectedRevision || isKnown) return { ok: false, currentRevision };
    const revision = currentRevision + 1;
    const stored = { ...rest, revision, fromRevision: currentRevision, atMs: this.#clock.wallMs() };
    this.#data.revisions = [...this.#data.revisions, structuredClone(stored)].slice(-HISTORY_KEPT_MAX);
    if (idempotency !== undefined) this.#note(idempotency, revision, true);
    queueMicrotask(() => this.#tell(revision));
    return { ok: true, revision };
  }

  async remember(mark: IdempotencyMark, revision: number): Promise<boolean> {
    assertRevision(revision);
    this.#assertOpen();
    if (this.#findKey(mark.key) !== undefined) return false;
    this.#note(mark, revision, false);
    return true;
  }

  watch(listener: (revision: number) => void): () => void {
    this.#assertOpen();
    const since = this.#data.revisions.at(-1)?.revision ?? 0;
    const entry = (revision: number): void => (revision > since ? listener(revision) : undefined);
    this.#data.watchers.add(entry);
    const end = (): void => void this.#data.watchers.delete(entry);
    this.#ends.push(end);
    return end;
  }

  async load(history: readonly StoredTable[]): Promise<boolean> {
    assertHistory(history);
    this.#assertOpen();
    if (this.#data.revisions.length > 0) return false;
    this.#data.revisions = structuredClone([...history]);
    queueMicrotask(() => this.#tell(history.at(-1)?.revision as number));
    return true;
  }

  async close(): Promise<void> {
    for (const end of this.#ends) end();
    this.#isClosed = true;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new Fault("STORE_UNAVAILABLE", "the store is closed");
  }

  #findKey(key: string): (IdempotencyRecord & { readonly atMs: number }) | undefined {
    const sinceMs = this.#clock.wallMs() - IDEMPOTENCY_KEPT_MS;
    return this.#data.keys.find((known) => known.key === key && known.atMs > sinceMs);
  }

  #note(mark: IdempotencyMark, revision: number, changed: boolean): void {
    const record = {
      key: mark.key,
      fingerprint: mark.fingerprint,
      revision,
      changed,
      atMs: this.#clock.wallMs(),
    };
    this.#data.keys = [...this.#data.keys, record].slice(-IDEMPOTENCY_KEPT_MAX);
  }

  #tell(revision: number): void {
    for (const watcher of this.#data.watchers) {
      try {
        watcher(revision);
      } catch (error) {
        this.#data.watcherFaults.push(error);
      }
    }
  }
}
