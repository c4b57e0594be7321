/**
 * The program of the floor: bytes passed on between Node's sockets, and nothing else.
 *
 * It takes an idle connection to the backend for each request and looks only for where the answer ends, as a proxy
 * must; it reads no request, splits nothing, checks nothing, counts nothing and logs nothing. Whatever a proxy in Node
 * does comes on top of this.
 */
import { connect, createServer, type Socket } from "node:net";
import { AnswerFraming } from "../framing.ts";
import type { NodeOrder } from "./node_work.ts";

const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

const { port, ports } = JSON.parse(process.argv[2] ?? "{}") as NodeOrder;
const idle: Upstream[] = [];

/** A connection to the backend, for one client after the other. */
class Upstream {
  readonly socket: Socket;
  client: Client | null = null;
  #framing = new AnswerFraming();

  constructor() {
    this.socket = connect({
      host: "127.0.0.1",
      port: ports.legacy,
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (length, buffer) => {
          this.#onRead(buffer as Buffer, length);
          return true;
        },
      },
    });
    this.socket.on("error", () => this.socket.destroy());
    this.socket.on("close", () => this.client?.socket.destroy());
    this.socket.on("drain", () => this.client?.socket.resume());
  }

  #onRead(buffer: Buffer, length: number): void {
    const { client } = this;
    if (client === null) return;
    const mayFollow = client.socket.write(Buffer.from(buffer.subarray(0, length)));
    const answer = this.#framing.take(buffer, length);
    if (answer !== null) {
      this.client = null;
      client.upstream = null;
      idle.push(this);
    } else if (!mayFollow) {
      this.socket.pause();
    }
  }
}

/** A client's connection. */
class Client {
  readonly socket: Socket;
  upstream: Upstream | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.upstream?.socket.resume());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.upstream?.socket.destroy());
  }

  #onData(chunk: Buffer): void {
    if (this.upstream === null) {
      this.upstream = idle.pop() ?? new Upstream();
      this.upstream.client = this;
    }
    if (!this.upstream.socket.write(chunk)) this.socket.pause();
  }
}

const server = createServer({ noDelay: true }, (socket) => new Client(socket));
server.listen({ port, host: "127.0.0.1", backlog: 4096 });
