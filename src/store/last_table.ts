/** The last good table on this machine's disk, for a start while the store cannot be reached. */
import type { Logger } from "../base/logger.ts";
import { readIfThere, replaceFile } from "./file.ts";
import type { LineageTable } from "./lineage.ts";

/** In the file: it tells this layout from later ones. */
const FORMAT = "crossfade.last-table.1";

/** How long newer tables may gather before one is written, in milliseconds: a burst of changes costs one write. */
const GATHER_MS = 20;

/** Where the file is, and whose tables it keeps. */
export interface LastTableParts {
  readonly path: string;
  /** What tells the store from others, such as its address and prefix: settings that name another one are a choice. */
  readonly storeName: string;
  readonly log: Logger;
}

/**
 * One file with the newest table that was good, whole or not at all: it is written beside and then renamed.
 *
 * A disk that fails costs nobody a request: it is a warning until a write succeeds.
 */
export class LastTable {
  readonly #path: string;
  readonly #storeName: string;
  readonly #log: Logger;
  #waiting: LineageTable | null = null;
  #timer: NodeJS.Timeout | null = null;
  #warning: string | null = null;

  constructor({ path, storeName, log }: LastTableParts) {
    this.#path = path;
    this.#storeName = storeName;
    this.#log = log;
  }

  /** What is wrong with the file now. */
  warnings(): string[] {
    return this.#warning === null ? [] : [this.#warning];
  }

  /** The table of this store in the file, or null when there is none that can be used: then the log says why. */
  read(): LineageTable | null {
    try {
      const text = readIfThere(this.#path);
      if (text === null) return null;
      const { storeName, table } = contentOf(JSON.parse(text));
      if (storeName === this.#storeName) return table;
      this.#log.info(
        { path: this.#path, of: storeName },
        "the last good table is another store's; it is not used",
      );
      return null;
    } catch (error) {
      this.#refuse(error);
      return null;
    }
  }

  /** Writes a table soon. Of several that come together only the last is written. */
  write(table: LineageTable): void {
    this.#waiting = table;
    this.#timer ??= setTimeout(() => this.flush(), GATHER_MS).unref();
  }

  /** Writes what waits, now. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const table = this.#waiting;
    this.#waiting = null;
    if (table === null) return;
    try {
      replaceFile(this.#path, JSON.stringify({ format: FORMAT, store: this.#storeName, table }));
      this.#warning = null;
    } catch (error) {
      const detail = `the last good table cannot be kept in ${this.#path}: ${textOf(error)}`;
      if (this.#warning !== detail) this.#log.error({ detail }, "the last good table cannot be written");
      this.#warning = detail;
    }
  }

  #refuse(error: unknown): void {
    const facts = { path: this.#path, detail: textOf(error) };
    this.#log.error(facts, "the last good table cannot be used");
  }
}

function contentOf(value: unknown): { readonly storeName: string; readonly table: LineageTable } {
  const { format, store, table } = mapOf(value);
  if (format !== FORMAT) throw new TypeError("it was written by another version of Crossfade");
  const { revision, fromRevision, atMs, lineage, actor, action, reason, difference, document } = mapOf(table);
  const numbers = [revision, fromRevision, atMs].every((number) => Number.isSafeInteger(number));
  const texts = [store, lineage, actor, action, reason].every((text) => typeof text === "string");
  if (!numbers || !texts || !Array.isArray(difference) || typeof document !== "object") {
    throw new TypeError("parts of it are missing");
  }
  return { storeName: String(store), table: table as LineageTable };
}

function mapOf(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new TypeError("it is no table");
  return value as Record<string, unknown>;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
