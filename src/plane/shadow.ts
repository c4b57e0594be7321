/** Copies of requests for a second backend, the shadow: made beside the requests, which never wait for them. */
import type { Clock } from "../base/clock.ts";
import { assert, type FaultCode } from "../base/fault.ts";
import type { Random } from "../base/random.ts";
import type { Pick } from "../domain/pick.ts";
import type { Backend } from "../domain/route.ts";
import { isSampled } from "../domain/sampling.ts";
import type { CompiledMirror, CompiledRoute, RequestView } from "../domain/table.ts";
import { shadowForward, type RequestContext } from "../http/forward.ts";
import type { RequestHead } from "../http/head.ts";
import { chunkSize, lastChunk } from "../http/write.ts";
import { ShadowCell, type ShadowCount, type ShadowResult } from "../shared/counters.ts";
import type { Deadlines, Timed } from "./deadlines.ts";
import { Pool, type ConnectionTaker } from "./pool.ts";
import type { Resolver } from "./resolver.ts";
import type { UpstreamConnection, UpstreamHandler } from "./upstream.ts";

/** Copies under way in one worker, whatever their routes. */
const IN_FLIGHT_MAX = 1024;
/** What all copies under way hold of requests together. */
const HELD_BYTES_MAX = 32 * 1024 * 1024;
/** Where the length of a body is not told, room for it begins here and doubles. */
const ROOM_BYTES_MIN = 4 * 1024;
/** Of an answer so much is read; then the connection is closed, which is cheaper than reading on. */
const ANSWER_BYTES_MAX = 64 * 1024;
/** Copies are never sent again, so they go on connections that have just answered, or on new ones. */
const IDLE_MS_MAX = 1_000;
/** Every read from a shadow lands in a buffer of this size, which no answer to a client ever sees. */
const READ_BYTES = 64 * 1024;

/** A sweep that comes so late, or a thread so busy, has no time for copies. */
const LAG_MS_MAX = 50;
const UTILIZATION_MAX = 0.95;
/** How long there are none then. */
const SHED_MS = 1_000;

const NO_BYTES = Buffer.alloc(0);
/** The copy's own deadline is the only one. */
const NO_TIMES = { responseMs: 0, idleMs: 0 };
const DRAW_MAX = 0x1_0000_0000;

/** What copies share with the rest of their worker: time, chance and names, and nothing that carries requests. */
interface ShadowShared {
  readonly clock: Clock;
  readonly random: Random;
  readonly deadlines: Deadlines;
  readonly resolver: Resolver;
}

/** A request as a copy is made of it. */
interface MirroredRequest {
  readonly head: RequestHead;
  readonly context: RequestContext;
  /** The client's address, as far as those are believed who tell it. */
  readonly client: string;
}

/**
 * All copies of one worker.
 *
 * They have connections of their own, so that no queue, bound or refusal of a shadow meets a request. Whatever a copy
 * would need beyond a bound, it is given up instead, and counted by why; nothing here ever makes a request wait.
 */
export class Shadows {
  readonly pool: Pool;
  readonly #shared: ShadowShared;
  readonly #live = new Set<Shadow>();
  readonly #cells = new Map<string, ShadowCell>();
  readonly #room = new Room();
  #shedUntilMs = -Infinity;

  constructor(shared: ShadowShared) {
    this.#shared = shared;
    const { clock, deadlines, resolver } = shared;
    this.pool = new Pool({ clock, deadlines, resolver, readBuffer: Buffer.allocUnsafeSlow(READ_BYTES) });
  }

  /** Bytes of requests that copies under way hold now. */
  get heldBytes(): number {
    return this.#room.held;
  }

  /** Begins a copy of a request that was just given to the backend that it was `picked` for, if it is to have one. */
  mirror(compiled: CompiledRoute, picked: Pick, view: RequestView, request: MirroredRequest): Shadow | null {
    const { mirror, route } = compiled;
    assert(mirror !== null, "only routes with a mirror ask");
    const { head } = request;
    const { random, clock, deadlines } = this.#shared;
    // Both ask the backend something before they go on, and the answer is another one for each backend.
    if (head.isWebSocket || head.expectsContinue) return null;
    if (!isSampled(mirror, picked, view, (below) => random.draw(below))) return null;
    const cell = this.#cellOf(route.id);
    cell.add("sampled");
    const refusal = this.#refusal(mirror, cell, head);
    if (refusal !== null) {
      cell.add(refusal);
      return null;
    }
    const text = shadowForward(head, request.context, this.#spanId());
    const { responseMs, connectMs } = route.timeouts;
    const limitMs = Math.min(mirror.policy.timeoutMs, responseMs === 0 ? Infinity : responseMs);
    const shadow = new Shadow(
      {
        text,
        method: head.method,
        isChunked: head.body === "chunked",
        backend: mirror.backend,
        bodyBytesMax: mirror.policy.bodyBytesMax,
        connectMs: Math.min(connectMs, limitMs),
        deadlineMs: clock.nowMs() + limitMs,
        client: request.client,
      },
      { pool: this.pool, room: this.#room, onOver: (one, result) => this.#onOver(one, cell, result) },
    );
    this.#live.add(shadow);
    deadlines.add(shadow);
    shadow.start(head.body === "none", Math.max(0, head.contentLength));
    return shadow;
  }

  /** Follows a new table, as Pool.follow does. Copies under way go on. */
  follow(backends: Iterable<Backend>): void {
    this.pool.follow(backends);
  }

  /** How the worker does. `lagMs`: how late it came to say so; `utilization`: 0 to 1, since it last did. */
  feel(load: { readonly lagMs: number; readonly utilization: number }): void {
    if (load.lagMs <= LAG_MS_MAX && load.utilization <= UTILIZATION_MAX) return;
    this.#shedUntilMs = this.#shared.clock.nowMs() + SHED_MS;
  }

  /** The numbers of the routes whose copies changed since the last call, or of all. */
  report(all: boolean): ShadowCount[] {
    const changed = [...this.#cells.values()].filter((cell) => all || cell.changed);
    return changed.flatMap((cell) => {
      cell.changed = false;
      return cell.counts();
    });
  }

  /** Gives up every copy and closes every connection: the worker ends. */
  close(): void {
    for (const shadow of this.#live) shadow.stop();
    this.pool.closeIdle();
  }

  #refusal({ policy }: CompiledMirror, cell: ShadowCell, head: RequestHead): ShadowResult | null {
    if (this.#shared.clock.nowMs() < this.#shedUntilMs) return "overload";
    if (this.#live.size >= IN_FLIGHT_MAX || cell.inFlight > policy.inFlightMax) return "busy";
    if (head.contentLength > policy.bodyBytesMax) return "body_too_large";
    return null;
  }

  #onOver(shadow: Shadow, cell: ShadowCell, result: ShadowResult): void {
    this.#live.delete(shadow);
    this.#shared.deadlines.remove(shadow);
    cell.add(result);
  }

  /** Bound: one for each route that ever had a mirror. */
  #cellOf(route: string): ShadowCell {
    let cell = this.#cells.get(route);
    if (cell === undefined) {
      cell = new ShadowCell(route);
      this.#cells.set(route, cell);
    }
    return cell;
  }

  /** 16 hex digits, not all of them 0. */
  #spanId(): string {
    const { random } = this.#shared;
    const half = (from: number): string =>
      (from + random.draw(DRAW_MAX - from)).toString(16).padStart(8, "0");
    return half(1) + half(0);
  }
}

/** How much all copies hold together. */
class Room {
  held = 0;

  /** Takes so many bytes, if they are there. */
  take(bytes: number): boolean {
    if (this.held + bytes > HELD_BYTES_MAX) return false;
    this.held += bytes;
    return true;
  }

  give(bytes: number): void {
    this.held -= bytes;
  }
}

/** What one copy is told when it is made. */
interface ShadowOrder {
  readonly text: string;
  readonly method: string;
  readonly isChunked: boolean;
  readonly backend: Backend;
  readonly bodyBytesMax: number;
  readonly connectMs: number;
  readonly deadlineMs: number;
  readonly client: string;
}

/** What copies have in common, and who hears how each ended. */
interface ShadowOwner {
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
    this.#drop("timeout");
  }

  /** Gives it up. */
  stop(): void {
    this.#drop("stopped");
  }

  // From the pool.

  onConnection(connection: UpstreamConnection): void {
    const { text, method, isChunked } = this.#order;
    this.#connection = connection;
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

  onNoConnection(): void {
    this.#end("no_connection");
  }

  // From the shadow.

  onInterim(): void {}

  onUpgrade(): void {
    assert(false, "no copy asks for an upgrade");
  }

  onHead(): void {
    // The rest would stay in memory for as long as the shadow does not read it, and after the copy is over.
    if (this.#isUnsent) this.#drop("answered");
  }

  onData(bytes: Buffer): void {
    this.#answerBytes += bytes.length;
    if (this.#answerBytes > ANSWER_BYTES_MAX) this.#drop("answered");
  }

  onEnd(): void {
    this.#end("answered");
  }

  onFault(code: FaultCode): void {
    this.#end(code === "UPSTREAM_RESET" || code === "RESPONSE_TRUNCATED" ? "reset" : "malformed");
  }

  onFlush(): void {}

  onDrain(): void {
    this.#isUnsent = false;
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
