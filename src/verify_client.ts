/** One side of a replay: sends requests to a backend's endpoints in turn, and captures each answer within bounds. */
import { Agent, request as begin, type ClientRequest, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { FaultCode } from "./base/fault.ts";
import type { CapturedAnswer } from "./domain/compare_words.ts";
import type { Backend, Endpoint } from "./domain/route.ts";
import type { ReplayedRequest } from "./verify_plan.ts";

/** What a side may do. */
export interface SideOptions {
  /** From the beginning of a request to the end of its answer. */
  readonly timeoutMs: number;
  /** Longer bodies are not kept. */
  readonly bodyBytesMax: number;
  /** Connections to one endpoint. */
  readonly connectionsMax: number;
}

/** As much as Crossfade itself takes of a head. */
const HEAD_BYTES_MAX = 64 * 1024;
/**
 * PROXY headers that name no client: nobody but this program has asked. Source: the PROXY protocol, sections 2.1
 * (UNKNOWN) and 2.2 (LOCAL).
 */
const PROXY_HEADERS: Readonly<Record<"v1" | "v2", Buffer>> = {
  v1: Buffer.from("PROXY UNKNOWN\r\n"),
  v2: Buffer.from("0d0a0d0a000d0a515549540a20000000", "hex"),
};
/** What Node's errors say of connections that never came to be. */
const NAME_FAULTS = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME"]);

/** What came of one attempt; `stale`: a kept connection turned out to be dead. */
type Captured = CapturedAnswer | "stale";

/** How far an answer has come. */
type Phase = "connecting" | "waiting" | "reading";
const TIMEOUTS: Readonly<Record<Phase, FaultCode>> = {
  connecting: "CONNECT_TIMEOUT",
  waiting: "RESPONSE_TIMEOUT",
  reading: "RESPONSE_STALLED",
};
const ENDINGS: Readonly<Record<Phase, FaultCode>> = {
  connecting: "CONNECT_FAILED",
  waiting: "UPSTREAM_RESET",
  reading: "RESPONSE_TRUNCATED",
};

/** A connection pool whose connections begin with a PROXY header, where the backend wants one. */
class SideAgent extends Agent {
  readonly #header: Buffer | null;

  constructor(version: Backend["proxyProtocol"], connectionsMax: number) {
    super({ keepAlive: true, maxSockets: connectionsMax, maxFreeSockets: connectionsMax });
    this.#header = version === undefined ? null : PROXY_HEADERS[version];
  }

  override createConnection(...parameters: Parameters<Agent["createConnection"]>): Duplex | null | undefined {
    const socket = super.createConnection(...parameters);
    // Before anybody else has the socket, so it is the first to be written once there is a connection.
    if (this.#header !== null) socket?.write(this.#header);
    return socket;
  }
}

/** Sends requests to one backend. Holds connections until it is closed. */
export class Side {
  readonly #endpoints: readonly Endpoint[];
  readonly #options: SideOptions;
  readonly #proxyProtocol: Backend["proxyProtocol"];
  readonly #agent: Agent;
  readonly #attempts = new Set<Attempt>();
  #next = 0;
  #isClosed = false;

  constructor(backend: Backend, options: SideOptions) {
    this.#endpoints = backend.endpoints;
    this.#options = options;
    this.#agent = new SideAgent(backend.proxyProtocol, options.connectionsMax);
    this.#proxyProtocol = backend.proxyProtocol;
  }

  /**
   * Sends a request and gives the answer, or the fault that came instead of it. Never throws.
   *
   * A kept connection may die just when it is used again: such a request is sent once more, on a new connection.
   */
  async answer(request: ReplayedRequest): Promise<CapturedAnswer> {
    const endpoint = this.#endpoints[this.#next++ % this.#endpoints.length] as Endpoint;
    const first = await this.#attempt(endpoint, request, this.#agent);
    if (first !== "stale") return first;
    const fresh = new SideAgent(this.#proxyProtocol, 1);
    const again = this.#isClosed ? "stale" : await this.#attempt(endpoint, request, fresh);
    fresh.destroy();
    return again === "stale" ? failed("UPSTREAM_RESET") : again;
  }

  /** Closes every connection at once. Answers that are waited for become faults that say nothing of the backend. */
  close(): void {
    this.#isClosed = true;
    for (const attempt of this.#attempts) attempt.giveUp();
    this.#agent.destroy();
  }

  async #attempt(endpoint: Endpoint, request: ReplayedRequest, agent: Agent): Promise<Captured> {
    const attempt = new Attempt(endpoint, request, this.#options, agent);
    this.#attempts.add(attempt);
    const captured = await attempt.captured;
    this.#attempts.delete(attempt);
    return captured;
  }
}

/** One request on one connection. */
class Attempt {
  /** Settles once. */
  readonly captured: Promise<Captured>;
  readonly #bodyBytesMax: number;
  readonly #request: ClientRequest;
  readonly #timer: NodeJS.Timeout;
  readonly #settle: (captured: Captured) => void;
  #phase: Phase = "connecting";
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(endpoint: Endpoint, request: ReplayedRequest, options: SideOptions, agent: Agent) {
    const { promise, resolve } = Promise.withResolvers<Captured>();
    this.captured = promise;
    this.#settle = resolve;
    this.#bodyBytesMax = options.bodyBytesMax;
    this.#request = begin({
      ...("path" in endpoint ? { socketPath: endpoint.path } : { host: endpoint.host, port: endpoint.port }),
      method: request.method,
      path: request.target,
      headers: request.fields.flat(),
      agent,
      maxHeaderSize: HEAD_BYTES_MAX,
      insecureHTTPParser: false,
    });
    this.#timer = setTimeout(() => this.#fail(TIMEOUTS[this.#phase]), options.timeoutMs);
    this.#listen();
    this.#request.end();
  }

  /** Nobody waits for it any more. */
  giveUp(): void {
    this.#fail(ENDINGS[this.#phase]);
  }

  #listen(): void {
    this.#request.on("socket", (socket) => {
      const onConnected = (): void => {
        this.#phase = "waiting";
      };
      if (socket.connecting) socket.once("connect", onConnected);
      else onConnected();
    });
    this.#request.on("response", (response) => this.#onResponse(response));
    // Nobody asked for another protocol.
    this.#request.on("upgrade", () => this.#fail("BAD_RESPONSE"));
    this.#request.on("error", (error) => this.#onError(error));
  }

  #onResponse(response: IncomingMessage): void {
    this.#phase = "reading";
    response.on("data", (piece: Buffer) => {
      this.#bytes += piece.length;
      // The rest would change nothing: the body is too long to be compared.
      if (this.#bytes > this.#bodyBytesMax) this.#end(response, null);
      else this.#pieces.push(piece);
    });
    response.on("end", () => this.#end(response, Buffer.concat(this.#pieces)));
    response.on("error", (error) => this.#onError(error));
  }

  #onError(error: NodeJS.ErrnoException): void {
    const { code = "" } = error;
    const isStale = this.#phase === "waiting" && this.#request.reusedSocket;
    if (code.startsWith("HPE_")) {
      this.#fail(code === "HPE_HEADER_OVERFLOW" ? "RESPONSE_TOO_LARGE" : "BAD_RESPONSE");
    } else if (isStale) this.#over("stale");
    else if (this.#phase === "connecting" && NAME_FAULTS.has(code)) this.#fail("NAME_UNRESOLVED");
    else if (this.#phase === "connecting" && code === "ETIMEDOUT") this.#fail("CONNECT_TIMEOUT");
    else this.#fail(ENDINGS[this.#phase]);
  }

  #end(response: IncomingMessage, bytes: Buffer | null): void {
    const { statusCode = 0, rawHeaders } = response;
    const fields: [string, string][] = [];
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      fields.push([rawHeaders[at] as string, rawHeaders[at + 1] as string]);
    }
    const codings = fields.filter(([name]) => name.toLowerCase() === "content-encoding");
    const words = codings.map(([, value]) => value).join(", ");
    this.#over({ status: statusCode, fields, codings: words, bytes, fault: null });
    // A connection with the rest of a body on it is of no more use.
    if (bytes === null) this.#request.destroy();
  }

  #fail(code: FaultCode): void {
    this.#over(failed(code));
    this.#request.destroy();
  }

  #over(captured: Captured): void {
    clearTimeout(this.#timer);
    this.#pieces = [];
    this.#settle(captured);
  }
}

function failed(fault: FaultCode): CapturedAnswer {
  return { status: 0, fields: [], codings: "", bytes: null, fault };
}
