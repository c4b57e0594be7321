/** The only source of time: a monotonic clock for durations and a wall clock for records. */

/**
 * Tells time in milliseconds.
 *
 * `nowMs` never goes back and has no fixed origin: only differences mean something.
 * `wallMs` is Unix time and may jump: for records and headers, never for durations.
 */
export interface Clock {
  nowMs(): number;
  wallMs(): number;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
};
