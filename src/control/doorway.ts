/** The control socket: where workers connect and say hello. */
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { dirname } from "node:path";
import { openChannel } from "../shared/channel.ts";
import type { Channel, ChannelEvents, ControlChannel } from "../shared/channel.ts";
import type { ControlMessage, WorkerMessage } from "../shared/messages.ts";
import type { Hello } from "./roster.ts";

/** A connection that has not said hello by then is closed, in milliseconds. */
const HELLO_MAX_MS = 5_000;

/** Far more than there are workers; beyond it connections are closed at once. */
const CONNECTIONS_MAX = 4_096;

/** The kernel's bound for the path of a Unix socket on Linux (sockaddr_un), less its final zero. */
const UNIX_PATH_BYTES_MAX = 107;

/** Who lets workers in. Gives whoever hears the worker from then on. */
export type Receive = (hello: Hello, channel: ControlChannel) => ChannelEvents<WorkerMessage>;

/** The open control socket. */
export class Doorway {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Listens at a path whose directory only this user can enter. A socket left there by an earlier run is replaced:
   * the caller holds the lock that makes it the only control process.
   */
  static async open(path: string, receive: Receive): Promise<Doorway> {
    if (Buffer.byteLength(path) > UNIX_PATH_BYTES_MAX) {
      throw new Error(`${path} is too long for a Unix socket: choose a shorter run_dir`);
    }
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    rmSync(path, { force: true });
    const server = createServer();
    server.maxConnections = CONNECTIONS_MAX;
    const doorway = new Doorway(server);
    server.on("connection", (socket) => doorway.#greet(socket, receive));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ path }, resolve);
    });
    chmodSync(path, 0o600);
    return doorway;
  }

  /** Closes the socket and every channel. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #greet(socket: Socket, receive: Receive): void {
    this.#sockets.add(socket);
    let owner: ChannelEvents<WorkerMessage> | null = null;
    const channel: Channel<ControlMessage> = openChannel<WorkerMessage, ControlMessage>(socket, {
      onMessage(message) {
        if (owner !== null) return owner.onMessage(message);
        if (!isHello(message)) return channel.close("the peer did not say hello");
        clearTimeout(deadline);
        owner = receive(message, channel);
      },
      onClose: (cause) => {
        clearTimeout(deadline);
        this.#sockets.delete(socket);
        owner?.onClose(cause);
      },
    });
    const deadline = setTimeout(() => channel.close("the peer did not say hello in time"), HELLO_MAX_MS);
  }
}

/** These fields mean the same in every protocol: they are how workers of another one are recognised. */
function isHello(message: WorkerMessage): message is Hello {
  if (message.type !== "hello") return false;
  const whole = [message.protocol, message.pid, message.worker, message.revision].every(Number.isSafeInteger);
  return whole && message.pid > 0 && Array.isArray(message.listen);
}
