/** Upstream connections per backend and endpoint: choose an endpoint, reuse or open, queue, set failing ones aside. */
import { assert, type FaultCode } from "../base/fault.ts";
import type { Backend, Endpoint } from "../domain/route.ts";
import type { Timed } from "./deadlines.ts";
import { UpstreamConnection, type UpstreamOwner, type UpstreamShared } from "./upstream.ts";

/** Connections of one worker to one endpoint at most. Requests over it queue. */
const CONNECTIONS_MAX = 1024;
/** Requests of one worker that wait for one endpoint at most. Over it: POOL_FULL. */
const WAITING_MAX = 1024;
/** Idle connections kept to one endpoint; the one that was idle longest is closed first. */
const IDLE_MAX = 128;
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
  /** An endpoint to avoid while there is another one. */
  readonly avoid: Endpoint | null;
}

/** A place in the queue of an endpoint. */
class Waiting implements Timed {
  deadlineMs: number;
  readonly taker: ConnectionTaker;
  readonly connectMs: number;
  readonly #line: Line;

  constructor(taker: ConnectionTaker, connectMs: number, line: Line, nowMs: number) {
    this.taker = taker;
    this.connectMs = connectMs;
    this.#line = line;
    this.deadlineMs = nowMs + connectMs + WAIT_MARGIN_MS;
  }

  onDeadline(): void {
    this.#line.giveUp(this, "POOL_TIMEOUT");
  }
}

/** The connections to one endpoint of one backend, and who waits for them. */
class Line implements UpstreamOwner {
  readonly endpoint: Endpoint;
  readonly #shared: UpstreamShared;
  readonly #counts: PoolCounts;
  /** Last in, first out: the rest grows old and is closed by its deadline. */
  readonly #idle: UpstreamConnection[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #all = new Set<UpstreamConnection>();
  /** Attempts under way. */
  #connecting = 0;
  #refusals = 0;
  #ejectedUntilMs = -Infinity;
  #isRetired = false;

  constructor(endpoint: Endpoint, shared: UpstreamShared, counts: PoolCounts) {
    this.endpoint = endpoint;
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

  acquire(taker: ConnectionTaker, connectMs: number): void {
    const connection = this.#idle.pop();
    if (connection !== undefined) {
      taker.onConnection(connection);
      return;
    }
    if (this.#waiting.length >= WAITING_MAX) {
      taker.onNoConnection("POOL_FULL", this.endpoint);
      return;
    }
    const waiting = new Waiting(taker, connectMs, this, this.#shared.clock.nowMs());
    this.#waiting.push(waiting);
    this.#shared.deadlines.add(waiting);
    this.#openIfNeeded();
  }

  /** One attempt is under way for each that waits, up to the bound. */
  #openIfNeeded(): void {
    const waiting = this.#waiting[this.#connecting];
    if (waiting === undefined || this.#all.size >= CONNECTIONS_MAX) return;
    this.#connecting++;
    this.#all.add(new UpstreamConnection(this.endpoint, waiting.connectMs, this.#shared, this));
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
    this.#connecting--;
    this.#refusals = 0;
    this.#ejectedUntilMs = -Infinity;
    this.onIdle(connection);
  }

  onConnectFault(_connection: UpstreamConnection, code: FaultCode): void {
    this.#connecting--;
    const ejectMs = Math.min(EJECT_MS_MAX, EJECT_MS * 2 ** Math.min(10, this.#refusals));
    this.#refusals++;
    this.#ejectedUntilMs = this.#shared.clock.nowMs() + ejectMs;
    const waiting = this.#waiting[0];
    if (waiting !== undefined) this.giveUp(waiting, code);
  }

  onIdle(connection: UpstreamConnection): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      this.#shared.deadlines.remove(waiting);
      waiting.taker.onConnection(connection);
    } else if (this.#isRetired) {
      connection.destroy();
    } else {
      this.#idle.push(connection);
      if (this.#idle.length > IDLE_MAX) this.#idle.shift()?.destroy();
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
  /** backend id -> endpoint address -> line */
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
    this.#choose(request).acquire(taker, request.connectMs);
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
    for (const { id, endpoints } of backends) wanted.set(id, new Set(endpoints.map((one) => one.address)));
    for (const [id, lines] of this.#lines) {
      for (const [address, line] of lines) {
        if (wanted.get(id)?.has(address) === true) {
          line.revive();
          continue;
        }
        line.retire();
        if (line.openNow === 0) lines.delete(address);
      }
      if (lines.size === 0) this.#lines.delete(id);
    }
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
  #choose(request: ConnectionRequest): Line {
    const { endpoints } = request.backend;
    assert(endpoints.length > 0, "a backend has an endpoint");
    const nowMs = this.#shared.clock.nowMs();
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
    let line = lines.get(endpoint.address);
    if (line === undefined) {
      line = new Line(endpoint, this.#shared, this.#counts);
      lines.set(endpoint.address, line);
    }
    return line;
  }
}
