/** Requests sent all the while something is changed, to see whether any of them goes unanswered. */
import { setTimeout as pause } from "node:timers/promises";
import { Agent, request } from "undici";

/** Clients that keep their connection, and as many that open a new one for every request. */
const CLIENTS_EACH = 4;
/** Between an answer and the client's next request, in milliseconds: 400 requests a second at most. */
const PAUSE_MS = 20;
/** A request without an answer for so long is lost. */
const ANSWER_MS_MAX = 10_000;
/** Reasons for losses that are kept, each with its count. */
const REASONS_MAX = 10;

/** What became of the requests. `answered`: with any status. `statuses`: how often each came. */
export interface ProbeAccount {
  readonly sent: number;
  readonly answered: number;
  readonly lost: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly reasons: Readonly<Record<string, number>>;
}

/** Clients that send GET to one URL until they are stopped. A connection is never given up while it can be used. */
export class Probes {
  readonly #url: string;
  readonly #agents: Agent[];
  readonly #loops: Promise<void>[];
  readonly #statuses = new Map<string, number>();
  readonly #reasons = new Map<string, number>();
  #sent = 0;
  #answered = 0;
  #lost = 0;
  #isStopping = false;

  constructor(url: string) {
    this.#url = url;
    const limits = {
      connect: { timeout: ANSWER_MS_MAX },
      headersTimeout: ANSWER_MS_MAX,
      bodyTimeout: ANSWER_MS_MAX,
    };
    this.#agents = Array.from({ length: CLIENTS_EACH }, () => new Agent({ ...limits, connections: 1 }));
    const oneShot = new Agent(limits);
    this.#loops = this.#agents.flatMap((agent) => [this.#run(agent, false), this.#run(oneShot, true)]);
    this.#agents.push(oneShot);
  }

  account(): ProbeAccount {
    return {
      sent: this.#sent,
      answered: this.#answered,
      lost: this.#lost,
      statuses: Object.fromEntries(this.#statuses),
      reasons: Object.fromEntries(this.#reasons),
    };
  }

  /** Lets every client finish the request that it is at. Gives what became of all of them. */
  async stop(): Promise<ProbeAccount> {
    this.#isStopping = true;
    await Promise.all(this.#loops);
    await Promise.all(this.#agents.map((agent) => agent.destroy()));
    return this.account();
  }

  async #run(dispatcher: Agent, reset: boolean): Promise<void> {
    while (!this.#isStopping) {
      this.#sent++;
      try {
        const { statusCode, body } = await request(this.#url, { dispatcher, reset });
        await body.dump();
        this.#answered++;
        count(this.#statuses, String(statusCode));
      } catch (error) {
        this.#lost++;
        const reason = error instanceof Error ? error.message : String(error);
        if (this.#reasons.has(reason) || this.#reasons.size < REASONS_MAX) count(this.#reasons, reason);
      }
      await pause(PAUSE_MS);
    }
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
