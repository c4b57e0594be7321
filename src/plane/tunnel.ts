/** One WebSocket between a client and a backend: bytes pass as they are, until it is told to say goodbye. */
import type { Clock } from "../base/clock.ts";
import { FrameTracker, goodbye } from "../http/frames.ts";
import type { Deadlines, Timed } from "./deadlines.ts";
import { GOODBYE_MS } from "./patience.ts";

/** Where the bytes of a tunnel go. */
export interface TunnelSides {
  toClient(bytes: Buffer): void;
  toBackend(bytes: Buffer): void;
  /** Sends what the client's side still holds back. */
  flush(): void;
  /** After a goodbye: both have answered it, or had the time to. Called once at most. */
  onOver(): void;
}

/** One direction. */
interface Lane {
  readonly tracker: FrameTracker;
  readonly pass: (bytes: Buffer) => void;
  readonly farewell: Buffer;
  /** Our goodbye was sent: what still comes is not passed on. */
  isOver: boolean;
}

/**
 * Follows the frames of both directions.
 *
 * Open: everything passes. Leaving, once told so: in each direction a Close frame with 1001 is sent as soon as no frame
 * is under way there, and nothing after it. A direction that has said goodbye itself hears none from us.
 */
export class Tunnel implements Timed {
  deadlineMs = Infinity;
  readonly #shared: { readonly clock: Clock; readonly deadlines: Deadlines };
  readonly #sides: TunnelSides;
  readonly #up: Lane;
  readonly #down: Lane;
  #isLeaving = false;

  constructor(shared: { readonly clock: Clock; readonly deadlines: Deadlines }, sides: TunnelSides) {
    this.#shared = shared;
    this.#sides = sides;
    shared.deadlines.add(this);
    const lane = (pass: (bytes: Buffer) => void, isMasked: boolean): Lane => {
      return { tracker: new FrameTracker(), pass, farewell: goodbye(isMasked), isOver: false };
    };
    this.#up = lane((bytes) => sides.toBackend(bytes), true);
    this.#down = lane((bytes) => sides.toClient(bytes), false);
  }

  fromClient(bytes: Buffer): void {
    this.#pass(this.#up, bytes);
    this.#endIfAnswered();
  }

  fromBackend(bytes: Buffer): void {
    this.#pass(this.#down, bytes);
    this.#endIfAnswered();
  }

  /** Says goodbye to both, now or when the frame under way is over. */
  leave(): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.deadlineMs = this.#shared.clock.nowMs() + GOODBYE_MS;
    for (const lane of [this.#down, this.#up]) if (lane.tracker.isAtBoundary) this.#end(lane);
    this.#endIfAnswered();
  }

  onDeadline(): void {
    this.#sides.onOver();
  }

  /** The connection is gone. */
  close(): void {
    this.#shared.deadlines.remove(this);
  }

  #endIfAnswered(): void {
    if (!this.#isLeaving || !this.#up.tracker.hasClosed || !this.#down.tracker.hasClosed) return;
    this.deadlineMs = Infinity;
    this.#sides.onOver();
  }

  #pass(lane: Lane, bytes: Buffer): void {
    if (lane.isOver) {
      // Read all the same: the answer to our goodbye is among it.
      lane.tracker.read(bytes);
      return;
    }
    const isEnding = this.#isLeaving && !lane.tracker.isAtBoundary;
    const end = lane.tracker.read(bytes, isEnding);
    lane.pass(end === bytes.length ? bytes : bytes.subarray(0, end));
    if (!this.#isLeaving || !lane.tracker.isAtBoundary) return;
    this.#end(lane);
    if (end < bytes.length) lane.tracker.read(bytes.subarray(end));
  }

  #end(lane: Lane): void {
    lane.isOver = true;
    if (lane.tracker.hasClosed) return;
    lane.pass(lane.farewell);
    this.#sides.flush();
  }
}
