/** How a worker stops: which of its connections end when, so that nothing is cut and not all come back at once. */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { OpenConnections } from "../shared/counters.ts";
import type { DrainOptions } from "../shared/messages.ts";
import type { Timed } from "./deadlines.ts";

/** The last part of their time in which WebSockets and event streams are ended, each at a moment of its own. */
const ENDING_PART = 0.1;
/** Moments are drawn from this part of what is left, so that a goodbye can still be answered. */
const ENDING_ROOM = 0.75;

/** What a connection is at: nothing, a request, a WebSocket, a stream of events. */
export type Occupation = keyof OpenConnections;

/** A connection as a drain sees it. */
export interface Drained {
  readonly occupation: Occupation;
  /** Closes it if it has been idle since then or longer, on the monotonic clock. */
  closeIfIdle(sinceMs: number): void;
  /** Ends a WebSocket or a stream in the way of its protocol, as soon as that is possible. */
  leave(): void;
  /** Ends it now, whatever it is at. */
  destroy(): void;
}

/** What a drain moves. */
export interface DrainParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly connections: () => Iterable<Drained>;
  readonly stopAccepting: () => void;
}

/**
 * One drain, from the order to stop.
 *
 * Grace: connections are still accepted, since load balancers need time to notice. Then answers say
 * `Connection: close`, at first few and after the spread all of them, so that not every client connects anew in one
 * instant; what was idle for the idle time is closed. In the last tenth of their time streams of events end after an
 * event, and WebSockets by a Close frame with 1001. At the deadline what is left is cut, and WebSockets at one of
 * their own. It looks at every sweep; a time of 0 is over at once.
 */
export class Drain implements Timed {
  deadlineMs = 0;
  readonly #options: DrainOptions;
  readonly #parts: DrainParts;
  readonly #startMs: number;
  readonly #endings = new Map<Drained, number>();
  #isAccepting = true;

  constructor(options: DrainOptions, parts: DrainParts) {
    this.#options = options;
    this.#parts = parts;
    this.#startMs = parts.clock.nowMs();
  }

  /** When HTTP is cut, and when WebSockets are, in milliseconds from now. */
  get left(): { readonly requestsMs: number; readonly tunnelsMs: number } {
    const goneMs = this.#parts.clock.nowMs() - this.#startMs;
    return {
      requestsMs: Math.max(0, this.#options.deadlineMs - goneMs),
      tunnelsMs: Math.max(0, this.#tunnelsMs - goneMs),
    };
  }

  /** Whether the next answer on a connection shall be its last. */
  closesAnswer(): boolean {
    const { graceMs, deadlineMs } = this.#options;
    const goneMs = this.#parts.clock.nowMs() - this.#startMs - graceMs;
    if (goneMs < 0) return false;
    // What is still open at the deadline is cut, so all must have been told by then.
    const spreadMs = Math.min(this.#options.spreadMs, deadlineMs - graceMs);
    return goneMs >= spreadMs || this.#parts.random.draw(spreadMs) < goneMs;
  }

  /** Does what is due. */
  onDeadline(nowMs: number): void {
    // Looked at again by the next sweep.
    this.deadlineMs = 0;
    const { graceMs, idleMs, deadlineMs } = this.#options;
    const goneMs = nowMs - this.#startMs;
    if (goneMs < graceMs) return;
    if (this.#isAccepting) {
      this.#isAccepting = false;
      this.#parts.stopAccepting();
    }
    // Idle since before the grace was over counts from there.
    const isIdleOver = goneMs >= Math.min(graceMs + idleMs, deadlineMs);
    for (const connection of this.#parts.connections()) {
      if (isIdleOver) connection.closeIfIdle(nowMs - idleMs);
      this.#look(connection, goneMs);
    }
  }

  get #tunnelsMs(): number {
    return Math.max(this.#options.deadlineMs, this.#options.tunnelsMs);
  }

  #look(connection: Drained, goneMs: number): void {
    const { occupation } = connection;
    const limitMs = occupation === "tunnels" ? this.#tunnelsMs : this.#options.deadlineMs;
    if (goneMs >= limitMs) {
      connection.destroy();
    } else if (occupation === "tunnels" || occupation === "streams") {
      const windowMs = ENDING_PART * limitMs;
      if (goneMs >= limitMs - windowMs && goneMs >= this.#endingOf(connection, goneMs, limitMs))
        connection.leave();
    }
  }

  /** Drawn once for each, from what is left of the time. */
  #endingOf(connection: Drained, goneMs: number, limitMs: number): number {
    let endingMs = this.#endings.get(connection);
    if (endingMs === undefined) {
      const leftMs = Math.ceil(ENDING_ROOM * (limitMs - goneMs));
      endingMs = goneMs + this.#parts.random.draw(Math.max(1, leftMs));
      this.#endings.set(connection, endingMs);
    }
    return endingMs;
  }

  /** A connection is gone. */
  forget(connection: Drained): void {
    this.#endings.delete(connection);
  }
}
