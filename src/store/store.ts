/** RouteStore: where the routing table and its history live. Every implementation passes one contract suite. */
import { assert } from "../base/fault.ts";

/** Who changed the table, when, why, and what it did. Kept with every revision. */
export interface AuditEntry {
  readonly revision: number;
  /** The revision that was replaced; 0 for the first. */
  readonly fromRevision: number;
  /** Unix time in milliseconds. */
  readonly atMs: number;
  /** The token's name, `loopback` when none is configured, or `crossfade` for automatic changes. */
  readonly actor: string;
  /**
   * A word for what was done: `seed`, `apply`, `route.put`, `route.delete`, `shift`, `rollback`, `restore`, `reseed`,
   * or `rollout.` and what became of a rollout.
   */
  readonly action: string;
  readonly reason: string;
  /** One line per difference, as a person would say it. */
  readonly difference: readonly string[];
}

/** One revision of the table: the encoded document (operator's units) and its audit entry. */
export interface StoredTable extends AuditEntry {
  readonly document: unknown;
}

/** A POST that may be repeated: the same key and fingerprint give the first answer again. */
export interface IdempotencyMark {
  readonly key: string;
  /** Hash of method, path and body. */
  readonly fingerprint: string;
}

/** What a key was used for: the revision it led to, and whether it made that revision or found nothing to change. */
export interface IdempotencyRecord extends IdempotencyMark {
  readonly revision: number;
  readonly changed: boolean;
}

/** A change to commit. `revision`, `fromRevision` and `atMs` are the store's to fill in. */
export interface Change {
  readonly document: unknown;
  readonly actor: string;
  readonly action: string;
  readonly reason: string;
  readonly difference: readonly string[];
  readonly idempotency?: IdempotencyMark;
}

/**
 * What became of a commit. A conflict changed nothing and names the revision that is current.
 *
 * There are two: the table is at another revision than expected, or the idempotency key is known already. So whoever
 * meets a conflict recalls the key before trying again.
 */
export type CommitOutcome =
  | { readonly ok: true; readonly revision: number }
  | { readonly ok: false; readonly currentRevision: number };

/** A page of history, newest first. */
export interface HistoryQuery {
  /** Only revisions below this one. */
  readonly before?: number;
  /** 1 to HISTORY_PAGE_MAX. */
  readonly limit: number;
}

/** The most entries one history call returns. */
export const HISTORY_PAGE_MAX = 500;
/** The most revisions a store keeps; the oldest are forgotten first. */
export const HISTORY_KEPT_MAX = 10_000;
/** The most idempotency keys a store keeps; the oldest are forgotten first. */
export const IDEMPOTENCY_KEPT_MAX = 10_000;
/** The most revisions that a history to load has. */
export const LOADED_MAX = 1_000;
/** How long an idempotency key is remembered, unless the bound above is met: 24 hours. */
export const IDEMPOTENCY_KEPT_MS = 86_400_000;

/**
 * The home of the routing table.
 *
 * Revisions start at 1 and grow by one. A commit that was answered is durable: it survives kill -9 and a power cut.
 * Every method throws Fault STORE_UNAVAILABLE when the store cannot be reached; then nothing was changed. A store
 * that is reached over a network throws Fault STORE_UNSURE when a write may or may not have been carried out.
 */
export interface RouteStore {
  /** The newest revision, or null for an empty store. */
  read(): Promise<StoredTable | null>;
  /**
   * Replaces the table if its revision is still `expectedRevision` (0: the store is empty) and the key of
   * `change.idempotency` is unknown; from then on it is known. One atomic step: of two commits on one revision, or
   * with one key, exactly one is carried out.
   */
  commit(expectedRevision: number, change: Change): Promise<CommitOutcome>;
  /** One past revision with its document, or null when it never was or is forgotten. */
  at(revision: number): Promise<StoredTable | null>;
  /** Past revisions without their documents, newest first. */
  history(query: HistoryQuery): Promise<AuditEntry[]>;
  /** What an idempotency key was used for, or null. */
  recall(key: string): Promise<IdempotencyRecord | null>;
  /** Makes a key known that found nothing to change at `revision`. False when it is known already: then recall it. */
  remember(mark: IdempotencyMark, revision: number): Promise<boolean>;
  /**
   * Calls `listener` with new revisions, ascending, after they are committed by whatever process. When several come
   * at once it may be told only the newest. Its own faults are its own: they break neither the commit nor other
   * listeners. Gives the function that ends it.
   */
  watch(listener: (revision: number) => void): () => void;
  /**
   * Fills an empty store with a history, in one atomic step; its newest revision becomes the table. Takes 1 to
   * LOADED_MAX revisions, ascending, and keeps their numbers and audit entries. Idempotency keys do not come along.
   * False when the store is not empty: then nothing was changed.
   */
  load(history: readonly StoredTable[]): Promise<boolean>;
  close(): Promise<void>;
}

/** Revisions are whole numbers from 1. */
export function assertRevision(revision: number): void {
  assert(Number.isSafeInteger(revision) && revision >= 1, "a revision is a whole number from 1");
}

/** What `load` takes: 1 to LOADED_MAX revisions, ascending. */
export function assertHistory(history: readonly StoredTable[]): void {
  assert(history.length >= 1 && history.length <= LOADED_MAX, "a history to load has 1 to 1000 revisions");
  for (const [index, { revision }] of history.entries()) {
    assertRevision(revision);
    assert(revision > (history[index - 1]?.revision ?? 0), "the revisions of a history ascend");
  }
}
