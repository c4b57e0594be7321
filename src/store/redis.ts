/** RouteStore in Redis, for instances that share one table. */
import type { Clock } from "../base/clock.ts";
import { assert, Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { systemRandom, type Random } from "../base/random.ts";
import type { LineageStore, LineageTable, Standing } from "./lineage.ts";
import type { RedisLink } from "./redis_link.ts";
import {
  auditOf,
  rowOf,
  rowOfEntry,
  storedOf,
  TABLE_FIELDS,
  textsOf,
  wholeOf,
  type Entry,
} from "./redis_rows.ts";
import { LOAD, PAGE, REMEMBER, STAGE, WRITE } from "./redis_scripts.ts";
import { damaged, NotReplicated, settle, SETTLE_MS, type Settled, type Write } from "./redis_settle.ts";
import { RedisWatch } from "./redis_watch.ts";
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
  type StoredTable,
} from "./store.ts";

/** The most bytes of documents and differences that the history has: 64 MiB. The oldest are forgotten first. */
export const HISTORY_BYTES_MAX = 67_108_864;

/** How much of the history one script passes over before others have their turn: 4 MiB. */
const PAGE_BYTES_MAX = 4_194_304;

/** How much of a history to load is sent at a time: 1 MiB, and at least one entry. */
const STAGE_BYTES_MAX = 1_048_576;

/** How long a history that is being loaded lies aside without being taken over, in milliseconds. */
const STAGED_MS = 60_000;

/** What a store works with. The link stays the caller's to close. */
export interface RedisStoreOptions {
  readonly link: RedisLink;
  /** Tells the time that is recorded, and that idempotency keys are known for. */
  readonly clock: Clock;
  readonly log: Pick<Logger, "error">;
  readonly random?: Random;
  /** How long a write whose answer got lost is asked for again; SETTLE_MS, or twice the timeout, unless told. */
  readonly settleMs?: number;
  /** HISTORY_BYTES_MAX unless told. */
  readonly bytesMax?: number;
}

/**
 * Opens the store behind a link.
 *
 * Its keys, of which PREFIX comes from the settings: `{PREFIX}:table`, a hash with the newest revision;
 * `{PREFIX}:log`, a stream with an entry REVISION-0 for every revision that is kept; `{PREFIX}:idempotency:KEY`, a
 * hash for each key, and `{PREFIX}:idempotency`, a sorted set of them in the order of use. `{PREFIX}:changes` is the
 * channel of new revisions.
 *
 * Listeners of `watch` are told ascending revisions, each once. But after the connection was lost, and when the store
 * fell back or has another lineage, they are told whatever revision there is, 0 for an empty store.
 *
 * A change that is acknowledged is as durable as the server makes it: `RedisLink.warnings` says when that is little.
 */
export function openRedisStore(options: RedisStoreOptions): LineageStore {
  return new RedisStore(options);
}

class RedisStore implements LineageStore {
  readonly #link: RedisLink;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #settleMs: number;
  readonly #bytesMax: number;
  readonly #watch: RedisWatch;
  /** What every key and channel begins with. */
  readonly #prefix: string;
  /** Of the table that was last read or written here; "" while none was. */
  #lineage = "";
  #isClosed = false;

  constructor({ link, clock, log, ...options }: RedisStoreOptions) {
    this.#link = link;
    this.#clock = clock;
    this.#random = options.random ?? systemRandom();
    this.#bytesMax = options.bytesMax ?? HISTORY_BYTES_MAX;
    this.#settleMs = options.settleMs ?? Math.max(SETTLE_MS, 2 * link.settings.timeoutMs);
    this.#prefix = `{${link.settings.prefix}}:`;
    const look = (): Promise<Standing> => this.#look();
    this.#watch = new RedisWatch({ link, channel: this.#key("changes"), look, log });
  }

  async read(): Promise<StoredTable | null> {
    const table = await this.readTable();
    if (table === null) return null;
    const { lineage: _, ...stored } = table;
    return stored;
  }

  async readTable(): Promise<LineageTable | null> {
    const key = this.#key("table");
    const row = rowOf(TABLE_FIELDS, await this.#fields(key, TABLE_FIELDS));
    const isEmpty = Object.values(row).every((value) => value === null);
    if (isEmpty) {
      await this.#assertAbsent(key);
      this.#noteRead({ revision: 0, lineage: "" });
      return null;
    }
    const stored = storedOf(row);
    const { lineage } = row;
    if (stored === null || typeof lineage !== "string" || lineage === "") throw damaged(this.#link, key);
    this.#noteRead({ revision: stored.revision, lineage });
    return { ...stored, lineage };
  }

  async at(revision: number): Promise<StoredTable | null> {
    assertRevision(revision);
    const [key, id] = [this.#key("log"), `${revision}-0`];
    const [entry] = (await this.#command("xrange", key, id, id)) as readonly Entry[];
    if (entry === undefined) return null;
    return storedOf(rowOfEntry(entry)) ?? this.#throwDamaged(key);
  }

  async history({ limit, before = Number.MAX_SAFE_INTEGER }: HistoryQuery): Promise<AuditEntry[]> {
    assert(Number.isInteger(limit) && limit >= 1 && limit <= HISTORY_PAGE_MAX, "a page has 1 to 500 entries");
    assertRevision(before);
    const key = this.#key("log");
    const page: AuditEntry[] = [];
    // Bounded: each answer brings at least one entry, or is the last.
    for (let from = `(${before}-0`, isEnd = false; page.length < limit && !isEnd;) {
      const args = [from, limit - page.length, PAGE_BYTES_MAX];
      const answer = await this.#open().call((client) => client.run(PAGE, [key], args));
      const [end, entries] = answer as readonly [number, readonly Entry[]];
      page.push(...entries.map((entry) => auditOf(rowOfEntry(entry)) ?? this.#throwDamaged(key)));
      from = `(${entries.at(-1)?.[0] ?? ""}`;
      isEnd = end === 1 || entries.length === 0;
    }
    return page;
  }

  async recall(key: string): Promise<IdempotencyRecord | null> {
    const place = this.#key("idempotency", key);
    const names = ["fingerprint", "revision", "changed", "at_ms"];
    const [fingerprint, revision, changed, atMs] = await this.#fields(place, names);
    if (atMs === null) return null;
    const [isNumbered, usedMs] = [wholeOf(revision), wholeOf(atMs)];
    if (typeof fingerprint !== "string" || isNumbered === null || usedMs === null) {
      throw damaged(this.#link, place);
    }
    if (usedMs <= this.#keptSinceMs()) return null;
    return { key, fingerprint, revision: isNumbered, changed: changed === "1" };
  }

  async commit(expectedRevision: number, change: Change): Promise<CommitOutcome> {
    assert(Number.isSafeInteger(expectedRevision) && expectedRevision >= 0, "a revision is a whole number");
    // An empty store belongs to no lineage, whatever was there before.
    const expected = { revision: expectedRevision, lineage: expectedRevision === 0 ? "" : this.#lineage };
    const target = { revision: expectedRevision + 1, lineage: "" };
    const words = await this.#put(expected, target, change);
    if (words[0] === "done") return { ok: true, revision: target.revision };
    return { ok: false, currentRevision: Number(words[1]) };
  }

  async reseed(expected: Standing, target: Standing, change: Change): Promise<boolean> {
    assert(
      target.revision > expected.revision && target.lineage !== "",
      "a reseed puts a table above the known",
    );
    const { idempotency: _, ...unmarked } = change;
    const words = await this.#put(expected, target, unmarked);
    return words[0] === "done";
  }

  async remember(mark: IdempotencyMark, revision: number): Promise<boolean> {
    assertRevision(revision);
    const wants = { ...this.#keptWants(), revision, nonce: this.#random.id() };
    const atMs = Math.trunc(this.#clock.wallMs());
    const words = await this.#settle({
      script: REMEMBER,
      keys: [this.#key("idempotency"), this.#key("idempotency", mark.key)],
      args: (deadlineMs) => [JSON.stringify({ ...wants, deadlineMs }), atMs, mark.key, mark.fingerprint],
    });
    return words[0] === "done";
  }

  async load(history: readonly StoredTable[]): Promise<boolean> {
    assertHistory(history);
    const entries = newestOf(history.map(entryOf), this.#bytesMax);
    const last = entries.at(-1) as StagedEntry;
    const nonce = this.#random.id();
    const staged = this.#key("import", nonce);
    for (const batch of batchesOf(entries)) {
      const args = [STAGED_MS, nonce, ...batch.flatMap(({ texts }) => texts)];
      await this.#open().call((client) => client.run(STAGE, [staged], args));
    }
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    const standing = { revision: last.revision, lineage: this.#random.id() };
    const wants = { ...standing, bytes, entries: entries.length, nonce, channel: this.#key("changes") };
    const words = await this.#settle(
      {
        script: LOAD,
        keys: [this.#key("table"), this.#key("log"), staged],
        args: (deadlineMs) => [JSON.stringify({ ...wants, deadlineMs })],
      },
      () => standing,
    );
    return words[0] === "done";
  }

  watch(listener: (revision: number) => void): () => void {
    this.#open();
    return this.#watch.add(listener);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#watch.close();
  }

  #key(...parts: readonly string[]): string {
    return this.#prefix + parts.join(":");
  }

  #open(): RedisLink {
    if (!this.#isClosed) return this.#link;
    throw new Fault("STORE_UNAVAILABLE", `Redis at ${this.#link.where}: the store is closed`);
  }

  async #command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#open().call((client) => client.command(name, ...args));
  }

  /** Fields of a hash, null for those that are not there. */
  async #fields(key: string, names: readonly string[]): Promise<readonly (string | null)[]> {
    return (await this.#command("hmget", key, ...names)) as readonly (string | null)[];
  }

  #throwDamaged(key: string): never {
    throw damaged(this.#link, key);
  }

  /** A hash with none of our fields belongs to somebody else. */
  async #assertAbsent(key: string): Promise<void> {
    if ((await this.#command("exists", key)) === 0) return;
    // It may have come into being between the two commands.
    const [revision] = await this.#fields(key, ["revision"]);
    if (revision === null || revision === undefined) throw damaged(this.#link, key);
  }

  async #look(): Promise<Standing> {
    const [revision, lineage] = await this.#fields(this.#key("table"), ["revision", "lineage"]);
    if (typeof revision !== "string") return { revision: 0, lineage: "" };
    return { revision: wholeOf(revision) ?? this.#throwDamaged(this.#key("table")), lineage: lineage ?? "" };
  }

  #noteRead(standing: Standing): void {
    this.#lineage = standing.lineage;
    this.#watch.noteRead(standing);
  }

  #keptSinceMs(): number {
    return Math.trunc(this.#clock.wallMs()) - IDEMPOTENCY_KEPT_MS;
  }

  #keptWants(): object {
    const keptSinceMs = this.#keptSinceMs();
    return { keptSinceMs, keptMs: IDEMPOTENCY_KEPT_MS, keysMax: IDEMPOTENCY_KEPT_MAX };
  }

  /** Puts a change on top of `expected`. A target without lineage keeps that of the store. */
  async #put(expected: Standing, target: Standing, change: Change): Promise<Settled> {
    const { idempotency: mark } = change;
    const wants = {
      ...this.#keptWants(),
      expected: expected.revision,
      lineage: expected.lineage,
      target: target.revision,
      newLineage: target.lineage,
      freshLineage: this.#random.id(),
      nonce: this.#random.id(),
      channel: this.#key("changes"),
      isMarked: mark !== undefined,
      entriesMax: HISTORY_KEPT_MAX,
      bytesMax: this.#bytesMax,
    };
    const texts = textsOf(change, Math.trunc(this.#clock.wallMs()));
    const marks = [mark?.key ?? "", mark?.fingerprint ?? ""];
    const [table, log] = [this.#key("table"), this.#key("log")];
    // While its slot moves, a cluster puts off whoever names a key that is not there.
    const marked =
      mark === undefined ? [table, table] : [this.#key("idempotency"), this.#key("idempotency", mark.key)];
    const write: Write = {
      script: WRITE,
      keys: [table, log, ...marked],
      args: (deadlineMs) => [JSON.stringify({ ...wants, deadlineMs }), ...texts, ...marks],
    };
    return this.#settle(write, (words) => ({
      revision: target.revision,
      lineage: words[2] ?? "",
    }));
  }

  /** Carries out a write; where it has made a table, that is noted, even when too few replicas have it. */
  async #settle(write: Write, standingOf?: (words: Settled) => Standing): Promise<Settled> {
    const note = (words: Settled): void => {
      if (words[0] !== "done" || standingOf === undefined) return;
      const standing = standingOf(words);
      this.#lineage = standing.lineage;
      this.#watch.noteWrite(standing);
    };
    try {
      const words = await settle(this.#open(), write, this.#settleMs);
      note(words);
      return words;
    } catch (error) {
      if (error instanceof NotReplicated) note(error.words);
      throw error;
    }
  }
}

/** A revision on its way into the log: the arguments of STAGE, and what it counts of HISTORY_BYTES_MAX. */
interface StagedEntry {
  readonly revision: number;
  readonly texts: readonly string[];
  readonly bytes: number;
}

function entryOf(stored: StoredTable): StagedEntry {
  const { revision, fromRevision, atMs } = stored;
  const texts = textsOf(stored, atMs);
  const bytes = texts.slice(-2).reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  return { revision, texts: [`${revision}-0`, String(fromRevision), ...texts], bytes };
}

/** As many of the newest as the history may hold; the newest of all in any case. */
function newestOf(entries: readonly StagedEntry[], bytesMax: number): readonly StagedEntry[] {
  let bytes = 0;
  const first = entries.findLastIndex((entry) => (bytes += entry.bytes) > bytesMax);
  return entries.slice(Math.min(first + 1, entries.length - 1));
}

function batchesOf(entries: readonly StagedEntry[]): StagedEntry[][] {
  const batches: StagedEntry[][] = [];
  let room = 0;
  for (const entry of entries) {
    if (entry.bytes > room) {
      batches.push([]);
      room = STAGE_BYTES_MAX;
    }
    batches.at(-1)?.push(entry);
    room -= entry.bytes;
  }
  return batches;
}
