/**
 * Backends in this process that keep account of every request: each carries `x-id: CLIENT-NUMBER`, where the numbers of
 * a client only go up, so one that does not was sent twice. The account is as large as there are clients. WebSockets
 * are echoed.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { echo } from "./websocket.ts";

/** Pieces of a streamed answer: 50 ms in all. */
export const PIECES = 10;
export const PIECE_BYTES = 1_000;
const PIECE_MS = 5;
/** Other answers take so long, which is the pace of the clients. */
const ANSWER_MS = 3;
/** Doubles that are kept by name. */
const DOUBLES_MAX = 100;

/** One backend of a ledger; it may be stopped and started again at its address. */
export interface LedgerBackend {
  readonly name: string;
  readonly url: string;
  /** Cuts its connections and frees the address until `start`. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** The account of all backends together. */
export class Ledger {
  /** Ids of requests that came twice and must not. */
  readonly doubled: string[] = [];
  received = 0;
  /** The highest number of each client. */
  readonly #newest = new Map<string, number>();
  readonly #backends: LedgerBackend[] = [];
  /** Those that became WebSockets, which no server counts among its connections any more. */
  readonly #sockets = new Map<string, Set<Duplex>>();

  /** Starts a backend on a free port of an address. */
  async backend(name: string, host = "127.0.0.1"): Promise<LedgerBackend> {
    const first = await listen(this.#serve(name), host, 0);
    const { port } = first.address() as AddressInfo;
    let server: Server | null = first;
    const backend: LedgerBackend = {
      name,
      url: `http://${host}:${port}`,
      stop: async () => {
        const stopping = server;
        server = null;
        if (stopping === null) return;
        stopping.closeAllConnections();
        for (const socket of this.#sockets.get(name) ?? []) socket.destroy();
        await new Promise((resolve) => stopping.close(resolve));
      },
      start: async () => {
        server ??= await listen(this.#serve(name), host, port);
      },
    };
    this.#backends.push(backend);
    return backend;
  }

  async close(): Promise<void> {
    await Promise.all(this.#backends.map((backend) => backend.stop()));
  }

  #serve(name: string): Server {
    const sockets = new Set<Duplex>();
    this.#sockets.set(name, sockets);
    const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#note(request);
      response.setHeader("x-backend", name);
      response.setHeader("x-id", String(request.headers["x-id"]));
      if (request.url === "/stream") return stream(response, PIECES);
      let bytes = 0;
      request.on("data", (piece: Buffer) => (bytes += piece.length));
      request.on("end", () => {
        setTimeout(() => response.end(answerTo(request.method, bytes)), ANSWER_MS);
      });
      return undefined;
    });
    return server.on("upgrade", (request, socket: Duplex, head) => {
      this.#note(request);
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      echo(request, socket, head, ANSWER_MS);
    });
  }

  #note(request: IncomingMessage): void {
    this.received++;
    const id = String(request.headers["x-id"]);
    const [client = "", number = ""] = id.split("-");
    const isNew = Number(number) > (this.#newest.get(client) ?? 0);
    if (isNew) this.#newest.set(client, Number(number));
    // What changes nothing may be sent again when its connection dies; anything else never.
    else if (request.method === "POST" && this.doubled.length < DOUBLES_MAX) this.doubled.push(id);
  }
}

/** What a backend answers to a request whose body had so many bytes. */
export function answerTo(method: string | undefined, bytes: number): string {
  return JSON.stringify({ method, bytes });
}

function listen(server: Server, host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once("error", reject).listen(port, host, () => resolve(server));
  });
}

function stream(response: ServerResponse, pieces: number): void {
  if (pieces <= 0 || response.destroyed) return void response.end();
  response.write("x".repeat(PIECE_BYTES));
  setTimeout(() => stream(response, pieces - 1), PIECE_MS);
}
