/** A LineageStore in memory that can lose its memory: emptied, set back, exchanged, out of reach. */
import { Fault } from "../../src/base/fault.ts";
import type { LineageStore, LineageTable, Standing } from "../../src/store/lineage.ts";
import type { Change, CommitOutcome, StoredTable } from "../../src/store/store.ts";
import type { ManualClock } from "./clock.ts";
import { MemoryData, MemoryStore } from "./memory_store.ts";

/** What a server remembers. */
export interface Memory {
  readonly revisions: readonly StoredTable[];
  readonly lineage: string;
}

/** A store whose server can be tampered with. */
export class MemoryLineageStore extends MemoryStore implements LineageStore {
  /** Thrown by every call while it is set. */
  fault: Fault | null = null;
  /** Calls of readTable, and answers that are given first in place of true ones. */
  reads = 0;
  readonly overtaken: (LineageTable | null)[] = [];
  readonly #clock: ManualClock;
  readonly #data: MemoryData;
  #lineage = "";
  #lineages = 0;

  constructor(clock: ManualClock) {
    const data = new MemoryData();
    super(clock, data);
    this.#clock = clock;
    this.#data = data;
  }

  get memory(): Memory {
    return { revisions: this.#data.revisions, lineage: this.#lineage };
  }

  /** Gives the server another memory, as a restart with another disk would. */
  set memory({ revisions, lineage }: Memory) {
    this.#data.revisions = [...revisions];
    this.#lineage = lineage;
  }

  async readTable(): Promise<LineageTable | null> {
    this.#reach();
    this.reads++;
    const overtaken = this.overtaken.shift();
    if (overtaken !== undefined) return overtaken;
    const table = await super.read();
    return table === null ? null : { ...table, lineage: this.#lineage };
  }

  override async commit(expectedRevision: number, change: Change): Promise<CommitOutcome> {
    this.#reach();
    if (this.#data.revisions.length === 0) this.#lineage = `history ${++this.#lineages}`;
    return super.commit(expectedRevision, change);
  }

  async reseed(expected: Standing, target: Standing, change: Change): Promise<boolean> {
    this.#reach();
    const revision = this.#data.revisions.at(-1)?.revision ?? 0;
    const lineage = revision === 0 ? "" : this.#lineage;
    if (revision !== expected.revision || lineage !== expected.lineage) return false;
    const { idempotency: _, ...rest } = change;
    const facts = { revision: target.revision, fromRevision: revision, atMs: this.#clock.wallMs() };
    this.memory = { revisions: [...this.#data.revisions, { ...rest, ...facts }], lineage: target.lineage };
    return true;
  }

  #reach(): void {
    if (this.fault !== null) throw this.fault;
  }
}

/** What a server that cannot be reached makes of every call. */
export function awayFault(): Fault {
  return new Fault("STORE_UNAVAILABLE", "nobody listens there");
}
