/** One copy of a request for a second backend: made beside the request, which never waits for it. */
import { assert, type FaultCode } from "../base/fault.ts";
import type { Backend } from "../domain/route.ts";
import type { ResponseHead } from "../http/head.ts";
import { chunkSize, lastChunk } from "../http/write.ts";
import type { ShadowResult } from "../shared/counters.ts";
import type { Capture } from "./capture.ts";
import type { Timed } from "./deadlines.ts";
import type { DryRun } from "./dry_run.ts";
import type { ConnectionTaker, Pool } from "./pool.ts";
import type { Room } from "./room.ts";
import type { UpstreamConnection, UpstreamHandler } from "./upstream.ts";

/** Where the length of a body is not told, room for it begins here and doubles. */
const ROOM_BYTES_MIN = 4 * 1024;
/** Copies are never sent again, so they go on connections that have just answered, or on new ones. */
const IDLE_MS_MAX = 1_000;

/** A proof holds for one connection, and another copy may take that one first: so often it is asked for. */
const PROOFS_MAX = 3;

const NO_BYTES = Buffer.alloc(0);
/** The copy's own deadline is the only one. */
const NO_TIMES = { responseMs: 0, idleMs: 0 };

/** What one copy is told when it is made. */
export interface ShadowOrder {
  readonly text: string;
  readonly method: string;
  readonly isChunked: boolean;
  readonly backend: Backend;
  readonly bodyBytesMax: number;
  /** Of an answer so much is read; then the connection is closed, which is cheaper than reading on. */
  readonly answerBytesMax: number;
  readonly connectMs: number;
  readonly deadlineMs: number;
  readonly client: string;
  /** Where its answer is kept; null: it is thrown away. */
  readonly capture: Capture | null;
  /** What has to know that the backend only pretends; null where the request changes nothing. */
  readonly dryRun: DryRun | null;
}

/** What copies have in common, and who hears how each ended. */
export interface ShadowOwner {
  readonly pool: Pool;
  readonly room: Room;
  onOver(shadow: Shadow, result: ShadowResult): void;
}

/**
 * One copy of a request.
 *
 * Collecting: from its start until the request's body is whole; a body that grows over a bound ends it here, so that
 * no shadow ever sees part of a request. Sending: waits for a connection, or for the answer on one; the request itself
 * may be over by then, and its client gone. Over: entered once, with one result, from either.
 */
export class Shadow implements UpstreamHandler, ConnectionTaker, Timed {
  deadlineMs: number;
  readonly #order: ShadowOrder;
  readonly #owner: ShadowOwner;
  #state: "collecting" | "sending" | "over" = "collecting";
  /** The body's bytes are a copy: pieces of the request's own buffers would keep those alive as a whole. */
  #body: Buffer = NO_BYTES;
  #bodyBytes = 0;
  #takenBytes = 0;
  #trailers = "";
  #connection: UpstreamConnection | null = null;
  /** Part of the request is still on its way to the shadow. */
  #isUnsent = false;
  #answerBytes = 0;
  #proofs = 0;

  constructor(order: ShadowOrder, owner: ShadowOwner) {
    this.#order = order;
    this.#owner = owner;
    this.deadlineMs = order.deadlineMs;
  }

  /** `bodyBytes`: as far as they are known. */
  start(isWhole: boolean, bodyBytes: number): void {
    if (!this.#take(this.#order.text.length) || !this.#reserve(bodyBytes)) this.#end("memory");
    else if (isWhole) this.#send();
  }

  // From the request.

  /** A piece of the body; copied. */
  onBody(bytes: Buffer): void {
    if (this.#state !== "collecting") return;
    const length = this.#bodyBytes + bytes.length;
    if (length > this.#order.bodyBytesMax) {
      this.#end("body_too_large");
    } else if (!this.#reserve(length)) {
      this.#end("memory");
    } else {
      bytes.copy(this.#body, this.#bodyBytes);
      this.#bodyBytes = length;
    }
  }

  /** `trailers`: complete lines that may be passed on. */
  onBodyEnd(trailers: string): void {
    if (this.#state !== "collecting") return;
    this.#trailers = trailers;
    this.#send();
  }

  /** The request is over, however it ended. What has arrived whole goes on without it. */
  onPrimaryOver(): void {
    if (this.#state === "collecting") this.#end("incomplete");
  }

  // From the worker.

  onDeadline(): void {
    this.#order.capture?.onFault(this.#connection === null ? "CONNECT_TIMEOUT" : "RESPONSE_TIMEOUT");
    this.#drop("timeout");
  }

  /** Gives it up. */
  stop(): void {
    this.#drop("stopped");
  }

  // From the pool.

  onConnection(connection: UpstreamConnection): void {
    const { text, method, isChunked, dryRun } = this.#order;
    this.#connection = connection;
    if (dryRun !== null && !dryRun.isProved(connection)) {
      this.#prove(dryRun, connection);
      return;
    }
    connection.send({ text, method, isUpgrade: false }, this, NO_TIMES);
    const body = this.#body.subarray(0, this.#bodyBytes);
    if (body.length > 0) {
      if (isChunked) connection.write(chunkSize(body.length));
      this.#isUnsent = !connection.write(body);
      if (isChunked) connection.write("\r\n");
    }
    if (isChunked) connection.write(lastChunk(this.#trailers));
    connection.endRequest();
  }

  onNoConnection(code: FaultCode): void {
    this.#order.capture?.onFault(code);
    this.#end("no_connection");
  }

  // From the shadow.

  onInterim(): void {}

  onUpgrade(): void {
    assert(false, "no copy asks for an upgrade");
  }

  onHead(head: ResponseHead): void {
    this.#order.capture?.onHead(head);
    // The rest would stay in memory for as long as the shadow does not read it, and after the copy is over.
    if (this.#isUnsent) this.#drop("answered");
  }

  onData(bytes: Buffer): void {
    this.#order.capture?.onData(bytes);
    this.#answerBytes += bytes.length;
    if (this.#answerBytes > this.#order.answerBytesMax) this.#drop("answered");
  }

  onEnd(): void {
    this.#order.capture?.onEnd();
    this.#end("answered");
  }

  onFault(code: FaultCode): void {
    this.#order.capture?.onFault(code);
    this.#end(code === "UPSTREAM_RESET" || code === "RESPONSE_TRUNCATED" ? "reset" : "malformed");
  }

  onFlush(): void {}

  onDrain(): void {
    this.#isUnsent = false;
  }

  /** Asks whether the backend only pretends, and goes on with any connection on which it has said so. */
  #prove(dryRun: DryRun, connection: UpstreamConnection): void {
    this.#proofs++;
    dryRun.prove(connection, this.#order.backend.id, (isProved) => {
      this.#connection = null;
      if (isProved && this.#proofs < PROOFS_MAX) this.#send();
      else this.#end("unproved");
    });
  }

  #send(): void {
    this.#state = "sending";
    const { backend, connectMs, client } = this.#order;
    this.#owner.pool.acquire(this, { backend, connectMs, client, avoid: null, idleMsMax: IDLE_MS_MAX });
  }

  /** Makes room for a body of so many bytes. Gives whether there is. */
  #reserve(bytes: number): boolean {
    const { length } = this.#body;
    if (bytes <= length) return true;
    const { isChunked, bodyBytesMax } = this.#order;
    const wanted = isChunked ? Math.min(bodyBytesMax, Math.max(bytes, 2 * length, ROOM_BYTES_MIN)) : bytes;
    if (!this.#take(wanted - length)) return false;
    const larger = Buffer.allocUnsafeSlow(wanted);
    this.#body.copy(larger, 0, 0, this.#bodyBytes);
    this.#body = larger;
    return true;
  }

  #take(bytes: number): boolean {
    if (!this.#owner.room.take(bytes)) return false;
    this.#takenBytes += bytes;
    return true;
  }

  /** Ends it from this side, whatever it waits for. */
  #drop(result: ShadowResult): void {
    if (this.#connection !== null) this.#connection.destroy();
    else if (this.#state === "sending") this.#owner.pool.cancel(this, this.#order.backend);
    this.#end(result);
  }

  #end(result: ShadowResult): void {
    assert(this.#state !== "over", "a copy ends once");
    this.#state = "over";
    this.#connection = null;
    this.#body = NO_BYTES;
    this.#owner.room.give(this.#takenBytes);
    this.#owner.onOver(this, result);
  }
}
