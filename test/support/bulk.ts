/** Bodies too large to be held: a backend that streams them, and clients that take, bring, or stop in the middle. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { until } from "./wait.ts";

const PIECE = Buffer.alloc(64 * 1024, "0123456789abcdef");

/**
 * A backend in the test's own process. `/take/N` answers with N bytes, `/bring` with the length of the request's body,
 * `/echo` with the body itself; `/ignore` neither reads nor answers. Never faster than it is read.
 */
export class BulkBackend {
  readonly #server: Server;
  readonly #ignored: ServerResponse[] = [];

  constructor() {
    this.#server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, (request, response) =>
      this.#answer(request, response),
    );
  }

  /** Closes the connections on which it does not read. */
  dropIgnored(): void {
    for (const response of this.#ignored.splice(0)) response.destroy();
  }

  /** Gives its origin. */
  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
      });
    });
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const [, word = "", value = "0"] = (request.url ?? "").split("/");
    if (word === "ignore") return void this.#ignored.push(response);
    if (word === "echo") return void request.pipe(response);
    if (word === "take") {
      response.writeHead(200, { "content-length": value });
      pour(response, Number(value), () => response.end());
      return;
    }
    let length = 0;
    request.on("data", (bytes: Buffer) => (length += bytes.length));
    request.on("end", () => response.end(String(length)));
  }
}

/** Writes so many bytes as fast as they are taken. */
function pour(to: Socket | ServerResponse, length: number, onDone: () => void = () => {}): void {
  let left = length;
  const more = (): void => {
    while (left > 0) {
      const piece = left >= PIECE.length ? PIECE : PIECE.subarray(0, left);
      left -= piece.length;
      if (!to.write(piece)) break;
    }
    if (left > 0) to.once("drain", more);
    else onDone();
  };
  more();
}

/** What a client asks for. */
export interface BulkRequest {
  readonly path: string;
  /** Bytes of the body that it announces, and of those that it sends. */
  readonly announced?: number;
  readonly sent?: number;
  /** It stops reading when it has read so many bytes. */
  readonly readMax?: number;
  /** Complete field lines. */
  readonly fields?: string;
}

/** A client with one request that counts what it gets. */
export class BulkClient {
  received = 0;
  head = "";
  isClosed = false;
  readonly #socket: Socket;

  constructor(port: number, { path, announced = 0, sent = 0, readMax = Infinity, fields = "" }: BulkRequest) {
    this.#socket = connect({ port, host: "127.0.0.1" });
    this.#socket.on("data", (bytes) => {
      if (!this.head.includes("\r\n\r\n")) this.head += bytes.toString("latin1", 0, 2048);
      this.received += bytes.length;
      if (this.received >= readMax) this.#socket.pause();
    });
    this.#socket.on("error", () => (this.isClosed = true));
    this.#socket.on("close", () => (this.isClosed = true));
    const method = announced > 0 ? "POST" : "GET";
    const length = announced > 0 ? `Content-Length: ${announced}\r\n` : "";
    this.#socket.write(`${method} ${path} HTTP/1.1\r\nHost: h\r\n${length}${fields}\r\n`);
    pour(this.#socket, sent);
  }

  /** Waits until so many bytes of a body have come, or a whole short answer. */
  async gets(length: number): Promise<void> {
    await until(
      () => `${length} bytes, got ${this.received}: ${this.head.slice(0, 200)}`,
      () => this.received >= length && this.head.includes("\r\n\r\n"),
    );
  }

  close(): void {
    this.#socket.destroy();
  }
}
