/** A list of instances in memory, shared by as many handles as a test wants, which can be lost and found again. */
import type { Clock } from "../../src/base/clock.ts";
import { Fault } from "../../src/base/fault.ts";
import {
  INSTANCE_TTL_MS,
  type InstanceRecord,
  type InstanceRegistry,
  type InstanceWord,
} from "../../src/store/instances.ts";

/** What all handles share. */
export class MemoryCircle {
  readonly clock: Clock;
  readonly records = new Map<string, { word: InstanceWord; atMs: number }>();
  readonly watchers = new Set<(id: string, revision: number) => void>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  tell(id: string, revision: number): void {
    for (const watcher of this.watchers) watcher(id, revision);
  }
}

/** One instance's handle. */
export class MemoryInstances implements InstanceRegistry {
  /** The calls that were answered, such as `applied 7`. */
  readonly calls: string[] = [];
  /** Whether this handle reaches the list. */
  isAway = false;
  /** Every call waits for it. */
  gate: Promise<void> = Promise.resolve();
  /** What this handle hears of the others between two lists. */
  hearsNews = true;
  readonly #circle: MemoryCircle;

  constructor(circle: MemoryCircle) {
    this.#circle = circle;
  }

  async announce(id: string, word: InstanceWord): Promise<void> {
    await this.#reach(`announce ${word.appliedRevision}`);
    this.#circle.records.set(id, { word, atMs: this.#circle.clock.nowMs() });
    this.#circle.tell(id, word.appliedRevision);
  }

  async applied(id: string, revision: number): Promise<void> {
    await this.#reach(`applied ${revision}`);
    const record = this.#circle.records.get(id);
    if (record !== undefined) {
      record.word = { ...record.word, appliedRevision: revision };
      record.atMs = this.#circle.clock.nowMs();
    }
    this.#circle.tell(id, revision);
  }

  async list(): Promise<InstanceRecord[]> {
    await this.#reach("list");
    const sinceMs = this.#circle.clock.nowMs() - INSTANCE_TTL_MS;
    return [...this.#circle.records]
      .filter(([, { atMs }]) => atMs > sinceMs)
      .map(([id, { word }]) => ({ id, ...word }))
      .toSorted((one, two) => (one.id < two.id ? -1 : 1));
  }

  async leave(id: string): Promise<void> {
    await this.#reach("leave");
    this.#circle.records.delete(id);
  }

  watch(listener: (id: string, revision: number) => void): () => void {
    const watcher = (id: string, revision: number): void => {
      if (this.hearsNews && !this.isAway) listener(id, revision);
    };
    this.#circle.watchers.add(watcher);
    return () => this.#circle.watchers.delete(watcher);
  }

  async #reach(call: string): Promise<void> {
    await this.gate;
    if (this.isAway) throw new Fault("STORE_UNAVAILABLE", "nobody answers");
    this.calls.push(call);
  }
}
