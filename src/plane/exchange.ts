/** One request's life: match, pick, forward, relay, record. */
import { FAULTS, assert, type FaultCode } from "../base/fault.ts";
import { isEvacuated } from "../domain/evacuation.ts";
import { pick, type Pick } from "../domain/pick.ts";
import type { Endpoint } from "../domain/route.ts";
import { findRoute, type CompiledRoute } from "../domain/table.ts";
import { requestForward, type RequestContext } from "../http/forward.ts";
import { fieldValue, type BodyKind, type RequestHead, type ResponseHead } from "../http/head.ts";
import { chunkSize, lastChunk } from "../http/write.ts";
import { Account } from "./account.ts";
import { addedFields } from "./added.ts";
import { EventStream } from "./event_stream.ts";
import { HeldBody } from "./held.ts";
import type { Timed } from "./deadlines.ts";
import type { Plane, Serving } from "./plane.ts";
import type { Mirroring } from "./mirroring.ts";
import type { ConnectionTaker } from "./pool.ts";
import { RetryPlace, backoffMs, idleMsMax, isRepeatable, mayTurn } from "./retry.ts";
import type { Reply } from "./reply.ts";
import type { UpstreamConnection, UpstreamHandler } from "./upstream.ts";
import { viewOf } from "./view.ts";

/** A backend that was asked whether it wants the body has so long to say so; then it gets it. */
const CONTINUE_MS = 1_000;

/**
 * One request and its answer.
 *
 * It begins when the head is complete and ends exactly once, in `#finish`, whatever happens: then it is counted and
 * logged. It reads the table once and keeps what it read.
 */
export class Exchange implements UpstreamHandler, ConnectionTaker, Timed {
  deadlineMs = Infinity;
  readonly #plane: Plane;
  readonly #reply: Reply;
  readonly #head: RequestHead;
  readonly #serving: Serving;
  readonly #requestId: string;
  readonly #account: Account;
  #compiled: CompiledRoute | null = null;
  #pick: Pick | null = null;
  /** The client's address, as far as those are believed who tell it. */
  #client = "";
  #upstream: UpstreamConnection | null = null;
  #response: ResponseHead | null = null;
  /** The request's body as far as it may still have to be sent (again). */
  readonly #held: HeldBody;
  #isRequestDone: boolean;
  #trailers = "";
  /** The body waits until the backend wants it. */
  #awaitsContinue = false;
  /** The request's copies, if it has any. */
  #mirroring: Mirroring | null = null;
  #retryPlace: RetryPlace | null = null;
  /** A kept connection has just died; others may have died with it. */
  #mustBeFresh = false;
  #backoff: NodeJS.Timeout | undefined;
  /** The answer, if it may end early. */
  #events: EventStream | null = null;
  #isOver = false;

  constructor(plane: Plane, reply: Reply, head: RequestHead) {
    assert(plane.serving !== null, "a worker listens only with a table");
    this.#plane = plane;
    this.#reply = reply;
    this.#head = head;
    this.#serving = plane.serving;
    this.#isRequestDone = head.body === "none";
    plane.fieldsDropped += head.twins;
    this.#held = new HeldBody(head.body);
    const told = reply.isPeerTrusted ? fieldValue(head, "x-request-id") : undefined;
    this.#requestId = told ?? plane.random.id();
    const revision = plane.serving.table.revision;
    const client = reply.peerAddress;
    this.#account = new Account(plane, { head, client, requestId: this.#requestId, revision });
  }

  /** Whether the answer is a stream of events. */
  get isEventStream(): boolean {
    return this.#events !== null;
  }

  /** Ends a stream of events after the event that is under way: its end comes as if the backend had ended it. */
  leave(): void {
    this.#events?.leave();
    if (this.#events?.mayEnd === true) this.#endStream();
  }

  /** Whether the table that is served now sends its client elsewhere, and its route says that it must end then. */
  isEvacuated(): boolean {
    const { serving } = this.#plane;
    if (this.#compiled === null || serving === null || serving === this.#serving) return false;
    return isEvacuated(serving.table, viewOf(this.#head), this.#pick as Pick, this.#compiled.route);
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
      this.#account.open(this.#plane.unrouted);
      this.#account.charge("NO_ROUTE");
      this.#answerFault("NO_ROUTE");
      return;
    }
    const { peerAddress, isPeerTrusted } = this.#reply;
    const address = isPeerTrusted ? this.#plane.trusted.clientAddress(this.#head, peerAddress) : peerAddress;
    const picked = pick(table, compiled, view, { address, random: this.#plane.random });
    this.#client = address;
    this.#compiled = compiled;
    this.#pick = picked;
    const cell = this.#plane.cellOf(this.#serving, compiled, picked.backend.id);
    this.#account.open(cell, picked, compiled.route.rollback);
    this.#held.bytesMax = compiled.route.retries.bodyBytesMax;
    this.#retryPlace = new RetryPlace(this.#plane.budgetOf(picked.backend.id));
    this.#connect(null);
    // Not for a request that was refused at once.
    if (compiled.mirror !== null && !this.#isOver) {
      const request = { head: this.#head, context: this.#context(false), client: address };
      this.#mirroring = this.#plane.shadows.mirror(compiled, this.#pick, view, request);
    }
  }

  // From the client.

  /** A piece of the request's body; the bytes are the exchange's to keep. */
  onBody(bytes: Buffer): void {
    this.#held.add(bytes);
    this.#mirroring?.onBody(bytes);
    if (this.#upstream === null || this.#awaitsContinue) {
      if (this.#held.isFull) this.#reply.pauseBody();
      return;
    }
    if (!this.#sendBody(bytes)) this.#reply.pauseBody();
    this.#held.trim();
  }

  /** `trailers`: complete lines that may be passed on. */
  onBodyEnd(trailers: string): void {
    this.#isRequestDone = true;
    if (this.#compiled?.route.trailers === true) this.#trailers = trailers;
    this.#mirroring?.onBodyEnd(this.#trailers);
    if (this.#upstream !== null && !this.#awaitsContinue) this.#endRequest();
  }

  /** The body is malformed or does not arrive. */
  onBodyFault(code: FaultCode): void {
    this.#dropUpstream();
    this.#account.charge(code);
    if (this.#response === null) this.#answerFault(code);
    else this.#cut(code);
  }

  /** The client has gone or does not read any more. */
  onClientGone(code: FaultCode): void {
    if (this.#isOver) return;
    this.#dropUpstream();
    this.#account.charge(code);
    this.#account.endsBy(code);
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
    this.#account.endpoint = connection.endpoint;
    const isUpgrade = this.#head.isWebSocket && this.#compiled.route.websocket;
    const text = requestForward(this.#head, this.#context(isUpgrade));
    const { method, body } = this.#head;
    const request = { text, isUpgrade, method, hasBody: body !== "none" };
    connection.send(request, this, this.#compiled.route.timeouts);
    if (this.#head.expectsContinue && this.#head.body !== "none") this.#awaitContinue();
    else this.#startBody();
  }

  /** The backend did not say whether it wants the body: it gets it. */
  onDeadline(): void {
    this.#reply.continue();
    this.#startBody();
  }

  onNoConnection(code: FaultCode, endpoint: Endpoint): void {
    this.#account.endpoint = endpoint;
    this.#account.charge(code);
    // Nothing was written, so any method may go to another endpoint.
    const isSafe = FAULTS[code].retry === "if-safe";
    const hasOther = this.#plane.pool.hasOther((this.#pick as Pick).backend, endpoint);
    if (isSafe && hasOther && this.#mayRetry()) this.#retry(endpoint);
    else if (isSafe && this.#mayTurn()) this.#turnToLegacy(code);
    else this.#answerFault(code);
  }

  #context(isUpgrade: boolean): RequestContext {
    const { peerAddress, isPeerTrusted } = this.#reply;
    return { isUpgrade, peerAddress, isPeerTrusted, requestId: this.#requestId };
  }

  #mayTurn(): boolean {
    return mayTurn(this.#pick as Pick, this.#compiled as CompiledRoute);
  }

  #turnToLegacy(code: FaultCode): void {
    this.#mirroring?.onAnswerFault(code);
    const { legacy } = this.#compiled as CompiledRoute;
    this.#pick = { ...(this.#pick as Pick), backend: legacy };
    this.#account.turn();
    this.#connect(null);
  }

  // From the backend.

  onInterim(head: ResponseHead): void {
    // One that comes after the body was let go would be a second one for the client.
    if (head.status !== 100 || !this.#head.expectsContinue) {
      this.#reply.interim(head);
    } else if (this.#awaitsContinue) {
      this.#reply.continue();
      this.#startBody();
    }
  }

  onUpgrade(head: ResponseHead): void {
    this.#response = head;
    this.#account.upgrades();
    this.#held.release();
    this.#reply.upgrade(head);
  }

  onHead(head: ResponseHead, body: BodyKind): void {
    this.#response = head;
    // A body that the backend did not ask for stays here: half of it would pass for the next request there.
    if (this.#awaitsContinue) this.#plane.deadlines.remove(this);
    this.#held.release();
    this.#mirroring?.onAnswer(head);
    this.#account.answers(head.status);
    if (this.#upstream?.isEventStream === true && body !== "length") this.#events = new EventStream();
    // An answer before the end of the request: the rest of the request has no place on this connection afterwards.
    const { route } = this.#compiled as CompiledRoute;
    const added = addedFields(route, this.#pick as Pick, this.#serving.table.revision);
    this.#reply.head(head, body, { added, isLast: !this.#isRequestDone });
  }

  onData(bytes: Buffer): void {
    this.#account.bytes += bytes.length;
    this.#mirroring?.onAnswerData(bytes);
    const mayFollow = this.#reply.data(bytes);
    this.#events?.read(bytes);
    if (this.#events?.mayEnd === true) this.#endStream();
    else if (!mayFollow) this.#upstream?.pause();
  }

  #endStream(): void {
    this.#dropUpstream();
    this.#reply.end("");
    this.#finish((this.#response as ResponseHead).status, true);
  }

  onEnd(trailers: string): void {
    this.#upstream = null;
    this.#mirroring?.onAnswerEnd();
    this.#reply.end(trailers);
    this.#finish((this.#response as ResponseHead).status, true);
  }

  onFault(code: FaultCode): void {
    const connection = this.#upstream as UpstreamConnection;
    this.#upstream = null;
    this.#stopAwaiting();
    this.#mustBeFresh = true;
    this.#account.charge(code);
    if (this.#response !== null) return this.#cut(code);
    const { endpoint, isReused, hasResponseBytes } = connection;
    const { method } = this.#head;
    // On a new connection it may be the request that this backend can't stand.
    if (!isRepeatable({ code, method, hasResponseBytes, isBodyHeld: this.#held.isWhole }))
      this.#answerFault(code);
    else if (isReused && this.#mayRetry()) this.#retry(endpoint);
    else if (this.#mayTurn()) this.#turnToLegacy(code);
    else this.#answerFault(code);
  }

  onFlush(): void {
    this.#reply.flush();
  }

  onDrain(): void {
    this.#reply.resumeBody();
  }

  /** Takes a place among the retries, if the request may have one more attempt at its backend. */
  #mayRetry(): boolean {
    const { retries } = (this.#compiled as CompiledRoute).route;
    return this.#account.attempts <= retries.attempts && this.#retryPlace?.take() === true;
  }

  #awaitContinue(): void {
    this.#awaitsContinue = true;
    this.deadlineMs = this.#plane.clock.nowMs() + CONTINUE_MS;
    this.#plane.deadlines.add(this);
  }

  #stopAwaiting(): void {
    if (!this.#awaitsContinue) return;
    this.#awaitsContinue = false;
    this.#plane.deadlines.remove(this);
  }

  #startBody(): void {
    this.#stopAwaiting();
    for (const bytes of this.#held.pieces) this.#sendBody(bytes);
    this.#held.trim();
    if (this.#isRequestDone) this.#endRequest();
    else this.#reply.resumeBody();
  }

  #retry(avoid: Endpoint): void {
    this.#account.retry();
    const waitMs = backoffMs(this.#account.attempts, (below) => this.#plane.random.draw(below));
    if (waitMs === 0) this.#connect(avoid);
    else this.#backoff = setTimeout(() => this.#connect(avoid), waitMs);
  }

  #connect(avoid: Endpoint | null): void {
    this.#account.attempts++;
    const { timeouts } = (this.#compiled as CompiledRoute).route;
    const { backend } = this.#pick as Pick;
    this.#plane.pool.acquire(this, {
      idleMsMax: this.#mustBeFresh ? 0 : idleMsMax(this.#head.method),
      backend,
      connectMs: timeouts.connectMs,
      client: this.#client,
      avoid,
    });
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
    if (this.#head.body === "chunked") upstream.write(lastChunk(this.#trailers));
    upstream.endRequest();
  }

  /** The one place that turns a fault into a response. */
  #answerFault(code: FaultCode): void {
    this.#account.endsBy(code);
    this.#mirroring?.onAnswerFault(code);
    this.#reply.fault(code, this.#requestId);
    this.#finish(FAULTS[code].status, true);
  }

  #cut(code: FaultCode): void {
    this.#account.endsBy(code);
    this.#mirroring?.onAnswerFault(code);
    this.#reply.cut();
    this.#finish(FAULTS[code].status, false);
  }

  #dropUpstream(): void {
    this.#stopAwaiting();
    clearTimeout(this.#backoff);
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
    this.#mirroring?.onPrimaryOver();
    this.#retryPlace?.end();
    this.#account.settle(status, isComplete);
  }
}
