/** One request's life: match, pick, forward, relay, record. */
import { FAULTS, assert, type FaultCode } from "../base/fault.ts";
import { ISSUED_COOKIE, pick, type Pick } from "../domain/pick.ts";
import type { Endpoint } from "../domain/route.ts";
import { findRoute, type CompiledRoute, type RequestView } from "../domain/table.ts";
import { requestForward } from "../http/forward.ts";
import { fieldValue, type BodyKind, type RequestHead, type ResponseHead } from "../http/head.ts";
import { LAST_CHUNK, chunkSize } from "../http/write.ts";
import type { Cell } from "../shared/counters.ts";
import { HeldBody } from "./held.ts";
import type { Plane, Serving } from "./plane.ts";
import type { ConnectionTaker } from "./pool.ts";
import type { UpstreamConnection, UpstreamHandler } from "./upstream.ts";

/** Where an exchange sends its answer: the client's side, free of how it is written. */
export interface Reply {
  /** The peer's address, and whether its forwarding fields are believed. */
  readonly peerAddress: string;
  readonly isPeerTrusted: boolean;
  /** Passes on an interim response, if the client understands it. */
  interim(head: ResponseHead): void;
  /** Begins the answer. `added`: complete field lines; `isLast`: the connection can't be used again. */
  head(head: ResponseHead, body: BodyKind, options: { added: string; isLast: boolean }): void;
  /** Sends a piece of the body; copies what it keeps. Gives whether more may follow; else `onWritable` tells. */
  data(bytes: Buffer): boolean;
  end(): void;
  /** Answers with a fault instead of a response. */
  fault(code: FaultCode, requestId: string): void;
  /** Cuts the connection so that the client sees that the answer is not complete. */
  cut(): void;
  /** Sends what is still held back for joining. */
  flush(): void;
  pauseBody(): void;
  resumeBody(): void;
}

const IDEMPOTENT = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]);
/** A year, for the whole site, not for scripts. Not Secure: there may be no TLS in front. */
const ISSUED_ATTRIBUTES = "Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax";
const SERVER_ERROR = 500;

/**
 * One request and its answer.
 *
 * It begins when the head is complete and ends exactly once, in `#finish`, whatever happens: then it is counted and
 * logged. It reads the table once and keeps what it read.
 */
export class Exchange implements UpstreamHandler, ConnectionTaker {
  readonly #plane: Plane;
  readonly #reply: Reply;
  readonly #head: RequestHead;
  readonly #serving: Serving;
  readonly #startMs: number;
  readonly #requestId: string;
  #compiled: CompiledRoute | null = null;
  #pick: Pick | null = null;
  #cell: Cell;
  #upstream: UpstreamConnection | null = null;
  #endpoint: Endpoint | null = null;
  #response: ResponseHead | null = null;
  /** The request's body as far as it may still have to be sent (again). */
  readonly #held: HeldBody;
  #isRequestDone: boolean;
  #attempts = 0;
  #bytes = 0;
  #fault: FaultCode | null = null;
  #isCharged = false;
  #isOver = false;

  constructor(plane: Plane, reply: Reply, head: RequestHead) {
    assert(plane.serving !== null, "a worker listens only with a table");
    this.#plane = plane;
    this.#reply = reply;
    this.#head = head;
    this.#serving = plane.serving;
    this.#startMs = plane.clock.nowMs();
    this.#cell = plane.unrouted;
    this.#isRequestDone = head.body === "none";
    this.#held = new HeldBody(head.body);
    const told = reply.isPeerTrusted ? fieldValue(head, "x-request-id") : undefined;
    this.#requestId = told ?? plane.random.id();
  }

  /** Whether nothing more will happen. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Finds the backend and asks for a connection. */
  start(): void {
    const view = viewOf(this.#head);
    const { table } = this.#serving;
    const compiled = findRoute(table, view);
    if (compiled === null) {
      this.#cell.started++;
      this.#charge("NO_ROUTE");
      this.#answerFault("NO_ROUTE");
      return;
    }
    const { peerAddress, isPeerTrusted } = this.#reply;
    const address = isPeerTrusted ? this.#plane.trusted.clientAddress(this.#head, peerAddress) : peerAddress;
    const picked = pick(table, compiled, view, { address, random: this.#plane.random });
    this.#compiled = compiled;
    this.#pick = picked;
    this.#cell = this.#plane.cellOf(this.#serving, compiled, picked.backend.id);
    this.#cell.started++;
    this.#held.bytesMax = compiled.route.retries.bodyBytesMax;
    this.#connect(null);
  }

  // From the client.

  /** A piece of the request's body; the bytes are the exchange's to keep. */
  onBody(bytes: Buffer): void {
    this.#held.add(bytes);
    if (this.#upstream === null) {
      if (this.#held.isFull) this.#reply.pauseBody();
      return;
    }
    if (!this.#sendBody(bytes)) this.#reply.pauseBody();
    this.#held.trim();
  }

  onBodyEnd(): void {
    this.#isRequestDone = true;
    if (this.#upstream !== null) this.#endRequest();
  }

  /** The body is malformed or does not arrive. */
  onBodyFault(code: FaultCode): void {
    this.#dropUpstream();
    this.#charge(code);
    if (this.#response === null) this.#answerFault(code);
    else this.#cut(code);
  }

  /** The client has gone or does not read any more. */
  onClientGone(code: FaultCode): void {
    if (this.#isOver) return;
    this.#dropUpstream();
    this.#charge(code);
    this.#fault = code;
    this.#finish(FAULTS[code].status, false);
  }

  /** The client takes more of the answer again. */
  onWritable(): void {
    this.#upstream?.resume();
  }

  // From the pool.

  onConnection(connection: UpstreamConnection): void {
    assert(!this.#isOver && this.#compiled !== null, "only a waiting exchange gets a connection");
    this.#upstream = connection;
    this.#endpoint = connection.endpoint;
    const head = requestForward(this.#head, {
      peerAddress: this.#reply.peerAddress,
      isPeerTrusted: this.#reply.isPeerTrusted,
      requestId: this.#requestId,
    });
    connection.send(head, this.#head.method, this, this.#compiled.route.timeouts);
    for (const bytes of this.#held.pieces) this.#sendBody(bytes);
    this.#held.trim();
    if (this.#isRequestDone) this.#endRequest();
    else this.#reply.resumeBody();
  }

  onNoConnection(code: FaultCode, endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    this.#charge(code);
    const { route } = this.#compiled as CompiledRoute;
    const { backend } = this.#pick as Pick;
    // Nothing was written, so any method may go to another endpoint.
    const mayRetry =
      FAULTS[code].retry === "if-safe" &&
      this.#attempts <= route.retries.attempts &&
      this.#plane.pool.hasOther(backend, endpoint);
    if (mayRetry) this.#retry(endpoint);
    else this.#answerFault(code);
  }

  // From the backend.

  onInterim(head: ResponseHead): void {
    // The client was told to continue as soon as a backend was found.
    if (head.status !== 100) this.#reply.interim(head);
  }

  onHead(head: ResponseHead, body: BodyKind): void {
    this.#response = head;
    this.#held.release();
    if (head.status >= SERVER_ERROR) this.#chargeOnce();
    // An answer before the end of the request: the rest of the request has no place on this connection afterwards.
    this.#reply.head(head, body, { added: this.#addedFields(), isLast: !this.#isRequestDone });
  }

  onData(bytes: Buffer): void {
    this.#bytes += bytes.length;
    if (!this.#reply.data(bytes)) this.#upstream?.pause();
  }

  onEnd(): void {
    this.#upstream = null;
    this.#reply.end();
    this.#finish((this.#response as ResponseHead).status, true);
  }

  onFault(code: FaultCode): void {
    const connection = this.#upstream as UpstreamConnection;
    this.#upstream = null;
    this.#charge(code);
    if (this.#response !== null) this.#cut(code);
    else if (this.#maySendAgain(code, connection)) this.#retry(connection.endpoint);
    else this.#answerFault(code);
  }

  onFlush(): void {
    this.#reply.flush();
  }

  onDrain(): void {
    this.#reply.resumeBody();
  }

  /** Once a byte was written: only what is safe to repeat, only when a kept-alive connection went away unanswered. */
  #maySendAgain(code: FaultCode, connection: UpstreamConnection): boolean {
    return (
      FAULTS[code].retry === "if-reused" &&
      connection.isReused &&
      !connection.hasResponseBytes &&
      IDEMPOTENT.has(this.#head.method) &&
      this.#held.isWhole &&
      this.#attempts <= (this.#compiled as CompiledRoute).route.retries.attempts
    );
  }

  #retry(avoid: Endpoint): void {
    this.#cell.retries++;
    this.#cell.changed = true;
    this.#connect(avoid);
  }

  #connect(avoid: Endpoint | null): void {
    this.#attempts++;
    const { timeouts } = (this.#compiled as CompiledRoute).route;
    const { backend } = this.#pick as Pick;
    this.#plane.pool.acquire(this, { backend, connectMs: timeouts.connectMs, avoid });
  }

  #sendBody(bytes: Buffer): boolean {
    const upstream = this.#upstream as UpstreamConnection;
    if (this.#head.body !== "chunked") return upstream.write(bytes);
    upstream.write(chunkSize(bytes.length));
    upstream.write(bytes);
    return upstream.write("\r\n");
  }

  #endRequest(): void {
    const upstream = this.#upstream as UpstreamConnection;
    if (this.#head.body === "chunked") upstream.write(LAST_CHUNK);
    upstream.endRequest();
  }

  #addedFields(): string {
    const { route } = this.#compiled as CompiledRoute;
    const { issued, backend } = this.#pick as Pick;
    let added = "";
    if (issued !== "") {
      added = `Set-Cookie: ${ISSUED_COOKIE}=${issued}; ${ISSUED_ATTRIBUTES}\r\n`;
    }
    if (!route.expose) return added;
    return `${added}Crossfade-Backend: ${backend.id}\r\nCrossfade-Revision: ${this.#serving.table.revision}\r\n`;
  }

  /** Counts a fault. Faults of the backend are held against it, even if another attempt rescues the request. */
  #charge(code: FaultCode): void {
    this.#cell.fault(code);
    if (FAULTS[code].side === "upstream") this.#chargeOnce();
  }

  #chargeOnce(): void {
    if (this.#isCharged) return;
    this.#isCharged = true;
    this.#cell.failures++;
    this.#cell.changed = true;
  }

  /** The one place that turns a fault into a response. */
  #answerFault(code: FaultCode): void {
    this.#fault = code;
    this.#reply.fault(code, this.#requestId);
    this.#finish(FAULTS[code].status, true);
  }

  #cut(code: FaultCode): void {
    this.#fault = code;
    this.#reply.cut();
    this.#finish(FAULTS[code].status, false);
  }

  #dropUpstream(): void {
    if (this.#upstream !== null) {
      this.#upstream.destroy();
      this.#upstream = null;
    } else if (this.#pick !== null) {
      this.#plane.pool.cancel(this, this.#pick.backend);
    }
  }

  #finish(status: number, isComplete: boolean): void {
    assert(!this.#isOver, "an exchange ends once");
    this.#isOver = true;
    this.#held.release();
    const { clock, log } = this.#plane;
    const durationMs = clock.nowMs() - this.#startMs;
    if (isComplete) this.#cell.finish(status, durationMs * 1000);
    else this.#cell.abort(status);
    log.write({
      atMs: clock.wallMs(),
      client: this.#reply.peerAddress,
      method: this.#head.method,
      host: this.#head.host,
      path: this.#head.path,
      minor: this.#head.minor,
      status,
      route: this.#cell.route,
      backend: this.#cell.backend,
      endpoint: this.#endpoint?.address ?? "",
      durationMs,
      bytes: this.#bytes,
      requestId: this.#requestId,
      fault: this.#fault,
      attempts: this.#attempts,
      revision: this.#serving.table.revision,
    });
  }
}

function viewOf(head: RequestHead): RequestView {
  return {
    method: head.method,
    host: head.host,
    path: head.path,
    query: head.query,
    field: (name) => fieldValue(head, name),
  };
}
