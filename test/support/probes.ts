/** Clients that know who served them by which table: kept-alive connections to every worker of an instance. */
import { Agent, request, type ClientRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Crossfade } from "./crossfade.ts";
import { until } from "./wait.ts";

/** Connections that are opened together, so that more than one worker has a chance, and how often that is tried. */
const BURST = 4;
const BURSTS_MAX = 20;

interface Probe {
  readonly agent: Agent;
  /** Of the newest answer; 0 before the first. */
  revision: number;
  socket: Socket | null;
}

/**
 * Connections of which every worker has at least one, to a route that exposes its revision.
 *
 * A connection that the other side closes, an answer that is not 200, and one by an older table than the answer before
 * it on the same connection are failures.
 */
export class Probes {
  readonly #url: URL;
  readonly #probes: Probe[] = [];
  #loops: Promise<void>[] = [];
  #isStopping = false;
  /** Requests that have been sent. */
  sent = 0;
  /** What went wrong, in words. */
  readonly failures: string[] = [];

  private constructor(url: URL) {
    this.#url = url;
  }

  /** Opens connections until every worker has one. `path` decides how long each request takes. */
  static async open(instance: Crossfade, path = "/delay/40"): Promise<Probes> {
    const probes = new Probes(new URL(path, instance.url));
    for (let burst = 0; burst < BURSTS_MAX; burst++) {
      const fresh = Array.from({ length: BURST }, () => probes.#add());
      await Promise.all(fresh.map((probe) => probes.#ask(probe)));
      const opened = probes.#probes.length;
      const isSpread = await until("the connections are counted", async () => {
        const open = (await instance.workers()).map((worker) => worker.connections_open);
        const sum = open.reduce((one, other) => one + other, 0);
        return sum >= opened && (open.every((count) => count > 0) ? "spread" : "one-sided");
      });
      if (isSpread === "spread") return probes;
    }
    throw new Error(`a worker got none of ${probes.#probes.length} connections`);
  }

  /** Asks on every connection, after what is under way there. Gives the revisions of the answers, each once. */
  async revisions(): Promise<number[]> {
    await Promise.all(this.#probes.map((probe) => this.#ask(probe)));
    return [...new Set(this.#probes.map(({ revision }) => revision))];
  }

  /** Asks on every connection again and again until `rest` is called. */
  run(): void {
    this.#isStopping = false;
    this.#loops = this.#probes.map(async (probe) => {
      while (!this.#isStopping) await this.#ask(probe);
    });
  }

  /** Waits until every connection was answered so many more times. */
  async goOn(rounds = 5): Promise<void> {
    for (let round = 0; round < rounds; round++) await this.revisions();
  }

  /** Lets every connection finish the request that it is at. */
  async rest(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#loops.splice(0));
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await this.rest();
    for (const { agent } of this.#probes) agent.destroy();
  }

  #add(): Probe {
    const probe: Probe = { agent: new Agent({ keepAlive: true, maxSockets: 1 }), revision: 0, socket: null };
    this.#probes.push(probe);
    return probe;
  }

  async #ask(probe: Probe): Promise<void> {
    this.sent++;
    const asking = request(this.#url, { agent: probe.agent });
    asking.end();
    try {
      const answer = await answerOf(asking);
      const revision = Number(answer.headers["crossfade-revision"]);
      if (answer.statusCode !== 200) this.failures.push(`status ${answer.statusCode}`);
      else if (!(revision >= probe.revision)) {
        this.failures.push(`revision ${revision} after ${probe.revision}`);
      }
      if (probe.socket !== null && probe.socket !== answer.socket)
        this.failures.push("a connection was closed");
      probe.socket = answer.socket;
      probe.revision = revision;
    } catch (error) {
      this.failures.push(error instanceof Error ? error.message : String(error));
    }
  }
}

function answerOf(asking: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    asking.on("error", reject);
    asking.on("response", (answer) => {
      answer
        .on("error", reject)
        .on("end", () => resolve(answer))
        .resume();
    });
  });
}
