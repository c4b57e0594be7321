/** One direction of a connection through the fault proxy: passes bytes on late, slowly, in part or not at all. */
import type { Socket } from "node:net";
import { systemClock } from "../../src/base/clock.ts";

/** Faults of all directions of all connections, as they are now. */
export interface PipeFaults {
  readonly isStalled: boolean;
  readonly delayMs: number;
  readonly bytesPerSecond: number;
  readonly isHalfOpen: boolean;
  readonly closeDelayMs: number;
}

/** What a direction lies between, and who hears of it. */
export interface PipeEnds {
  readonly faults: PipeFaults;
  readonly from: Socket;
  readonly to: Socket;
  /** Says how many of these bytes may pass; what may not is the end of the connection. All of them unless given. */
  readonly admit?: (bytes: Buffer) => number;
  readonly onPassed: (bytes: number) => void;
  /** The connection is to be cut, on both sides. */
  readonly onBroken: () => void;
}

/** Reading stops when so much is held, and goes on when it has been passed on. */
const HELD_BYTES_MAX = 64 * 1024;
/** A limited direction passes what it may in so many pieces a second. */
const PIECES_PER_SECOND = 50;

/** Bytes, the end of them, or the moment at which the connection is cut. */
interface Item {
  readonly what: Buffer | "end" | "cut";
  readonly sinceMs: number;
  /** Whether it is passed on as late as closing is. */
  readonly isClosing: boolean;
}

/** Reads one socket and writes the other. */
export class FaultPipe {
  readonly #ends: PipeEnds;
  readonly #queue: Item[] = [];
  #heldBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #isFull = false;
  #isEnded = false;
  #isClosed = false;
  /** When the bandwidth lets the next piece pass. */
  #freeAtMs = 0;

  constructor(ends: PipeEnds) {
    this.#ends = ends;
    const { from, to } = ends;
    from.on("data", (bytes: Buffer) => this.#take(bytes));
    from.on("end", () => {
      this.#isEnded = true;
      this.#add("end", true);
    });
    // "close" follows and says that there was one.
    from.on("error", () => {});
    from.on("close", (hadError) => {
      if (hadError || !this.#isEnded) this.#add("cut", true);
    });
    to.on("drain", () => {
      this.#isFull = false;
      this.flow();
    });
    to.on("close", () => {
      this.#isFull = false;
      this.flow();
    });
  }

  /** Passes on what may pass now. To be called when a fault has ended or changed. */
  flow(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (!this.#isClosed && !this.#ends.faults.isStalled && !this.#isFull) {
      const [item] = this.#queue;
      if (item === undefined) break;
      const waitMs = this.#dueMs(item) - systemClock.nowMs();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.flow(), Math.ceil(waitMs));
        break;
      }
      this.#queue.shift();
      if (typeof item.what !== "string") this.#pass(item.what, item.sinceMs);
      else if (item.what === "cut" && !this.#ends.faults.isHalfOpen) this.#ends.onBroken();
      else if (item.what === "end" && !this.#ends.faults.isHalfOpen) this.#ends.to.end();
    }
    if (this.#heldBytes < HELD_BYTES_MAX) this.#ends.from.resume();
  }

  /** Forgets what is held and passes on nothing more. */
  close(): void {
    this.#isClosed = true;
    this.#queue.length = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #take(bytes: Buffer): void {
    const admitted = this.#ends.admit?.(bytes) ?? bytes.length;
    if (admitted > 0) {
      this.#heldBytes += admitted;
      this.#add(bytes.subarray(0, admitted), false);
    }
    if (admitted < bytes.length) this.#add("cut", false);
    if (this.#heldBytes >= HELD_BYTES_MAX) this.#ends.from.pause();
  }

  #add(what: Item["what"], isClosing: boolean): void {
    if (this.#isClosed) return;
    this.#queue.push({ what, sinceMs: systemClock.nowMs(), isClosing });
    this.flow();
  }

  #dueMs({ what, sinceMs, isClosing }: Item): number {
    const { delayMs, closeDelayMs, bytesPerSecond } = this.#ends.faults;
    const dueMs = sinceMs + delayMs + (isClosing ? closeDelayMs : 0);
    const isLimited = typeof what !== "string" && bytesPerSecond !== Infinity;
    return isLimited ? Math.max(dueMs, this.#freeAtMs) : dueMs;
  }

  #pass(bytes: Buffer, sinceMs: number): void {
    const { faults, to, onPassed } = this.#ends;
    const most = Math.max(1, Math.floor(faults.bytesPerSecond / PIECES_PER_SECOND));
    const piece = bytes.subarray(0, most);
    if (piece.length < bytes.length) {
      this.#queue.unshift({ what: bytes.subarray(most), sinceMs, isClosing: false });
    }
    this.#freeAtMs = systemClock.nowMs() + (piece.length / faults.bytesPerSecond) * 1000;
    this.#heldBytes -= piece.length;
    // Whoever is half open does not know that the other side is gone.
    if (to.destroyed || to.writableEnded) return;
    onPassed(piece.length);
    this.#isFull = !to.write(piece);
  }
}
