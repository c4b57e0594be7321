/** Where an answer ends, found as cheaply as can be: for measuring, not for strangers. */

/** What one answer turned out to be. */
export interface Answer {
  readonly status: number;
  /** Bytes of the body, with the framing of chunks where there is one. */
  readonly bodyBytes: number;
  /** The connection ends with it. */
  readonly isLast: boolean;
}

const HEAD_END = "\r\n\r\n";
const LAST_CHUNK = "\r\n0\r\n\r\n";
const LENGTH = /\r\ncontent-length: *(\d+)/i;
const CLOSE = /\r\nconnection: *close/i;
/** Where the digits of the status are. */
const STATUS_AT = 9;

/** Follows the answers on one connection, one after the other: with a Content-Length or chunked, without trailers. */
export class AnswerFraming {
  #head = "";
  #status = 0;
  #isLast = false;
  #bodyBytes = 0;
  /** Bytes of the body that are to come; -1 while the head is not complete, Infinity for a chunked one. */
  #left = -1;
  /** The end of a chunked body so far. */
  #tail = "";

  /** Takes what was read. Gives the answer that ends with it, or null while it goes on. */
  take(bytes: Buffer, length: number): Answer | null {
    const at = this.#left === -1 ? this.#takeHead(bytes, length) : 0;
    if (at === -1) return null;
    const taken = length - at;
    this.#bodyBytes += taken;
    if (this.#left !== Infinity) this.#left -= taken;
    else if (this.#endsChunks(bytes, at, length)) this.#left = 0;
    return this.#left === 0 ? this.#finish() : null;
  }

  /** Gives where the body starts, or -1. */
  #takeHead(bytes: Buffer, length: number): number {
    const before = this.#head.length;
    const text = this.#head + bytes.toString("latin1", 0, length);
    const end = text.indexOf(HEAD_END);
    if (end === -1) {
      this.#head = text;
      return -1;
    }
    const head = text.slice(0, end);
    this.#head = "";
    this.#status = Number(head.slice(STATUS_AT, STATUS_AT + 3));
    this.#isLast = CLOSE.test(head);
    const found = LENGTH.exec(head);
    this.#left = found === null ? Infinity : Number(found[1]);
    // The CRLF of the head stands before a body that is only a last chunk.
    this.#tail = "\r\n";
    return end + HEAD_END.length - before;
  }

  #endsChunks(bytes: Buffer, at: number, length: number): boolean {
    const from = Math.max(at, length - LAST_CHUNK.length);
    this.#tail = (this.#tail + bytes.toString("latin1", from, length)).slice(-LAST_CHUNK.length);
    return this.#tail === LAST_CHUNK;
  }

  #finish(): Answer {
    const answer = { status: this.#status, bodyBytes: this.#bodyBytes, isLast: this.#isLast };
    this.#bodyBytes = 0;
    this.#left = -1;
    return answer;
  }
}
