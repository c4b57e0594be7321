/** A bounded stream of real clients: each has one kept-alive connection and sends its next request after the answer. */
import { Agent, request } from "node:http";

/** What one client saw. */
export interface ClientReport {
  readonly client: number;
  readonly answers: number;
  /** Answers by the backend that gave them, from the header `x-backend`. */
  readonly byBackend: Readonly<Record<string, number>>;
  /** Connections it had. */
  readonly connections: number;
  /** What went wrong, in words: a status that is not 200, or a broken connection. */
  readonly failures: readonly string[];
}

interface Tally {
  answers: number;
  byBackend: Record<string, number>;
  connections: number;
  failures: string[];
}

/** Clients that send requests until they are stopped. Their pace is the backend's: ask for a path that takes time. */
export class Clients {
  readonly #url: URL;
  readonly #tallies: Tally[];
  readonly #loops: Promise<void>[];
  #isStopping = false;

  constructor(url: string, count: number) {
    this.#url = new URL(url);
    this.#tallies = Array.from({ length: count }, () => ({
      answers: 0,
      byBackend: {},
      connections: 0,
      failures: [],
    }));
    this.#loops = this.#tallies.map((tally, client) => this.#run(tally, client));
  }

  /** What each client has seen so far. */
  reports(): ClientReport[] {
    return this.#tallies.map((tally, client) => ({ client, ...tally }));
  }

  /** The fewest answers that any client has got. */
  answersMin(): number {
    return Math.min(...this.#tallies.map(({ answers }) => answers));
  }

  /** Lets every client finish the request that it is at. Gives what all of them saw. */
  async stop(): Promise<ClientReport[]> {
    this.#isStopping = true;
    await Promise.all(this.#loops);
    return this.reports();
  }

  async #run(tally: Tally, client: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    agent.createConnection = new Proxy(agent.createConnection.bind(agent), {
      apply(target, that, args: Parameters<Agent["createConnection"]>) {
        tally.connections++;
        return Reflect.apply(target, that, args);
      },
    });
    while (!this.#isStopping) await this.#ask(agent, tally, client);
    agent.destroy();
  }

  #ask(agent: Agent, tally: Tally, client: number): Promise<void> {
    return new Promise((resolve) => {
      const fail = (failure: string): void => {
        tally.failures.push(failure);
        resolve();
      };
      const asking = request(
        this.#url,
        { agent, headers: { cookie: `uid=client-${client}` } },
        (response) => {
          response.on("error", (error) => fail(error.message));
          response.on("end", () => {
            if (response.statusCode !== 200) return fail(`status ${response.statusCode}`);
            const backend = String(response.headers["x-backend"]);
            tally.answers++;
            tally.byBackend[backend] = (tally.byBackend[backend] ?? 0) + 1;
            resolve();
          });
          response.resume();
        },
      );
      asking.on("error", (error) => fail(error.message));
      asking.end();
    });
  }
}
