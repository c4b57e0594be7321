/** The lock of a directory: one process at a time, freed by the kernel when that process dies. */
import { resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { claimFile, isBusy, onFile } from "./file.ts";

/** A lock that is held until it is released or the process ends, however that happens. */
export interface Lock {
  /** Lets others have it. May be called again without effect. */
  release(): void;
}

/**
 * Takes the lock of a file, or gives null when a living process has it, this one included.
 *
 * The file is created if need be and stays afterwards: it means nothing that it is there. Node has no call for locks,
 * so an empty SQLite database lends its own. Throws Fault STORE_UNAVAILABLE when the file cannot be used.
 */
export function acquireLock(path: string): Lock | null {
  const file = resolve(path);
  return onFile(file, "lock", () => {
    claimFile(file);
    const database = new DatabaseSync(file, { timeout: 0 });
    try {
      // A journal in memory leaves no file beside this one. OFF would be ignored: connections are defensive.
      database.exec("PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    } catch (error) {
      database.close();
      if (isBusy(error)) return null;
      throw error;
    }
    return {
      release(): void {
        if (database.isOpen) database.close();
      },
    };
  });
}
