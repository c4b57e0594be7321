/** The clients of the demo: a bounded stream of requests with stable identities, and strict accounts. */
import { Agent, request, type IncomingMessage } from "node:http";
import type { Clock } from "./base/clock.ts";
import { SHARES_TOTAL } from "./domain/route.ts";
import { bucketOf, isInCohort } from "./domain/split.ts";

/** The two sides, as the demo's backends name themselves. */
export type Side = "legacy" | "new";

/** Who sends what where. */
export interface CrowdOptions {
  /** Port of the proxy on 127.0.0.1. */
  readonly port: number;
  readonly clients: number;
  /** Salt of the route: with it and the key, anybody can tell a client's bucket. */
  readonly salt: string;
  readonly clock: Clock;
}

/** Answers of one side in one stretch of time. Latencies as the clients felt them, in milliseconds. */
export interface SideTally {
  answers: number;
  failures: number;
  readonly latenciesMs: number[];
}

/** What happened in one stretch of time. `lost`: requests without an answer of any backend. */
export interface Tally {
  readonly sides: Readonly<Record<Side, SideTally>>;
  lost: number;
}

/** What must stay at zero, and how much was looked at. */
export interface Account {
  /** Answers that were compared with the client's bucket. */
  compared: number;
  /** Answers from another side than the client's bucket says. */
  misplaced: number;
  /** Clients that were on the new backend and came back while the weight only grew. */
  jumpedBack: number;
  /** Requests that got no answer from any backend. */
  lost: number;
  readonly answers: Record<Side, number>;
  readonly failures: Record<Side, number>;
}

interface Client {
  readonly uid: string;
  readonly bucket: number;
  isWaiting: boolean;
  hasMoved: boolean;
}

/** How often the stream is brought up to its rate. */
const PACE_MS = 20;
/** Connections to the proxy; kept alive and shared by the clients. */
const SOCKETS_MAX = 64;
/** An answer that takes longer counts as lost. */
const ANSWER_MS_MAX = 10_000;
/** After a stall, at most this much of the missed traffic is made up for. */
const CATCH_UP_MS_MAX = 200;
/** Answers that wait to be compared: far more than come between two looks at the table. Others go uncompared. */
const HELD_MAX = 10_000;

/** The weight that holds for every request. */
interface Weight {
  readonly candidateShares: number;
  readonly isGrowing: boolean;
}

/** An answer that came while a weight was in effect, unless that turns out to have changed meanwhile. */
interface Held {
  readonly client: Client;
  readonly side: Side;
  readonly endedMs: number;
}

/** Clients with an identity each. At most one request per client is under way, so a client's answers have an order. */
export class Crowd {
  readonly account: Account = {
    compared: 0,
    misplaced: 0,
    jumpedBack: 0,
    lost: 0,
    answers: { legacy: 0, new: 0 },
    failures: { legacy: 0, new: 0 },
  };
  readonly #options: CrowdOptions;
  readonly #clients: Client[];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: SOCKETS_MAX });
  readonly #seen = new Set<Client>();
  readonly #onNew = new Set<Client>();
  /** The weight that holds as far as is known; null while a change is under way. Each change is a new epoch. */
  #weight: Weight | null = null;
  /** In the order in which they came. */
  #held: Held[] = [];
  #tally = emptyTally();
  #next = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#clients = Array.from({ length: options.clients }, (_, at) => {
      const uid = `client-${at + 1}`;
      return { uid, bucket: bucketOf(options.salt, uid), isWaiting: false, hasMoved: false };
    });
  }

  /** Sends `perSecond` requests, spread evenly over time and clients, from now on. */
  send(perSecond: number): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    let lastMs = this.#options.clock.nowMs();
    let due = 0;
    this.#timer = setInterval(() => {
      const nowMs = this.#options.clock.nowMs();
      due += (Math.min(nowMs - lastMs, CATCH_UP_MS_MAX) * perSecond) / 1000;
      lastMs = nowMs;
      for (; due >= 1; due--) this.#sendOne();
    }, PACE_MS);
  }

  /** Stops sending and cuts the connections. What is under way then counts as lost. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#agent.destroy();
    await this.settled();
  }

  /** Waits until every request that is under way now is answered. */
  async settled(): Promise<void> {
    const waiting = this.#clients.filter((client) => client.isWaiting);
    while (waiting.some((client) => client.isWaiting)) await pause(PACE_MS);
  }

  /** A change is under way or was made: until `expect`, either side may answer. What is not confirmed never counts. */
  unsettle(): void {
    this.#weight = null;
    this.#held = [];
  }

  /**
   * From now on every request must go where its client's bucket says, and nobody may come back if the weight grows.
   * Answers are compared once it is confirmed that the weight was still in effect when they came.
   */
  expect(candidateShares: number, isGrowing: boolean): void {
    this.#weight = { candidateShares, isGrowing };
    this.#held = [];
    this.#seen.clear();
    this.#onNew.clear();
    if (!isGrowing) for (const client of this.#clients) client.hasMoved = false;
  }

  /** The weight of `expect` was in effect until this moment, on the clock's `nowMs`. */
  confirm(untilMs: number): void {
    const weight = this.#weight;
    if (weight === null) return;
    const later = this.#held.findIndex(({ endedMs }) => endedMs >= untilMs);
    const sure = this.#held.splice(0, later < 0 ? this.#held.length : later);
    for (const { client, side } of sure) this.#compare(client, side, weight);
  }

  /**
   * How many clients there are, how many the weight means, how many were answered since `expect`, and how many of them
   * by the new backend, as far as that is confirmed.
   */
  reach(): { clients: number; meant: number; seen: number; onNew: number } {
    const shares = this.#weight?.candidateShares ?? 0;
    return {
      clients: this.#clients.length,
      meant: this.#clients.filter((client) => isInCohort(client.bucket, shares)).length,
      seen: this.#seen.size,
      onNew: this.#onNew.size,
    };
  }

  /** What happened since the last call. */
  collect(): Tally {
    const tally = this.#tally;
    this.#tally = emptyTally();
    return tally;
  }

  #sendOne(): void {
    // Whoever still waits for an answer is passed over; when everybody waits, the request is not sent at all.
    for (let tried = 0; tried < this.#clients.length; tried++) {
      const client = this.#clients[this.#next++ % this.#clients.length] as Client;
      if (client.isWaiting) continue;
      this.#ask(client);
      return;
    }
  }

  #ask(client: Client): void {
    const weight = this.#weight;
    const startedMs = this.#options.clock.nowMs();
    client.isWaiting = true;
    const finish = (side: Side | null, status: number): void => {
      if (!client.isWaiting) return;
      client.isWaiting = false;
      const endedMs = this.#options.clock.nowMs();
      this.#enter(client, side, status, endedMs - startedMs);
      // A request that a change overtook may be on either side.
      if (side === null || weight === null || weight !== this.#weight) return;
      if (this.#held.length < HELD_MAX) this.#held.push({ client, side, endedMs });
    };
    const asked = request(
      {
        host: "127.0.0.1",
        port: this.#options.port,
        path: "/api/stock",
        agent: this.#agent,
        headers: { cookie: `uid=${client.uid}` },
        timeout: ANSWER_MS_MAX,
      },
      (response) => {
        response.resume();
        response.on("end", () => finish(sideOf(response), response.statusCode ?? 0));
        response.on("close", () => finish(null, 0));
      },
    );
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => finish(null, 0));
    asked.end();
  }

  #enter(client: Client, side: Side | null, status: number, latencyMs: number): void {
    this.#seen.add(client);
    if (side === null) {
      this.account.lost++;
      this.#tally.lost++;
      return;
    }
    const tally = this.#tally.sides[side];
    const failures = status >= 500 ? 1 : 0;
    this.account.answers[side]++;
    this.account.failures[side] += failures;
    tally.answers++;
    tally.failures += failures;
    tally.latenciesMs.push(latencyMs);
  }

  #compare(client: Client, side: Side, weight: Weight): void {
    this.account.compared++;
    if ((side === "new") !== isInCohort(client.bucket, weight.candidateShares)) this.account.misplaced++;
    if (side === "new") this.#onNew.add(client);
    if (weight.isGrowing && client.hasMoved && side === "legacy") this.account.jumpedBack++;
    if (side === "new") client.hasMoved = true;
  }
}

/** A quantile of measured values (nearest rank), or null when there are none. */
export function quantileOf(values: readonly number[], ratio: number): number | null {
  const ordered = values.toSorted((a, b) => a - b);
  return ordered[Math.max(0, Math.ceil(ratio * ordered.length) - 1)] ?? null;
}

/** Percent of all answers that the new backend gave, or null without answers. */
export function shareOfNew(tally: Tally): number | null {
  const all = tally.sides.legacy.answers + tally.sides.new.answers;
  return all === 0 ? null : (100 * tally.sides.new.answers) / all;
}

/** Percent as shares. */
export function sharesOf(percent: number): number {
  return Math.round((percent * SHARES_TOTAL) / 100);
}

function emptyTally(): Tally {
  const side = (): SideTally => ({ answers: 0, failures: 0, latenciesMs: [] });
  return { sides: { legacy: side(), new: side() }, lost: 0 };
}

function sideOf(response: IncomingMessage): Side | null {
  const name = response.headers["x-served-by"];
  return name === "legacy" || name === "new" ? name : null;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
