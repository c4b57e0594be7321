/** Stands before a store that others administer, and lets only later tables of the known history pass. */
import type { Clock } from "../base/clock.ts";
import { Fault, type FaultCode } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import type { LastTable } from "./last_table.ts";
import type { LineageStore, LineageTable, Standing } from "./lineage.ts";
import type {
  AuditEntry,
  Change,
  CommitOutcome,
  HistoryQuery,
  IdempotencyMark,
  IdempotencyRecord,
  RouteStore,
  StoredTable,
} from "./store.ts";

/**
 * How the store is.
 *
 * `ok`: its table is used. `away`: it cannot be reached. `empty`: it has lost the table that is known here. `older`:
 * it has gone back in its history. `stranger`: its table belongs to another history.
 */
export type StoreCondition = "ok" | "away" | "empty" | "older" | "stranger";

/** How the store is, since when, and why. */
export interface StoreStatus {
  readonly condition: StoreCondition;
  /** Empty for "ok". */
  readonly detail: string;
  /** Unix time in milliseconds; of the first moment of this condition. */
  readonly sinceMs: number;
  /** The revision that the store was last seen with, 0 for an empty one; null when it was never reached. */
  readonly storeRevision: number | null;
}

/** Which table counts when the store's is not a later one of the known history. */
export type Reseed = "served" | "stored";

/** What the guard works with. `where`: the store, for people. */
export interface GuardParts {
  readonly store: LineageStore;
  readonly last: LastTable;
  readonly clock: Clock;
  readonly log: Logger;
  readonly where: string;
}

const NOWHERE: Standing = { revision: 0, lineage: "" };

/**
 * A RouteStore that never takes a step back by itself.
 *
 * A server that was restarted empty, or with old data, or exchanged for another one, answers as readily as before.
 * Whoever believed it would route by a table of long ago, or by none. So the newest table that was accepted is
 * remembered, in memory and on disk, and what is not a later one of the same history is refused with Fault
 * STORE_REGRESSED: nothing is read or written then until an operator says with `reseed` which one counts.
 */
export class GuardedStore implements RouteStore {
  readonly #parts: GuardParts;
  /** The newest table that was accepted. */
  #known: LineageTable | null;
  #status: StoreStatus;
  readonly #watchers = new Set<(revision: number) => void>();

  constructor(parts: GuardParts) {
    this.#parts = parts;
    this.#known = parts.last.read();
    const sinceMs = Math.trunc(parts.clock.wallMs());
    this.#status = { condition: "ok", detail: "", sinceMs, storeRevision: null };
  }

  /** The newest table that was accepted, now or before this start; null when there never was one. */
  get known(): StoredTable | null {
    return this.#known;
  }

  get status(): StoreStatus {
    return this.#status;
  }

  async read(): Promise<StoredTable | null> {
    const table = await this.#reach(() => this.#parts.store.readTable());
    const judged = judge(table, this.#known, this.#parts.where);
    if (judged === null) return this.#accept(table);
    // An answer that was overtaken by another one looks like a step back; the next one cannot.
    const again = await this.#reach(() => this.#parts.store.readTable());
    const verdict = judge(again, this.#known, this.#parts.where);
    if (verdict === null) return this.#accept(again);
    this.#become(verdict.condition, verdict.detail, again?.revision ?? 0);
    throw new Fault("STORE_REGRESSED", verdict.detail);
  }

  async commit(expectedRevision: number, change: Change): Promise<CommitOutcome> {
    return this.#write(() => this.#parts.store.commit(expectedRevision, change));
  }

  async at(revision: number): Promise<StoredTable | null> {
    return this.#reach(() => this.#parts.store.at(revision));
  }

  async history(query: HistoryQuery): Promise<AuditEntry[]> {
    return this.#reach(() => this.#parts.store.history(query));
  }

  async recall(key: string): Promise<IdempotencyRecord | null> {
    return this.#reach(() => this.#parts.store.recall(key));
  }

  async remember(mark: IdempotencyMark, revision: number): Promise<boolean> {
    return this.#write(() => this.#parts.store.remember(mark, revision));
  }

  /** As RouteStore says. A store that has lost a known table is not filled with another one: that needs `reseed`. */
  async load(history: readonly StoredTable[]): Promise<boolean> {
    await this.read();
    return this.#write(() => this.#parts.store.load(history));
  }

  watch(listener: (revision: number) => void): () => void {
    const unwatch = this.#parts.store.watch(listener);
    this.#watchers.add(listener);
    return () => {
      this.#watchers.delete(listener);
      unwatch();
    };
  }

  /** Makes everybody who watches look at the store: it went out of reach, or came back. */
  lookAgain(): void {
    for (const listener of this.#watchers) listener(this.#known?.revision ?? 0);
  }

  async close(): Promise<void> {
    this.#parts.last.flush();
    await this.#parts.store.close();
  }

  /** The document that `reseed` would put on top; null when there is none of that kind. */
  async candidate(which: Reseed): Promise<StoredTable | null> {
    return which === "served" ? this.#known : this.#reach(() => this.#parts.store.readTable());
  }

  /**
   * An operator's word: puts `change` on top of everything that is known here and there, as a later revision of the
   * known history, so that every instance accepts it. `above`: the revisions that other instances have applied.
   * Gives the new revision, or null when the store moved meanwhile: then nothing was changed.
   */
  async reseed(change: Change, above: number): Promise<number | null> {
    const { store } = this.#parts;
    const table = await this.#reach(() => store.readTable());
    const expected = standingOf(table);
    const known = standingOf(this.#known);
    const revision = Math.max(expected.revision, known.revision, above) + 1;
    const lineage = known.lineage === "" ? expected.lineage : known.lineage;
    const isDone = await this.#write(() => store.reseed(expected, { revision, lineage }, change));
    return isDone ? revision : null;
  }

  /** Runs a write. One that is refused says nothing about reading: whoever watches finds out. */
  async #write<Value>(call: () => Promise<Value>): Promise<Value> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof Fault) this.lookAgain();
      throw error;
    }
  }

  /** Runs a call that reads, and notes whether the store could be reached. */
  async #reach<Value>(call: () => Promise<Value>): Promise<Value> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof Fault && isAway(error.code)) {
        this.#become("away", error.message, this.#status.storeRevision);
      }
      throw error;
    }
  }

  #accept(table: LineageTable | null): LineageTable | null {
    this.#become("ok", "", table?.revision ?? 0);
    if (table === null || isSame(table, this.#known)) return table;
    this.#known = table;
    this.#parts.last.write(table);
    return table;
  }

  #become(condition: StoreCondition, detail: string, storeRevision: number | null): void {
    const { clock, log, where } = this.#parts;
    const before = this.#status;
    const isNew = before.condition !== condition;
    const sinceMs = isNew ? Math.trunc(clock.wallMs()) : before.sinceMs;
    this.#status = { condition, detail, sinceMs, storeRevision };
    if (!isNew) return;
    const facts = { store: where, store_revision: storeRevision, known_revision: this.#known?.revision ?? 0 };
    if (condition === "ok") log.info({ ...facts, was: before.condition }, "the store can be used again");
    else log.error({ ...facts, condition, detail }, "the store cannot be used");
  }
}

/** What is wrong with a store's table beside the known one; null when it may replace it. */
function judge(
  table: LineageTable | null,
  known: LineageTable | null,
  where: string,
): { readonly condition: StoreCondition; readonly detail: string } | null {
  if (known === null) return null;
  const served = `revision ${known.revision}, which is known here, stays in use`;
  const ask = "say which one counts with `crossfade store reseed --from served` or `--from stored`";
  if (table === null) {
    const detail = `${where} holds no table; ${served}; put it back with \`crossfade store reseed --from served\``;
    return { condition: "empty", detail };
  }
  if (table.lineage !== known.lineage) {
    const detail = `${where} holds revision ${table.revision} of another history; ${served}; ${ask}`;
    return { condition: "stranger", detail };
  }
  if (table.revision < known.revision) {
    const detail = `${where} has gone back to revision ${table.revision}; ${served}; ${ask}`;
    return { condition: "older", detail };
  }
  if (table.revision === known.revision && !isSame(table, known)) {
    const detail = `${where} holds another revision ${table.revision} than the one known here; ${served}; ${ask}`;
    return { condition: "stranger", detail };
  }
  return null;
}

function standingOf(table: LineageTable | null): Standing {
  return table === null ? NOWHERE : { revision: table.revision, lineage: table.lineage };
}

/** Whether two tables are one revision of one history: its number alone may have been given out twice. */
function isSame(a: LineageTable, b: LineageTable | null): boolean {
  return (
    b !== null &&
    a.lineage === b.lineage &&
    a.revision === b.revision &&
    a.atMs === b.atMs &&
    a.actor === b.actor &&
    a.reason === b.reason
  );
}

function isAway(code: FaultCode): boolean {
  return code === "STORE_UNAVAILABLE" || code === "STORE_UNSURE";
}
