/** The listening sockets of one worker: accept, limit, drain. */
import { createServer, type Server, type Socket } from "node:net";
import { faultResponse } from "../http/write.ts";
import type { DrainOptions } from "../shared/messages.ts";
import { Downstream, type DownstreamOwner } from "./downstream.ts";
import type { Plane } from "./plane.ts";

/** Connections that the kernel holds until they are accepted. */
const BACKLOG = 4096;
/** A client that does not read is told to wait once so much is queued for it. */
const WRITE_QUEUE_BYTES = 64 * 1024;

/** Accepts clients on inherited sockets and holds their connections. */
export class Listener implements DownstreamOwner {
  accepted = 0;
  refused = 0;
  readonly #plane: Plane;
  readonly #connections = new Set<Downstream>();
  readonly #servers: Server[] = [];
  #timers: NodeJS.Timeout[] = [];
  #onDrained: (() => void) | null = null;

  constructor(plane: Plane) {
    this.#plane = plane;
  }

  get open(): number {
    return this.#connections.size;
  }

  /** Accepts on the descriptor of a bound socket that this process inherited. Settles when it listens. */
  listen(fd: number): Promise<void> {
    const options = { allowHalfOpen: true, noDelay: true, highWaterMark: WRITE_QUEUE_BYTES };
    const server = createServer(options, (socket) => this.#accept(socket));
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd, backlog: BACKLOG }, () => {
        server.off("error", reject);
        // Running out of descriptors is survived: the kernel holds the connections until there are some again.
        server.on("error", () => {
          this.refused++;
        });
        resolve();
      });
    });
  }

  onClosed(connection: Downstream): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onDrained?.();
  }

  /**
   * Stops in steps: goes on accepting for the grace, then stops; kept-alive connections may bring one more request,
   * whose answer closes them; what is idle is closed after `idleMs`; what is left is cut at the deadline.
   * Calls `onDrained` once when no connection is left, at the latest at the deadline.
   */
  drain(options: DrainOptions, onDrained: () => void): void {
    this.#plane.isDraining = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const idleAtMs = Math.min(options.graceMs + options.idleMs, options.deadlineMs);
    this.#timers = [
      setTimeout(() => this.#stopAccepting(onDrained), options.graceMs),
      setTimeout(() => this.#closeIdle(), idleAtMs),
      setTimeout(() => this.#cutAll(), options.deadlineMs),
    ];
  }

  #stopAccepting(onDrained: () => void): void {
    for (const server of this.#servers.splice(0)) server.close();
    this.#onDrained = () => {
      this.#onDrained = null;
      for (const timer of this.#timers) clearTimeout(timer);
      onDrained();
    };
    if (this.#connections.size === 0) this.#onDrained();
  }

  #closeIdle(): void {
    for (const connection of this.#connections) connection.closeIfIdle();
  }

  #cutAll(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= this.#plane.connectionsMax) {
      this.#refuse(socket);
      return;
    }
    this.accepted++;
    this.#connections.add(new Downstream(socket, this.#plane, this));
  }

  #refuse(socket: Socket): void {
    this.refused++;
    const date = new Date(this.#plane.clock.wallMs()).toUTCString();
    socket.on("error", () => socket.destroy());
    socket.end(faultResponse("OVERLOADED", { date, withBody: true, isLast: true, requestId: "" }), "latin1");
    // It sends nothing that we would read; without this its half of the connection could stay open.
    socket.destroySoon();
  }
}
