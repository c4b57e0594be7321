/** What the proxies made of Node's own HTTP share: their arguments, the side of a client, the fields, the log. */
import { createWriteStream, type WriteStream } from "node:fs";
import type { IncomingMessage } from "node:http";
import { systemRandom } from "../../../src/base/random.ts";
import { bucketOf } from "../../../src/domain/split.ts";
import { cookieValue } from "../../../src/domain/table.ts";
import { SHARES_TOTAL } from "../../../src/domain/route.ts";
import { CANDIDATE_PERCENT, type Ports } from "../contender.ts";

/** What such a program is told, as JSON in its only argument. */
export interface NodeOrder {
  readonly port: number;
  readonly ports: Ports;
  readonly mirrorPercent: number;
  readonly hasLog: boolean;
  readonly directory: string;
}

/** Where a request goes. */
export type Side = "legacy" | "candidate";

/** The side of the client with this identity, split as Crossfade would. */
export function sideOf(uid: string): Side {
  return bucketOf("legacy/new", uid) < (CANDIDATE_PERCENT / 100) * SHARES_TOTAL ? "candidate" : "legacy";
}

/** A request with what was found out about it. */
export interface Handled {
  readonly side: Side;
  readonly requestId: string;
  readonly isMirrored: boolean;
  readonly startMs: number;
}

/** Lines are written in pieces of this size, as Crossfade does. */
const WRITE_BYTES = 128 * 1024;

/** The work of one such program. */
export class NodeWork {
  readonly order: NodeOrder;
  readonly #random = systemRandom();
  readonly #log: WriteStream | null;
  #lines = "";

  constructor() {
    this.order = JSON.parse(process.argv[2] ?? "{}") as NodeOrder;
    this.#log = this.order.hasLog ? createWriteStream(`${this.order.directory}/access.log`) : null;
  }

  /** Decides about a request, and puts the forwarding fields into it. */
  take(request: IncomingMessage): Handled {
    const uid = cookieValue(request.headers.cookie, "uid") ?? "";
    const requestId = this.#random.id();
    const { headers } = request;
    headers["x-forwarded-for"] = request.socket.remoteAddress ?? "";
    headers["x-forwarded-proto"] = "http";
    headers["x-forwarded-host"] = headers.host ?? "";
    headers["x-request-id"] = requestId;
    headers["via"] = "1.1 node";
    return {
      side: sideOf(uid),
      requestId,
      isMirrored: this.#random.draw(100) < this.order.mirrorPercent,
      startMs: performance.now(),
    };
  }

  /** Writes a line about a request that was answered. */
  finish(request: IncomingMessage, status: number, handled: Handled): void {
    if (this.#log === null) return;
    this.#lines += `${JSON.stringify({
      time: new Date().toISOString(),
      client: request.socket.remoteAddress,
      method: request.method,
      host: request.headers.host,
      path: request.url,
      status,
      route: "r0",
      backend: handled.side,
      duration_ms: performance.now() - handled.startMs,
      request_id: handled.requestId,
    })}\n`;
    if (this.#lines.length < WRITE_BYTES) return;
    this.#log.write(this.#lines);
    this.#lines = "";
  }
}
