/** A migration as one document, to carry it to another store: how it is written and how it is read. */
import { setImmediate as othersTurn } from "node:timers/promises";
import { z } from "zod";
import { Fault, type Result } from "../base/fault.ts";
import { closed, examineKeys, isMap } from "../domain/examine.ts";
import { Findings, findProtoKeys, resultOf } from "../domain/problems.ts";
import { inspectStored } from "../domain/stored.ts";
import { LOADED_MAX, type RouteStore, type StoredTable } from "../store/store.ts";
import { compileFault } from "./change.ts";

/** The most bytes of revisions that one document carries, as JSON. Its newest one is carried whatever its size. */
export const EXPORT_BYTES_MAX = 16 << 20;

const FORMAT = "crossfade.export";
const FORMAT_VERSION = 1;

/** Revisions that are asked for at a time. */
const PAGE = 100;

/** Leaves room to count on from, in every number and pattern that holds a revision. */
const REVISION_MAX = 1_000_000_000_000;

const timeMessage = "write a time in UTC, such as 2026-01-31T12:00:00.000Z";
const wholeMessage = "write a whole number from 1 to 1000000000000";

const revisionSchema = closed({
  revision: z
    .int({ error: wholeMessage })
    .min(1, { error: wholeMessage })
    .max(REVISION_MAX, { error: wholeMessage }),
  from_revision: z.int().min(0).max(REVISION_MAX).meta({ description: "The revision that it replaced" }),
  at: z.iso.datetime({ error: timeMessage }),
  actor: z.string().min(1).max(64),
  action: z.string().min(1).max(64),
  reason: z.string().max(1_000),
  difference: z.array(z.string()),
  table: z.looseObject({}).meta({ description: "In the form of the version that wrote it" }),
});

/** The document: a format and its version, where and when it was made, and the revisions, oldest first. */
export const exportSchema = closed({
  format: z
    .string()
    .refine((format) => format === FORMAT, { error: `this is no export; its format is "${FORMAT}"` })
    .meta({ const: FORMAT }),
  version: z
    .int()
    .refine((version) => version === FORMAT_VERSION, {
      error: `this version of Crossfade reads version ${FORMAT_VERSION} of exports only`,
    })
    .meta({ const: FORMAT_VERSION }),
  exported_at: z.iso.datetime({ error: timeMessage }),
  crossfade: z.string().meta({ description: "The version of the Crossfade that wrote it" }),
  truncated: z.boolean().meta({ description: "Older revisions were left out" }),
  revisions: z
    .array(revisionSchema)
    .min(1, { error: "there is nothing to import" })
    .max(LOADED_MAX, { error: `at most ${LOADED_MAX} revisions are imported; leave out the oldest` })
    .meta({ description: "Ascending" }),
});

/** A migration as one document. */
export type ExportDocument = z.output<typeof exportSchema>;

type ExportedRevision = ExportDocument["revisions"][number];

/**
 * Writes what a store holds: its newest revisions, LOADED_MAX and EXPORT_BYTES_MAX at most. Null when it is empty.
 *
 * The newest one is fixed first, so that commits meanwhile do not matter.
 */
export async function writeExport(
  store: Pick<RouteStore, "at" | "history">,
  about: { readonly version: string; readonly wallMs: number },
): Promise<ExportDocument | null> {
  const revisions: ExportedRevision[] = [];
  let truncated = false;
  let bytes = 0;
  for await (const stored of newestFirst(store)) {
    const revision = stored === null ? null : encodeRevision(stored);
    if (revision !== null) bytes += Buffer.byteLength(JSON.stringify(revision));
    const isFull = revisions.length === LOADED_MAX || (revisions.length > 0 && bytes > EXPORT_BYTES_MAX);
    truncated = revision === null || isFull;
    if (revision === null || isFull) break;
    revisions.push(revision);
  }
  if (revisions.length === 0) return null;
  return {
    format: FORMAT,
    version: FORMAT_VERSION,
    exported_at: new Date(about.wallMs).toISOString(),
    crossfade: about.version,
    truncated,
    revisions: revisions.toReversed(),
  };
}

/**
 * Reads a document into a history that a store can load, or gives everything that is wrong with it.
 *
 * The newest table must be one that this version can use. Older ones are kept as they are, whatever their form.
 */
export function decodeExport(input: unknown): Result<StoredTable[]> {
  const findings = new Findings();
  const read = examineKeys(exportSchema, input, [], findings);
  const entries: unknown = isMap(input) ? input["revisions"] : null;
  if (Array.isArray(entries) && entries.length <= LOADED_MAX) {
    refuseDisorder(entries, findings);
    refuseUnusable(entries, findings);
  }
  return resultOf(read?.revisions?.map(decodeRevision) ?? null, findings);
}

/** Every revision from the newest down to the oldest, and a null where it is forgotten while this goes on. */
async function* newestFirst(
  store: Pick<RouteStore, "at" | "history">,
): AsyncGenerator<StoredTable | null, void, void> {
  const [newest] = await store.history({ limit: 1 });
  let before = newest === undefined ? 1 : newest.revision + 1;
  while (before > 1) {
    const page = await store.history({ before, limit: PAGE });
    for (const { revision } of page) yield await store.at(revision);
    before = page.at(-1)?.revision ?? 1;
    // A store in a file answers at once, and nothing else would happen here until the last page.
    await othersTurn();
  }
}

function refuseDisorder(entries: readonly unknown[], findings: Findings): void {
  let newest = 0;
  for (const [index, entry] of entries.entries()) {
    const { revision, from_revision: from } = isMap(entry) ? entry : {};
    if (typeof revision !== "number") continue;
    const place = ["revisions", index];
    if (revision <= newest && revision >= 1) {
      findings.add([...place, "revision"], `${revision} does not come after ${newest}; the oldest is first`);
    }
    if (typeof from === "number" && from >= revision) {
      findings.add([...place, "from_revision"], `${from} is not below ${revision}, which replaced it`);
    }
    newest = Math.max(newest, revision);
  }
}

/** Refuses a newest table that this version cannot read or no worker could use. */
function refuseUnusable(entries: readonly unknown[], findings: Findings): void {
  const last = entries.length - 1;
  const newest = entries[last];
  if (!isMap(newest) || !isMap(newest["table"])) return;
  const { table, revision, at } = newest;
  findProtoKeys({ revisions: { [last]: { table } } }, findings);
  const path = ["revisions", last, "table"];
  const atMs = typeof at === "string" ? Date.parse(at) : 0;
  const document = inspectStored(table, Number.isNaN(atMs) ? 0 : atMs, path, findings);
  if (document === null) return;
  const why = compileFault(document, typeof revision === "number" ? revision : 1);
  if (why !== null) findings.add(path, why);
}

function encodeRevision(stored: StoredTable): ExportedRevision {
  const { document } = stored;
  if (!isMap(document)) {
    throw new Fault("STORE_UNAVAILABLE", `revision ${stored.revision} in the store holds no table`);
  }
  return {
    revision: stored.revision,
    from_revision: stored.fromRevision,
    at: new Date(stored.atMs).toISOString(),
    actor: stored.actor,
    action: stored.action,
    reason: stored.reason,
    difference: [...stored.difference],
    table: document,
  };
}

function decodeRevision(entry: ExportedRevision): StoredTable {
  return {
    revision: entry.revision,
    fromRevision: entry.from_revision,
    atMs: Date.parse(entry.at),
    actor: entry.actor,
    action: entry.action,
    reason: entry.reason,
    difference: entry.difference,
    document: entry.table,
  };
}
