/**
 * The program of the floor with heads: what passing requests on costs in Node when their heads are read, checked and
 * written by Crossfade's own parts, the client is split by its cookie, and a line is logged.
 *
 * It has no limits of time or number, no queue, no retry, no counters, no evidence, no mirror, no drain, and takes only
 * requests without a body. Crossfade is what comes on top of this.
 */
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { StepClock, systemClock } from "../../../src/base/clock.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { cookieValue } from "../../../src/domain/table.ts";
import { BodyReader } from "../../../src/http/body.ts";
import { requestForward, responseForward } from "../../../src/http/forward.ts";
import { fieldValue, responseBody, type RequestHead } from "../../../src/http/head.ts";
import { parseRequestHead, parseResponseHead } from "../../../src/http/parse.ts";
import { headText } from "../../../src/http/scan.ts";
import { AccessLog } from "../../../src/plane/log.ts";
import { SharedReads, steppedReads } from "../../../src/plane/shared_reads.ts";
import { sideOf, type NodeOrder, type Side } from "./node_work.ts";

const { port, ports, directory } = JSON.parse(process.argv[2] ?? "{}") as NodeOrder;
const clock = new StepClock(systemClock);
const random = systemRandom();
const reads = new SharedReads(clock);
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);
const log = new AccessLog((below) => random.draw(below));
log.configure({ format: "json", samplePercent: 100, path: join(directory, "access.log") });

const idle: Readonly<Record<Side, Upstream[]>> = { legacy: [], candidate: [] };

/** A request on its way. */
interface Asked {
  readonly head: RequestHead;
  readonly client: Socket;
  readonly requestId: string;
  readonly startMs: number;
}

/** A connection to a backend, for one request after the other. */
class Upstream {
  readonly #socket: Socket;
  readonly #side: Side;
  #asked: Asked | null = null;

  constructor(side: Side) {
    this.#side = side;
    const onread = steppedReads(clock, readBuffer, (buffer, length) => this.#onRead(buffer, length));
    this.#socket = connect({ host: "127.0.0.1", port: ports[side], noDelay: true, onread });
    this.#socket.on("error", () => this.#socket.destroy());
    this.#socket.on("close", () => this.#asked?.client.destroy());
  }

  send(asked: Asked): void {
    this.#asked = asked;
    const { head, requestId } = asked;
    const context = { peerAddress: "127.0.0.1", isPeerTrusted: false, requestId, isUpgrade: false };
    this.#socket.write(requestForward(head, context), "latin1");
  }

  /** Answers here are small: they come with one read. */
  #onRead(buffer: Buffer, length: number): void {
    const asked = this.#asked;
    if (asked === null) return;
    const text = headText(buffer, 0, length);
    const head = parseResponseHead(text);
    if (typeof head === "string") return void asked.client.destroy();
    const body = responseBody(head, asked.head.method);
    const options = { keepsLength: false, isLast: false, clientMinor: 1, added: "" } as const;
    let answer = responseForward(head, { body, ...options });
    const reader = new BodyReader(body, head.contentLength);
    let bytes = 0;
    reader.read(buffer.subarray(text.length, length), 0, {
      onBody(piece) {
        bytes += piece.length;
        answer += piece.toString("latin1");
      },
    });
    if (!reader.isDone) return void asked.client.destroy();
    this.#asked = null;
    idle[this.#side].push(this);
    asked.client.write(answer, "latin1");
    this.#log(asked, head.status, bytes);
  }

  #log({ head, requestId, startMs }: Asked, status: number, bytes: number): void {
    log.write({
      atMs: clock.wallMs(),
      client: "127.0.0.1",
      method: head.method,
      host: head.host,
      path: head.path,
      minor: head.minor,
      status,
      route: "r0",
      backend: this.#side,
      endpoint: `http://127.0.0.1:${ports[this.#side]}`,
      durationMs: clock.nowMs() - startMs,
      bytes,
      requestId,
      fault: null,
      attempts: 1,
      revision: 1,
    });
  }
}

function onRequest(client: Socket, buffer: Buffer, length: number): void {
  const head = parseRequestHead(headText(buffer, 0, length));
  if (typeof head === "string") return void client.destroy();
  const uid = cookieValue(fieldValue(head, "cookie"), "uid") ?? "";
  const side = sideOf(uid);
  const upstream = idle[side].pop() ?? new Upstream(side);
  upstream.send({ head, client, requestId: random.id(), startMs: clock.nowMs() });
}

const server = createServer({ noDelay: true }, (client) => {
  client.on("error", () => client.destroy());
  reads.begin(client, (buffer, length) => onRequest(client, buffer, length));
});
server.listen({ port, host: "127.0.0.1", backlog: 4096 });
