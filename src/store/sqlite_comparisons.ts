/** ComparisonStore in the SQLite file of the table, in a table of its own. */
import { resolve } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Clock } from "../base/clock.ts";
import { Fault } from "../base/fault.ts";
import {
  COMPARISONS_KEPT_MAX,
  COMPARISONS_KEPT_MS,
  assertEntry,
  assertName,
  type ComparisonEntry,
  type ComparisonStore,
} from "./comparisons.ts";
import { claimFile, onFile } from "./file.ts";
import { inTransaction, prepareDatabase } from "./sqlite_schema.ts";

/** How long SQLite waits for another process. It stops the whole control process meanwhile, so it is short. */
const BUSY_MS = 200;

/** Beside the layout of the table: a file of an earlier version gets it, and one without it still reads this one's. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS comparison (
    route TEXT NOT NULL,
    instance TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    text TEXT NOT NULL, -- JSON
    PRIMARY KEY (route, instance)
  ) STRICT
`;

/**
 * Opens it. What is put survives kill -9, and may lose the last seconds in a power cut: counts, unlike tables, are
 * not worth a sync each time. Throws Fault STORE_UNAVAILABLE naming the file.
 */
export function openSqliteComparisons(options: {
  readonly path: string;
  readonly clock: Clock;
}): ComparisonStore {
  const path = resolve(options.path);
  const database = onFile(path, "open", () => {
    claimFile(path);
    return new DatabaseSync(path, { timeout: BUSY_MS });
  });
  try {
    onFile(path, "open", () => {
      prepareDatabase(database, path);
      database.exec("PRAGMA synchronous = NORMAL");
      database.exec(SCHEMA);
    });
    return new SqliteComparisons(database, path, options.clock);
  } catch (error) {
    database.close();
    throw error;
  }
}

class SqliteComparisons implements ComparisonStore {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #put: StatementSync;
  readonly #of: StatementSync;
  readonly #forgetOld: StatementSync;
  readonly #forgetMany: StatementSync;

  constructor(database: DatabaseSync, path: string, clock: Clock) {
    this.#database = database;
    this.#path = path;
    this.#clock = clock;
    this.#put = database.prepare("INSERT OR REPLACE INTO comparison VALUES (?, ?, ?, ?)");
    this.#of = database.prepare("SELECT instance, text FROM comparison WHERE route = ? ORDER BY instance");
    this.#forgetOld = database.prepare("DELETE FROM comparison WHERE at_ms <= ?");
    this.#forgetMany = database.prepare(
      "DELETE FROM comparison WHERE rowid IN (SELECT rowid FROM comparison ORDER BY at_ms DESC LIMIT -1 OFFSET ?)",
    );
  }

  async put(route: string, entry: ComparisonEntry): Promise<void> {
    assertEntry(route, entry);
    const nowMs = Math.trunc(this.#clock.wallMs());
    this.#on("write", () =>
      inTransaction(this.#database, () => {
        this.#put.run(route, entry.instance, nowMs, entry.text);
        this.#forgetOld.run(nowMs - COMPARISONS_KEPT_MS);
        this.#forgetMany.run(COMPARISONS_KEPT_MAX);
      }),
    );
  }

  async of(route: string): Promise<ComparisonEntry[]> {
    assertName(route);
    const rows = this.#on("read", () => this.#of.all(route));
    return rows.map((row) => ({ instance: String(row["instance"]), text: String(row["text"]) }));
  }

  async close(): Promise<void> {
    if (this.#database.isOpen) onFile(this.#path, "close", () => this.#database.close());
  }

  #on<Value>(attempted: string, work: () => Value): Value {
    if (!this.#database.isOpen) throw new Fault("STORE_UNAVAILABLE", `the file ${this.#path} is closed`);
    return onFile(this.#path, attempted, work);
  }
}
