/** Waiting in tests: for a condition to become true, with a deadline instead of a sleep. */
import { setTimeout as pause } from "node:timers/promises";

/** How often a condition is looked at. */
const LOOK_MS = 10;

/**
 * Waits until `condition` gives something truthy and gives that. Fails with `what` at the deadline (30 s unless told),
 * which is long because machines are slow, not because anything should take that long.
 */
export async function until<Value>(
  what: string | (() => string),
  condition: () => Value | Promise<Value>,
  timeoutMs = 30_000,
): Promise<NonNullable<Value>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms in vain for: ${typeof what === "string" ? what : what()}`);
    }
    await pause(LOOK_MS);
  }
}
