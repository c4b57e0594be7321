/** Bytes from a client that are not read yet: parts of heads, bodies to come, requests ahead of their turn. */
import type { FaultCode } from "../base/fault.ts";
import { LIMITS } from "../http/head.ts";
import { headText, requestHeadLength } from "../http/scan.ts";

const LF = 0x0a;
const CR = 0x0d;
const NOTHING = Buffer.alloc(0);

/** What the inbox has of the next head: all of it, a fault, a part, or nothing yet. */
export type NextHead =
  | { readonly kind: "head"; readonly text: string }
  | { readonly kind: "fault"; readonly code: FaultCode; readonly text: string }
  | { readonly kind: "part" }
  | { readonly kind: "none" };

const NONE: NextHead = { kind: "none" };
const PART: NextHead = { kind: "part" };

/**
 * The unread bytes of one connection, the first `length` ones of one buffer.
 *
 * Bound: what one read brings beside a head that is not complete, since its owner stops reading while it is full.
 * An empty inbox holds no buffer, so an idle connection costs none.
 */
export class Inbox {
  #bytes: Buffer = NOTHING;
  #length = 0;
  #isLent = false;
  /** Up to here there is no end of a head. */
  #scanned = 0;
  /** The empty line that may stand before a request was skipped. RFC 9112 section 2.2. */
  #hasSkipped = false;

  get length(): number {
    return this.#length;
  }

  /** The beginning of what is there, for a log. */
  get text(): string {
    return this.#bytes.toString("latin1", 0, this.#headEnd);
  }

  /** Takes the first `length` bytes of a buffer, which is lent until `keep` is called. */
  push(buffer: Buffer, length: number): void {
    this.#isLent = this.#length === 0;
    if (this.#isLent) {
      this.#bytes = buffer;
      this.#length = length;
    } else {
      this.#hold(Buffer.concat([this.#bytes, buffer.subarray(0, length)]));
    }
  }

  /** Copies what was lent and not taken out yet: from here on it is the inbox's own. */
  keep(): void {
    if (this.#isLent && this.#length > 0) this.#hold(Buffer.from(this.#bytes.subarray(0, this.#length)));
    this.#isLent = false;
  }

  #hold(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#length = bytes.length;
  }

  get #headEnd(): number {
    return Math.min(this.#length, LIMITS.requestHeadBytes);
  }

  /** Takes everything out; it is the taker's to keep. */
  take(): Buffer {
    this.keep();
    const bytes = this.#bytes;
    this.clear();
    return bytes;
  }

  /** Puts back what was not used of what `take` gave. */
  putBack(bytes: Buffer, from: number): void {
    this.#hold(from >= bytes.length ? NOTHING : bytes.subarray(from));
  }

  clear(): void {
    this.#hold(NOTHING);
    this.#scanned = 0;
  }

  #drop(bytes: number): void {
    this.#hold(bytes >= this.#length ? NOTHING : this.#bytes.subarray(bytes, this.#length));
  }

  /** Takes the next head out if it is complete. A refused one stays. */
  nextHead(): NextHead {
    if (!this.#hasSkipped && this.#length > 1 && this.#bytes[0] === CR && this.#bytes[1] === LF) {
      this.#hasSkipped = true;
      this.#drop(2);
    }
    if (this.#length === 0) return NONE;
    if (this.#isSurelyPart()) return PART;
    const text = headText(this.#bytes, 0, this.#headEnd);
    const length = requestHeadLength(text);
    if (typeof length === "string") return { kind: "fault", code: length, text };
    if (length === 0) {
      this.#scanned = this.#length;
      // One CR may still become the empty line before a request.
      return text === "\r" && !this.#hasSkipped ? NONE : PART;
    }
    this.#drop(length);
    this.#scanned = 0;
    this.#hasSkipped = false;
    return { kind: "head", text: text.slice(0, length) };
  }

  /** Whether what came since the last look can't have changed anything: looking at all of it each time adds up. */
  #isSurelyPart(): boolean {
    if (this.#scanned <= 1 || this.#length > LIMITS.requestLineBytes) return false;
    const lineFeed = this.#bytes.indexOf(LF, this.#scanned);
    return lineFeed === -1 || lineFeed >= this.#length;
  }
}
