/** The channel between the control process and a worker: JSON messages in frames on a Unix socket. */
import type { Socket } from "node:net";
import { assert } from "../base/fault.ts";
import type { ControlMessage, WorkerMessage } from "./messages.ts";

/** A frame is this many bytes of length (big-endian, of what follows) and then one message as JSON in UTF-8. */
const LENGTH_BYTES = 4;

/** The longest message, 64 MiB: far above the largest table that the admin API takes. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;

/** What may wait for a peer that does not read. Beyond it the channel is closed: the peer hangs. */
export const OUTGOING_BYTES_MAX = 64 * 1024 * 1024;

/** The sending half of a channel. */
export interface Channel<Outgoing> {
  /** Sends one message, in order. False when the channel is closed or this message found it too full and closed it. */
  send(message: Outgoing): boolean;
  /** Lets what was sent go out, then closes. `onClose` follows. */
  end(): void;
  /** Closes at once. `onClose` follows with this cause. */
  close(cause: string): void;
  isOpen(): boolean;
}

/** The receiving half: what the owner of a channel hears. */
export interface ChannelEvents<Incoming> {
  onMessage(message: Incoming): void;
  /** Once, after the last message: the peer left, spoke nonsense, read too slowly, or `close` was called. */
  onClose(cause: string): void;
}

/** The control process's side. */
export type ControlChannel = Channel<ControlMessage>;
/** A worker's side. */
export type WorkerChannel = Channel<WorkerMessage>;

/**
 * Speaks frames on a connected socket, which it owns from then on.
 *
 * Bounds: FRAME_BYTES_MAX in, OUTGOING_BYTES_MAX out; beyond either the channel closes with the reason as its cause.
 * A message is only known to be an object with a string `type`; both sides run the same program.
 */
export function openChannel<
  Incoming extends { readonly type: string },
  Outgoing extends { readonly type: string },
>(socket: Socket, events: ChannelEvents<Incoming>): Channel<Outgoing> {
  let open = true;
  let ending = false;
  let cause = "the peer closed the channel";
  const isOpen = (): boolean => open;
  const close = (reason: string): void => {
    if (!open) return;
    open = false;
    cause = reason;
    socket.destroy();
  };
  const reader = new FrameReader();
  socket.on("data", (bytes: Buffer) => {
    reader.push(bytes);
    while (isOpen()) {
      const frame = reader.next();
      if (frame === null) return;
      const message = "fault" in frame ? frame : decode(frame.bytes);
      if ("fault" in message) return close(message.fault);
      events.onMessage(message.value as Incoming);
    }
  });
  socket.on("error", (error) => close(error.message));
  socket.on("close", () => {
    open = false;
    events.onClose(cause);
  });
  return {
    send(message) {
      if (!open || ending) return false;
      const frame = encodeFrame(message);
      if (socket.writableLength > 0 && socket.writableLength + frame.length > OUTGOING_BYTES_MAX) {
        close("the peer does not read what it is sent");
        return false;
      }
      socket.write(frame);
      return true;
    },
    end() {
      if (!open) return;
      ending = true;
      socket.end();
    },
    close,
    isOpen,
  };
}

/** The bytes of one message. */
function encodeFrame(message: { readonly type: string }): Buffer {
  const json = Buffer.from(JSON.stringify(message), "utf8");
  assert(json.length <= FRAME_BYTES_MAX, "a message fits into a frame");
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + json.length);
  frame.writeUInt32BE(json.length, 0);
  json.copy(frame, LENGTH_BYTES);
  return frame;
}

function decode(bytes: Buffer): { readonly value: object } | { readonly fault: string } {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    return { fault: `the peer sent a frame that is not JSON: ${String(error)}` };
  }
  if (typeof value === "object" && value !== null && "type" in value && typeof value.type === "string") {
    return { value };
  }
  return { fault: "the peer sent a frame that is not a message" };
}

/** Cuts a stream of bytes into frames. Pieces are joined once per frame, however many there are. */
class FrameReader {
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** Of the frame that is arriving; null while its length is. */
  #length: number | null = null;

  push(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.#bytes += bytes.length;
  }

  next(): { readonly bytes: Buffer } | { readonly fault: string } | null {
    if (this.#length === null) {
      if (this.#bytes < LENGTH_BYTES) return null;
      this.#length = this.#take(LENGTH_BYTES).readUInt32BE(0);
      if (this.#length > FRAME_BYTES_MAX) {
        return {
          fault: `the peer announced a frame of ${this.#length} bytes; at most ${FRAME_BYTES_MAX} are taken`,
        };
      }
    }
    if (this.#bytes < this.#length) return null;
    const bytes = this.#take(this.#length);
    this.#length = null;
    return { bytes };
  }

  #take(count: number): Buffer {
    const first = this.#pieces[0];
    const all = first !== undefined && first.length >= count ? first : Buffer.concat(this.#pieces);
    const rest = all.subarray(count);
    if (all === first) this.#pieces[0] = rest;
    else this.#pieces = [rest];
    if (rest.length === 0) this.#pieces.shift();
    this.#bytes -= count;
    return all.subarray(0, count);
  }
}
