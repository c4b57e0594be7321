/** The instances that share one store: what each says of itself, and who is still there. */

/** What one instance says of itself. Both texts are JSON that only `control/member_word.ts` reads. */
export interface InstanceWord {
  /** The newest revision that all its workers have applied. */
  readonly appliedRevision: number;
  /** How it is: version, workers, warnings. */
  readonly status: string;
  /** Everything it has counted since its start; "" when nobody counts yet. */
  readonly totals: string;
}

/** The last word of an instance. */
export interface InstanceRecord extends InstanceWord {
  readonly id: string;
}

/** How long an instance is believed to live after its last word, in milliseconds. */
export const INSTANCE_TTL_MS = 5_000;
/** The most instances that one store lists; those beyond it are served, and left out with a warning. */
export const INSTANCES_MAX = 500;
/** The longest status or totals, in UTF-16 units. */
export const INSTANCE_TEXT_MAX = 4_194_304;

/**
 * The list of instances. Every method throws Fault STORE_UNAVAILABLE when the store cannot be reached.
 *
 * Nobody leaves the list by being forgotten: whoever is silent for INSTANCE_TTL_MS is left out.
 */
export interface InstanceRegistry {
  /** Says how this instance is, and tells all that watch. */
  announce(id: string, word: InstanceWord): Promise<void>;
  /**
   * Only that it has applied a revision: short, so that it can be said at once. It counts as a sign of life of an
   * instance that has announced itself; of another one it is not kept.
   */
  applied(id: string, revision: number): Promise<void>;
  /** The last words of all that live, in the order of their ids. */
  list(): Promise<InstanceRecord[]>;
  /** Leaves the list at once. */
  leave(id: string): Promise<void>;
  /** Calls `listener` when an instance has applied a revision. May miss some: the list has the truth. */
  watch(listener: (id: string, appliedRevision: number) => void): () => void;
}
