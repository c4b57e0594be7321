/** Workers of another control process that have yet to come to this one: one that hangs never would. */
import type { Named } from "./fleet_news.ts";

/** What becomes of those who are awaited. */
export interface LatecomersParts {
  /** Whether a worker still runs. */
  readonly isThere: (pid: number) => boolean;
  /** Does away with one who has had its time. */
  readonly end: (late: Named) => void;
}

/** Who is awaited, and for how long. A worker is here until it comes, has ended, or had its time. */
export class Latecomers {
  readonly #parts: LatecomersParts;
  readonly #awaited = new Map<number, { readonly named: Named; waitedMs: number }>();

  constructor(parts: LatecomersParts) {
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#awaited.size === 0;
  }

  /** Awaits these. */
  expect(workers: readonly Named[]): void {
    for (const { worker, pid } of workers) this.#awaited.set(pid, { named: { worker, pid }, waitedMs: 0 });
  }

  /** This one came. */
  forget(pid: number): void {
    this.#awaited.delete(pid);
  }

  /** Lets time pass. Who has ended is forgotten, and who has waited for longer than `mostMs` is ended. */
  wait(elapsedMs: number, mostMs: number): void {
    for (const [pid, one] of this.#awaited) {
      one.waitedMs += elapsedMs;
      const hasEnded = !this.#parts.isThere(pid);
      if (!hasEnded && one.waitedMs <= mostMs) continue;
      this.#awaited.delete(pid);
      if (!hasEnded) this.#parts.end(one.named);
    }
  }
}
