/** Reads of accepted connections into one buffer: Node offers that only for connections which it opens. */
import { Socket } from "node:net";
import type { StepClock } from "../base/clock.ts";

/** What one read brings at most. */
const READ_BYTES = 64 * 1024;

/** Takes what one read brought, the first `length` bytes of a buffer; they are only valid during the call. */
export type Reader = (buffer: Buffer, length: number) => void;

/** What `onread` takes, of Node's sockets. */
interface Reading {
  readonly buffer: Buffer;
  readonly callback: (length: number) => boolean;
}

/** Has all that is read with it land in `buffer`, each read as a step of the clock. */
export function steppedReads(clock: StepClock, buffer: Buffer, reader: Reader): Reading {
  const callback = (length: number): boolean => {
    clock.step(reader, buffer, length);
    return true;
  };
  return { buffer, callback };
}

type Slots = Readonly<Record<"buffer" | "callback", symbol>>;

/** A socket as Node itself sees it, as far as that is needed here. */
interface Inside {
  readonly _handle?: { readonly useUserBuffer?: (buffer: Buffer) => void } | null;
  [slot: symbol]: unknown;
}

/**
 * One buffer for all accepted connections of a worker. Each read is a step of the clock.
 *
 * Without it every read makes a buffer of its own, which passes through a stream and is collected later. Where this
 * Node keeps the option `onread` elsewhere than expected, it does that still: slower, and otherwise the same.
 */
export class SharedReads {
  readonly #clock: StepClock;
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #slots = findSlots();

  constructor(clock: StepClock) {
    this.#clock = clock;
  }

  /** Whether this Node can do it. */
  get isPossible(): boolean {
    return this.#slots !== null;
  }

  /** Begins to read. */
  begin(socket: Socket, reader: Reader): void {
    const inside = socket as unknown as Inside;
    const { _handle: handle } = inside;
    // One that was read before, for its PROXY header, goes on as it is: it may hold bytes.
    const isNew = socket.readableFlowing === null;
    if (!isNew || this.#slots === null || typeof handle?.useUserBuffer !== "function") {
      socket.on("data", (bytes: Buffer) => this.#clock.step(reader, bytes, bytes.length));
      return;
    }
    const { buffer, callback } = steppedReads(this.#clock, this.#buffer, reader);
    inside[this.#slots.buffer] = buffer;
    inside[this.#slots.callback] = callback;
    handle.useUserBuffer(buffer);
    socket.resume();
  }
}

/** Where sockets keep what `onread` gave them: found by looking for it, since the names are Node's own. */
function findSlots(): Slots | null {
  const onread = { buffer: Buffer.alloc(1), callback: (): boolean => true };
  const probe = new Socket({ onread });
  const inside = probe as unknown as Inside;
  const keyOf = (value: unknown): symbol | undefined =>
    Object.getOwnPropertySymbols(probe).find((key) => inside[key] === value);
  const [buffer, callback] = [keyOf(onread.buffer), keyOf(onread.callback)];
  probe.destroy();
  return buffer === undefined || callback === undefined ? null : { buffer, callback };
}
