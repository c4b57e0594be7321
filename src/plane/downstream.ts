/** One client connection: bytes to exchanges, one after the other, and their answers to bytes in the same order. */
import type { Socket } from "node:net";
import { FAULTS, type FaultCode } from "../base/fault.ts";
import { BodyReader, type BodySink } from "../http/body.ts";
import { interimForward, responseForward } from "../http/forward.ts";
import { LIMITS, type BodyKind, type RequestHead, type ResponseHead } from "../http/head.ts";
import { parseRequestHead } from "../http/parse.ts";
import { CONTINUE, LAST_CHUNK, chunkSize, faultResponse } from "../http/write.ts";
import type { Timed } from "./deadlines.ts";
import { Exchange, type Reply } from "./exchange.ts";
import { plainAddress } from "./peer.ts";
import type { Plane } from "./plane.ts";

/** From the first byte of a head to its last. */
const HEAD_MS = 10_000;
/** Between two pieces of a request's body. */
const BODY_IDLE_MS = 60_000;
/** For the client to take what waits for it. */
const WRITE_IDLE_MS = 60_000;
/** Between two requests. */
const KEEP_ALIVE_MS = 75_000;
const REQUESTS_MAX = 10_000;
/** A connection is closed after the answer that is under way at this age, spread by a tenth. */
const AGE_MS = 3_600_000;
/** After a refusal, reading goes on for so long and so much, so that the client sees the answer before a reset. */
const LINGER_MS = 1_000;
const LINGER_BYTES = 64 * 1024;
/** Requests that arrive before the current one is answered are read ahead up to here. */
const AHEAD_BYTES = 8 * 1024;
/** Pieces up to this size are joined with what is written before and after them. */
const JOIN_BYTES = 8 * 1024;

const NOTHING = Buffer.alloc(0);

/** What the connection's owner wants to know. */
export interface DownstreamOwner {
  onClosed(connection: Downstream): void;
}

/**
 * A client's connection.
 *
 * idle: between requests; head: a request has begun; exchange: one is being answered; lingering: the last answer was
 * sent and what still comes is thrown away; closed.
 */
export class Downstream implements Timed, BodySink, Reply {
  deadlineMs: number;
  readonly peerAddress: string;
  readonly isPeerTrusted: boolean;
  readonly #plane: Plane;
  readonly #socket: Socket;
  readonly #owner: DownstreamOwner;
  readonly #closesAtMs: number;
  #state: "idle" | "head" | "exchange" | "lingering" | "closed" = "idle";
  /** Bytes that are not read yet: part of a head, or requests ahead of their turn. */
  #rest: Buffer = NOTHING;
  #request: RequestHead | null = null;
  #exchange: Exchange | null = null;
  #body: BodyReader | null = null;
  #requests = 0;
  #lingered = 0;
  /** How the body of the answer under way is framed. */
  #answerBody: BodyKind = "none";
  #isLast = false;
  #isBodyPaused = false;
  #isProcessing = false;
  #hasEnded = false;
  /** Text not written yet, one character a byte. */
  #pending = "";

  constructor(socket: Socket, plane: Plane, owner: DownstreamOwner) {
    this.#socket = socket;
    this.#plane = plane;
    this.#owner = owner;
    this.peerAddress = plainAddress(socket.remoteAddress);
    this.isPeerTrusted = plane.trusted.isTrusted(this.peerAddress);
    const nowMs = plane.clock.nowMs();
    this.deadlineMs = nowMs + KEEP_ALIVE_MS;
    this.#closesAtMs = nowMs + AGE_MS - plane.random.draw(AGE_MS / 10);
    plane.deadlines.add(this);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.#onDrain());
    socket.on("end", () => this.#onEnd());
    socket.on("error", () => this.#onGone("CLIENT_GONE"));
    socket.on("close", () => this.#onGone("CLIENT_GONE"));
  }

  /** Whether it waits for a request and none has begun. */
  get isIdle(): boolean {
    return this.#state === "idle";
  }

  /** Closes it if no request is under way. */
  closeIfIdle(): void {
    if (this.#state === "idle") this.destroy();
  }

  destroy(): void {
    this.#onGone("CLIENT_GONE");
  }

  onDeadline(): void {
    switch (this.#state) {
      case "head":
        this.#refuse("HEAD_TIMEOUT");
        break;
      case "exchange":
        if (this.#socket.writableNeedDrain) this.#onGone("CLIENT_STALLED");
        else this.#exchange?.onBodyFault("BODY_TIMEOUT");
        break;
      default:
        this.destroy();
    }
  }

  // Bytes in.

  #onData(chunk: Buffer): void {
    if (this.#state === "closed") return;
    if (this.#state === "lingering") {
      this.#lingered += chunk.length;
      if (this.#lingered > LINGER_BYTES) this.destroy();
      return;
    }
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#process();
  }

  /** Reads on as far as the current state allows. Answers given on the way only mark what may be read next. */
  #process(): void {
    if (this.#isProcessing) return;
    this.#isProcessing = true;
    while (this.#rest.length > 0) {
      if (this.#state === "exchange") {
        if (this.#body === null) break;
        this.#readBody();
      } else if ((this.#state !== "idle" && this.#state !== "head") || !this.#readHead()) {
        break;
      }
    }
    this.#isProcessing = false;
    this.#adjustReading();
  }

  #adjustReading(): void {
    if (this.#state === "closed") return;
    const isAheadFull = this.#state === "exchange" && this.#body === null && this.#rest.length >= AHEAD_BYTES;
    const mustPause = isAheadFull || this.#isBodyPaused;
    if (mustPause !== this.#socket.isPaused()) {
      if (mustPause) this.#socket.pause();
      else this.#socket.resume();
    }
  }

  /** Gives whether a complete head was taken out of the rest. */
  #readHead(): boolean {
    const start = this.#state === "idle" && this.#rest[0] === 0x0d && this.#rest[1] === 0x0a ? 2 : 0;
    const text = this.#rest.toString("latin1", start, start + LIMITS.requestHeadBytes + 1);
    const end = text.indexOf("\r\n\r\n");
    if (end === -1 || end + 4 > LIMITS.requestHeadBytes) return this.#waitForHead(text);
    this.#rest = after(this.#rest, start + end + 4);
    const head = parseRequestHead(text.slice(0, end + 4));
    if (typeof head === "string") this.#refuse(head);
    else this.#begin(head);
    return true;
  }

  #waitForHead(text: string): boolean {
    if (text.length > LIMITS.requestHeadBytes) this.#refuse("HEAD_TOO_LARGE");
    else if (/(?<!\r)\n/.test(text)) this.#refuse("BAD_REQUEST_LINE");
    else if (text.length > LIMITS.requestLineBytes && !text.includes("\r\n")) this.#refuse("TARGET_TOO_LONG");
    else if (this.#state === "idle" && text.length > 0 && text !== "\r") {
      this.#state = "head";
      this.deadlineMs = this.#plane.clock.nowMs() + HEAD_MS;
    }
    return false;
  }

  #begin(head: RequestHead): void {
    this.#state = "exchange";
    this.#request = head;
    this.#requests++;
    this.#isLast = !head.keepAlive || this.#requests >= REQUESTS_MAX;
    this.#answerBody = "none";
    this.deadlineMs = Infinity;
    if (head.body !== "none") {
      this.#body = new BodyReader(head.body, head.contentLength);
      this.deadlineMs = this.#plane.clock.nowMs() + BODY_IDLE_MS;
      if (head.expectsContinue && this.#rest.length === 0) this.#socket.write(CONTINUE, "latin1");
    }
    const exchange = new Exchange(this.#plane, this, head);
    this.#exchange = exchange;
    exchange.start();
  }

  #readBody(): void {
    const body = this.#body as BodyReader;
    const bytes = this.#rest;
    this.#rest = NOTHING;
    if (!this.#socket.writableNeedDrain) this.deadlineMs = this.#plane.clock.nowMs() + BODY_IDLE_MS;
    const end = body.read(bytes, 0, this);
    if (this.#body !== body) return;
    if (body.fault !== null) {
      this.#body = null;
      this.#exchange?.onBodyFault(body.fault);
    } else if (body.isDone) {
      this.#rest = after(bytes, end);
      this.#body = null;
      if (!this.#socket.writableNeedDrain) this.deadlineMs = Infinity;
      this.#exchange?.onBodyEnd();
    }
  }

  onBody(bytes: Buffer): void {
    this.#exchange?.onBody(bytes);
  }

  pauseBody(): void {
    this.#isBodyPaused = true;
    // It is the backend that is slow now.
    this.deadlineMs = Infinity;
    this.#adjustReading();
  }

  resumeBody(): void {
    if (!this.#isBodyPaused) return;
    this.#isBodyPaused = false;
    if (this.#body !== null) this.deadlineMs = this.#plane.clock.nowMs() + BODY_IDLE_MS;
    this.#adjustReading();
  }

  // Answers out.

  interim(head: ResponseHead): void {
    if (this.#request?.minor === 1) this.#socket.write(interimForward(head), "latin1");
  }

  head(head: ResponseHead, body: BodyKind, options: { added: string; isLast: boolean }): void {
    const request = this.#request as RequestHead;
    const isUnknownLength = body === "chunked" || body === "close";
    if (isUnknownLength) this.#answerBody = request.minor === 1 ? "chunked" : "close";
    else this.#answerBody = body;
    this.#isLast ||= options.isLast || this.#answerBody === "close" || this.#mustClose();
    this.#pending += responseForward(head, {
      body: this.#answerBody,
      keepsLength: request.method === "HEAD" || head.status === 304,
      isLast: this.#isLast,
      clientMinor: request.minor,
      added: options.added,
    });
  }

  data(bytes: Buffer): boolean {
    const isChunked = this.#answerBody === "chunked";
    if (isChunked) this.#pending += chunkSize(bytes.length);
    if (bytes.length <= JOIN_BYTES) {
      this.#pending += bytes.toString("latin1");
      if (isChunked) this.#pending += "\r\n";
      return this.#pending.length > JOIN_BYTES ? this.flush() : !this.#socket.writableNeedDrain;
    }
    this.flush();
    // The buffer is read into again before the socket may have sent it.
    this.#socket.write(Buffer.from(bytes));
    if (isChunked) this.#pending = "\r\n";
    return !this.#isStalled();
  }

  end(): void {
    if (this.#answerBody === "chunked") this.#pending += LAST_CHUNK;
    this.#finishAnswer();
  }

  fault(code: FaultCode, requestId: string): void {
    this.#isLast ||= FAULTS[code].side === "downstream" || this.#body !== null || this.#mustClose();
    this.#pending += faultResponse(code, {
      date: new Date(this.#plane.clock.wallMs()).toUTCString(),
      withBody: this.#request?.method !== "HEAD",
      isLast: this.#isLast,
      requestId,
    });
    this.#finishAnswer();
  }

  cut(): void {
    this.#exchange = null;
    this.flush();
    // Only a reset tells that a close-delimited answer is not complete; the other kinds lack their end.
    if (this.#state !== "closed" && this.#answerBody === "close") this.#socket.resetAndDestroy();
    this.#close();
  }

  flush(): boolean {
    if (this.#pending !== "" && this.#state !== "closed") {
      const text = this.#pending;
      this.#pending = "";
      this.#socket.write(text, "latin1");
    }
    return !this.#isStalled();
  }

  /** Whether the client must take some of what waits for it first; then it has limited time for that. */
  #isStalled(): boolean {
    if (!this.#socket.writableNeedDrain) return false;
    this.deadlineMs = this.#plane.clock.nowMs() + WRITE_IDLE_MS;
    return true;
  }

  #mustClose(): boolean {
    return this.#plane.isDraining || this.#plane.clock.nowMs() >= this.#closesAtMs;
  }

  #finishAnswer(): void {
    this.flush();
    if (this.#state === "closed") return;
    this.#exchange = null;
    this.#request = null;
    if (this.#isLast || this.#body !== null || this.#hasEnded) {
      this.#linger();
      return;
    }
    this.#state = "idle";
    this.#isBodyPaused = false;
    this.deadlineMs = this.#plane.clock.nowMs() + KEEP_ALIVE_MS;
    this.#process();
  }

  /** Answers a request that never became an exchange. */
  #refuse(code: FaultCode): void {
    this.#isLast = true;
    this.#plane.unrouted.started++;
    this.#plane.unrouted.fault(code);
    this.#plane.unrouted.finish(FAULTS[code].status, 0);
    this.#rest = NOTHING;
    this.fault(code, "");
  }

  #linger(): void {
    this.#state = "lingering";
    this.#body = null;
    this.#rest = NOTHING;
    this.#isBodyPaused = false;
    this.deadlineMs =
      this.#plane.clock.nowMs() + (this.#socket.writableNeedDrain ? WRITE_IDLE_MS : LINGER_MS);
    this.#socket.end();
    this.#adjustReading();
  }

  // The connection itself.

  #onDrain(): void {
    if (this.#state === "lingering") this.deadlineMs = this.#plane.clock.nowMs() + LINGER_MS;
    if (this.#state !== "exchange") return;
    this.deadlineMs = this.#body === null ? Infinity : this.#plane.clock.nowMs() + BODY_IDLE_MS;
    this.#exchange?.onWritable();
  }

  /** The client sends no more. It may still wait for an answer (half-close). */
  #onEnd(): void {
    this.#hasEnded = true;
    if (this.#state === "exchange") {
      if (this.#body !== null) this.#onGone("CLIENT_GONE");
    } else if (this.#state !== "lingering") {
      // What was answered may still be on its way out.
      this.#linger();
    }
  }

  #onGone(code: FaultCode): void {
    if (this.#state === "closed") return;
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#close();
    if (exchange !== null && !exchange.isOver) exchange.onClientGone(code);
  }

  #close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.deadlineMs = Infinity;
    this.#body = null;
    this.#rest = NOTHING;
    this.#plane.deadlines.remove(this);
    this.#socket.destroy();
    this.#owner.onClosed(this);
  }
}

/** What follows in `bytes`. Nothing keeps no reference to them: an idle connection must not hold a buffer. */
function after(bytes: Buffer, at: number): Buffer {
  return at >= bytes.length ? NOTHING : bytes.subarray(at);
}
