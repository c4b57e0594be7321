/** What a fleet lends to the control process that shall follow this one. */
import type { Crew } from "./crew.ts";
import type { Foothold } from "./foothold.ts";
import type { Named } from "./fleet_news.ts";
import type { InheritedSocket } from "./sockets.ts";
import type { WorkerProgram, WorkerStatus } from "./worker_link.ts";

/** The fleet's side of an upgrade, until the other control process takes over. */
export class Lending {
  readonly #foothold: Foothold;
  readonly #crew: Crew;
  readonly #slots: number;
  readonly #onFollowed: () => void;
  #successor: WorkerStatus | null = null;

  constructor(parts: {
    readonly foothold: Foothold;
    readonly crew: Crew;
    readonly slots: number;
    readonly onFollowed: () => void;
  }) {
    this.#foothold = parts.foothold;
    this.#crew = parts.crew;
    this.#slots = parts.slots;
    this.#onFollowed = parts.onFollowed;
  }

  /** Whether every slot has a worker that serves. */
  isSteady(): boolean {
    const members = this.#crew.members();
    return members.length === this.#slots && members.every(({ state }) => state === "serving");
  }

  /** Whether another control process could serve here: somebody has the sockets for it. */
  canLend(): boolean {
    return this.#foothold.isHeld() || this.#crew.all().some((link) => link.maySpawn());
  }

  /** The addresses, as workers are told them. */
  listen(): readonly string[] {
    return this.#foothold.listen;
  }

  /** The listening sockets; null when only the workers have them. */
  sockets(): InheritedSocket[] | null {
    return this.#foothold.lend();
  }

  /** All worker processes here, which the other control process will have to deal with. */
  workers(): Named[] {
    return this.#crew.all().map(({ worker, pid }) => ({ worker, pid }));
  }

  /** Has a worker start one for the other process, with the sockets that only the workers have. */
  spawn(slot: number, program: WorkerProgram): void {
    this.#crew.all().some((link) => link.maySpawn() && link.spawn(slot, program));
  }

  /** What the other process's workers serve: nobody may say "applied" without them. Null: there is none. */
  follow(successor: WorkerStatus | null): void {
    this.#successor = successor;
    this.#onFollowed();
  }

  /** The workers of the other process, as if they were one; none when there is none. */
  followers(): WorkerStatus[] {
    return this.#successor === null ? [] : [this.#successor];
  }
}
