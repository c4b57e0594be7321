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
 * The unread bytes of one connection, in one buffer.
 *
 * Bound: what one read brings beside a head that is not complete, since its owner stops reading while it is full.
 * An empty inbox holds no buffer, so an idle connection costs none.
 */
export class Inbox {
  #bytes: Buffer = NOTHING;
  /** Up to here there is no end of a head. */
  #scanned = 0;
  /** The empty line that may stand before a request was skipped. RFC 9112 section 2.2. */
  #hasSkipped = false;

  get length(): number {
    return this.#bytes.length;
  }

  /** The beginning of what is there, for a log. */
  get text(): string {
    return this.#bytes.toString("latin1", 0, LIMITS.requestHeadBytes);
  }

  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
  }

  /** Takes everything out. */
  take(): Buffer {
    const bytes = this.#bytes;
    this.clear();
    return bytes;
  }

  /** Puts back what was not used of what `take` gave. */
  putBack(bytes: Buffer, from: number): void {
    this.#bytes = from >= bytes.length ? NOTHING : bytes.subarray(from);
  }

  clear(): void {
    this.#bytes = NOTHING;
    this.#scanned = 0;
  }

  /** Takes the next head out if it is complete. A refused one stays. */
  nextHead(): NextHead {
    if (!this.#hasSkipped && this.#bytes[0] === CR && this.#bytes[1] === LF) {
      this.#hasSkipped = true;
      this.putBack(this.#bytes, 2);
    }
    if (this.#bytes.length === 0) return NONE;
    if (this.#isSurelyPart()) return PART;
    const text = headText(this.#bytes, 0, LIMITS.requestHeadBytes);
    const length = requestHeadLength(text);
    if (typeof length === "string") return { kind: "fault", code: length, text };
    if (length === 0) {
      this.#scanned = this.#bytes.length;
      // One CR may still become the empty line before a request.
      return text === "\r" && !this.#hasSkipped ? NONE : PART;
    }
    this.putBack(this.#bytes, length);
    this.#scanned = 0;
    this.#hasSkipped = false;
    return { kind: "head", text: text.slice(0, length) };
  }

  /** Whether what came since the last look can't have changed anything: looking at all of it each time adds up. */
  #isSurelyPart(): boolean {
    return (
      this.#scanned > 1 &&
      this.#bytes.length <= LIMITS.requestLineBytes &&
      this.#bytes.indexOf(LF, this.#scanned) === -1
    );
  }
}
