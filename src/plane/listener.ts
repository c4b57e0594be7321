/** The listening sockets of one worker: accept, limit, drain. */
import { createServer, type Server, type Socket } from "node:net";
import { faultResponse } from "../http/write.ts";
import type { Place } from "../http/proxy_protocol.ts";
import type { DrainOptions, Listening } from "../shared/messages.ts";
import { Downstream, type DownstreamOwner } from "./downstream.ts";
import { UNIX_PEER, plainAddress, type Peer } from "./peer.ts";
import type { Plane } from "./plane.ts";
import { Proxied, type ProxiedOwner } from "./proxied.ts";

/** Connections that the kernel holds until they are accepted. */
const BACKLOG = 4096;
/** A client that does not read is told to wait once so much is queued for it. */
const WRITE_QUEUE_BYTES = 64 * 1024;

const PLAIN: Listening = { isUnix: false, takesProxyHeader: false };

/** Accepts clients on inherited sockets and holds their connections. */
export class Listener implements DownstreamOwner, ProxiedOwner {
  accepted = 0;
  refused = 0;
  readonly #plane: Plane;
  readonly #connections = new Set<Downstream | Proxied>();
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
  listen(fd: number, listening: Listening = PLAIN): Promise<void> {
    const options = { allowHalfOpen: true, noDelay: true, highWaterMark: WRITE_QUEUE_BYTES };
    const server = createServer(options, (socket) => this.#accept(socket, listening));
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
    if (!connection.isPeerTrusted) this.#plane.caps.close(connection.peerAddress);
    this.#forget(connection);
  }

  onHeader(connection: Proxied, client: Place | null, rest: Buffer): void {
    const { socket } = connection;
    this.#connections.delete(connection);
    // Only trusted peers get here. What the client behind one says is believed only if it is trusted itself:
    // a load balancer that adds this header passes on whatever header fields its clients make up.
    const peer = client === null ? connection.peer : this.#named(client.address);
    this.#admit(socket, peer);
    if (rest.length > 0 && !socket.destroyed) socket.unshift(rest);
    if (this.#connections.size === 0) this.#onDrained?.();
  }

  onNoHeader(connection: Proxied, isRefused: boolean): void {
    if (isRefused) this.refused++;
    this.#forget(connection);
  }

  #forget(connection: Downstream | Proxied): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onDrained?.();
  }

  /**
   * Stops in steps: goes on accepting for the grace, then stops; kept-alive connections may bring one more request,
   * whose answer closes them; what is idle is closed after `idleMs`; what is left is cut at the deadline, WebSockets
   * at one of their own. Calls `onDrained` once when no connection is left.
   */
  drain(options: DrainOptions, onDrained: () => void): void {
    this.#plane.isDraining = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const idleAtMs = Math.min(options.graceMs + options.idleMs, options.deadlineMs);
    this.#timers = [
      setTimeout(() => this.#stopAccepting(onDrained), options.graceMs),
      setTimeout(() => this.#closeIdle(), idleAtMs),
      setTimeout(() => this.#cut(false), options.deadlineMs),
      setTimeout(() => this.#cut(true), Math.max(options.deadlineMs, options.tunnelsMs)),
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

  #cut(withTunnels: boolean): void {
    for (const connection of this.#connections) if (withTunnels || !connection.isTunnel) connection.destroy();
  }

  #accept(socket: Socket, { isUnix, takesProxyHeader }: Listening): void {
    const peer = isUnix ? this.#named(UNIX_PEER) : this.#named(plainAddress(socket.remoteAddress));
    if (takesProxyHeader && !peer.isTrusted) {
      // Not worth an answer: whoever may come here does not speak HTTP first.
      this.refused++;
      socket.on("error", () => socket.destroy());
      socket.destroy();
    } else if (this.#connections.size >= this.#plane.connectionsMax) {
      this.#refuse(socket);
    } else if (takesProxyHeader) {
      this.#connections.add(new Proxied(socket, peer, this.#plane, this));
    } else {
      this.#admit(socket, peer);
    }
  }

  #named(address: string): Peer {
    return { address, isTrusted: this.#plane.trusted.isTrusted(address) };
  }

  #admit(socket: Socket, peer: Peer): void {
    if (!peer.isTrusted && !this.#plane.caps.open(peer.address)) {
      this.#refuse(socket);
      return;
    }
    this.accepted++;
    this.#connections.add(new Downstream(socket, peer, this.#plane, this));
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
