/** RouteStore in one SQLite file: the embedded default. */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import type { Clock } from "../base/clock.ts";
import { assert, Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { claimFile, onFile } from "./file.ts";
import { inTransaction, prepareDatabase } from "./sqlite_schema.ts";
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
} from "./store.ts";

/** How long SQLite waits for another process. It stops the whole control process meanwhile, so it is short. */
const BUSY_MS = 1_000;

/** How often commits of other processes are looked for while anybody watches: one pragma, some microseconds. */
const POLL_MS = 250;

const AUDIT_COLUMNS = "revision, from_revision, at_ms, actor, action, reason, difference";

type Row = Record<string, SQLOutputValue>;

/** Where the file is, and what tells the time. `log` hears of watchers that fail. */
export interface SqliteStoreOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log?: Pick<Logger, "error">;
}

interface Watcher {
  readonly listener: (revision: number) => void;
  /** The newest revision it was told of, or that there was when it began. */
  toldRevision: number;
}

/**
 * Opens the store in a file, which is made with its directory if need be, readable for its owner alone.
 *
 * Commits are synced to disk before they are answered (WAL, synchronous=FULL). Several processes may use one file.
 * Throws Fault STORE_UNAVAILABLE naming the file when it cannot be used, is no store, or is of a later version.
 */
export function openSqliteStore(options: SqliteStoreOptions): RouteStore {
  const path = resolve(options.path);
  const database = onFile(path, "open", () => {
    claimFile(path);
    return new DatabaseSync(path, { timeout: BUSY_MS });
  });
  try {
    onFile(path, "open", () => prepareDatabase(database, path));
    return onFile(path, "open", () => new SqliteStore(database, { ...options, path }));
  } catch (error) {
    database.close();
    throw error;
  }
}

class SqliteStore implements RouteStore {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Pick<Logger, "error"> | undefined;
  readonly #statements: ReturnType<typeof prepareStatements>;
  /** Which file the path named at the start. */
  readonly #inode: number;
  readonly #watchers = new Set<Watcher>();
  #poll: NodeJS.Timeout | null = null;
  /** Counts the commits of other connections; null: not known. */
  #dataVersion: SQLOutputValue | undefined;

  constructor(database: DatabaseSync, options: SqliteStoreOptions) {
    this.#database = database;
    this.#path = options.path;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#statements = prepareStatements(database);
    this.#inode = statSync(options.path).ino;
  }

  async read(): Promise<StoredTable | null> {
    return this.#on("read", () => this.#stored(this.#statements.newest.get()));
  }

  async at(revision: number): Promise<StoredTable | null> {
    assertRevision(revision);
    return this.#on("read", () => this.#stored(this.#statements.at.get(revision)));
  }

  async history(query: HistoryQuery): Promise<AuditEntry[]> {
    const { limit, before = Number.MAX_SAFE_INTEGER } = query;
    assert(Number.isInteger(limit) && limit >= 1 && limit <= HISTORY_PAGE_MAX, "a page has 1 to 500 entries");
    assertRevision(before);
    return this.#on("read", () => this.#statements.history.all(before, limit).map((row) => this.#audit(row)));
  }

  async recall(key: string): Promise<IdempotencyRecord | null> {
    const row = this.#on("read", () => this.#statements.recall.get(key, this.#keptSinceMs()));
    if (row === undefined) return null;
    const { fingerprint, revision, changed } = row;
    return { key, fingerprint: String(fingerprint), revision: Number(revision), changed: changed === 1 };
  }

  async commit(expectedRevision: number, change: Change): Promise<CommitOutcome> {
    assert(Number.isSafeInteger(expectedRevision) && expectedRevision >= 0, "a revision is a whole number");
    const document = jsonOf(change.document);
    const outcome = this.#write((): CommitOutcome => {
      const currentRevision = this.#newestRevision();
      const { idempotency } = change;
      const isKnown = idempotency !== undefined && this.#isKnown(idempotency.key);
      if (currentRevision !== expectedRevision || isKnown) return { ok: false, currentRevision };
      const revision = currentRevision + 1;
      const atMs = Math.trunc(this.#clock.wallMs());
      this.#insert({ ...change, revision, fromRevision: currentRevision, atMs }, document);
      this.#statements.trim.run(revision - HISTORY_KEPT_MAX);
      if (idempotency !== undefined) this.#note(idempotency, revision, true);
      return { ok: true, revision };
    });
    if (outcome.ok) queueMicrotask(() => this.#tell(outcome.revision));
    return outcome;
  }

  async remember(mark: IdempotencyMark, revision: number): Promise<boolean> {
    assertRevision(revision);
    return this.#write(() => {
      if (this.#isKnown(mark.key)) return false;
      this.#note(mark, revision, false);
      return true;
    });
  }

  watch(listener: (revision: number) => void): () => void {
    const toldRevision = this.#on("read", () => this.#newestRevision());
    const watcher: Watcher = { listener, toldRevision };
    this.#watchers.add(watcher);
    this.#poll ??= setInterval(() => this.#look(), POLL_MS).unref();
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#stopPolling();
    };
  }

  async load(history: readonly StoredTable[]): Promise<boolean> {
    assertHistory(history);
    const documents = history.map((stored) => jsonOf(stored.document));
    const isLoaded = this.#write(() => {
      if (this.#newestRevision() !== 0) return false;
      for (const [index, stored] of history.entries()) this.#insert(stored, documents[index] as string);
      return true;
    });
    if (isLoaded) queueMicrotask(() => this.#tell(history.at(-1)?.revision as number));
    return isLoaded;
  }

  async close(): Promise<void> {
    this.#watchers.clear();
    this.#stopPolling();
    if (this.#database.isOpen) onFile(this.#path, "close", () => this.#database.close());
  }

  #on<Value>(attempted: string, work: () => Value): Value {
    if (!this.#database.isOpen) throw new Fault("STORE_UNAVAILABLE", `the file ${this.#path} is closed`);
    return onFile(this.#path, attempted, work);
  }

  #write<Value>(work: () => Value): Value {
    return this.#on("write", () => {
      // SQLite would go on writing to a file that has no name any more, and nobody would ever read it again.
      if (statSync(this.#path, { throwIfNoEntry: false })?.ino !== this.#inode) {
        const detail = `the file ${this.#path} was moved, deleted or replaced while in use; restart Crossfade`;
        throw new Fault("STORE_UNAVAILABLE", detail);
      }
      return inTransaction(this.#database, work);
    });
  }

  #insert(entry: AuditEntry, document: string): void {
    const { revision, fromRevision, atMs, actor, action, reason } = entry;
    const difference = JSON.stringify(entry.difference);
    const { insert } = this.#statements;
    insert.run(revision, fromRevision, atMs, actor, action, reason, difference, document);
  }

  #newestRevision(): number {
    return Number(this.#statements.newestRevision.get()?.["revision"] ?? 0);
  }

  #isKnown(key: string): boolean {
    return this.#statements.recall.get(key, this.#keptSinceMs()) !== undefined;
  }

  /** Makes a key known, after forgetting those whose time is over or that are too many. */
  #note(mark: IdempotencyMark, revision: number, changed: boolean): void {
    const { forgetOld, noteKey, forgetMany } = this.#statements;
    forgetOld.run(this.#keptSinceMs());
    const atMs = Math.trunc(this.#clock.wallMs());
    const { lastInsertRowid } = noteKey.run(mark.key, mark.fingerprint, revision, changed ? 1 : 0, atMs);
    forgetMany.run(Number(lastInsertRowid) - IDEMPOTENCY_KEPT_MAX);
  }

  #keptSinceMs(): number {
    return Math.trunc(this.#clock.wallMs()) - IDEMPOTENCY_KEPT_MS;
  }

  #stored(row: Row | undefined): StoredTable | null {
    if (row === undefined) return null;
    return { ...this.#audit(row), document: this.#json(row, "document") };
  }

  #audit(row: Row): AuditEntry {
    return {
      revision: Number(row["revision"]),
      fromRevision: Number(row["from_revision"]),
      atMs: Number(row["at_ms"]),
      actor: String(row["actor"]),
      action: String(row["action"]),
      reason: String(row["reason"]),
      // Only this file writes the column, always as a list of lines.
      difference: this.#json(row, "difference") as string[],
    };
  }

  #json(row: Row, column: string): unknown {
    try {
      return JSON.parse(String(row[column]));
    } catch (error) {
      const revision = Number(row["revision"]);
      const detail = `revision ${revision} in the file ${this.#path} is damaged: its ${column} is no JSON`;
      throw new Fault("STORE_UNAVAILABLE", detail, error);
    }
  }

  /** Looks whether another connection has committed since the last look. */
  #look(): void {
    try {
      const dataVersion = this.#on("read", () => this.#statements.dataVersion.get()?.["data_version"]);
      if (dataVersion === this.#dataVersion) return;
      this.#tell(this.#on("read", () => this.#newestRevision()));
      this.#dataVersion = dataVersion;
    } catch (error) {
      // The next look comes soon, and whoever reads or writes until then meets the same fault and reports it.
      if (!(error instanceof Fault)) throw error;
    }
  }

  #tell(revision: number): void {
    for (const watcher of this.#watchers) {
      if (watcher.toldRevision >= revision) continue;
      watcher.toldRevision = revision;
      try {
        watcher.listener(revision);
      } catch (error) {
        this.#log?.error({ err: error, revision }, "a watcher of the store failed");
      }
    }
  }

  #stopPolling(): void {
    if (this.#poll !== null) clearInterval(this.#poll);
    this.#poll = null;
  }
}

function prepareStatements(database: DatabaseSync) {
  const prepare = (sql: string): StatementSync => database.prepare(sql);
  return {
    newest: prepare(`SELECT ${AUDIT_COLUMNS}, document FROM revision ORDER BY revision DESC LIMIT 1`),
    newestRevision: prepare("SELECT max(revision) AS revision FROM revision"),
    at: prepare(`SELECT ${AUDIT_COLUMNS}, document FROM revision WHERE revision = ?`),
    history: prepare(
      `SELECT ${AUDIT_COLUMNS} FROM revision WHERE revision < ? ORDER BY revision DESC LIMIT ?`,
    ),
    insert: prepare(`INSERT INTO revision (${AUDIT_COLUMNS}, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
    trim: prepare("DELETE FROM revision WHERE revision <= ?"),
    recall: prepare("SELECT fingerprint, revision, changed FROM idempotency WHERE key = ? AND at_ms > ?"),
    noteKey: prepare(
      "INSERT OR REPLACE INTO idempotency (key, fingerprint, revision, changed, at_ms) VALUES (?, ?, ?, ?, ?)",
    ),
    forgetOld: prepare("DELETE FROM idempotency WHERE at_ms <= ?"),
    forgetMany: prepare("DELETE FROM idempotency WHERE number <= ?"),
    dataVersion: prepare("PRAGMA data_version"),
  };
}

function jsonOf(document: unknown): string {
  const text = JSON.stringify(document);
  assert(text !== undefined, "a document can be written as JSON");
  return text;
}
