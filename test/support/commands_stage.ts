/** A table in the in-memory store, commands on it, and somebody else who changes it at the worst moment. */
import { assert } from "../../src/base/fault.ts";
import type { Author } from "../../src/control/attempt.ts";
import { Commands } from "../../src/control/commands.ts";
import type { Change, CommitOutcome, IdempotencyMark, RouteStore } from "../../src/store/store.ts";
import { ManualClock } from "./clock.ts";
import { MemoryData, MemoryStore } from "./memory_store.ts";
import { SHOP, tableWith } from "./table.ts";

/** Who makes the changes of a test. */
export const ALICE: Author = { actor: "alice", reason: "looks good" };

/** The table at revision 1: the shop, all on legacy. */
export const TABLE: unknown = tableWith(SHOP);

/** A store that counts commits. What others do right before each write is `meddle`. */
export class BusyStore extends MemoryStore {
  commits = 0;
  meddle: (() => Promise<unknown>) | null = null;

  override async commit(expectedRevision: number, change: Change): Promise<CommitOutcome> {
    this.commits++;
    await this.meddle?.();
    return super.commit(expectedRevision, change);
  }

  override async remember(mark: IdempotencyMark, revision: number): Promise<boolean> {
    await this.meddle?.();
    return super.remember(mark, revision);
  }
}

/** Two processes on one store. */
export interface CommandsStage {
  readonly store: BusyStore;
  readonly commands: Commands;
  /** The same store and commands in another process. */
  readonly othersStore: RouteStore;
  readonly others: Commands;
  readonly clock: ManualClock;
}

/** A store with TABLE at revision 1. */
export async function stageCommands(): Promise<CommandsStage> {
  const data = new MemoryData();
  const clock = new ManualClock();
  const store = new BusyStore(clock, data);
  const commands = new Commands(store, { clock });
  const outcome = await commands.replaceTable(TABLE, ALICE);
  assert(outcome.ok && outcome.revision === 1, JSON.stringify(outcome));
  store.commits = 0;
  const othersStore = new MemoryStore(clock, data);
  return { store, clock, commands, othersStore, others: new Commands(othersStore, { clock }) };
}

/** Weights of the shop that give its new backend so many percent. */
export function weights(percent: number): Readonly<Record<string, number>> {
  return { legacy: 100 - percent, new: percent };
}

/** The shares of the first route's candidate. */
export async function shareOf(commands: Commands): Promise<number | undefined> {
  return (await commands.current())?.document.routes[0]?.candidateShares;
}
