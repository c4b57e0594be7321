/** A clock that stands still until a test moves it. */
import type { Clock } from "../../src/base/clock.ts";
import { assert } from "../../src/base/fault.ts";

/** 2026-01-01T00:00:00Z: a wall time that is easy to recognise in a failure. */
const WALL_MS_START = 1_767_225_600_000;

/** The clocks of a test, moved by hand. The monotonic one starts at 0; the wall clock can jump, as real ones do. */
export class ManualClock implements Clock {
  #nowMs = 0;
  #wallMs: number;

  constructor(wallMs: number = WALL_MS_START) {
    this.#wallMs = wallMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  /** Moves both clocks on. */
  advance(ms: number): void {
    assert(ms >= 0, "a monotonic clock never goes back");
    this.#nowMs += ms;
    this.#wallMs += ms;
  }

  /** Sets the wall clock alone, forwards or back: a correction by the operating system. */
  jumpWall(wallMs: number): void {
    this.#wallMs = wallMs;
  }
}
