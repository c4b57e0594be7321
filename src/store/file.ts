/** Files of the store on disk: made for their owner alone, and faults that name them. */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { Fault } from "../base/fault.ts";

/** Only the owner reads and writes: an audit log says who did what and why. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
const OTHERS_MASK = 0o077;

/** Result codes of SQLite whose own words do not help. Source: https://sqlite.org/rescode.html */
const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** The low byte of an extended result code is the plain one. */
const PLAIN_CODE_MASK = 0xff;

const ADVICE: ReadonlyMap<number, string> = new Map([
  [SQLITE_BUSY, "another process holds it locked"],
  [SQLITE_CORRUPT, "it is damaged; put a backup in its place, or move it away to start with an empty one"],
  [SQLITE_NOTADB, "it is not a database of Crossfade; name another file, or move it away"],
]);

/**
 * Makes sure that a file and its directory are there, and that nobody but the owner may open the file.
 *
 * A file that exists is not opened: a process that closes any descriptor of a file loses all its locks on it.
 * Throws the error of the file system. Source: fcntl(2), POSIX record locks; https://sqlite.org/howtocorrupt.html 2.2
 */
export function claimFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: DIRECTORY_MODE });
  try {
    closeSync(openSync(path, "ax", FILE_MODE));
  } catch (error) {
    if (!isErrno(error) || error.code !== "EEXIST") throw error;
    const status = statSync(path);
    if (status.isFile() && (status.mode & OTHERS_MASK) !== 0) chmodSync(path, FILE_MODE);
  }
}

/**
 * Replaces a file by one with this text, whole or not at all, and makes its directory. Only the owner reads it. It is
 * on the disk when this returns. Throws the error of the file system.
 */
export function replaceFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: DIRECTORY_MODE });
  const beside = `${path}.new`;
  const file = openSync(beside, "w", FILE_MODE);
  try {
    writeSync(file, text);
    // Renamed before its content is on the disk, a power cut would leave an empty file.
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
}

/** The text of a file, or null when there is none. Throws the error of the file system. */
export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isErrno(error) && error.code === "ENOENT") return null;
    throw error;
  }
}

/**
 * Gives what `work` gives. What the disk or SQLite refuses is thrown as Fault STORE_UNAVAILABLE that names the file
 * and what was `attempted`, such as "read"; bugs are thrown on as they are.
 */
export function onFile<Value>(path: string, attempted: string, work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    if (!isErrno(error)) throw error;
    const why = ADVICE.get(plainCode(error));
    const detail = why === undefined ? error.message : `${why} (${error.message})`;
    throw new Fault("STORE_UNAVAILABLE", `cannot ${attempted} the file ${path}: ${detail}`, error);
  }
}

/** Whether SQLite refused because another connection has the lock. */
export function isBusy(error: unknown): boolean {
  return isErrno(error) && plainCode(error) === SQLITE_BUSY;
}

/** Whether an error is the file system's or SQLite's. */
function isErrno(error: unknown): error is Error & { readonly code: string; readonly errcode?: number } {
  return (
    error instanceof Error && "code" in error && ("syscall" in error || error.code === "ERR_SQLITE_ERROR")
  );
}

/** The result code of SQLite without its extension, 0 for errors of the file system. */
function plainCode(error: { readonly errcode?: number }): number {
  return (error.errcode ?? 0) & PLAIN_CODE_MASK;
}
