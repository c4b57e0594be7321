/** Upstream connections per backend and endpoint: choose an endpoint, reuse or open, queue, set failing ones aside. */
import { assert, type FaultCode } from "../base/fault.ts";
import type { Backend, Endpoint } from "../domain/route.ts";
import type { ProxyVersion } from "../http/proxy_protocol.ts";
import type { Timed } from "./deadlines.ts";
import { nameOf } from "./dial.ts";
import { UpstreamConnection, type UpstreamOwner, type UpstreamShared } from "./upstream.ts";

/** Connections of one worker to one endpoint at most. Requests over it queue. */
const CONNECTIONS_MAX = 1024;
/** Requests of one worker that wait for one endpoint at most. Over it: POOL_FULL. */
const WAITING_MAX = 1024;
/** Idle connections kept to one endpoint for as long as the backend keeps them. */
const IDLE_MAX = 128;
/** More than that only so long: under load they are needed again at once, and opening one costs several requests. */
const SURPLUS_IDLE_MS = 500;
/** Waiting ends this much after the connection attempt it waits for would have. */
const WAIT_MARGIN_MS = 1_000;
/** An endpoint that refused a connection is passed over for this long, doubled with each further refusal. */
const EJECT_MS = 1_000;
const EJECT_MS_MAX = 30_000;

/** Somebody who needs a connection. Exactly one of the two is called, possibly before `acquire` returns. */
export interface ConnectionTaker {
  onConnection(connection: UpstreamConnection): void;
  onNoConnection(code: FaultCode, endpoint: Endpoint): void;
}

/** What a taker asks for. */
export interface ConnectionRequest {
  readonly backend: Backend;
  readonly connectMs: number;
  /** The client's address: a backend that is told it gets a connection of that client's own. */
  readonly client: string;
  /** An endpoint to avoid while there is another one. */
  readonly avoid: Endpoint | null;
  /**
   * How long a connection may have been idle, in milliseconds: 0 for a new one, Infinity for any. The longer it was,
   * the likelier the backend is just closing it.
   */
  readonly idleMsMax: number;
}

interface Wish {
  readonly connectMs: number;
  readonly client: string | null;
}

/** A place in the queue of an endpoint. */
class Waiting implements Timed {
  deadlineMs: number;
  readonly taker: ConnectionTaker;
  readonly connectMs: number;
  /** Whose connection it must be, or null for anybody's. */
  readonly client: string | null;
  readonly #line: Line;

  constructor(taker: ConnectionTaker, wish: Wish, line: Line, nowMs: number) {
    this.taker = taker;
    this.connectMs = wish.connectMs;
    this.client = wish.client;
    this.#line = line;
    this.deadlineMs = nowMs + wish.connectMs + WAIT_MARGIN_MS;
  }

  onDeadline(): void {
    this.#line.giveUp(this, "POOL_TIMEOUT");
  }
}

/**
 * The connections to one endpoint of one backend, and who waits for them.
 *
 * Where the backend is told the client's address, a connection serves only who has that address; all bounds are those
 * of the endpoint still, and an idle connection of one client makes room for a new one of another.
 */
class Line implements UpstreamOwner {
  readonly endpoint: Endpoint;
  readonly #greeting: ProxyVersion | undefined;
  /** The endpoint's name, whose addresses may change; null when it has none. */
  readonly #name: string | null;
  readonly #shared: UpstreamShared;
  readonly #counts: PoolCounts;
  /** Last in, first out: the rest grows old and is closed by its deadline. */
  readonly #idle: UpstreamConnection[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #all = new Set<UpstreamConnection>();
  /** Attempts under way. */
  readonly #connecting = new Set<UpstreamConnection>();
  #refusals = 0;
  #ejectedUntilMs = -Infinity;
  #isRetired = false;

  constructor(endpoint: Endpoint, backend: Backend, shared: UpstreamShared, counts: PoolCounts) {
    this.endpoint = endpoint;
    this.#greeting = backend.proxyProtocol;
    this.#name = nameOf(endpoint);
    this.#shared = shared;
    this.#counts = counts;
  }

  /** Requests that it carries or holds up: the fewer, the sooner it answers. */
  get load(): number {
    return this.#all.size - this.#idle.length + this.#waiting.length;
  }

  get idleNow(): number {
    return this.#idle.length;
  }

  get openNow(): number {
    return this.#all.size;
  }

  isEjected(nowMs: number): boolean {
    return nowMs < this.#ejectedUntilMs;
  }

  /** Closes what is idle and lets the rest end: the endpoint left the table. */
  retire(): void {
    this.#isRetired = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  /** Back in the table before its last connection was gone. */
  revive(): void {
    this.#isRetired = false;
  }

  /** Closes idle connections to addresses that the endpoint's name had. */
  closeGone(host: string): void {
    if (host !== this.#name) return;
    const gone = this.#idle.filter((connection) => this.#isGone(connection));
    for (const connection of gone) connection.destroy();
  }

  acquire(taker: ConnectionTaker, request: ConnectionRequest, nowMs: number): void {
    const { connectMs, client: address, idleMsMax } = request;
    const client = this.#greeting === undefined ? null : address;
    if (this.#name !== null) this.#shared.resolver.touch(this.#name);
    const connection = idleMsMax === 0 ? undefined : this.#takeIdle(client, nowMs - idleMsMax);
    if (connection !== undefined) {
      taker.onConnection(connection);
      return;
    }
    if (this.#waiting.length >= WAITING_MAX) {
      taker.onNoConnection("POOL_FULL", this.endpoint);
      return;
    }
    const waiting = new Waiting(taker, { connectMs, client }, this, nowMs);
    this.#waiting.push(waiting);
    this.#shared.deadlines.add(waiting);
    this.#openIfNeeded();
  }

  /** The idle connection that was used last, not before `sinceMs`; of this client if connections have owners. */
  #takeIdle(client: string | null, sinceMs: number): UpstreamConnection | undefined {
    const own =
      client === null ? this.#idle.length - 1 : this.#idle.findLastIndex((one) => one.client === client);
    const connection = this.#idle[own];
    if (connection === undefined) return undefined;
    if (connection.idleSinceMs < sinceMs) return undefined;
    if (client === null) this.#idle.pop();
    else this.#idle.splice(own, 1);
    return connection;
  }

  #isGone(connection: UpstreamConnection): boolean {
    return this.#name !== null && !this.#shared.resolver.isCurrent(this.#name, connection.remoteAddress);
  }

  /** One attempt is under way for each that waits, up to the bound. */
  #openIfNeeded(): void {
    const waiting = this.#nextWithoutAttempt();
    if (waiting === undefined) return;
    if (this.#all.size >= CONNECTIONS_MAX) {
      // Nobody waits while a connection is idle that he could use. Its closing leads here again.
      this.#idle[0]?.destroy();
      return;
    }
    const { client: address, connectMs } = waiting;
    const client =
      address === null || this.#greeting === undefined ? null : { address, version: this.#greeting };
    const connection = new UpstreamConnection(
      { endpoint: this.endpoint, connectMs, client },
      this.#shared,
      this,
    );
    this.#connecting.add(connection);
    this.#all.add(connection);
  }

  /** The first that waits and has no attempt under way that could end with a connection for it. */
  #nextWithoutAttempt(): Waiting | undefined {
    if (this.#greeting === undefined) return this.#waiting[this.#connecting.size];
    const attempts = new Map<string | null, number>();
    for (const { client } of this.#connecting) attempts.set(client, (attempts.get(client) ?? 0) + 1);
    return this.#waiting.find(({ client }) => {
      const left = attempts.get(client) ?? 0;
      attempts.set(client, left - 1);
      return left <= 0;
    });
  }

  /** The first that a connection is for: all are of one kind unless connections have owners. */
  #firstFor(connection: UpstreamConnection): Waiting | undefined {
    return this.#greeting === undefined
      ? this.#waiting[0]
      : this.#waiting.find(({ client }) => client === connection.client);
  }

  giveUp(waiting: Waiting, code: FaultCode | null): void {
    const place = this.#waiting.indexOf(waiting);
    if (place === -1) return;
    this.#waiting.splice(place, 1);
    this.#shared.deadlines.remove(waiting);
    if (code !== null) waiting.taker.onNoConnection(code, this.endpoint);
  }

  /** Takes a taker that lost interest out of the queue. */
  cancel(taker: ConnectionTaker): boolean {
    const waiting = this.#waiting.find((one) => one.taker === taker);
    if (waiting === undefined) return false;
    this.giveUp(waiting, null);
    return true;
  }

  onConnected(connection: UpstreamConnection): void {
    this.#connecting.delete(connection);
    this.#refusals = 0;
    this.#ejectedUntilMs = -Infinity;
    this.onIdle(connection);
  }

  onConnectFault(connection: UpstreamConnection, code: FaultCode): void {
    this.#connecting.delete(connection);
    const ejectMs = Math.min(EJECT_MS_MAX, EJECT_MS * 2 ** Math.min(10, this.#refusals));
    this.#refusals++;
    this.#ejectedUntilMs = this.#shared.clock.nowMs() + ejectMs;
    const waiting = this.#firstFor(connection);
    if (waiting !== undefined) this.giveUp(waiting, code);
  }

  onIdle(connection: UpstreamConnection): void {
    if (connection.isReused && this.#isGone(connection)) {
      connection.destroy();
      return;
    }
    const waiting = this.#firstFor(connection);
    if (waiting !== undefined) {
      this.giveUp(waiting, null);
      waiting.taker.onConnection(connection);
    } else if (this.#isRetired) {
      connection.destroy();
    } else {
      this.#idle.push(connection);
      if (this.#idle.length > IDLE_MAX) {
        connection.deadlineMs = Math.min(connection.deadlineMs, connection.idleSinceMs + SURPLUS_IDLE_MS);
      }
      // It may be another client who waits.
      this.#openIfNeeded();
    }
  }

  onClosed(connection: UpstreamConnection): void {
    this.#all.delete(connection);
    const place = this.#idle.indexOf(connection);
    if (place !== -1) this.#idle.splice(place, 1);
    this.#openIfNeeded();
  }

  onExcess(): void {
    this.#counts.excess++;
  }
}

interface PoolCounts {
  excess: number;
}

/** All upstream connections of one worker. Backends never share connections, even to the same address. */
export class Pool {
  readonly #shared: UpstreamShared;
  readonly #counts: PoolCounts = { excess: 0 };
  /** backend id -> key of the line -> line */
  readonly #lines = new Map<string, Map<string, Line>>();
  /** Rotates among endpoints that are equally busy. */
  #turn = 0;

  constructor(shared: UpstreamShared) {
    this.#shared = shared;
  }

  /** Connections closed because bytes came after a complete response. */
  get excess(): number {
    return this.#counts.excess;
  }

  /** Finds a connection for `taker`, at once or later. */
  acquire(taker: ConnectionTaker, request: ConnectionRequest): void {
    const nowMs = this.#shared.clock.nowMs();
    this.#choose(request, nowMs).acquire(taker, request, nowMs);
  }

  /** Whether a backend has an endpoint besides this one. */
  hasOther(backend: Backend, endpoint: Endpoint): boolean {
    return backend.endpoints.some((one) => one.address !== endpoint.address);
  }

  /** Stops waiting for a connection. */
  cancel(taker: ConnectionTaker, backend: Backend): void {
    for (const line of this.#lines.get(backend.id)?.values() ?? []) if (line.cancel(taker)) return;
  }

  /** Follows a new table: what is no longer in it ends when it is no longer used. */
  follow(backends: Iterable<Backend>): void {
    const wanted = new Map<string, Set<string>>();
    for (const backend of backends) {
      wanted.set(backend.id, new Set(backend.endpoints.map((endpoint) => lineKey(backend, endpoint))));
    }
    for (const [id, lines] of this.#lines) {
      for (const [key, line] of lines) {
        if (wanted.get(id)?.has(key) === true) {
          line.revive();
          continue;
        }
        line.retire();
        if (line.openNow === 0) lines.delete(key);
      }
      if (lines.size === 0) this.#lines.delete(id);
    }
  }

  /** A name lost some of its addresses: nobody uses idle connections to those any more. */
  closeGone(host: string): void {
    for (const lines of this.#lines.values()) for (const line of lines.values()) line.closeGone(host);
  }

  /** Closes every idle connection: the worker drains. */
  closeIdle(): void {
    for (const lines of this.#lines.values()) for (const line of lines.values()) line.retire();
  }

  /** [backend, idle, in use] of every backend with connections. */
  now(): [string, number, number][] {
    return [...this.#lines].map(([id, lines]) => {
      let idle = 0;
      let open = 0;
      for (const line of lines.values()) {
        idle += line.idleNow;
        open += line.openNow;
      }
      return [id, idle, open - idle];
    });
  }

  /** The least busy endpoint; ejected ones and the one to avoid only when there is no other. */
  #choose(request: ConnectionRequest, nowMs: number): Line {
    const { endpoints } = request.backend;
    assert(endpoints.length > 0, "a backend has an endpoint");
    this.#turn = (this.#turn + 1) % 0x4000_0000;
    let best: Line | null = null;
    let bestCost = Infinity;
    for (let i = 0; i < endpoints.length; i++) {
      const endpoint = endpoints[(i + this.#turn) % endpoints.length] as Endpoint;
      const line = this.#line(request.backend, endpoint);
      const isLast = line.isEjected(nowMs) || endpoint.address === request.avoid?.address;
      const cost = line.load + (isLast ? CONNECTIONS_MAX + WAITING_MAX : 0);
      if (cost >= bestCost) continue;
      best = line;
      bestCost = cost;
    }
    return best as Line;
  }

  #line(backend: Backend, endpoint: Endpoint): Line {
    let lines = this.#lines.get(backend.id);
    if (lines === undefined) {
      lines = new Map();
      this.#lines.set(backend.id, lines);
    }
    const key = lineKey(backend, endpoint);
    let line = lines.get(key);
    if (line === undefined) {
      line = new Line(endpoint, backend, this.#shared, this.#counts);
      lines.set(key, line);
    }
    return line;
  }
}

/** A connection that began with a header is of no use to who wants none, and the other way round. */
function lineKey(backend: Backend, endpoint: Endpoint): string {
  return backend.proxyProtocol === undefined
    ? endpoint.address
    : `${backend.proxyProtocol} ${endpoint.address}`;
}
