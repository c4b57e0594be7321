/** Real Crossfades around one Redis, with backends and clients: the stage on which that Redis fails. */
import { assert } from "../../src/base/fault.ts";
import { Clients } from "./clients.ts";
import { Crossfade, startBackend, type BackendProcess } from "./crossfade.ts";
import { until } from "./wait.ts";

/** What `GET /v1/store` says. */
export interface StoreSays {
  readonly condition: string;
  readonly detail: string;
  readonly store_revision: number | null;
  readonly served_revision: number;
  readonly served_from: string;
  readonly warnings: readonly string[];
}

/** What a write was answered. */
export interface WriteSays {
  readonly status: number;
  readonly revision?: number;
  readonly code?: string;
  readonly detail?: string;
  readonly applied_ms?: number;
}

/** How the stage is built. */
export interface RedisStageOptions {
  /** Settings of `store.redis`; the timeout is 500 ms unless told. */
  readonly redis: Readonly<Record<string, unknown>>;
  readonly instances?: number;
  readonly workers?: number;
  /** Clients of each instance; 0 for none. */
  readonly clients?: number;
  /** Further keys of the route. */
  readonly route?: Readonly<Record<string, unknown>>;
  /** Starts nothing that needs the store to answer. */
  readonly isPreparedOnly?: boolean;
}

/** Instances in front of two backends. Ends everything it started. */
export class RedisStage implements AsyncDisposable {
  /** Those that it was started with. */
  readonly instances: Crossfade[] = [];
  readonly #prepared: Crossfade[] = [];
  readonly #options: RedisStageOptions;
  readonly #backends: BackendProcess[] = [];
  readonly #clients: Clients[] = [];

  private constructor(options: RedisStageOptions) {
    this.#options = options;
  }

  /** Starts everything and waits until every client was answered. */
  static async start(options: RedisStageOptions): Promise<RedisStage> {
    const stage = new RedisStage(options);
    try {
      stage.#backends.push(...(await Promise.all([startBackend("legacy"), startBackend("new")])));
      for (let index = 0; index < (options.instances ?? 1); index++) {
        stage.instances.push(await stage.prepare({ instance: `instance-${index}` }));
      }
      if (options.isPreparedOnly === true) return stage;
      await Promise.all(stage.instances.map((instance) => instance.start()));
      for (const instance of stage.instances) await stage.load(instance);
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  get first(): Crossfade {
    const [first] = this.instances;
    assert(first !== undefined, "a stage has an instance");
    return first;
  }

  /** An instance that is not started; these settings go over the usual ones. */
  async prepare(settings: Readonly<Record<string, unknown>>): Promise<Crossfade> {
    const [legacy, candidate] = this.#backends;
    assert(legacy !== undefined && candidate !== undefined, "there are two backends");
    const { redis, workers = 1, route = {} } = this.#options;
    const store = { redis: { timeout: "500ms", ...redis } };
    const instance = await Crossfade.prepare(
      { legacy: legacy.url, new: candidate.url },
      { settings: { workers, store, ...settings }, route },
    );
    this.#prepared.push(instance);
    return instance;
  }

  /** Puts clients on an instance, and waits until each was answered. */
  async load(instance: Crossfade, count = this.#options.clients ?? 4): Promise<void> {
    if (count === 0) return;
    const clients = new Clients(`${instance.url}/delay/5`, count);
    this.#clients.push(clients);
    await until("every client was answered", () => clients.answersMin() > 0);
  }

  /** Waits until every client was answered so many more times. */
  async goOn(answers = 10): Promise<void> {
    for (const group of this.#clients) {
      const before = group.reports().map((report) => report.answers);
      await until("every client goes on", () =>
        group.reports().every((report, client) => report.answers >= (before[client] ?? 0) + answers),
      );
    }
  }

  /** What went wrong for any client so far. */
  failures(): string[] {
    return this.#clients.flatMap((group) => group.reports().flatMap(({ failures }) => failures));
  }

  /** Moves weight; the answer, whatever it is. */
  shift(percent: number, instance = this.first, query = "?wait=applied&timeout=10s"): Promise<WriteSays> {
    const body = { legacy: 100 - percent, new: percent };
    return write(instance, "PUT", `/v1/routes/shop/split${query}`, body);
  }

  /** Says which table counts. */
  reseed(from: "served" | "stored", instance = this.first): Promise<WriteSays> {
    return write(instance, "POST", "/v1/store/reseed?wait=applied&timeout=10s", { from, reason: "a test" });
  }

  store(instance = this.first): Promise<StoreSays> {
    return instance.admin<StoreSays>("GET", "/v1/store");
  }

  /** Waits until the store is in this condition. */
  condition(condition: string, instance = this.first): Promise<StoreSays> {
    let last: StoreSays | null = null;
    return until(
      () => `the store is ${condition}; last: ${JSON.stringify(last)}`,
      async () => {
        last = await this.store(instance);
        return last.condition === condition ? last : null;
      },
    );
  }

  /** The status and body of /readyz. */
  async ready(instance = this.first): Promise<{ readonly status: number; readonly text: string }> {
    const response = await fetch(`${instance.adminUrl}/readyz`);
    return { status: response.status, text: await response.text() };
  }

  /** Waits until every worker of an instance serves this revision. */
  async serves(revision: number, instance = this.first): Promise<void> {
    await until(`revision ${revision} is served`, async () => {
      const workers = await instance.workers();
      return workers.length > 0 && workers.every((worker) => worker.applied_revision === revision);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((clients) => clients.stop()));
    await Promise.all(this.#prepared.map((instance) => instance.stop()));
    await Promise.all(this.#backends.map((backend) => backend.stop()));
  }
}

async function write(instance: Crossfade, method: string, path: string, body: unknown): Promise<WriteSays> {
  const response = await fetch(`${instance.adminUrl}${path}`, {
    method,
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  });
  return { ...((await response.json()) as Omit<WriteSays, "status">), status: response.status };
}
