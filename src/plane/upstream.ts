/** One backend connection: requests out, responses in, one after the other. */
import type { Socket } from "node:net";
import type { StepClock } from "../base/clock.ts";
import { assert, type FaultCode } from "../base/fault.ts";
import type { Endpoint } from "../domain/route.ts";
import { BodyReader, type BodySink } from "../http/body.ts";
import { LIMITS, responseBody, type BodyKind, type ResponseHead } from "../http/head.ts";
import { parseResponseHead } from "../http/parse.ts";
import { headText, responseHeadLength } from "../http/scan.ts";
import type { Deadlines, Timed } from "./deadlines.ts";
import { NameFault, dial, type Target } from "./dial.ts";
import { isEventStream } from "./event_stream.ts";
import type { Resolver } from "./resolver.ts";
import { steppedReads, type Reader } from "./shared_reads.ts";

/** Gets what a backend answers, in this order: interim heads, a head, data, then an end or a fault. */
export interface UpstreamHandler {
  onInterim(head: ResponseHead): void;
  onHead(head: ResponseHead, body: BodyKind): void;
  /** It became a WebSocket: data follows both ways, until the end. */
  onUpgrade(head: ResponseHead): void;
  /** The bytes are only valid during the call. */
  onData(bytes: Buffer): void;
  /** `trailers`: complete lines that may be passed on. */
  onEnd(trailers: string): void;
  /** The connection failed. Nothing more comes. */
  onFault(code: FaultCode): void;
  /** All that arrived together has been handed over. */
  onFlush(): void;
  /** The backend takes more of the request again. */
  onDrain(): void;
}

/** Gets what becomes of a connection apart from a request. */
export interface UpstreamOwner {
  onConnected(connection: UpstreamConnection): void;
  /** It could not be opened. */
  onConnectFault(connection: UpstreamConnection, code: FaultCode): void;
  /** The exchange on it is over and it can carry another one. */
  onIdle(connection: UpstreamConnection): void;
  /** It is gone, for whatever reason; called exactly once. */
  onClosed(connection: UpstreamConnection): void;
  /** Bytes came after a complete response. */
  onExcess(): void;
}

/** What connections of one worker share. */
export interface UpstreamShared {
  /** Each read is a step. */
  readonly clock: StepClock;
  readonly deadlines: Deadlines;
  readonly resolver: Resolver;
  /** Every read lands here: one buffer serves all connections, since handlers copy what they keep. */
  readonly readBuffer: Buffer;
}

/** A request's head as it is sent, and what its answer depends on. */
export interface UpstreamRequest {
  readonly text: string;
  readonly method: string;
  /** It asks for a WebSocket. */
  readonly isUpgrade: boolean;
  /** A body follows, maybe at once: then its first bytes go along with the head, in one system call. */
  readonly hasBody?: boolean;
}

/** Times of one request in milliseconds; 0 for no limit. */
export interface UpstreamTimes {
  readonly responseMs: number;
  readonly idleMs: number;
}

/** Below the 5 s after which many servers close an idle connection. */
const IDLE_MS = 4_000;
/** How much earlier than the server says we stop using an idle connection. */
const IDLE_MARGIN_MS = 1_000;
/** A hint may prolong the life of an idle connection, up to here. */
const IDLE_MS_MAX = 60_000;
/** A connection that serves one client only is seldom needed again. */
const OWN_IDLE_MS = 1_000;
/** A WebSocket on which nothing passes for so long, in either direction, is closed. */
const TUNNEL_IDLE_MS = 3_600_000;
const NOTHING = Buffer.alloc(0);
const NO_REQUEST: UpstreamRequest = { text: "", method: "", isUpgrade: false };
const NO_TIMES: UpstreamTimes = { responseMs: 0, idleMs: 0 };

/**
 * One connection to an endpoint.
 *
 * It is connecting, then in turn idle (no handler) and busy (a handler), then closed for ever. It is reusable only
 * after a complete request, a complete response without excess bytes, and when the backend keeps it open.
 */
export class UpstreamConnection implements Timed, BodySink {
  deadlineMs: number;
  readonly endpoint: Endpoint;
  /** The address of the one client that it serves, or null when it serves everybody. */
  readonly client: string | null;
  /** When it was last free to carry a request. */
  idleSinceMs = 0;
  /** Whether the response under way is a stream of events. */
  isEventStream = false;
  isClosed = false;
  /** Whether a response byte of the current request has arrived. */
  hasResponseBytes = false;
  /** Responses it has carried completely. */
  served = 0;
  readonly #socket: Socket;
  readonly #owner: UpstreamOwner;
  readonly #shared: UpstreamShared;
  #handler: UpstreamHandler | null = null;
  #isConnected = false;
  #times: UpstreamTimes = NO_TIMES;
  #request: UpstreamRequest = NO_REQUEST;
  #isTunnel = false;
  #isPaused = false;
  /** The head so far while it is incomplete. */
  #partial = "";
  #head: ResponseHead | null = null;
  #body: BodyReader | null = null;
  #interims = 0;
  #isRequestDone = false;
  #idleMs: number;
  #remoteAddress = "";

  constructor(target: Target, shared: UpstreamShared, owner: UpstreamOwner) {
    this.endpoint = target.endpoint;
    this.client = target.client?.address ?? null;
    this.#idleMs = this.client === null ? IDLE_MS : OWN_IDLE_MS;
    this.#owner = owner;
    this.#shared = shared;
    this.deadlineMs = shared.clock.nowMs() + target.connectMs;
    shared.deadlines.add(this);
    const reader: Reader = (buffer, length) => this.#onRead(buffer, length);
    this.#socket = dial(target, shared.resolver, steppedReads(shared.clock, shared.readBuffer, reader));
    this.#socket.on("connect", () => this.#onConnect());
    this.#socket.on("drain", () => this.#onDrain());
    this.#socket.on("end", () => this.#onEnd());
    this.#socket.on("error", (error) =>
      this.#fail(error instanceof NameFault ? "NAME_UNRESOLVED" : "UPSTREAM_RESET"),
    );
    this.#socket.on("close", () => this.#fail("UPSTREAM_RESET"));
  }

  /** Whether it carried a response before, so that the backend may just have been closing it. */
  get isReused(): boolean {
    return this.served > 0;
  }

  /** The address that accepted it, without a zone; empty until then, and for Unix sockets. */
  get remoteAddress(): string {
    return this.#remoteAddress;
  }

  /** Begins a request. Its head is complete; the body follows by `write`, then `endRequest`. */
  send(request: UpstreamRequest, handler: UpstreamHandler, times: UpstreamTimes): void {
    assert(this.#isConnected && !this.isClosed && this.#handler === null, "requests go on idle connections");
    this.#handler = handler;
    this.#times = times;
    this.#request = request;
    this.#head = null;
    this.#body = null;
    this.#interims = 0;
    this.#isRequestDone = false;
    this.hasResponseBytes = false;
    this.deadlineMs = Infinity;
    if (request.hasBody === true) {
      this.#socket.cork();
      queueMicrotask(() => this.#socket.uncork());
    }
    this.#socket.write(request.text, "latin1");
  }

  /** Sends bytes of the body. Gives whether more may follow at once; otherwise `onDrain` tells. Keeps the buffer. */
  write(bytes: Buffer | string): boolean {
    if (this.isClosed) return true;
    const mayFollow = this.#socket.write(bytes, "latin1");
    if (this.#isTunnel) this.#touch();
    if (mayFollow) return true;
    // It has limited time to take what it was sent; a client that sends slowly is not its fault.
    this.#touch();
    return false;
  }

  /** Tells that the request is complete: the time to answer starts now. */
  endRequest(): void {
    this.#isRequestDone = true;
    if (this.#isTunnel) this.#socket.end();
    const { responseMs } = this.#times;
    if (this.#head !== null) return;
    this.deadlineMs = responseMs === 0 ? Infinity : this.#shared.clock.nowMs() + responseMs;
  }

  pause(): void {
    if (!this.isClosed) this.#socket.pause();
    this.#isPaused = true;
    // A client that does not read is not the backend's fault.
    this.deadlineMs = Infinity;
  }

  resume(): void {
    if (this.isClosed || !this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
    if (this.#handler !== null && this.#head !== null) this.#touch();
  }

  /** Closes it now. No handler is called any more. */
  destroy(): void {
    this.#handler = null;
    this.#close();
  }

  onDeadline(): void {
    if (!this.#isConnected) this.#fail("CONNECT_TIMEOUT");
    else if (this.#handler === null) this.#close();
    else this.#fail(this.#head === null ? "RESPONSE_TIMEOUT" : "RESPONSE_STALLED");
  }

  onBody(bytes: Buffer): void {
    this.#handler?.onData(bytes);
  }

  #onConnect(): void {
    if (this.isClosed) return;
    this.#isConnected = true;
    this.#remoteAddress = (this.#socket.remoteAddress ?? "").replace(/%.*$/, "");
    this.#startIdling();
    this.#owner.onConnected(this);
  }

  #onDrain(): void {
    if (this.#handler === null) return;
    if (this.#head !== null) this.#touch();
    else if (!this.#isRequestDone) this.deadlineMs = Infinity;
    this.#handler.onDrain();
  }

  #startIdling(): void {
    this.idleSinceMs = this.#shared.clock.nowMs();
    this.deadlineMs = this.idleSinceMs + this.#idleMs;
  }

  #touch(): void {
    const { idleMs } = this.#times;
    this.deadlineMs = idleMs === 0 ? Infinity : this.#shared.clock.nowMs() + idleMs;
  }

  #onRead(buffer: Buffer, length: number): void {
    if (this.isClosed) return;
    if (this.#handler === null) {
      this.#owner.onExcess();
      this.#close();
      return;
    }
    this.hasResponseBytes = true;
    const handler = this.#handler;
    const at = this.#head === null ? this.#readHead(buffer, length) : 0;
    if (at >= 0) this.#readBody(at === length ? NOTHING : buffer.subarray(at, length));
    handler.onFlush();
  }

  /** Gives where the body starts in the first `end` bytes, or -1 when there is none yet. */
  #readHead(bytes: Buffer, end: number): number {
    let at = 0;
    for (;;) {
      const text = headText(bytes, at, Math.min(end, at + LIMITS.responseHeadBytes), this.#partial);
      const length = responseHeadLength(text);
      if (typeof length === "string") return this.#refuse(length);
      if (length === 0) {
        this.#partial = text;
        return -1;
      }
      const head = parseResponseHead(text.slice(0, length));
      if (typeof head === "string") return this.#refuse(head);
      at += length - this.#partial.length;
      this.#partial = "";
      if (head.status >= 200) return this.#startBody(head, at);
      if (head.status === 101 && this.#mayBecomeTunnel(head)) return this.#startTunnel(head, at);
      if (!this.#passInterim(head) || at === end) return -1;
    }
  }

  #passInterim(head: ResponseHead): boolean {
    this.#interims++;
    if (head.status === 101 || this.#interims > LIMITS.interimResponses) {
      this.#refuse("BAD_RESPONSE");
      return false;
    }
    this.#handler?.onInterim(head);
    return this.#handler !== null;
  }

  #refuse(code: FaultCode): number {
    this.#fail(code);
    return -1;
  }

  /** 101 answers an upgrade, if one was asked for. Source: RFC 9110 section 15.2.2, RFC 6455 section 4.2.2. */
  #mayBecomeTunnel(head: ResponseHead): boolean {
    return this.#request.isUpgrade && head.isWebSocket;
  }

  #startTunnel(head: ResponseHead, at: number): number {
    this.#isTunnel = true;
    this.#head = head;
    this.#times = { responseMs: 0, idleMs: TUNNEL_IDLE_MS };
    this.#body = new BodyReader("close", 0);
    this.#touch();
    this.#handler?.onUpgrade(head);
    return this.#handler === null ? -1 : at;
  }

  #startBody(head: ResponseHead, at: number): number {
    this.#head = head;
    this.isEventStream = isEventStream(head);
    if (this.isEventStream) this.#times = { ...this.#times, idleMs: 0 };
    const kind = responseBody(head, this.#request.method);
    this.#body = new BodyReader(kind, head.contentLength);
    this.#handler?.onHead(head, kind);
    return this.#handler === null ? -1 : at;
  }

  #readBody(bytes: Buffer): void {
    const body = this.#body as BodyReader;
    const end = body.read(bytes, 0, this);
    if (this.#handler === null) return;
    if (body.fault !== null) this.#fail("BAD_RESPONSE");
    else if (body.isDone) this.#finish(end < bytes.length);
    // While a client is behind, the backend is not expected to send.
    else if (!this.#isPaused) this.#touch();
  }

  /** Ends the exchange. `hasExcess`: bytes came after the response. */
  #finish(hasExcess: boolean): void {
    const handler = this.#handler as UpstreamHandler;
    const head = this.#head as ResponseHead;
    const { trailers } = this.#body as BodyReader;
    this.#handler = null;
    this.served++;
    if (head.keepAliveSeconds >= 0) {
      const hintMs = head.keepAliveSeconds * 1000 - IDLE_MARGIN_MS;
      this.#idleMs = Math.min(this.client === null ? IDLE_MS_MAX : OWN_IDLE_MS, Math.max(0, hintMs));
    }
    if (hasExcess) this.#owner.onExcess();
    const isReusable = !hasExcess && this.#isRequestDone && head.keepAlive && this.#idleMs > 0;
    if (isReusable && !this.isClosed) {
      // It may end while a client is behind: an idle connection must be read, to see it close and for its next answer.
      this.resume();
      this.#startIdling();
      // First, so that what follows on the client's connection finds it.
      this.#owner.onIdle(this);
    } else {
      this.#close();
    }
    handler.onEnd(trailers);
  }

  #onEnd(): void {
    if (this.isClosed) return;
    // A close-delimited body ends here; everything else is cut short.
    if (this.#handler !== null && this.#body?.close() === true) {
      const handler = this.#handler;
      this.#close();
      this.#handler = null;
      handler.onEnd("");
      handler.onFlush();
    } else {
      this.#fail("UPSTREAM_RESET");
    }
  }

  #fail(code: FaultCode): void {
    if (this.isClosed) return;
    const handler = this.#handler;
    this.#handler = null;
    this.#close();
    if (!this.#isConnected) {
      this.#owner.onConnectFault(this, code === "UPSTREAM_RESET" ? "CONNECT_FAILED" : code);
    } else if (handler !== null) {
      handler.onFault(this.#head !== null && code === "UPSTREAM_RESET" ? "RESPONSE_TRUNCATED" : code);
    }
  }

  #close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.deadlineMs = Infinity;
    this.#shared.deadlines.remove(this);
    this.#socket.destroy();
    this.#owner.onClosed(this);
  }
}
