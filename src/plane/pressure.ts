/** How hard a worker is pressed, and what it gives up for that: first what nobody waits for, last new connections. */
import { PRESSURE_LEVELS, type PressureLevel } from "../shared/counters.ts";

/** How a worker does, as it finds at a sweep. */
export interface Load {
  /** How late the sweep came. */
  readonly lagMs: number;
  /** Of its thread since the last one, 0 to 1. */
  readonly utilization: number;
  /** Of the heap that it may have, 0 to 1. */
  readonly heap: number;
}

/** From where on a level is due. Utilization alone only costs mirrors: a busy thread is what a worker is for. */
const LIMITS: readonly { readonly level: PressureLevel; readonly lagMs: number; readonly heap: number }[] = [
  { level: "mirrors", lagMs: 50, heap: 0.75 },
  { level: "comparisons", lagMs: 100, heap: 0.85 },
  { level: "connections", lagMs: 200, heap: 0.95 },
];
const UTILIZATION_MAX = 0.95;
/** So many sweeps in a row must be late before clients are turned away: one stall is no overload. */
const LATE_SWEEPS = 5;
/** A level is left this long after it was last due. */
const HOLD_MS = 1_000;

/** Remembers what was due lately. */
export class Pressure {
  readonly #untilMs = LIMITS.map(() => -Infinity);
  #lateSweeps = 0;

  /** Takes how the worker does, and gives the level that holds from now on. */
  feel({ lagMs, utilization, heap }: Load, nowMs: number): PressureLevel {
    let isVeryLate = false;
    for (const [index, limit] of LIMITS.entries()) {
      isVeryLate = lagMs > limit.lagMs;
      const isLate = isVeryLate && (limit.level !== "connections" || this.#lateSweeps >= LATE_SWEEPS - 1);
      const isBusy = limit.level === "mirrors" && utilization > UTILIZATION_MAX;
      if (isLate || isBusy || heap > limit.heap) this.#untilMs[index] = nowMs + HOLD_MS;
    }
    this.#lateSweeps = isVeryLate ? this.#lateSweeps + 1 : 0;
    const index = this.#untilMs.findLastIndex((untilMs) => nowMs < untilMs);
    return PRESSURE_LEVELS[index + 1] as PressureLevel;
  }
}
