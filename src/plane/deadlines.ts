/** The deadlines of one worker: everything that may take too long holds one number, and one sweep looks at them all. */

/** Something that must happen by a time. It changes its own `deadlineMs` freely; Infinity means no deadline. */
export interface Timed {
  /** On the monotonic clock. */
  deadlineMs: number;
  /** Called once by the sweep after the deadline, which is Infinity by then. */
  onDeadline(nowMs: number): void;
}

/** How late a deadline is noticed at most. */
export const SWEEP_MS = 250;

/**
 * All deadlines of a worker.
 *
 * Setting a deadline is one assignment, so a busy connection pays nothing for moving it at every read. The sweep costs
 * some nanoseconds per member: 20,000 connections take about half a millisecond a second.
 * Bound: one member per connection or waiting request, each of which has a bound of its own.
 */
export class Deadlines {
  readonly #members = new Set<Timed>();

  add(member: Timed): void {
    this.#members.add(member);
  }

  remove(member: Timed): void {
    this.#members.delete(member);
  }

  /** Calls every member whose deadline has passed. */
  sweep(nowMs: number): void {
    for (const member of this.#members) {
      if (member.deadlineMs > nowMs) continue;
      member.deadlineMs = Infinity;
      member.onDeadline(nowMs);
    }
  }
}
