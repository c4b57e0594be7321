/** Where a body ends: bytes in any split to body bytes and an end, for every kind of framing. */
import { assert, type FaultCode } from "../base/fault.ts";
import { findFields, keptTrailers } from "./fields.ts";
import { LIMITS, type BodyKind } from "./head.ts";

/** Gets what a body reader finds, in order. The bytes are only valid during the call. */
export interface BodySink {
  onBody(bytes: Buffer): void;
}

/** More states exist only for chunked bodies. */
const STATE = { BYTES: 0, SIZE: 1, DATA: 2, DATA_END: 3, TRAILER: 4, DONE: 5, FAILED: 6 } as const;

const LF = 0x0a;
const CR = 0x0d;

/** chunk-size and chunk-ext of RFC 9112 section 7.1, at most 13 digits so that the size stays an exact integer. */
const CHUNK_LINE = new RegExp(
  String.raw`^([0-9a-fA-F]{1,13})` +
    "((?:[\\t ]*;[\\t ]*[!#$%&'*+\\-.^_`|~0-9A-Za-z]+" +
    "(?:[\\t ]*=[\\t ]*(?:[!#$%&'*+\\-.^_`|~0-9A-Za-z]+" +
    String.raw`|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*)$`,
);

/**
 * Reads one body.
 *
 * The verdict does not depend on how the bytes are split. Bounds: see LIMITS; a chunk or a body may be any length.
 */
export class BodyReader {
  /** The fault that ended reading, if any: BAD_CHUNK. */
  fault: FaultCode | null = null;
  /** The trailer lines that may be passed on, each with CRLF; known when the body is complete. */
  trailers = "";
  /** Trailer fields that may not be passed on. */
  trailersDropped = 0;
  #state: number;
  /** Bytes left of the body or of the chunk. */
  #left = 0;
  readonly #isEndless: boolean;
  /** A chunk-size line or trailer section that is not complete yet. */
  #text = "";
  #extensionBytes = 0;

  /** `length` counts only for kind `length`. */
  constructor(kind: BodyKind, length: number) {
    this.#isEndless = kind === "close";
    if (kind === "chunked") this.#state = STATE.SIZE;
    else this.#state = kind === "none" || (kind === "length" && length === 0) ? STATE.DONE : STATE.BYTES;
    if (kind === "length") this.#left = length;
  }

  /** Whether the body is complete. */
  get isDone(): boolean {
    return this.#state === STATE.DONE;
  }

  /** Tells that no more bytes come. Gives whether the body is complete by that. */
  close(): boolean {
    if (this.#isEndless) this.#state = STATE.DONE;
    return this.isDone;
  }

  /**
   * Takes bytes from `start` on. Gives where the body ended in them, or their length when it goes on or failed:
   * look at `isDone` and `fault` after each call.
   */
  read(bytes: Buffer, start: number, sink: BodySink): number {
    let at = start;
    while (at < bytes.length && this.#state !== STATE.DONE && this.#state !== STATE.FAILED) {
      switch (this.#state) {
        case STATE.BYTES:
        case STATE.DATA:
          at = this.#readBytes(bytes, at, sink);
          break;
        case STATE.DATA_END:
          at = this.#readDataEnd(bytes, at);
          break;
        case STATE.SIZE:
          at = this.#readSize(bytes, at);
          break;
        default:
          at = this.#readTrailer(bytes, at);
      }
    }
    return this.#state === STATE.FAILED ? bytes.length : at;
  }

  #readBytes(bytes: Buffer, at: number, sink: BodySink): number {
    const available = bytes.length - at;
    const take = this.#isEndless ? available : Math.min(available, this.#left);
    assert(take > 0, "a body in progress takes bytes");
    sink.onBody(at === 0 && take === bytes.length ? bytes : bytes.subarray(at, at + take));
    if (!this.#isEndless) {
      this.#left -= take;
      if (this.#left === 0) this.#state = this.#state === STATE.BYTES ? STATE.DONE : STATE.DATA_END;
    }
    return at + take;
  }

  #readDataEnd(bytes: Buffer, at: number): number {
    // `#text` remembers that the CR came in an earlier piece.
    const expected = this.#text === "" ? CR : LF;
    if (bytes[at] !== expected) return this.#fail(at);
    if (expected === CR) {
      this.#text = "\r";
    } else {
      this.#text = "";
      this.#state = STATE.SIZE;
    }
    return at + 1;
  }

  #readSize(bytes: Buffer, at: number): number {
    const lineFeed = bytes.indexOf(LF, at);
    const end = lineFeed === -1 ? bytes.length : lineFeed + 1;
    if (this.#text.length + end - at > LIMITS.chunkLineBytes) return this.#fail(at);
    this.#text += bytes.toString("latin1", at, end);
    if (lineFeed === -1) return end;
    const line = this.#text;
    this.#text = "";
    if (!line.endsWith("\r\n")) return this.#fail(at);
    const found = CHUNK_LINE.exec(line.slice(0, -2));
    if (found === null) return this.#fail(at);
    this.#extensionBytes += (found[2] as string).length;
    if (this.#extensionBytes > LIMITS.chunkExtensionBytes) return this.#fail(at);
    this.#left = Number.parseInt(found[1] as string, 16);
    this.#state = this.#left === 0 ? STATE.TRAILER : STATE.DATA;
    return end;
  }

  #readTrailer(bytes: Buffer, at: number): number {
    const lineFeed = bytes.indexOf(LF, at);
    const end = lineFeed === -1 ? bytes.length : lineFeed + 1;
    if (this.#text.length + end - at > LIMITS.trailerBytes) return this.#fail(at);
    this.#text += bytes.toString("latin1", at, end);
    if (lineFeed === -1) return end;
    const isComplete = this.#text === "\r\n" || this.#text.endsWith("\r\n\r\n");
    // A line that does not end in CRLF can't become right by what follows.
    if (!isComplete) return this.#text.endsWith("\r\n") ? end : this.#fail(at);
    const fields = findFields(this.#text, 0, LIMITS.trailerFields);
    if (typeof fields === "string") return this.#fail(at);
    const { lines, dropped } = keptTrailers(this.#text, fields);
    this.trailers = lines;
    this.trailersDropped = dropped;
    this.#state = STATE.DONE;
    return end;
  }

  #fail(at: number): number {
    this.#state = STATE.FAILED;
    this.fault = "BAD_CHUNK";
    return at;
  }
}
