/**
 * A backend for tests, as a process of its own: `node test/support/backend.ts --name legacy --port 0`.
 *
 * Says `{"port": n}` on standard output once it listens, and ends with whoever started it. Answers every request with
 * JSON: name, method, path, query, headers (lower case; repeated ones joined) and the count of requests so far.
 * `/status/N` answers N, `/delay/MS` answers late, `/bytes/N` sends N bytes, `/echo` sends the body back,
 * `/stream/N` sends N pieces as they come, `/close` cuts the connection. `POST /_fail?ratio=R` makes that part of
 * the other requests fail with 500 (every request for 1), with `&path=P` only of those whose path begins so;
 * `POST /_slow?factor=F` makes `/delay/MS` take that many times as long. `GET /_count` tells how many there were.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";

/** What a backend says when it listens. */
export interface BackendSays {
  readonly port: number;
}

/** What a backend answers with unless the path asks for something else. */
export interface BackendAnswer {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly count: number;
}

/** Pieces of a streamed answer. */
const PIECE_BYTES = 1024;
const PIECE_MS = 5;

/** One backend, which counts and can be made to fail. */
class TestBackend {
  readonly #name: string;
  #count = 0;
  #failRatio = 0;
  /** Only these paths fail. */
  #failPath = "/";
  #slowFactor = 1;
  /** Failures owed: grows by the ratio with each request, so that the share is exact and needs no chance. */
  #owed = 0;

  constructor(name: string) {
    this.#name = name;
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://backend");
    response.setHeader("x-backend", this.#name);
    const [, word = "", value = ""] = url.pathname.split("/");
    const number = Number(value);
    if (word === "_count") return json(response, 200, { count: this.#count });
    if (word === "_fail") {
      this.#failRatio = Number(url.searchParams.get("ratio"));
      this.#failPath = url.searchParams.get("path") ?? "/";
      return json(response, 200, { ratio: this.#failRatio });
    }
    if (word === "_slow") {
      this.#slowFactor = Number(url.searchParams.get("factor"));
      return json(response, 200, { factor: this.#slowFactor });
    }
    this.#count++;
    const mayFail = url.pathname.startsWith(this.#failPath);
    if (mayFail) this.#owed += this.#failRatio;
    if (mayFail && this.#owed >= 1) {
      this.#owed -= 1;
      return json(response, 500, { name: this.#name, failed: true });
    }
    if (word === "close") return void request.socket.destroy();
    if (word === "status") return json(response, number, this.#describe(request, url));
    if (word === "bytes") return void response.end(Buffer.alloc(number, "x"));
    if (word === "stream") return stream(response, number);
    if (word === "echo") return void request.pipe(response);
    if (word === "delay") {
      setTimeout(() => json(response, 200, this.#describe(request, url)), number * this.#slowFactor);
      return;
    }
    request.resume();
    json(response, 200, this.#describe(request, url));
  }

  #describe(request: IncomingMessage, url: URL): BackendAnswer {
    const headers = Object.entries(request.headers).map(([name, value]) => [name, [value].flat().join(", ")]);
    return {
      name: this.#name,
      method: request.method ?? "",
      path: url.pathname,
      query: url.search,
      headers: Object.fromEntries(headers) as Record<string, string>,
      count: this.#count,
    };
  }
}

function json(response: ServerResponse, status: number, body: object): void {
  const text = status === 204 || status === 304 ? "" : JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json" }).end(text);
}

function stream(response: ServerResponse, pieces: number): void {
  if (pieces <= 0) return void response.end();
  response.write("x".repeat(PIECE_BYTES));
  setTimeout(() => stream(response, pieces - 1), PIECE_MS);
}

const { values } = parseArgs({
  options: { name: { type: "string", default: "backend" }, port: { type: "string", default: "0" } },
});
const backend = new TestBackend(values.name);
const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) =>
  backend.answer(request, response),
);
server.listen(Number(values.port), "127.0.0.1", () => {
  const says: BackendSays = { port: (server.address() as AddressInfo).port };
  process.stdout.write(`${JSON.stringify(says)}\n`);
});
// Whoever started it holds the other end of standard input.
process.stdin.once("end", () => process.exit(0)).resume();
