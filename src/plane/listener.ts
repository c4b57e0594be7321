/** The listening sockets of one worker: accept, limit, drain. */
import { createServer, type Server, type Socket } from "node:net";
import { faultResponse } from "../http/write.ts";
import type { Place } from "../http/proxy_protocol.ts";
import type { OpenConnections } from "../shared/counters.ts";
import type { DrainOptions, Listening } from "../shared/messages.ts";
import { Drain } from "./drain.ts";
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
    let kind = listening;
    const server = createServer(options, (socket) => this.#accept(socket, kind));
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd, backlog: BACKLOG }, () => {
        server.off("error", reject);
        // What a socket that somebody else opened is, only the socket tells: a Unix socket has no port.
        const address = server.address();
        if (address === null || typeof address === "string") kind = { ...listening, isUnix: true };
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
    this.#plane.drain?.forget(connection);
    if (this.#connections.size === 0) this.#onDrained?.();
  }

  /** Stops in steps; another order replaces the one before. Calls `onDrained` once when no connection is left. */
  drain(options: DrainOptions, onDrained: () => void): void {
    const { clock, random, deadlines } = this.#plane;
    if (this.#plane.drain !== null) deadlines.remove(this.#plane.drain);
    const drain = new Drain(options, {
      clock,
      random,
      connections: () => this.#connections,
      stopAccepting: () => this.#stopAccepting(onDrained),
    });
    this.#plane.drain = drain;
    deadlines.add(drain);
    // What is due at once does not wait for a sweep.
    drain.onDeadline(clock.nowMs());
  }

  /** Ends the WebSockets and streams that the table which is served now wants elsewhere. */
  evacuate(): void {
    for (const connection of this.#connections) {
      if (connection instanceof Downstream) connection.evacuate();
    }
  }

  /** The connections by what they are at. */
  get openNow(): OpenConnections {
    const open = { idle: 0, requests: 0, tunnels: 0, streams: 0 };
    for (const { occupation } of this.#connections) open[occupation]++;
    return open;
  }

  #stopAccepting(onDrained: () => void): void {
    for (const server of this.#servers.splice(0)) server.close();
    this.#onDrained = () => {
      this.#onDrained = null;
      onDrained();
    };
    // Not from within the order: whoever gave it is not done with it.
    if (this.#connections.size === 0) setImmediate(() => this.#onDrained?.());
  }

  #accept(socket: Socket, { isUnix, takesProxyHeader }: Listening): void {
    const peer = isUnix ? this.#named(UNIX_PEER) : this.#named(plainAddress(socket.remoteAddress));
    if (takesProxyHeader && !peer.isTrusted) {
      // Not worth an answer: whoever may come here does not speak HTTP first.
      this.refused++;
      socket.on("error", () => socket.destroy());
      socket.destroy();
    } else if (
      this.#plane.pressure === "connections" ||
      this.#connections.size >= this.#plane.connectionsMax
    ) {
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
