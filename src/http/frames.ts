/** WebSocket frames as a relay sees them: where each one ends, and the one that says goodbye. */

/** Opcode of a Close frame, and the bits around it. Source: RFC 6455 section 5.2. */
const [OPCODE_BITS, CLOSE, FINAL, MASKED, LENGTH_BITS] = [0x0f, 0x8, 0x80, 0x80, 0x7f];
const [LENGTH_16, LENGTH_64] = [126, 127];
const MASK_BYTES = 4;
/** Going away: the server leaves. Source: RFC 6455 section 7.4.1. */
const GOING_AWAY = 1001;
/** Header bytes before a payload at most: two, eight of length, four of mask. */
const HEADER_BYTES_MAX = 14;

/**
 * Follows the frames of one direction, whatever pieces they come in.
 *
 * It looks at headers alone: payloads are counted and never read. A frame of ours may stand wherever one of theirs
 * ends, also between the fragments of a message (RFC 6455 section 5.4).
 */
export class FrameTracker {
  readonly #header = new Uint8Array(HEADER_BYTES_MAX);
  #headerBytes = 0;
  #payloadLeft = 0;
  #hasClosed = false;

  /** Whether no frame has begun that has not ended. */
  get isAtBoundary(): boolean {
    return this.#headerBytes === 0;
  }

  /** Whether this direction has said goodbye. */
  get hasClosed(): boolean {
    return this.#hasClosed;
  }

  /** Takes bytes, all of them, or up to the end of the first frame. Gives where it stopped. */
  read(bytes: Uint8Array, stopsAtBoundary = false): number {
    let at = 0;
    while (at < bytes.length) {
      if (stopsAtBoundary && this.isAtBoundary && at > 0) return at;
      at = this.#isInPayload ? this.#skip(at, bytes.length) : this.#take(bytes[at++] as number, at);
      if (this.#isWhole) this.#endFrame();
    }
    return at;
  }

  get #headerLength(): number {
    if (this.#headerBytes < 2) return HEADER_BYTES_MAX;
    const second = this.#header[1] as number;
    const length = second & LENGTH_BITS;
    const extended = length === LENGTH_16 ? 2 : length === LENGTH_64 ? 8 : 0;
    return 2 + extended + ((second & MASKED) === 0 ? 0 : MASK_BYTES);
  }

  get #isInPayload(): boolean {
    return this.#headerBytes >= 2 && this.#headerBytes === this.#headerLength;
  }

  get #isWhole(): boolean {
    return this.#isInPayload && this.#payloadLeft === 0;
  }

  #take(byte: number, next: number): number {
    this.#header[this.#headerBytes++] = byte;
    if (this.#isInPayload) this.#payloadLeft = this.#payloadLength();
    return next;
  }

  #skip(at: number, end: number): number {
    const bytes = Math.min(this.#payloadLeft, end - at);
    this.#payloadLeft -= bytes;
    return at + bytes;
  }

  #endFrame(): void {
    if (((this.#header[0] as number) & OPCODE_BITS) === CLOSE) this.#hasClosed = true;
    this.#headerBytes = 0;
  }

  #payloadLength(): number {
    const length = (this.#header[1] as number) & LENGTH_BITS;
    if (length < LENGTH_16) return length;
    const bytes = this.#header.subarray(2, length === LENGTH_16 ? 4 : 10);
    return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  }
}

/** A Close frame that says "going away". To a server it is masked, with a mask that changes nothing. */
export function goodbye(isMasked: boolean): Buffer {
  const code = [GOING_AWAY >> 8, GOING_AWAY & 0xff];
  return Buffer.from([
    FINAL | CLOSE,
    (isMasked ? MASKED : 0) | code.length,
    ...(isMasked ? [0, 0, 0, 0] : []),
    ...code,
  ]);
}
