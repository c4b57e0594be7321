/** One client connection: bytes to exchanges, one after the other, and their answers to bytes in the same order. */
import type { Socket } from "node:net";
import type { FaultCode } from "../base/fault.ts";
import type { BodySink } from "../http/body.ts";
import { type BodyKind, type RequestHead, type ResponseHead } from "../http/head.ts";
import { parseRequestHead } from "../http/parse.ts";
import { accountRefusal } from "./account.ts";
import { AnswerWriter } from "./answer.ts";
import type { Timed } from "./deadlines.ts";
import type { Drained, Occupation } from "./drain.ts";
import { Exchange } from "./exchange.ts";
import { HeadPlace } from "./caps.ts";
import { Inbox } from "./inbox.ts";
import { Intake } from "./intake.ts";
import * as patience from "./patience.ts";
import type { Peer } from "./peer.ts";
import type { Plane } from "./plane.ts";
import type { Reply } from "./reply.ts";
import { Tunnel } from "./tunnel.ts";

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
export class Downstream implements Timed, BodySink, Reply, Drained {
  deadlineMs: number;
  readonly peerAddress: string;
  readonly isPeerTrusted: boolean;
  readonly #plane: Plane;
  readonly #socket: Socket;
  readonly #owner: DownstreamOwner;
  readonly #closesAtMs: number;
  #state: "idle" | "head" | "exchange" | "tunnel" | "lingering" | "closed" = "idle";
  readonly #inbox = new Inbox();
  readonly #place: HeadPlace;
  readonly #answer: AnswerWriter;
  #exchange: Exchange | null = null;
  /** The body that is still to come. */
  #body: Intake | null = null;
  #requests = 0;
  #lingered = 0;
  #isBodyPaused = false;
  #isProcessing = false;
  #hasEnded = false;
  #idleSinceMs = -Infinity;
  /** Once it became a WebSocket. */
  #tunnel: Tunnel | null = null;
  /** The client said that it sends no more than the request under way, all of which is here. */
  #isClientDone = false;

  constructor(socket: Socket, peer: Peer, plane: Plane, owner: DownstreamOwner) {
    this.#socket = socket;
    this.#plane = plane;
    this.#owner = owner;
    this.#answer = new AnswerWriter(socket, plane.copies);
    this.peerAddress = peer.address;
    this.isPeerTrusted = peer.isTrusted;
    this.#place = new HeadPlace(plane.caps, peer.address, !peer.isTrusted);
    const nowMs = plane.clock.nowMs();
    this.#idleSinceMs = nowMs;
    this.deadlineMs = nowMs + patience.KEEP_ALIVE_MS;
    this.#closesAtMs = nowMs + patience.AGE_MS - plane.random.draw(patience.AGE_MS / 10);
    plane.deadlines.add(this);
    socket.on("drain", () => this.#onDrain());
    socket.on("end", () => this.#onEnd());
    socket.on("error", () => this.#onGone("CLIENT_GONE"));
    socket.on("close", () => this.#onGone("CLIENT_GONE"));
    plane.reads.begin(socket, (buffer, length) => this.#onData(buffer, length));
  }

  get occupation(): Occupation {
    if (this.#state === "tunnel") return "tunnels";
    if (this.#exchange?.isEventStream === true) return "streams";
    return this.#state === "exchange" || this.#state === "head" ? "requests" : "idle";
  }

  closeIfIdle(sinceMs: number): void {
    if (this.#state === "idle" && this.#idleSinceMs <= sinceMs) this.destroy();
  }

  leave(): void {
    this.#answer.isLast = true;
    this.#exchange?.leave();
    this.#tunnel?.leave();
  }

  /** Leaves if the table that is served now sends its client elsewhere, and wants it to end for that. */
  evacuate(): void {
    if (this.#exchange?.isEvacuated() === true) this.leave();
  }

  destroy(): void {
    this.#onGone("CLIENT_GONE");
  }

  onDeadline(): void {
    if (this.#state === "head") this.#refuse("HEAD_TIMEOUT", this.#inbox.text);
    else if (this.#state !== "exchange" && this.#state !== "tunnel") this.destroy();
    else if (this.#answer.isStalled) this.#onGone("CLIENT_STALLED");
    else this.#exchange?.onBodyFault("BODY_TIMEOUT");
  }

  #onData(buffer: Buffer, length: number): void {
    if (this.#state === "closed") return;
    if (this.#state === "lingering") {
      this.#lingered += length;
      if (this.#lingered > patience.LINGER_BYTES) this.destroy();
      return;
    }
    this.#inbox.push(buffer, length);
    this.#process();
    this.#inbox.keep();
  }

  /** Reads on as far as the current state allows. Answers given on the way only mark what may be read next. */
  #process(): void {
    if (this.#isProcessing) return;
    this.#isProcessing = true;
    while (this.#inbox.length > 0) {
      if (this.#state === "tunnel") {
        this.#tunnel?.fromClient(this.#inbox.take());
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
      this.#state === "exchange" && this.#body === null && this.#inbox.length >= patience.AHEAD_BYTES;
    const mustPause = isAheadFull || this.#isBodyPaused;
    if (mustPause !== this.#socket.isPaused()) {
      if (mustPause) this.#socket.pause();
      else this.#socket.resume();
    }
  }

  /** Gives whether a complete head was read. */
  #readHead(): boolean {
    const next = this.#inbox.nextHead();
    if (next.kind === "fault") this.#refuse(next.code, next.text);
    else if (next.kind === "part" && this.#state === "idle") this.#beginHead();
    if (next.kind !== "head") return false;
    const head = parseRequestHead(next.text);
    if (typeof head === "string") this.#refuse(head, next.text);
    else this.#begin(head);
    return true;
  }

  #beginHead(): void {
    if (!this.#place.take()) return this.#refuse("OVERLOADED", "");
    this.#state = "head";
    this.deadlineMs = this.#plane.clock.nowMs() + patience.HEAD_MS;
  }

  #begin(head: RequestHead): void {
    this.#place.give();
    this.#state = "exchange";
    this.#requests++;
    this.#isClientDone = !head.keepAlive && head.body === "none" && !head.isWebSocket;
    this.#answer.begin(head, !head.keepAlive || this.#requests >= patience.REQUESTS_MAX);
    this.deadlineMs = Infinity;
    if (head.body !== "none") {
      const nowMs = this.#plane.clock.nowMs();
      this.#body = new Intake(head, nowMs);
      this.deadlineMs = nowMs + patience.BODY_IDLE_MS;
    }
    const exchange = new Exchange(this.#plane, this, head);
    this.#exchange = exchange;
    exchange.start();
  }

  #readBody(): void {
    const body = this.#body as Intake;
    const bytes = this.#inbox.take();
    if (!this.#answer.isStalled) this.#awaitBody();
    const end = body.read(bytes, this.#plane.clock.nowMs(), this);
    if (this.#body !== body || (body.fault === null && !body.isDone)) return;
    this.#body = null;
    if (body.fault !== null) {
      this.#exchange?.onBodyFault(body.fault);
      return;
    }
    this.#inbox.putBack(bytes, end);
    if (!this.#answer.isStalled) this.deadlineMs = Infinity;
    const { lines, dropped } = body.trailers;
    this.#exchange?.onBodyEnd(lines);
    this.#plane.fieldsDropped += dropped;
  }

  /** Gives the rest of the body its time. */
  #awaitBody(): void {
    this.deadlineMs = this.#body?.limitMs(this.#plane.clock.nowMs()) ?? Infinity;
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
    this.#body?.restart(this.#plane.clock.nowMs());
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
    this.#body?.letGo();
    if (!this.#isBodyPaused) this.#awaitBody();
  }

  upgrade(head: ResponseHead): void {
    this.#state = "tunnel";
    this.#answer.upgrade(head);
    this.#answer.flush();
    this.#tunnel = new Tunnel(this.#plane, {
      toClient: (bytes) => this.#answer.data(bytes),
      toBackend: (bytes) => this.#exchange?.onBody(bytes),
      flush: () => this.#answer.flush(),
      onOver: () => this.#endTunnel(),
    });
    // The client may have sent its first frames already; they were held until now.
    this.#process();
  }

  data(bytes: Buffer): boolean {
    if (this.#tunnel === null) this.#answer.data(bytes);
    else this.#tunnel.fromBackend(bytes);
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
    this.deadlineMs = this.#plane.clock.nowMs() + patience.WRITE_IDLE_MS;
    return true;
  }

  #mustClose(): boolean {
    return this.#plane.drain?.closesAnswer() === true || this.#plane.clock.nowMs() >= this.#closesAtMs;
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
    this.#idleSinceMs = this.#awaitRequest();
    this.#process();
  }

  /** Answers a request that never became an exchange. `text`: how it began. */
  #refuse(code: FaultCode, text: string): void {
    this.#place.give();
    this.#answer.begin(null, true);
    accountRefusal(this.#plane, this.peerAddress, code, text);
    this.#inbox.clear();
    this.fault(code, "");
  }

  /** Both have said goodbye, or had the time to. */
  #endTunnel(): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    if (exchange?.isOver === false) exchange.onClientGone("CLIENT_GONE");
    this.#linger();
  }

  #linger(): void {
    this.#state = "lingering";
    this.#body = null;
    this.#inbox.clear();
    this.#isBodyPaused = false;
    this.deadlineMs =
      this.#plane.clock.nowMs() +
      (this.#socket.writableNeedDrain ? patience.WRITE_IDLE_MS : patience.LINGER_MS);
    this.#socket.end();
    this.#adjustReading();
  }

  /** Gives since when. */
  #awaitRequest(): number {
    const nowMs = this.#plane.clock.nowMs();
    this.deadlineMs = nowMs + (this.#answer.isStalled ? patience.WRITE_IDLE_MS : patience.KEEP_ALIVE_MS);
    return nowMs;
  }

  // The connection itself.

  #onDrain(): void {
    if (this.#state === "lingering") this.deadlineMs = this.#plane.clock.nowMs() + patience.LINGER_MS;
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
    this.#place.give();
    this.#state = "closed";
    this.#tunnel?.close();
    this.deadlineMs = Infinity;
    this.#body = null;
    this.#inbox.clear();
    this.#plane.deadlines.remove(this);
    this.#socket.destroy();
    this.#owner.onClosed(this);
  }
}
