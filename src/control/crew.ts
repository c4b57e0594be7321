/** Every worker process that is known: those that fill the slots, those that are replaced, and those that leave. */
import type { WorkerLink, WorkerStatus } from "./worker_link.ts";

/** The workers of one fleet. A slot has one member; its predecessors are here until their processes end. */
export class Crew {
  readonly #links = new Map<number, WorkerLink>();
  readonly #members = new Map<number, WorkerLink>();

  all(): WorkerLink[] {
    return [...this.#links.values()];
  }

  byPid(pid: number): WorkerLink | undefined {
    return this.#links.get(pid);
  }

  /** Takes a process in. One that never began has no pid, and is none. */
  add(link: WorkerLink): void {
    if (link.pid > 0) this.#links.set(link.pid, link);
  }

  remove({ pid }: WorkerLink): void {
    this.#links.delete(pid);
  }

  /** Gives the link's slot to it. */
  seat(link: WorkerLink): void {
    this.#members.set(link.worker, link);
  }

  /** Frees the link's slot. False when it was another's. */
  unseat(link: WorkerLink): boolean {
    return this.isMember(link) && this.#members.delete(link.worker);
  }

  isMember(link: WorkerLink): boolean {
    return this.#members.get(link.worker) === link;
  }

  isFilled(slot: number): boolean {
    return this.#members.has(slot);
  }

  members(): WorkerLink[] {
    return [...this.#members.values()];
  }

  /** Who serves on in a slot until its successor does. */
  predecessors(slot: number): WorkerLink[] {
    return this.all().filter((link) => link.worker === slot && link.isPredecessor());
  }

  /** The slots that somebody serves for, be it a predecessor. */
  served(): Set<number> {
    return new Set([...this.members(), ...this.all().filter((link) => link.isPredecessor())].map(slotOf));
  }

  /** How many leave. */
  draining(): number {
    return this.all().filter((link) => link.isLeaving()).length;
  }

  /** Everybody by slot. `restarts` counts the deaths in one. */
  status(restarts: (slot: number) => number): WorkerStatus[] {
    return this.all()
      .map((link) => link.status(restarts(link.worker)))
      .toSorted((one, other) => one.worker - other.worker || one.pid - other.pid);
  }

  /** Those of them that serve, or may begin to before they hear of the next table. */
  followers(restarts: (slot: number) => number): WorkerStatus[] {
    const pids = new Set(
      this.all()
        .filter((link) => link.mayServe())
        .map(({ pid }) => pid),
    );
    return this.status(restarts).filter(({ pid }) => pids.has(pid));
  }

  /** The refusals of tables, in the operator's words. */
  warnings(): string[] {
    return this.all().flatMap(({ worker, pid, refused }) =>
      refused === null
        ? []
        : [`worker ${worker} (pid ${pid}) refused revision ${refused.revision}: ${refused.reason}`],
    );
  }
}

function slotOf({ worker }: WorkerLink): number {
  return worker;
}
