/** What one exchange adds up to: counters, the failure charged to its backend, and its line in the access log. */
import { FAULTS, type FaultCode } from "../base/fault.ts";
import type { Endpoint } from "../domain/route.ts";
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

/** The account of one exchange. Opened once, settled once. */
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

  constructor(plane: Plane, subject: AccountSubject) {
    this.#plane = plane;
    this.#subject = subject;
    this.#startMs = plane.clock.nowMs();
    this.#cell = plane.unrouted;
  }

  /** Opens the account in the cell of its route and backend, or in that of the unrouted. */
  open(cell: Cell): void {
    this.#cell = cell;
    cell.started++;
    cell.changed = true;
  }

  /** Counts a fault. One of the backend is held against it, even if another attempt rescues the request. */
  charge(code: FaultCode): void {
    this.#cell.fault(code);
    if (FAULTS[code].side === "upstream") this.chargeFailure();
  }

  /** Holds a failure against the backend, once however often it fails this request. */
  chargeFailure(): void {
    if (this.#isCharged) return;
    this.#isCharged = true;
    this.#cell.failures++;
    this.#cell.changed = true;
  }

  retry(): void {
    this.#cell.retries++;
    this.#cell.changed = true;
  }

  /** Remembers how the exchange ended when not by its response. */
  endsBy(code: FaultCode): void {
    this.#fault = code;
  }

  /** Counts and logs the exchange. `isComplete`: the client has got a whole answer. */
  settle(status: number, isComplete: boolean): void {
    const { clock, log } = this.#plane;
    const { head, client, requestId, revision } = this.#subject;
    const durationMs = clock.nowMs() - this.#startMs;
    if (isComplete) this.#cell.finish(status, durationMs * 1000);
    else this.#cell.abort(status);
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
