/** One client connection: bytes to exchanges, one after the other, and their answers to bytes in the same order. */
import type { Socket } from "node:net";
import type { FaultCode } from "../base/fault.ts";
import { BodyReader, type BodySink } from "../http/body.ts";
import { type BodyKind, type RequestHead, type ResponseHead } from "../http/head.ts";
import { parseRequestHead } from "../http/parse.ts";
import { accountRefusal } from "./account.ts";
import { AnswerWriter } from "./answer.ts";
import type { Timed } from "./deadlines.ts";
import { Exchange } from "./exchange.ts";
import { Inbox } from "./inbox.ts";
import { Pace } from "./pace.ts";
import {
  HEAD_MS,
  BODY_IDLE_MS,
  WRITE_IDLE_MS,
  KEEP_ALIVE_MS,
  REQUESTS_MAX,
  AGE_MS,
  LINGER_MS,
  LINGER_BYTES,
  AHEAD_BYTES,
} from "./patience.ts";
import type { Peer } from "./peer.ts";
import type { Plane } from "./plane.ts";
import type { Reply } from "./reply.ts";

/** What the connection's owner wants to know. */
export interface DownstreamOwner {
  onClosed(connection: Downstream): void;
}

/**
 * A client's connection.
 *
 * idle: between requests; head: a request has begun; exchange: one is being answered; tunnel: it became a WebSocket
 * and bytes pass both ways; lingering: the last answer was sent and what still comes is thrown away; closed.
 */
export class Downstream implements Timed, BodySink, Reply {
  deadlineMs: number;
  readonly peerAddress: string;
  readonly isPeerTrusted: boolean;
  readonly #plane: Plane;
  readonly #socket: Socket;
  readonly #owner: DownstreamOwner;
  readonly #closesAtMs: number;
  #state: "idle" | "head" | "exchange" | "tunnel" | "lingering" | "closed" = "idle";
  readonly #inbox = new Inbox();
  readonly #answer: AnswerWriter;
  #exchange: Exchange | null = null;
  #body: BodyReader | null = null;
  #pace: Pace | null = null;
  #requests = 0;
  #lingered = 0;
  #isBodyPaused = false;
  #isProcessing = false;
  #hasEnded = false;
  #isHeadCounted = false;
  /** The client said that it sends no more than the request under way, all of which is here. */
  #isClientDone = false;

  constructor(socket: Socket, peer: Peer, plane: Plane, owner: DownstreamOwner) {
    this.#socket = socket;
    this.#plane = plane;
    this.#owner = owner;
    this.#answer = new AnswerWriter(socket, plane.copies);
    this.peerAddress = peer.address;
    this.isPeerTrusted = peer.isTrusted;
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

  /** Whether it became a WebSocket. */
  get isTunnel(): boolean {
    return this.#state === "tunnel";
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
        this.#refuse("HEAD_TIMEOUT", this.#inbox.text);
        break;
      case "exchange":
      case "tunnel":
        if (this.#answer.isStalled) this.#onGone("CLIENT_STALLED");
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
    this.#inbox.push(chunk);
    this.#process();
  }

  /** Reads on as far as the current state allows. Answers given on the way only mark what may be read next. */
  #process(): void {
    if (this.#isProcessing) return;
    this.#isProcessing = true;
    while (this.#inbox.length > 0) {
      if (this.#state === "tunnel") {
        this.#exchange?.onBody(this.#inbox.take());
      } else if (this.#state === "exchange") {
        if (this.#body === null) break;
        this.#readBody();
      } else if ((this.#state !== "idle" && this.#state !== "head") || !this.#readHead()) {
        break;
      }
    }
    this.#isProcessing = false;
    // What was read ahead before the client ended its side is still answered; what is incomplete never will be.
    if (this.#hasEnded) this.#endUnlessAnswering();
    this.#adjustReading();
  }

  #adjustReading(): void {
    if (this.#state === "closed") return;
    const isAheadFull =
      this.#state === "exchange" && this.#body === null && this.#inbox.length >= AHEAD_BYTES;
    const mustPause = isAheadFull || this.#isBodyPaused;
    if (mustPause !== this.#socket.isPaused()) {
      if (mustPause) this.#socket.pause();
      else this.#socket.resume();
    }
  }

  /** Gives whether a complete head was read. */
  #readHead(): boolean {
    const next = this.#inbox.nextHead();
    switch (next.kind) {
      case "head": {
        const head = parseRequestHead(next.text);
        if (typeof head === "string") this.#refuse(head, next.text);
        else this.#begin(head);
        return true;
      }
      case "fault":
        this.#refuse(next.code, next.text);
        return false;
      default:
        if (next.kind === "part" && this.#state === "idle") this.#beginHead();
        return false;
    }
  }

  #beginHead(): void {
    if (!this.isPeerTrusted && !this.#plane.caps.beginHead(this.peerAddress)) {
      this.#refuse("OVERLOADED", "");
      return;
    }
    this.#isHeadCounted = !this.isPeerTrusted;
    this.#state = "head";
    this.deadlineMs = this.#plane.clock.nowMs() + HEAD_MS;
  }

  #endHead(): void {
    if (this.#isHeadCounted) this.#plane.caps.endHead(this.peerAddress);
    this.#isHeadCounted = false;
  }

  #begin(head: RequestHead): void {
    this.#endHead();
    this.#state = "exchange";
    this.#requests++;
    this.#isClientDone = !head.keepAlive && head.body === "none" && !head.isWebSocket;
    this.#answer.begin(head, !head.keepAlive || this.#requests >= REQUESTS_MAX);
    this.deadlineMs = Infinity;
    if (head.body !== "none") {
      const nowMs = this.#plane.clock.nowMs();
      this.#body = new BodyReader(head.body, head.contentLength);
      this.#pace = new Pace(nowMs);
      this.deadlineMs = nowMs + BODY_IDLE_MS;
    }
    const exchange = new Exchange(this.#plane, this, head);
    this.#exchange = exchange;
    exchange.start();
  }

  #readBody(): void {
    const body = this.#body as BodyReader;
    const bytes = this.#inbox.take();
    const isTooSlow = this.#pace?.isTooSlow(bytes.length, this.#plane.clock.nowMs()) === true;
    if (!this.#answer.isStalled) this.#awaitBody();
    const end = body.read(bytes, 0, this);
    if (this.#body !== body) return;
    if (body.fault !== null || (isTooSlow && !body.isDone)) {
      this.#body = null;
      this.#exchange?.onBodyFault(body.fault ?? "BODY_TIMEOUT");
    } else if (body.isDone) {
      this.#inbox.putBack(bytes, end);
      this.#body = null;
      if (!this.#answer.isStalled) this.deadlineMs = Infinity;
      this.#exchange?.onBodyEnd(body.trailers);
      this.#plane.fieldsDropped += body.trailersDropped;
    }
  }

  /** Gives the rest of the body its time. Once an answer was given without it, the client owes nothing more. */
  #awaitBody(): void {
    const nowMs = this.#plane.clock.nowMs();
    const pace = this.#body === null ? null : this.#pace;
    this.deadlineMs = pace === null ? Infinity : Math.min(nowMs + BODY_IDLE_MS, pace.limitMs(nowMs));
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
    this.#pace?.restart(this.#plane.clock.nowMs());
    this.#awaitBody();
    this.#adjustReading();
  }

  // Answers out.

  continue(): void {
    this.#answer.continue();
  }

  interim(head: ResponseHead): void {
    this.#answer.interim(head);
  }

  head(head: ResponseHead, body: BodyKind, options: { added: string; isLast: boolean }): void {
    this.#answer.isLast ||= options.isLast || this.#mustClose();
    this.#answer.head(head, body, options.added);
    if (!options.isLast) return;
    this.#pace = null;
    if (!this.#isBodyPaused) this.#awaitBody();
  }

  upgrade(head: ResponseHead): void {
    this.#state = "tunnel";
    this.#answer.upgrade(head);
    this.#answer.flush();
    // The client may have sent its first frames already; they were held until now.
    this.#process();
  }

  data(bytes: Buffer): boolean {
    this.#answer.data(bytes);
    return !this.#isStalled();
  }

  end(trailers: string): void {
    this.#answer.end(trailers);
    this.#finishAnswer();
  }

  fault(code: FaultCode, requestId: string): void {
    this.#answer.isLast ||= this.#body !== null || this.#mustClose();
    this.#answer.fault(code, requestId, this.#plane.clock.wallMs());
    this.#finishAnswer();
  }

  cut(): void {
    this.#exchange = null;
    this.#answer.flush();
    if (this.#state !== "closed" && this.#answer.endsWithConnection) this.#socket.resetAndDestroy();
    this.#close();
  }

  flush(): void {
    this.#answer.flush();
    this.#isStalled();
  }

  /** Whether the client must take some of what waits for it first; then it has limited time for that. */
  #isStalled(): boolean {
    if (!this.#answer.isStalled) return false;
    this.deadlineMs = this.#plane.clock.nowMs() + WRITE_IDLE_MS;
    return true;
  }

  #mustClose(): boolean {
    return this.#plane.isDraining || this.#plane.clock.nowMs() >= this.#closesAtMs;
  }

  #finishAnswer(): void {
    if (this.#state === "closed") return;
    this.#exchange = null;
    if (this.#answer.isLast || this.#body !== null || (this.#hasEnded && this.#inbox.length === 0)) {
      // Nothing more is to come that could meet a closed connection and cut the answer.
      const isAllDone = this.#isClientDone && this.#inbox.length === 0 && this.#socket.writableLength === 0;
      if (isAllDone) this.#close();
      else this.#linger();
      return;
    }
    this.#state = "idle";
    this.#isBodyPaused = false;
    this.#awaitRequest();
    this.#process();
  }

  /** Answers a request that never became an exchange. `text`: how it began. */
  #refuse(code: FaultCode, text: string): void {
    this.#endHead();
    this.#answer.begin(null, true);
    accountRefusal(this.#plane, this.peerAddress, code, text);
    this.#inbox.clear();
    this.fault(code, "");
  }

  #linger(): void {
    this.#state = "lingering";
    this.#body = null;
    this.#inbox.clear();
    this.#isBodyPaused = false;
    this.deadlineMs =
      this.#plane.clock.nowMs() + (this.#socket.writableNeedDrain ? WRITE_IDLE_MS : LINGER_MS);
    this.#socket.end();
    this.#adjustReading();
  }

  #awaitRequest(): void {
    this.deadlineMs = this.#plane.clock.nowMs() + (this.#answer.isStalled ? WRITE_IDLE_MS : KEEP_ALIVE_MS);
  }

  // The connection itself.

  #onDrain(): void {
    if (this.#state === "lingering") this.deadlineMs = this.#plane.clock.nowMs() + LINGER_MS;
    if (this.#state === "idle") this.#awaitRequest();
    if (this.#state !== "exchange" && this.#state !== "tunnel") return;
    this.#awaitBody();
    this.#exchange?.onWritable();
  }

  /** The client sends no more. It may still wait for an answer (half-close). */
  #onEnd(): void {
    this.#hasEnded = true;
    if (this.#state === "tunnel") this.#exchange?.onBodyEnd("");
    else this.#endUnlessAnswering();
  }

  #endUnlessAnswering(): void {
    if (this.#state === "exchange") {
      if (this.#body !== null) this.#onGone("CLIENT_GONE");
    } else if (this.#state === "idle" || this.#state === "head") {
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
    this.#endHead();
    this.#state = "closed";
    this.deadlineMs = Infinity;
    this.#body = null;
    this.#inbox.clear();
    this.#plane.deadlines.remove(this);
    this.#socket.destroy();
    this.#owner.onClosed(this);
  }
}
