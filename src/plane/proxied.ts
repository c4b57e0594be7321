/** A new connection from a load balancer: it must begin with a PROXY header before it may speak HTTP. */
import type { Socket } from "node:net";
import { readProxyHeader, type Place } from "../http/proxy_protocol.ts";
import type { Timed } from "./deadlines.ts";
import type { Drained } from "./drain.ts";
import { HEAD_MS } from "./patience.ts";
import type { Peer } from "./peer.ts";
import type { Plane } from "./plane.ts";

/** Hears what becomes of the connection: exactly one of the two is called, exactly once. */
export interface ProxiedOwner {
  /** `client` is null when the connection is the load balancer's own. `rest` came after the header. */
  onHeader(connection: Proxied, client: Place | null, rest: Buffer): void;
  /** It is closed without a header. `isRefused`: what came was no header, or too little came in time. */
  onNoHeader(connection: Proxied, isRefused: boolean): void;
}

/** Reads the header of one connection, and then lets go of it. Holds no more than one read and a header. */
export class Proxied implements Timed, Drained {
  deadlineMs: number;
  readonly occupation = "idle";
  readonly socket: Socket;
  /** Who sends the header. */
  readonly peer: Peer;
  readonly #plane: Plane;
  readonly #owner: ProxiedOwner;
  #bytes: Buffer = Buffer.alloc(0);
  #isOver = false;
  readonly #onData = (chunk: Buffer): void => this.#read(chunk);
  readonly #onGone = (): void => this.destroy();

  constructor(socket: Socket, peer: Peer, plane: Plane, owner: ProxiedOwner) {
    this.socket = socket;
    this.peer = peer;
    this.#plane = plane;
    this.#owner = owner;
    this.deadlineMs = plane.clock.nowMs() + HEAD_MS;
    plane.deadlines.add(this);
    socket.on("data", this.#onData);
    for (const event of ["end", "error", "close"]) socket.on(event, this.#onGone);
  }

  closeIfIdle(): void {
    this.destroy();
  }

  leave(): void {}

  destroy(): void {
    this.#close(false);
  }

  onDeadline(): void {
    this.#close(true);
  }

  #read(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const header = readProxyHeader(this.#bytes);
    if (header === "more") return;
    if (header === "bad") {
      this.#close(true);
      return;
    }
    this.#letGo();
    this.#owner.onHeader(this, header.client, this.#bytes.subarray(header.bytes));
  }

  #close(isRefused: boolean): void {
    if (this.#isOver) return;
    this.#letGo();
    // Whatever still happens to the socket is nobody's concern.
    this.socket.on("error", () => this.socket.destroy());
    this.socket.destroy();
    this.#owner.onNoHeader(this, isRefused);
  }

  #letGo(): void {
    this.#isOver = true;
    this.deadlineMs = Infinity;
    this.#plane.deadlines.remove(this);
    this.socket.off("data", this.#onData);
    for (const event of ["end", "error", "close"]) this.socket.off(event, this.#onGone);
  }
}
