/** What a store that may lose its memory promises beyond RouteStore: which history a table belongs to. */
import type { Change, RouteStore, StoredTable } from "./store.ts";

/**
 * A table with the history that it belongs to.
 *
 * `lineage` is chance text, made when an empty store gets its first revision and kept by every later one. Two stores
 * with the same lineage hold the same history, one perhaps less of it.
 */
export interface LineageTable extends StoredTable {
  readonly lineage: string;
}

/** Where a store stands: the revision and the lineage of its table, 0 and "" when it is empty. */
export interface Standing {
  readonly revision: number;
  readonly lineage: string;
}

/** A RouteStore on a server that others administer: it can be emptied, set back or exchanged behind our back. */
export interface LineageStore extends RouteStore {
  /** As `read`, with the lineage. */
  readTable(): Promise<LineageTable | null>;
  /**
   * Puts a table above everything that is known, as `revision` of `lineage`, if the store still stands at `expected`.
   * The history that the store has stays below it. False when it stands elsewhere: then nothing was changed.
   */
  reseed(expected: Standing, target: Standing, change: Change): Promise<boolean>;
}
