/** Load: clients that ask again after each answer, or at fixed times whether or not the last answers have come. */
import { connect, type Socket } from "node:net";
import { AnswerFraming } from "./framing.ts";
import { expectedBytes, type Workload } from "./workloads.ts";

/** What all clients read into: they keep nothing. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);
/** So many clients share an address, so that no limit for one address is met. */
const CLIENTS_PER_ADDRESS = 1_000;
/** Clients that ask at the same time where each asks once. */
const TOGETHER = 100;
/** Requests that wait for a free connection at most; what would be more has failed. */
const BACKLOG_MAX = 20_000;
/** An answer that takes longer never comes. */
const PATIENCE_MS = 10_000;

/** Gets what becomes of a client's requests. */
interface ClientOwner {
  onAnswer(client: Client, isRight: boolean): void;
}

/** One client: one request at a time, on one connection or on one for each request. */
class Client {
  /** When its request should have been sent, on the clock of `performance`. */
  dueMs = 0;
  isBusy = false;
  readonly #port: number;
  readonly #place: number;
  readonly #workload: Workload;
  readonly #owner: ClientOwner;
  readonly #request: Buffer;
  readonly #bytesMin: number;
  #framing = new AnswerFraming();
  #socket: Socket;

  constructor(port: number, place: number, workload: Workload, owner: ClientOwner) {
    this.#port = port;
    this.#place = place;
    this.#workload = workload;
    this.#owner = owner;
    this.#request = workload.request(place);
    this.#bytesMin = expectedBytes(workload);
    this.#socket = this.#connect();
  }

  send(): void {
    this.isBusy = true;
    if (this.#socket.destroyed) this.#socket = this.#connect();
    this.#socket.write(this.#request);
  }

  close(): void {
    const socket = this.#socket;
    this.isBusy = false;
    socket.destroy();
  }

  #connect(): Socket {
    this.#framing = new AnswerFraming();
    const address = Math.floor(this.#place / CLIENTS_PER_ADDRESS);
    // To name an address makes the kernel look for a free port first, which is slow where many were just in use.
    const from = address === 0 ? {} : { localAddress: `127.0.1.${address}` };
    const socket: Socket = connect({
      host: "127.0.0.1",
      port: this.#port,
      noDelay: true,
      ...from,
      onread: {
        buffer: READ_BUFFER,
        callback: (length, buffer) => {
          if (socket === this.#socket) this.#onRead(buffer as Buffer, length);
          return true;
        },
      },
    });
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      // One that was left in order is no matter any more.
      if (socket === this.#socket && this.isBusy) this.#end(false);
    });
    return socket;
  }

  #onRead(bytes: Buffer, length: number): void {
    const answer = this.#framing.take(bytes, length);
    if (answer === null) return;
    const isRight = answer.status === 200 && answer.bodyBytes >= this.#bytesMin;
    if (answer.isLast || this.#workload.connectsEach) {
      const former = this.#socket;
      this.#socket = this.#connect();
      former.destroy();
    }
    this.#end(isRight);
  }

  #end(isRight: boolean): void {
    this.isBusy = false;
    this.#owner.onAnswer(this, isRight);
  }
}

/** What was seen while something was measured. */
export interface LoadCounts {
  answers: number;
  failed: number;
  /** From when a request should have been sent to its answer; only of loads at a rate. */
  latenciesMs: number[];
}

/** The clients of one workload at one contender. */
export class Load implements ClientOwner, AsyncDisposable {
  /** Counted since it was made; take two readings, or `forget`. */
  counts: LoadCounts = { answers: 0, failed: 0, latenciesMs: [] };
  readonly #clients: Client[];
  readonly #intervalMs: number;
  #isRunning = false;
  /** Those without a request, for loads at a rate. */
  #free: Client[] = [];
  /** When the requests should have been sent that wait for a free client. */
  #backlog: number[] = [];
  #nextDueMs = 0;

  constructor(port: number, workload: Workload) {
    const { connections, perSecond } = workload;
    this.#intervalMs = perSecond === 0 ? 0 : 1000 / perSecond;
    this.#clients = Array.from(
      { length: connections },
      (_, place) => new Client(port, place, workload, this),
    );
  }

  start(): void {
    this.#isRunning = true;
    if (this.#intervalMs === 0) {
      for (const client of this.#clients) client.send();
      return;
    }
    this.#free = [...this.#clients];
    this.#nextDueMs = performance.now();
    this.#sendDue();
  }

  /** Counts anew from here on. */
  forget(): void {
    this.counts = { answers: 0, failed: 0, latenciesMs: [] };
  }

  /** Sends one request of each client, a few at a time. */
  async once(): Promise<void> {
    for (let from = 0; from < this.#clients.length; from += TOGETHER) {
      for (const client of this.#clients.slice(from, from + TOGETHER)) client.send();
      await this.#settled();
    }
  }

  /** Waits for the answers under way, then closes every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isRunning = false;
    this.#backlog = [];
    await this.#settled();
    for (const client of this.#clients) client.close();
  }

  onAnswer(client: Client, isRight: boolean): void {
    const { counts } = this;
    if (isRight) counts.answers++;
    else counts.failed++;
    if (this.#intervalMs === 0) {
      if (this.#isRunning) client.send();
      return;
    }
    counts.latenciesMs.push(performance.now() - client.dueMs);
    const dueMs = this.#backlog.shift();
    if (dueMs === undefined) this.#free.push(client);
    else this.#sendAt(client, dueMs);
  }

  /**
   * Sends what is due, and looks again at once: timers are too coarse for this. Latencies count from when a request
   * should have been sent, so one slow answer is not the only one to be counted as slow (coordinated omission).
   */
  #sendDue(): void {
    if (!this.#isRunning) return;
    const nowMs = performance.now();
    for (; this.#nextDueMs <= nowMs; this.#nextDueMs += this.#intervalMs) {
      const client = this.#free.pop();
      if (client !== undefined) this.#sendAt(client, this.#nextDueMs);
      else if (this.#backlog.length < BACKLOG_MAX) this.#backlog.push(this.#nextDueMs);
      else this.counts.failed++;
    }
    setImmediate(() => this.#sendDue());
  }

  #sendAt(client: Client, dueMs: number): void {
    client.dueMs = dueMs;
    client.send();
  }

  async #settled(): Promise<void> {
    const untilMs = performance.now() + PATIENCE_MS;
    while (this.#clients.some(({ isBusy }) => isBusy)) {
      if (performance.now() > untilMs) {
        const late = this.#clients.filter(({ isBusy }) => isBusy);
        this.counts.failed += late.length;
        for (const client of late) client.close();
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
