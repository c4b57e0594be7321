/**
 * The backend of all contenders, in the process that makes the load.
 *
 * One event loop on one processor for both means that the operating system never has to choose between them, so what a
 * contender is asked depends on nothing but itself.
 */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** What can be asked for, by the last segment of the path. */
export const PAGES = {
  small: { bytes: 128, pieces: 1 },
  "64k": { bytes: 64 * 1024, pieces: 1 },
  "1m": { bytes: 1024 * 1024, pieces: 1 },
  /** Chunks that come one by one. */
  stream: { bytes: 16 * 1024, pieces: 16 },
} as const;

/** One of them. */
export type Page = keyof typeof PAGES;

const HEAD =
  "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Oct 2026 12:00:00 GMT\r\n" +
  'Content-Type: application/json\r\nCache-Control: no-store\r\nETag: "0123456789"\r\n';
const HEAD_END = "\r\n\r\n";
const LENGTH = /\r\ncontent-length: *(\d+)/i;

/** The pieces of each answer, ready to be sent. */
const ANSWERS = new Map<string, readonly Buffer[]>(
  Object.entries(PAGES).map(([page, { bytes, pieces }]) => [page, piecesOf(bytes, pieces)]),
);

function piecesOf(bytes: number, pieces: number): Buffer[] {
  if (pieces === 1) return [Buffer.from(`${HEAD}Content-Length: ${bytes}${HEAD_END}${"x".repeat(bytes)}`)];
  const size = bytes / pieces;
  const chunk = Buffer.from(`${size.toString(16)}\r\n${"x".repeat(size)}\r\n`);
  return [
    Buffer.from(`${HEAD}Transfer-Encoding: chunked${HEAD_END}`),
    ...Array.from({ length: pieces }, () => chunk),
    Buffer.from("0\r\n\r\n"),
  ];
}

/** One address that answers. Requests come one at a time on a connection, their bodies with a Content-Length. */
export class BenchBackend implements AsyncDisposable {
  /** Requests answered so far. */
  answered = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  static async start(): Promise<BenchBackend> {
    const backend = new BenchBackend();
    backend.#server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 });
    await once(backend.#server, "listening");
    return backend;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    const reader = new RequestReader((page) => {
      this.answered++;
      answer(socket, page);
    });
    socket.on("data", (chunk: Buffer) => reader.take(chunk));
    // Contenders close as they like; what a client misses by that is counted at the client.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

/** Finds the requests on one connection, and says what each asks for when it is complete. */
class RequestReader {
  readonly #onRequest: (page: string) => void;
  #head = "";
  #page = "";
  #left = 0;

  constructor(onRequest: (page: string) => void) {
    this.#onRequest = onRequest;
  }

  take(chunk: Buffer): void {
    if (this.#left > 0) {
      this.#takeBody(chunk.length);
      return;
    }
    const text = this.#head + chunk.toString("latin1");
    const end = text.indexOf(HEAD_END);
    if (end === -1) {
      this.#head = text;
      return;
    }
    this.#head = "";
    const line = text.slice(0, text.indexOf("\r\n"));
    const target = line.slice(0, line.lastIndexOf(" "));
    this.#page = target.slice(target.lastIndexOf("/") + 1);
    this.#left = line.startsWith("POST") ? Number(LENGTH.exec(text)?.[1] ?? 0) : 0;
    this.#takeBody(text.length - end - HEAD_END.length);
  }

  #takeBody(bytes: number): void {
    this.#left -= bytes;
    if (this.#left <= 0) this.#onRequest(this.#page);
  }
}

function answer(socket: Socket, page: string): void {
  const pieces = ANSWERS.get(page) ?? [Buffer.from("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")];
  const sendFrom = (at: number): void => {
    const piece = pieces[at];
    if (piece === undefined || socket.destroyed) return;
    socket.write(piece);
    if (at + 1 < pieces.length) setImmediate(sendFrom, at + 1);
  };
  sendFrom(0);
}
