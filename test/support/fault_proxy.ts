/** A TCP proxy on loopback that does to connections what networks do: cuts, refuses, stalls, delays, loses answers. */
import { BoundSocket, connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { FaultPipe, type PipeEnds, type PipeFaults } from "./fault_pipe.ts";

/** Where connections go: a port of 127.0.0.1, the path of a Unix socket, or a host and a port. */
export type ProxyTarget = number | string | { readonly host: string; readonly port: number };

/** What the proxy has seen so far. Bytes are those passed on: `bytesUp` to the target, `bytesDown` to clients. */
export interface ProxyCounts {
  readonly accepted: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Connections that this proxy has cut, for whatever reason. */
  readonly cut: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** Faults that hold for all connections, old and new, until they are told otherwise. */
type Faults = { -readonly [Name in keyof PipeFaults]: PipeFaults[Name] } & { dropsAnswers: boolean };

const NO_FAULTS: Readonly<Faults> = {
  isStalled: false,
  delayMs: 0,
  bytesPerSecond: Infinity,
  isHalfOpen: false,
  closeDelayMs: 0,
  dropsAnswers: false,
};

/** An answer that is to be cut: how many bytes of it may pass, and whose it is once it has begun. */
interface Truncation {
  bytesLeft: number;
  pair: Pair | null;
}

/** One client's connection and the one to the target. */
interface Pair {
  readonly client: Socket;
  readonly target: Socket;
  readonly pipes: readonly FaultPipe[];
}

/** The proxy. It knows only bytes, holds at most 128 KiB of them per direction, and then stops reading. */
export class FaultProxy implements AsyncDisposable {
  readonly #reserved: BoundSocket | null;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #counts = { accepted: 0, cut: 0, bytesUp: 0, bytesDown: 0 };
  readonly #faults: Faults = { ...NO_FAULTS };
  #truncation: Truncation | null = null;
  #target: ProxyTarget;
  #port: number;

  constructor(target: ProxyTarget) {
    this.#target = target;
    // Bound and not listening: keeps the port while connections are refused. Only Linux lets two have it.
    const canShare = process.platform === "linux";
    this.#reserved = canShare ? new BoundSocket({ host: "127.0.0.1", reusePort: true }) : null;
    this.#port = this.#reserved?.address().port ?? 0;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  /** Where clients connect to, on 127.0.0.1; stays the same while connections are refused. */
  get port(): number {
    return this.#port;
  }

  /** What it has seen. */
  get counts(): ProxyCounts {
    return { ...this.#counts, open: this.#pairs.size };
  }

  /** Resets all connections, on both sides. Gives how many. New ones are welcome. */
  cut(): number {
    const pairs = [...this.#pairs];
    for (const pair of pairs) this.#cut(pair);
    return pairs.length;
  }

  /** Refuses new connections as if nobody listened (ECONNREFUSED); open ones go on. */
  async refuse(isRefusing: boolean): Promise<void> {
    if (isRefusing === !this.#server.listening) return;
    if (!isRefusing) return this.listen();
    // The callback of close() waits for the last connection; the port is closed at once.
    this.#server.close();
  }

  /** Holds the bytes of both directions, and stops reading when the buffers are full. Nobody is told. */
  stall(isStalled: boolean): void {
    this.#faults.isStalled = isStalled;
    this.#wake();
  }

  /** Every byte is held for so long, in both directions. */
  delay(delayMs: number): void {
    this.#faults.delayMs = delayMs;
    this.#wake();
  }

  /** Limits each direction of each connection; Infinity for no limit. */
  bandwidth(bytesPerSecond: number): void {
    this.#faults.bytesPerSecond = bytesPerSecond;
    this.#wake();
  }

  /**
   * Lets so many bytes of the next answer pass, whichever connection it is on, and resets that connection. Once; where
   * that connection ends before them, another one has the rest.
   */
  truncateNextAnswer(bytes: number): void {
    this.#truncation = { bytesLeft: bytes, pair: null };
  }

  /** Requests reach the target; the first byte of an answer resets the connection instead of arriving. */
  dropAnswers(isDropping: boolean): void {
    this.#faults.dropsAnswers = isDropping;
  }

  /** Neither ends nor resets of one side are passed on to the other, which goes on as if it were there. */
  halfOpen(isHalfOpen: boolean): void {
    this.#faults.isHalfOpen = isHalfOpen;
  }

  /** The target's side of all connections goes away without a word to the clients, like a machine that loses power. */
  vanish(): void {
    this.#faults.isHalfOpen = true;
    for (const { target } of this.#pairs) target.resetAndDestroy();
  }

  /** An end or a reset of one side is passed on so much later. */
  closeLate(closeDelayMs: number): void {
    this.#faults.closeDelayMs = closeDelayMs;
    this.#wake();
  }

  /** New connections go elsewhere; open ones stay. */
  retarget(target: ProxyTarget): void {
    this.#target = target;
  }

  /** All faults end; what was held flows again. */
  async heal(): Promise<void> {
    Object.assign(this.#faults, NO_FAULTS);
    this.#truncation = null;
    this.#wake();
    await this.refuse(false);
  }

  /** Accepts connections. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      const reusePort = this.#reserved !== null;
      this.#server.listen({ port: this.#port, host: "127.0.0.1", reusePort }, () => {
        this.#server.off("error", reject);
        this.#port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  /** Cuts everything and closes the port. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse(true);
    this.cut();
    this.#reserved?.[Symbol.dispose]();
  }

  #accept(client: Socket): void {
    this.#counts.accepted++;
    const to = this.#target;
    const place = typeof to === "number" ? { port: to, host: "127.0.0.1" } : to;
    const target = connect({
      ...(typeof place === "string" ? { path: place } : place),
      allowHalfOpen: true,
      noDelay: true,
    });
    const up: PipeEnds = {
      faults: this.#faults,
      from: client,
      to: target,
      onPassed: (bytes) => (this.#counts.bytesUp += bytes),
      onBroken: () => this.#cut(pair),
    };
    const down: PipeEnds = {
      faults: this.#faults,
      from: target,
      to: client,
      admit: (bytes) => this.#admit(pair, bytes),
      onPassed: (bytes) => (this.#counts.bytesDown += bytes),
      onBroken: () => this.#cut(pair),
    };
    const pair: Pair = { client, target, pipes: [new FaultPipe(up), new FaultPipe(down)] };
    this.#pairs.add(pair);
    const forget = (): void => {
      if (!client.destroyed || !target.destroyed) return;
      this.#pairs.delete(pair);
      // It ended within what may pass: the rest of the order is for the next answer.
      if (this.#truncation?.pair === pair) this.#truncation.pair = null;
    };
    client.once("close", forget);
    target.once("close", forget);
  }

  /** How many of these bytes of an answer may pass. */
  #admit(pair: Pair, bytes: Buffer): number {
    if (this.#faults.dropsAnswers) return 0;
    const truncation = this.#truncation;
    if (truncation === null) return bytes.length;
    truncation.pair ??= pair;
    if (truncation.pair !== pair) return bytes.length;
    const admitted = Math.min(bytes.length, truncation.bytesLeft);
    truncation.bytesLeft -= admitted;
    // An answer that ends just where it may is not cut before its connection brings more.
    if (admitted < bytes.length) this.#truncation = null;
    return admitted;
  }

  #cut(pair: Pair): void {
    if (!this.#pairs.delete(pair)) return;
    this.#counts.cut++;
    for (const pipe of pair.pipes) pipe.close();
    pair.client.resetAndDestroy();
    pair.target.resetAndDestroy();
  }

  #wake(): void {
    for (const { pipes } of this.#pairs) for (const pipe of pipes) pipe.flow();
  }
}

/** Starts a proxy without any fault. */
export async function startFaultProxy(target: ProxyTarget): Promise<FaultProxy> {
  const proxy = new FaultProxy(target);
  await proxy.listen();
  return proxy;
}
