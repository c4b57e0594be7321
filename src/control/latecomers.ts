/** Workers of the control process before that have yet to come to this one: one that hangs never would. */
import type { Named } from "./fleet_news.ts";

/** Who is awaited, and for how long. A worker is here until it comes, has ended, or had its time. */
export class Latecomers {
  readonly #awaited = new Map<number, { readonly named: Named; waitedMs: number }>();

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

  /**
   * Lets time pass. Gives those who have waited for longer than `mostMs`, who are forgotten with that, like those of
   * whom `isThere` says that they have ended.
   */
  wait(elapsedMs: number, mostMs: number, isThere: (pid: number) => boolean): Named[] {
    const late: Named[] = [];
    for (const [pid, one] of this.#awaited) {
      one.waitedMs += elapsedMs;
      const hasEnded = !isThere(pid);
      if (!hasEnded && one.waitedMs <= mostMs) continue;
      this.#awaited.delete(pid);
      if (!hasEnded) late.push(one.named);
    }
    return late;
  }
}
