/** The layout of the store's SQLite file: its tables, whose file it is, and steps that happen as a whole. */
import type { DatabaseSync } from "node:sqlite";
import { Fault } from "../base/fault.ts";

/** "Cros", in the header of the file: it tells a store from the databases of other programs. */
const APPLICATION_ID = 0x43726f73;

/** The layout below. A file with a greater number was written by a later version, which this one cannot know. */
const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE revision (
    revision INTEGER PRIMARY KEY,
    from_revision INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    difference TEXT NOT NULL, -- JSON list of lines
    document TEXT NOT NULL -- JSON, operator's units
  ) STRICT;
  CREATE TABLE idempotency (
    number INTEGER PRIMARY KEY, -- in the order of use
    key TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    revision INTEGER NOT NULL,
    changed INTEGER NOT NULL, -- 0 or 1
    at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX idempotency_at ON idempotency (at_ms);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/**
 * Makes a file ready for use: its log, and the tables if they are missing. Throws Fault STORE_UNAVAILABLE naming the
 * file when it is no store, or of a later version, and the error of SQLite when that refuses.
 */
export function prepareDatabase(database: DatabaseSync, path: string): void {
  checkOwner(database, path);
  const mode = database.prepare("PRAGMA journal_mode = WAL").get();
  if (mode?.["journal_mode"] !== "wal") {
    throw new Fault("STORE_UNAVAILABLE", `cannot keep a log beside the file ${path}: put it on a local disk`);
  }
  database.exec("PRAGMA synchronous = FULL");
  inTransaction(database, () => {
    // Asked again under the lock: another process may have made the tables meanwhile.
    if (checkOwner(database, path) === 0) database.exec(SCHEMA);
  });
}

/** The version of the layout, 0 for an empty file. Throws a Fault for files of others and of later versions. */
function checkOwner(database: DatabaseSync, path: string): number {
  const version = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
  const owner = database.prepare("PRAGMA application_id").get()?.["application_id"];
  const isEmpty = database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined;
  if (owner !== APPLICATION_ID && !(isEmpty && version === 0)) {
    const detail = `the file ${path} is a database of another program; name another file for the store`;
    throw new Fault("STORE_UNAVAILABLE", detail);
  }
  if (version > SCHEMA_VERSION) {
    const detail =
      `the file ${path} was written by a later version of Crossfade ` +
      `(layout ${version}, this version knows ${SCHEMA_VERSION}); start that version, or name another file`;
    throw new Fault("STORE_UNAVAILABLE", detail);
  }
  return version;
}

/** Runs `work` as one step under the write lock, taken first so that what it reads is what it changes. */
export function inTransaction<Value>(database: DatabaseSync, work: () => Value): Value {
  database.exec("BEGIN IMMEDIATE");
  try {
    const value = work();
    database.exec("COMMIT");
    return value;
  } catch (error) {
    // SQLite may have rolled back by itself, for instance when the disk is full.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
