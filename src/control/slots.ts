/** The places of the fleet: what each has lived through, and when its next worker may start. */
import type { Clock } from "../base/clock.ts";
import { isCrashLooping, openSlot, recordDeath, recordLife } from "./roster.ts";
import type { Pace, Slot } from "./roster.ts";

/** The worker that a slot lost last, until its successor is ready. */
interface Loss {
  readonly pid: number;
  readonly atMs: number;
}

/** A death, as the fleet has to act on it. */
export interface Death {
  readonly slot: Slot;
  /** The next worker starts after so many milliseconds. */
  readonly backoffMs: number;
  readonly isCrashLoop: boolean;
}

/** The records of all slots; workers of numbers without a slot leave none. */
export class Slots {
  readonly #clock: Clock;
  readonly #pace: Pace;
  readonly #slots: Slot[];
  readonly #losses = new Map<number, Loss>();

  constructor(count: number, clock: Clock, pace: Pace) {
    this.#clock = clock;
    this.#pace = pace;
    this.#slots = Array.from({ length: count }, (_, worker) => openSlot(worker));
  }

  count(): number {
    return this.#slots.length;
  }

  numbers(): number[] {
    return this.#slots.map(({ worker }) => worker);
  }

  /** The slots whose back-off is over. */
  due(): number[] {
    const nowMs = this.#clock.nowMs();
    return this.#slots.filter(({ startAtMs }) => startAtMs <= nowMs).map(({ worker }) => worker);
  }

  restarts(worker: number): number {
    return this.#slots[worker]?.restarts ?? 0;
  }

  /** Remembers that the slot lost a worker, which was ready since `readyAtMs`, or null when it never was. */
  died(worker: number, readyAtMs: number | null, pid: number | null): Death | null {
    const before = this.#slots[worker];
    if (before === undefined) return null;
    const nowMs = this.#clock.nowMs();
    const slot = recordDeath(before, readyAtMs === null ? null : nowMs - readyAtMs, nowMs, this.#pace);
    this.#slots[worker] = slot;
    if (pid !== null) this.#losses.set(worker, { pid, atMs: nowMs });
    return { slot, backoffMs: slot.startAtMs - nowMs, isCrashLoop: isCrashLooping(slot) };
  }

  /** Notices that the slot's worker is ready since then, and still lives. */
  lives(worker: number, readyAtMs: number): void {
    const before = this.#slots[worker];
    if (before !== undefined) {
      this.#slots[worker] = recordLife(before, this.#clock.nowMs() - readyAtMs, this.#pace);
    }
  }

  /** Whom a worker that is ready now replaces, and how long that took; null when nobody was lost. Asked once. */
  replaced(worker: number): { readonly pid: number; readonly afterMs: number } | null {
    const loss = this.#losses.get(worker);
    if (loss === undefined) return null;
    this.#losses.delete(worker);
    return { pid: loss.pid, afterMs: this.#clock.nowMs() - loss.atMs };
  }

  /** The crash loops, in the operator's words. */
  warnings(): string[] {
    return this.#slots
      .filter((slot) => isCrashLooping(slot))
      .map(
        (slot) =>
          `worker ${slot.worker} keeps dying: ${slot.quickDeaths} times in a row soon after its start`,
      );
  }
}
