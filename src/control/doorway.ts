/** The control socket: where workers connect and say hello. */
import { once } from "node:events";
import { chmodSync, lstatSync, mkdirSync, renameSync, rmSync } from "node:fs";
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

/** A socket is bound under this extra name and then moved over its real one: that takes the path in one step. */
const NEW_SUFFIX = ".n";

/** Who lets workers in. Gives whoever hears the worker from then on. */
export type Receive = (hello: Hello, channel: ControlChannel) => ChannelEvents<WorkerMessage>;

/** The open control socket. */
export class Doorway {
  readonly #path: string;
  readonly #receive: Receive;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  /** Of the socket at the path while it is this one's. */
  #inode: bigint | null = null;

  private constructor(path: string, receive: Receive) {
    this.#path = path;
    this.#receive = receive;
  }

  /**
   * Listens at a path whose directory only this user can enter. A socket that is there is replaced: the caller holds
   * the lock that makes it the only control process, or is about to take over from the one that does, whose channels
   * stay open.
   */
  static async open(path: string, receive: Receive): Promise<Doorway> {
    if (Buffer.byteLength(path + NEW_SUFFIX) > UNIX_PATH_BYTES_MAX) {
      throw new Error(`${path} is too long for a Unix socket: choose a shorter run_dir`);
    }
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const doorway = new Doorway(path, receive);
    await doorway.#listen();
    return doorway;
  }

  /** Takes the path back from a process that took it and has ended. */
  async reopen(): Promise<void> {
    if (this.#isAtPath()) return;
    this.#server?.close();
    await this.#listen();
  }

  /** Closes the socket and every channel. */
  async close(): Promise<void> {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    if (this.#server === null) resolve();
    this.#server?.close(() => resolve());
    if (this.#isAtPath()) rmSync(this.#path, { force: true });
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #listen(): Promise<void> {
    const bound = this.#path + NEW_SUFFIX;
    rmSync(bound, { force: true });
    const server = createServer((socket) => this.#greet(socket));
    this.#server = server;
    server.maxConnections = CONNECTIONS_MAX;
    server.listen({ path: bound });
    await once(server, "listening");
    chmodSync(bound, 0o600);
    renameSync(bound, this.#path);
    this.#inode = lstatSync(this.#path, { bigint: true }).ino;
  }

  #isAtPath(): boolean {
    return lstatSync(this.#path, { bigint: true, throwIfNoEntry: false })?.ino === this.#inode;
  }

  #greet(socket: Socket): void {
    this.#sockets.add(socket);
    let owner: ChannelEvents<WorkerMessage> | null = null;
    const channel: Channel<ControlMessage> = openChannel<WorkerMessage, ControlMessage>(socket, {
      onMessage: (message) => {
        if (owner !== null) return owner.onMessage(message);
        if (!isHello(message)) return channel.close("the peer did not say hello");
        clearTimeout(deadline);
        owner = this.#receive(message, channel);
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

/** Sends a worker back to the control process that is still in charge. */
export function turnAway(channel: ControlChannel): ChannelEvents<WorkerMessage> {
  channel.close("another control process is in charge");
  return { onMessage: () => undefined, onClose: () => undefined };
}

/** These fields mean the same in every protocol: they are how workers of another one are recognised. */
function isHello(message: WorkerMessage): message is Hello {
  if (message.type !== "hello") return false;
  const whole = [message.protocol, message.pid, message.worker, message.revision].every(Number.isSafeInteger);
  return whole && message.pid > 0 && Array.isArray(message.listen);
}
