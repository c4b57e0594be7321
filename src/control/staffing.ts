/** Fills the slots: starts workers as children, or has them started by whoever has the listening sockets. */
import type { Crew } from "./crew.ts";
import type { FleetNews } from "./fleet_news.ts";
import type { Foothold } from "./foothold.ts";
import { startWorker } from "./process.ts";
import type { Slots } from "./slots.ts";
import type { Origin, WorkerLink, WorkerProgram } from "./worker_link.ts";

/** What filling slots needs. */
export interface StaffingParts {
  readonly slots: Slots;
  readonly crew: Crew;
  readonly foothold: Foothold;
  readonly news: Pick<FleetNews, "started" | "crashLoop">;
  /** What workers are started from, and where they reach this process. */
  readonly program: WorkerProgram;
  readonly socketPath: string;
  /** Has another control process start a worker with its sockets; false when there is none. */
  readonly askElsewhere: (slot: number, program: WorkerProgram) => boolean;
  readonly enrol: (slot: number, pid: number, origin: Origin) => WorkerLink;
  /** Whether slots are filled now. */
  readonly isOpen: () => boolean;
}

/** Who comes into free slots, and when. */
export class Staffing {
  readonly #parts: StaffingParts;
  /** Slots for which somebody was asked to start a sibling, and for how long that has not come, in milliseconds. */
  readonly #awaited = new Map<number, number>();

  constructor(parts: StaffingParts) {
    this.#parts = parts;
  }

  /** The slots whose workers somebody else was asked for, and who have not come yet. */
  awaited(): number[] {
    return [...this.#awaited.keys()];
  }

  /** The worker that was asked for has come. */
  arrive(slot: number): void {
    this.#awaited.delete(slot);
  }

  /** Starts a worker for every slot that is free and whose back-off is over. */
  fill(): void {
    const { slots, crew, foothold, isOpen } = this.#parts;
    if (!isOpen()) return;
    for (const slot of slots.due()) {
      if (crew.isFilled(slot) || this.#awaited.has(slot)) continue;
      const descriptors = foothold.descriptors();
      if (descriptors !== null) this.#startChild(slot, descriptors);
      else this.#askForSibling(slot);
    }
  }

  /** Remembers a death in a slot, of a worker that was ready since `readyAtMs`, and fills it after its back-off. */
  bury(slot: number, readyAtMs: number | null, pid: number | null): void {
    const death = this.#parts.slots.died(slot, readyAtMs, pid);
    if (death === null) return;
    // Timers may fire a little early.
    setTimeout(() => this.fill(), death.backoffMs + 1).unref();
    if (death.isCrashLoop) this.#parts.news.crashLoop(death.slot, death.backoffMs);
  }

  /** Lets so much time pass. Whoever was asked for and does not come within `patienceMs` counts as dead. */
  wait(elapsedMs: number, patienceMs: number): void {
    for (const [slot, waitedMs] of this.#awaited) {
      this.#awaited.set(slot, waitedMs + elapsedMs);
      if (waitedMs <= patienceMs) continue;
      this.#awaited.delete(slot);
      this.bury(slot, null, null);
    }
  }

  #startChild(slot: number, descriptors: readonly number[]): void {
    const { program, socketPath, foothold, crew, news, enrol } = this.#parts;
    const { listen } = foothold;
    const child = startWorker({ ...program, worker: slot, socketPath, listen, descriptors });
    const link = enrol(slot, child.pid, "child");
    crew.seat(link);
    news.started(link);
    void child.ended.then((cause) => link.lose(cause));
  }

  #askForSibling(slot: number): void {
    const { crew, program, askElsewhere } = this.#parts;
    const isAsked =
      crew.all().some((link) => link.maySpawn() && link.spawn(slot, program)) || askElsewhere(slot, program);
    if (isAsked) this.#awaited.set(slot, 0);
    else if (crew.served().size === 0) void this.#bindAgain();
  }

  /** Nobody is left who has the sockets, so the addresses are free, or will be in a moment. */
  async #bindAgain(): Promise<void> {
    const { foothold, isOpen } = this.#parts;
    if (!(await foothold.bindAgain())) return;
    if (!isOpen()) return foothold.close();
    this.#awaited.clear();
    this.fill();
  }
}
