/** What is kept of an answer, so that it can be compared with another one. */
import type { FaultCode } from "../base/fault.ts";
import type { CapturedAnswer } from "../domain/compare_words.ts";
import { fieldValues, type ResponseHead } from "../http/head.ts";
import type { Room } from "./room.ts";

/** Where the length of a body is not told, room for it begins here and doubles. */
const ROOM_BYTES_MIN = 4 * 1024;
const NO_BYTES = Buffer.alloc(0);

/** What of answers is kept. */
export interface CaptureRules {
  /** Lower-case names of the fields that are kept. */
  readonly names: readonly string[];
  /** Longer bodies are not kept. */
  readonly bodyBytesMax: number;
  /** Whether bodies are looked at, at all. */
  readonly hasBody: boolean;
}

/**
 * One answer, as it is captured beside whoever gets it.
 *
 * Open: it may still get a head and pieces of a body. Settled, once: it has ended, has failed, or its body is not kept,
 * so nothing more can be learnt of it. Whoever reads it waits for that, and then releases it.
 */
export class Capture {
  readonly #rules: CaptureRules;
  readonly #room: Room;
  readonly #onSettled: () => void;
  #status = 0;
  #fields: [name: string, value: string][] = [];
  #codings = "";
  #fault: FaultCode | null = null;
  #buffer = NO_BYTES;
  /** The length of the buffer, which may have been handed over to another thread. */
  #takenBytes = 0;
  #length = 0;
  #isKept = true;
  #isSettled = false;
  /** Its body was not kept for want of room, not for its length. */
  #lacksRoom = false;

  constructor(rules: CaptureRules, room: Room, onSettled: () => void) {
    this.#rules = rules;
    this.#room = room;
    this.#onSettled = onSettled;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  get lacksRoom(): boolean {
    return this.#lacksRoom;
  }

  /** What was captured. The bytes stay valid after `release`. */
  get answer(): CapturedAnswer {
    const bytes = this.#isKept && this.#fault === null ? this.#buffer.subarray(0, this.#length) : null;
    return { status: this.#status, fields: this.#fields, codings: this.#codings, bytes, fault: this.#fault };
  }

  onHead(head: ResponseHead): void {
    if (this.#isSettled) return;
    this.#status = head.status;
    this.#codings = fieldValues(head, "content-encoding").join(", ");
    for (const name of this.#rules.names) {
      for (const value of fieldValues(head, name)) this.#fields.push([name, value]);
    }
    if (head.contentLength > this.#rules.bodyBytesMax) this.#drop();
    else if (head.contentLength > 0) this.#reserve(head.contentLength);
  }

  onData(bytes: Buffer): void {
    if (this.#isSettled || !this.#rules.hasBody) return;
    const length = this.#length + bytes.length;
    if (length > this.#rules.bodyBytesMax) {
      this.#drop();
    } else if (this.#reserve(length)) {
      bytes.copy(this.#buffer, this.#length);
      this.#length = length;
    }
  }

  onEnd(): void {
    this.#settle();
  }

  /** It failed, with or without a head. */
  onFault(code: FaultCode): void {
    if (this.#isSettled) return;
    this.#fault = code;
    this.#settle();
  }

  /** Nothing more comes of it, though it has not ended: what was kept is no whole body. */
  onCut(): void {
    if (!this.#isSettled) this.#drop();
  }

  /** Gives its room back. */
  release(): void {
    this.#isSettled = true;
    this.#giveBack();
  }

  /** The body will not be looked at: nothing of it is kept, and nothing more is waited for. */
  #drop(): void {
    this.#giveBack();
    this.#isKept = false;
    this.#settle();
  }

  #giveBack(): void {
    this.#room.give(this.#takenBytes);
    this.#takenBytes = 0;
    this.#buffer = NO_BYTES;
  }

  /** Makes room for a body of so many bytes. Gives whether there is. */
  #reserve(bytes: number): boolean {
    const length = this.#takenBytes;
    if (bytes <= length) return true;
    const wanted =
      length === 0 ? bytes : Math.min(this.#rules.bodyBytesMax, Math.max(bytes, 2 * length, ROOM_BYTES_MIN));
    if (!this.#room.take(wanted - length)) {
      this.#lacksRoom = true;
      this.#drop();
      return false;
    }
    const larger = Buffer.allocUnsafeSlow(wanted);
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
    this.#takenBytes = wanted;
    return true;
  }

  #settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#onSettled();
  }
}
