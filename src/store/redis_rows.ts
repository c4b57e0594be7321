/** What Redis holds of a table and its history, between its fields and ours. */
import type { AuditEntry, Change, StoredTable } from "./store.ts";

/** The fields of the table's hash that are read, in this order. */
export const TABLE_FIELDS = [
  "revision",
  "from_revision",
  "at_ms",
  "actor",
  "action",
  "reason",
  "difference",
  "document",
  "lineage",
] as const;

/** What a read field has; Redis gives null for one that is not there. */
export type Row = Readonly<Record<string, string | null | undefined>>;

/** An entry of a stream: its id, then names and values in turn. */
export type Entry = readonly [id: string, fields: readonly string[]];

/** Names to values. */
export function rowOf(names: readonly string[], values: readonly (string | null)[]): Row {
  return Object.fromEntries(names.map((name, index) => [name, values[index]]));
}

/** An entry of the log as a row, its revision included. */
export function rowOfEntry([id, fields]: Entry): Row {
  const names = fields.filter((_, index) => index % 2 === 0);
  const values = fields.filter((_, index) => index % 2 === 1);
  return { ...rowOf(names, values), revision: /^(\d+)-0$/.exec(id)?.[1] };
}

/** One revision without its document; null when the row is not as Crossfade writes it. */
export function auditOf(row: Row): AuditEntry | null {
  const [revision, fromRevision, atMs] = [row["revision"], row["from_revision"], row["at_ms"]].map(wholeOf);
  const { actor, action, reason } = row;
  const difference = jsonOf(row["difference"]);
  if (revision === undefined || revision === null || revision < 1) return null;
  if (fromRevision === undefined || fromRevision === null || atMs === undefined || atMs === null) return null;
  if (typeof actor !== "string" || typeof action !== "string" || typeof reason !== "string") return null;
  if (!Array.isArray(difference) || !difference.every((line) => typeof line === "string")) return null;
  return { revision, fromRevision, atMs, actor, action, reason, difference };
}

/** One revision with its document; null when the row is not as Crossfade writes it. */
export function storedOf(row: Row): StoredTable | null {
  const audit = auditOf(row);
  const document = jsonOf(row["document"]);
  return audit === null || document === undefined ? null : { ...audit, document };
}

/** Time, actor, action, reason, difference and document, as the scripts take them. */
export function textsOf(change: Change, atMs: number): string[] {
  const { actor, action, reason, difference, document } = change;
  return [String(atMs), actor, action, reason, JSON.stringify(difference), JSON.stringify(document)];
}

/** A whole number from 0; null for any other text. */
export function wholeOf(text: string | null | undefined): number | null {
  const number = typeof text === "string" && /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(number) ? number : null;
}

/** What JSON says; undefined for any other text. */
function jsonOf(text: string | null | undefined): unknown {
  if (typeof text !== "string") return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
