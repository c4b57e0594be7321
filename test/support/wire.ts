/** Raw sockets for tests: a client that says exactly these bytes, and a backend that answers exactly those. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { until } from "./wait.ts";

/** One connection of a raw client. */
export class RawClient {
  readonly #socket: Socket;
  /** Everything received so far, one character a byte. */
  received = "";
  isEnded = false;
  isReset = false;

  /** Connects to a port of 127.0.0.1 or of another host, or to the path of a Unix socket. */
  constructor(to: number | string | { readonly host: string; readonly port: number }) {
    const tcp = typeof to === "number" ? { port: to, host: "127.0.0.1" } : to;
    const place = typeof tcp === "string" ? { path: tcp } : tcp;
    this.#socket = connect({ ...place, allowHalfOpen: true });
    this.#socket.on("data", (bytes) => (this.received += bytes.toString("latin1")));
    this.#socket.on("end", () => (this.isEnded = true));
    this.#socket.on("error", () => (this.isReset = true));
    this.#socket.on("close", () => (this.isEnded = true));
  }

  send(text: string | Buffer): this {
    this.#socket.write(text, "latin1");
    return this;
  }

  /** Says that nothing more comes, and goes on reading. */
  halfClose(): void {
    this.#socket.end();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Waits until what was received matches, and gives the match. */
  async sees(what: RegExp): Promise<RegExpExecArray> {
    return until(
      () => `the client sees ${what}, it has ${JSON.stringify(this.received.slice(0, 500))}`,
      () => what.exec(this.received),
    );
  }

  async seesEnd(): Promise<string> {
    await until("the connection ends for the client", () => this.isEnded);
    return this.received;
  }
}

/** One connection that a scripted backend got. */
export interface RawExchange {
  readonly socket: Socket;
  /** Everything received on this connection so far. */
  received: string;
  /** Whether the other side has closed or ended it. */
  isEnded: boolean;
}

/** A backend whose every byte the test decides. */
export class RawBackend {
  readonly connections: RawExchange[] = [];
  readonly #server: Server;
  /** Called with each piece received; answers by writing to the socket. */
  script: (exchange: RawExchange, piece: string) => void = () => {};

  constructor() {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const exchange: RawExchange = { socket, received: "", isEnded: false };
      this.connections.push(exchange);
      socket.on("data", (bytes) => {
        const piece = bytes.toString("latin1");
        exchange.received += piece;
        this.script(exchange, piece);
      });
      socket.on("end", () => (exchange.isEnded = true));
      socket.on("close", () => (exchange.isEnded = true));
      socket.on("error", () => (exchange.isEnded = true));
    });
  }

  /** Everything received on all connections. */
  get received(): string {
    return this.connections.map((one) => one.received).join("");
  }

  /** Gives the port, or 0 on a Unix socket. */
  listen(
    at: number | { readonly host: string; readonly port: number } | { readonly path: string } = 0,
  ): Promise<number> {
    const place = typeof at === "number" ? { port: at, host: "127.0.0.1" } : at;
    return new Promise((resolve) => {
      this.#server.listen(place, () => {
        const address = this.#server.address() as AddressInfo | string;
        resolve(typeof address === "string" ? 0 : address.port);
      });
    });
  }

  close(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/** A script that answers every complete bodiless request with the same text. */
export function answering(text: string): RawBackend["script"] {
  return ({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.write(text, "latin1");
  };
}
