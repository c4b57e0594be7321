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

/**
 * A clock that stands still within a step, at the first time that somebody asks: what one read brings is handled in a
 * fraction of a millisecond, in which the time is asked for again and again.
 */
export class StepClock implements Clock {
  readonly #clock: Clock;
  #isInStep = false;
  #nowMs = Number.NaN;
  #wallMs = Number.NaN;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `handle` as a step. Steps do not nest. */
  step<One, Other>(handle: (one: One, other: Other) => void, one: One, other: Other): void {
    this.#isInStep = true;
    this.#nowMs = Number.NaN;
    this.#wallMs = Number.NaN;
    try {
      handle(one, other);
    } finally {
      this.#isInStep = false;
    }
  }

  nowMs(): number {
    if (!this.#isInStep) return this.#clock.nowMs();
    if (Number.isNaN(this.#nowMs)) this.#nowMs = this.#clock.nowMs();
    return this.#nowMs;
  }

  wallMs(): number {
    if (!this.#isInStep) return this.#clock.wallMs();
    if (Number.isNaN(this.#wallMs)) this.#wallMs = this.#clock.wallMs();
    return this.#wallMs;
  }
}

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
};
