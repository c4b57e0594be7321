/** Copies of bytes on their way out, whose memory is used again once the socket has sent them. */
import type { Socket } from "node:net";

/** What one read from a backend brings at most. */
const COPY_BYTES = 64 * 1024;
/** Copies kept for the next pieces. Without them a fast answer leaves some 64 MB before the collector notices. */
const COPIES_MAX = 64;

/** Writes bytes whose buffer is read into again before the socket may have sent them. */
export class Copies {
  readonly #free: Buffer[] = [];

  write(socket: Socket, bytes: Buffer): void {
    const free = bytes.length <= COPY_BYTES ? this.#free.pop() : undefined;
    const copy = free ?? Buffer.allocUnsafeSlow(Math.max(bytes.length, COPY_BYTES));
    bytes.copy(copy);
    socket.write(copy.subarray(0, bytes.length), () => {
      if (this.#free.length < COPIES_MAX && copy.length === COPY_BYTES) this.#free.push(copy);
    });
  }
}
