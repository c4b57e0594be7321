/** An open-loop load: requests of many distinct clients at a fixed rate, whether or not the last ones were answered. */
import { Pool } from "undici";
import { systemClock } from "../../src/base/clock.ts";

/** One request and what became of it. Moments are Unix time in milliseconds. */
export interface Sent {
  /** The cookie `uid`, by which routes know a client. */
  readonly uid: string;
  /** Which of the addresses it went to. */
  readonly target: number;
  /** 0 when the connection broke. */
  readonly status: number;
  /** How it broke; empty when it did not. */
  readonly fault: string;
  /** Who answered, from the header `x-backend`; empty when no backend did. */
  readonly backend: string;
  readonly startedMs: number;
  readonly endedMs: number;
}

/** What is sent. Everything but the addresses and the rate has a default. */
export interface StreamOptions {
  /** The addresses, which are asked in turn. */
  readonly urls: readonly string[];
  /** Over all addresses. */
  readonly perSecond: number;
  readonly path?: string;
  /** How many clients take turns. One that comes again within two seconds would count as one failure. */
  readonly clients?: number;
  /** What the names of these clients begin with. */
  readonly prefix?: string;
  /** It ends by itself after so many requests. */
  readonly requestsMax?: number;
  /** Requests under way at a time; one that is due beyond it is left out and counted. */
  readonly openMax?: number;
}

const SEND_EVERY_MS = 5;
const CONNECTIONS_MAX = 128;
const DEFAULTS = { path: "/", clients: 20_000, prefix: "uid", requestsMax: 60_000, openMax: 400 } as const;

/** Sends until it is stopped or has sent all that it may, over kept-alive connections. Every answer is read whole. */
export class ClientStream {
  /** What has ended, in the order of the ends. */
  readonly sent: Sent[] = [];
  /** Requests that were due and not sent, because too many were under way. */
  leftOut = 0;
  readonly #options: StreamOptions & typeof DEFAULTS;
  readonly #pools: readonly Pool[];
  readonly #running: Promise<void>;
  readonly #open = new Set<Promise<void>>();
  #started = 0;
  #isStopping = false;
  #stopped: Promise<void> | null = null;

  constructor(options: StreamOptions) {
    this.#options = { ...DEFAULTS, ...options } as StreamOptions & typeof DEFAULTS;
    this.#pools = options.urls.map((url) => new Pool(url, { connections: CONNECTIONS_MAX, pipelining: 1 }));
    this.#running = this.#run();
  }

  /** Requests that were sent, whether or not they have ended. */
  get started(): number {
    return this.#started;
  }

  /** Requests that are under way. */
  get open(): number {
    return this.#open.size;
  }

  /** Those that no backend answered with 200. */
  failures(): Sent[] {
    return this.sent.filter(({ status }) => status !== 200);
  }

  /** Those that a backend answered, whatever it said. */
  by(backend: string): Sent[] {
    return this.sent.filter((one) => one.backend === backend);
  }

  /** Sends nothing more, and waits for the answers that are still to come. May be called twice. */
  async stop(): Promise<readonly Sent[]> {
    this.#isStopping = true;
    this.#stopped ??= this.#end();
    await this.#stopped;
    return this.sent;
  }

  async #end(): Promise<void> {
    await this.#running;
    await Promise.all(this.#pools.map((pool) => pool.destroy()));
  }

  async #run(): Promise<void> {
    const { perSecond, requestsMax, openMax } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const startedAtMs = systemClock.nowMs();
    let due = 0;
    const sender = setInterval(() => {
      if (this.#isStopping || this.#started >= requestsMax) return resolve();
      const until = Math.floor(((systemClock.nowMs() - startedAtMs) * perSecond) / 1000);
      for (; due < until && this.#started < requestsMax; due++) {
        if (this.#open.size >= openMax) this.leftOut++;
        else this.#send();
      }
    }, SEND_EVERY_MS);
    await promise;
    clearInterval(sender);
    await Promise.all(this.#open);
  }

  #send(): void {
    const number = this.#started++;
    const sending = this.#ask(number).finally(() => this.#open.delete(sending));
    this.#open.add(sending);
  }

  async #ask(number: number): Promise<void> {
    const { path, clients, prefix } = this.#options;
    const target = number % this.#pools.length;
    const uid = `${prefix}-${number % clients}`;
    const startedMs = systemClock.wallMs();
    let [status, backend, fault] = [0, "", ""];
    try {
      const pool = this.#pools[target] as Pool;
      const answer = await pool.request({ method: "GET", path, headers: { cookie: `uid=${uid}` } });
      await answer.body.dump();
      status = answer.statusCode;
      backend = String(answer.headers["x-backend"] ?? "");
    } catch (error) {
      fault = error instanceof Error ? error.message : String(error);
    }
    this.sent.push({ uid, target, status, fault, backend, startedMs, endedMs: systemClock.wallMs() });
  }
}
