/** The part of a request's body that is kept, because it waits for a connection or may have to be sent again. */
import type { BodyKind } from "../http/head.ts";

/** While no connection is there yet, reading stops at this many bytes. */
const WAITING_BYTES_MAX = 64 * 1024;

const NO_PIECES: readonly Buffer[] = [];

/**
 * Held pieces of one body.
 *
 * Everything is held until a connection has got it. After that only bodies up to `bytesMax` stay, so that they can be
 * sent again; a longer one gives up its second chance, never its first.
 */
export class HeldBody {
  /** From here on a body is not worth holding for another attempt. */
  bytesMax = 0;
  #pieces: Buffer[] | null;
  #bytes = 0;
  #isReleased = false;

  constructor(body: BodyKind) {
    this.#pieces = body === "none" ? null : [];
  }

  /** What has to be sent to a new connection, in order. */
  get pieces(): readonly Buffer[] {
    return this.#pieces ?? NO_PIECES;
  }

  /** Whether all that came so far is still here. */
  get isWhole(): boolean {
    return !this.#isReleased;
  }

  get isFull(): boolean {
    return this.#bytes >= WAITING_BYTES_MAX;
  }

  add(bytes: Buffer): void {
    if (this.#isReleased || this.#pieces === null) return;
    this.#pieces.push(bytes);
    this.#bytes += bytes.length;
  }

  /** Forgets what is too long to be sent again. Called when all of it has been handed to a connection. */
  trim(): void {
    if (this.#bytes > this.bytesMax) this.release();
  }

  /** Forgets everything: it will not be sent again. */
  release(): void {
    this.#isReleased = true;
    this.#pieces = null;
  }
}
