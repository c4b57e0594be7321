/** How hard a worker is pressed, and what it gives up for that: first what nobody waits for, last new connections. */
import type { PressureCause, PressureLevel } from "../shared/counters.ts";

/** How a worker does, as it finds at a sweep. */
export interface Load {
  /** How late the sweep came. */
  readonly lagMs: number;
  /** Of its thread since the last one, 0 to 1. */
  readonly utilization: number;
  /** Of the heap that it may have, 0 to 1. */
  readonly heap: number;
  /** Of the descriptors that it may have, 0 to 1. */
  readonly files: number;
}

/** From where on a level is due. `room`: of heap and of descriptors. */
const LIMITS: readonly { readonly level: PressureLevel; readonly lagMs: number; readonly room: number }[] = [
  { level: "mirrors", lagMs: 50, room: 0.75 },
  { level: "comparisons", lagMs: 100, room: 0.85 },
  { level: "connections", lagMs: 200, room: 0.95 },
];
/** Utilization alone only costs mirrors: a busy thread is what a worker is for. */
const UTILIZATION_MAX = 0.95;
/** So many sweeps in a row must be late before clients are turned away: one stall is no overload. */
const LATE_SWEEPS = 5;
/** A level is left this long after it was last due. */
const HOLD_MS = 1_000;

/** Remembers what was due lately, and why. */
export class Pressure {
  readonly #due: { untilMs: number; cause: PressureCause }[] = LIMITS.map(() => ({
    untilMs: -Infinity,
    cause: "lag",
  }));
  #lateSweeps = 0;

  /** Takes how the worker does, and gives the level that holds from now on, and why; null for none. */
  feel(load: Load, nowMs: number): { readonly level: PressureLevel; readonly cause: PressureCause } | null {
    const isVeryLate = load.lagMs > (LIMITS.at(-1)?.lagMs ?? Infinity);
    this.#lateSweeps = isVeryLate ? this.#lateSweeps + 1 : 0;
    for (const [index, limit] of LIMITS.entries()) {
      const cause = this.#causeOf(load, limit);
      if (cause !== null) this.#due[index] = { untilMs: nowMs + HOLD_MS, cause };
    }
    const index = this.#due.findLastIndex(({ untilMs }) => nowMs < untilMs);
    const [limit, due] = [LIMITS[index], this.#due[index]];
    return limit === undefined || due === undefined ? null : { level: limit.level, cause: due.cause };
  }

  #causeOf(load: Load, { level, lagMs, room }: (typeof LIMITS)[number]): PressureCause | null {
    if (load.heap > room) return "heap";
    if (load.files > room) return "files";
    if (load.lagMs > lagMs && (level !== "connections" || this.#lateSweeps >= LATE_SWEEPS)) return "lag";
    return level === "mirrors" && load.utilization > UTILIZATION_MAX ? "busy" : null;
  }
}
