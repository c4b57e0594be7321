/** What one exchange adds up to: counters, blame, evidence, and its line in the access log. */
import { FAULTS, type FaultCode } from "../base/fault.ts";
import { isFailure } from "../domain/failure.ts";
import type { Pick } from "../domain/pick.ts";
import type { Endpoint, RollbackPolicy } from "../domain/route.ts";
import type { RequestHead } from "../http/head.ts";
import type { Cell } from "../shared/counters.ts";
import { EXCERPT_BYTES } from "./log.ts";
import type { Plane } from "./plane.ts";

/** Who and what an account is about. */
export interface AccountSubject {
  readonly head: RequestHead;
  readonly client: string;
  readonly requestId: string;
  readonly revision: number;
}

const SERVER_ERROR = 500;

/**
 * The account of one exchange. Opened once, settled once.
 *
 * **Blame** is for people who look after a backend: `failures` counts each exchange in which the backend failed, also
 * when another attempt rescued it.
 *
 * **Evidence** is for the judge of the route, and about what clients got. A request is evidence once, however often it
 * was sent: when the backend answered it whole, or when the backend failed it. It failed it when its answer has a
 * status that the route's policy lists, or when a fault of the backend was not made good by another attempt at it;
 * whoever ends the exchange then, be it the client that gives up or we who shed the next attempt. An answer of legacy
 * in place of a candidate that did not take the request saves the client alone: the candidate failed. No evidence are:
 * pinned requests, because their share is not the configured one; what clients broke off before that, what we refused
 * or shed, and what malformed requests met. A WebSocket is evidence by the answer to its handshake, and nothing after.
 * A client's first failure in a second is one; when it fails again in it or in the next, that is left out altogether,
 * as if it had not asked: see FailedClients. Counted as requests without a failure they would hide that a backend
 * fails a few busy clients only, or all that there are.
 */
export class Account {
  /** Requests sent to a backend, this one's retries included. */
  attempts = 0;
  /** Bytes of the response's body handed to the client's connection. */
  bytes = 0;
  /** The endpoint that was asked last. */
  endpoint: Endpoint | null = null;
  readonly #plane: Plane;
  readonly #subject: AccountSubject;
  readonly #startMs: number;
  #cell: Cell;
  #fault: FaultCode | null = null;
  #isCharged = false;
  /** Whose failures count once; null for what is no evidence. */
  #witness: string | null = null;
  #policy: RollbackPolicy | null = null;
  /** The backend has failed the request so far; an answer to a later attempt may take that back. */
  #hasFailed = false;
  /** Legacy answers in place of the candidate. */
  #isTurned = false;

  constructor(plane: Plane, subject: AccountSubject) {
    this.#plane = plane;
    this.#subject = subject;
    this.#startMs = plane.clock.nowMs();
    this.#cell = plane.unrouted;
  }

  /** Opens the account in the cell of its route and backend, or without a pick in that of the unrouted. */
  open(cell: Cell, picked: Pick | null = null, policy: RollbackPolicy | null = null): void {
    this.#cell = cell;
    if (picked !== null && picked.why !== "pin") this.#witness = picked.client;
    this.#policy = policy;
    cell.started++;
    cell.changed = true;
  }

  /** Counts a fault. One of the backend is held against it, even if another attempt rescues the request. */
  charge(code: FaultCode): void {
    this.#cell.fault(code);
    if (FAULTS[code].side !== "upstream") return;
    this.#hasFailed = true;
    this.#chargeFailure();
  }

  /** The backend has begun to answer. A server error is held against it. */
  answers(status: number): void {
    this.#hasFailed = this.#isTurned || isFailure(this.#policy, status);
    if (status >= SERVER_ERROR) this.#chargeFailure();
  }

  /** The backend has agreed to a WebSocket, which is all that the evidence is about. */
  upgrades(): void {
    this.#hasFailed = this.#isTurned;
    const nowMs = this.#plane.clock.nowMs();
    this.#judge(nowMs, this.#isTurned ? -1 : (nowMs - this.#startMs) * 1000);
    this.#witness = null;
  }

  /** Holds a failure against the backend, once however often it fails this request. */
  #chargeFailure(): void {
    if (this.#isCharged) return;
    this.#isCharged = true;
    this.#cell.failures++;
    this.#cell.changed = true;
  }

  retry(): void {
    this.#cell.retries++;
    this.#cell.changed = true;
  }

  /** Legacy gets the request, which the candidate did not take: whatever it answers, the candidate failed. */
  turn(): void {
    this.#isTurned = true;
    this.retry();
  }

  /** Remembers how the exchange ended when not by its response. */
  endsBy(code: FaultCode): void {
    this.#fault = code;
  }

  /** Counts and logs the exchange. `isComplete`: the client has got a whole answer. */
  settle(status: number, isComplete: boolean): void {
    const { clock, log } = this.#plane;
    const { head, client, requestId, revision } = this.#subject;
    const nowMs = clock.nowMs();
    const durationMs = nowMs - this.#startMs;
    if (isComplete) this.#cell.finish(status, durationMs * 1000);
    else this.#cell.abort(status);
    const isAnswered = isComplete && this.#fault === null;
    if (isAnswered || this.#hasFailed)
      this.#judge(nowMs, isAnswered && !this.#isTurned ? durationMs * 1000 : -1);
    log.write({
      atMs: clock.wallMs(),
      client,
      method: head.method,
      host: head.host,
      path: head.path,
      minor: head.minor,
      status,
      route: this.#cell.route,
      backend: this.#cell.backend,
      endpoint: this.endpoint?.address ?? "",
      durationMs,
      bytes: this.bytes,
      requestId,
      fault: this.#fault,
      attempts: this.attempts,
      revision,
    });
  }

  /** Counts the request as evidence, if it is. `durationUs`: of the whole answer; -1 without one. */
  #judge(nowMs: number, durationUs: number): void {
    const { failedClients } = this.#plane;
    if (this.#witness === null || failedClients.isFull(nowMs)) return;
    if (this.#hasFailed && !failedClients.add(this.#cell, this.#witness, nowMs)) return;
    this.#cell.judge(this.#hasFailed, durationUs);
  }
}

/** Counts and logs a request that was refused before it could be understood. `text`: how it began. */
export function accountRefusal(plane: Plane, client: string, code: FaultCode, text: string): void {
  const { status } = FAULTS[code];
  const cell = plane.unrouted;
  cell.started++;
  cell.fault(code);
  cell.finish(status, 0);
  plane.log.write({
    atMs: plane.clock.wallMs(),
    client,
    method: "-",
    host: "",
    path: "-",
    minor: 1,
    status,
    route: cell.route,
    backend: cell.backend,
    endpoint: "",
    durationMs: 0,
    bytes: 0,
    requestId: "",
    fault: code,
    attempts: 0,
    revision: plane.serving?.table.revision ?? 0,
    excerpt: text.slice(0, EXCERPT_BYTES),
  });
}
