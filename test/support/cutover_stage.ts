/** Two backends that can be made to fail, the Crossfades in front of them, their events, and streams of clients. */
import { assert } from "../../src/base/fault.ts";
import { Crossfade, startBackend, type BackendProcess } from "./crossfade.ts";
import { ClientStream, type StreamOptions } from "./stream.ts";
import { until } from "./wait.ts";

/** One entry of `GET /v1/audit`. */
export interface AuditSays {
  readonly revision: number;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly reason: string;
  readonly difference: readonly string[];
}

/** One event of `GET /v1/events`. */
export interface EventSays {
  readonly type: string;
  /** Unix time in milliseconds. */
  readonly atMs: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The state of a rollout, as `GET /v1/routes/{id}/rollout` shows it, as far as tests look at it. */
export interface RolloutSays {
  readonly state: {
    readonly phase: string;
    readonly run: number;
    readonly step: number;
    readonly stage: string;
    readonly candidate_shares: number;
    readonly held_by?: string;
    readonly reason: string;
  };
  readonly lines: readonly string[];
  readonly frozen_until: string | null;
}

/** What a call of the admin API was answered, whatever it was. */
export interface CallSays {
  readonly status: number;
  readonly code?: string;
  readonly detail?: string;
  readonly revision?: number;
}

/** How the stage is built. Everything has a default. */
export interface CutoverOptions {
  /** The settings of `store.redis` of each instance; without them there is one instance with a file. */
  readonly redis?: readonly Readonly<Record<string, unknown>>[];
  readonly workers?: number;
  /** Further keys of the route `shop`. */
  readonly route?: Readonly<Record<string, unknown>>;
}

/** What happens at one instance, read from its event stream until it ends. */
class Events {
  readonly seen: EventSays[] = [];
  readonly #abort = new AbortController();
  #reading: Promise<void> = Promise.resolve();

  /** Reads on, from the first event that the running control process remembers. */
  async follow(instance: Crossfade): Promise<void> {
    const { signal } = this.#abort;
    const response = await fetch(`${instance.adminUrl}/v1/events`, {
      headers: { "last-event-id": "0" },
      signal,
    });
    assert(response.body !== null, "events have a body");
    this.#reading = this.#read(response.body);
  }

  async end(): Promise<void> {
    this.#abort.abort();
    await this.#reading;
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    try {
      for await (const piece of body) {
        text += decoder.decode(piece, { stream: true });
        const blocks = text.split("\n\n");
        text = blocks.pop() ?? "";
        for (const block of blocks) this.#take(block);
      }
    } catch (error) {
      // The instance was killed, or the test is over.
      if (!(error instanceof Error)) throw error;
    }
  }

  #take(block: string): void {
    const type = /^event: (.*)$/m.exec(block)?.[1];
    const data = /^data: (.*)$/m.exec(block)?.[1];
    if (type === undefined || data === undefined) return;
    const parsed = JSON.parse(data) as { readonly at?: string };
    this.seen.push({ type, atMs: Date.parse(parsed.at ?? ""), data: parsed });
  }
}

/** Ends everything that it started. */
export class CutoverStage implements AsyncDisposable {
  readonly legacy: BackendProcess;
  readonly candidate: BackendProcess;
  readonly instances: Crossfade[] = [];
  readonly #events = new Map<Crossfade, Events>();
  readonly #streams: ClientStream[] = [];

  private constructor(legacy: BackendProcess, candidate: BackendProcess) {
    this.legacy = legacy;
    this.candidate = candidate;
  }

  /** Starts the backends and every instance, and waits until they serve and know each other. */
  static async start({ redis, workers = 1, route = {} }: CutoverOptions = {}): Promise<CutoverStage> {
    const [legacy, candidate] = await Promise.all([startBackend("legacy"), startBackend("new")]);
    const stage = new CutoverStage(legacy, candidate);
    try {
      for (const [index, store] of (redis ?? [null]).entries()) {
        const own = store === null ? {} : { store: { redis: store }, instance: `instance-${index}` };
        stage.instances.push(
          await Crossfade.prepare(
            { legacy: legacy.url, new: candidate.url },
            { settings: { workers, ...own }, route },
          ),
        );
      }
      await Promise.all(stage.instances.map((instance) => stage.launch(instance)));
      await stage.#acquaint();
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  get first(): Crossfade {
    return this.at(0);
  }

  at(index: number): Crossfade {
    const instance = this.instances[index];
    assert(instance !== undefined, "there is such an instance");
    return instance;
  }

  /** Starts an instance, again if it was killed, and follows its events. */
  async launch(instance: Crossfade): Promise<void> {
    await instance.start();
    const events = new Events();
    const former = this.#events.get(instance);
    if (former !== undefined) events.seen.push(...former.seen);
    this.#events.set(instance, events);
    await events.follow(instance);
  }

  /** Clients of these instances; of all unless told. */
  stream(
    options: Omit<StreamOptions, "urls">,
    instances: readonly Crossfade[] = this.instances,
  ): ClientStream {
    const stream = new ClientStream({ ...options, urls: instances.map(({ url }) => url) });
    this.#streams.push(stream);
    return stream;
  }

  /** What has happened at an instance since it was started, over all its control processes. */
  events(instance: Crossfade, type: string): EventSays[] {
    return (this.#events.get(instance)?.seen ?? []).filter((event) => event.type === type);
  }

  /** One call of the admin API, for the answers that are no success too. */
  async call(
    method: string,
    path: string,
    { body, ifMatch, instance = this.first }: CallOptions = {},
  ): Promise<CallSays> {
    const response = await fetch(`${instance.adminUrl}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(ifMatch === undefined ? {} : { "if-match": `"${ifMatch}"` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { ...((await response.json()) as Omit<CallSays, "status">), status: response.status };
  }

  /** Sets the candidate's weight by hand and waits until every worker of every instance has it. */
  async shift(percent: number): Promise<void> {
    const body = { legacy: 100 - percent, new: percent };
    await this.first.admin("PUT", "/v1/routes/shop/split?wait=applied&timeout=30s", body);
  }

  /** One move of the rollout by a person. */
  move(move: string, instance = this.first): Promise<CallSays> {
    return this.call("POST", `/v1/routes/shop/rollout/${move}`, { instance });
  }

  rollout(instance = this.first): Promise<RolloutSays> {
    return instance.admin<RolloutSays>("GET", "/v1/routes/shop/rollout");
  }

  /** Waits until the state of the rollout is so. */
  async rolloutIs(
    what: string,
    isSo: (says: RolloutSays) => boolean,
    { instance = this.first, timeoutMs = 30_000 }: { instance?: Crossfade; timeoutMs?: number } = {},
  ): Promise<RolloutSays> {
    let last: RolloutSays | null = null;
    return until(
      () => `the rollout is ${what}; last: ${JSON.stringify(last)}`,
      async () => {
        last = await this.rollout(instance);
        return isSo(last) ? last : null;
      },
      timeoutMs,
    );
  }

  /** The audit log, oldest first. */
  async audit(instance = this.first): Promise<AuditSays[]> {
    const page = await instance.admin<{ entries: AuditSays[] }>("GET", "/v1/audit?limit=200");
    return page.entries.toReversed();
  }

  /** The candidate's weights in percent, in the order in which they were set. */
  async weights(instance = this.first): Promise<number[]> {
    const lines = (await this.audit(instance)).flatMap(({ difference }) => difference);
    return lines.flatMap((line) => {
      const found = /^route shop: new [\d.]+ % -> ([\d.]+) %$/.exec(line);
      return found === null ? [] : [Number(found[1])];
    });
  }

  /** What Crossfade rolled back by itself, as far as the store can be read. */
  async rollbacks(instance = this.first): Promise<AuditSays[]> {
    const { status, entries = [] } = (await this.call("GET", "/v1/audit?limit=200", {
      instance,
    })) as CallSays & {
      readonly entries?: readonly AuditSays[];
    };
    assert(status === 200 || status === 503, "the store is there, or away");
    return entries.filter(
      ({ actor, action }) => actor === "crossfade" && /^(?:rollout\.)?rollback$/.test(action),
    );
  }

  /** Waits until Crossfade has rolled back by itself and every worker of these instances has that. */
  async rolledBack(instances: readonly Crossfade[] = this.instances): Promise<AuditSays> {
    const [asked] = instances;
    assert(asked !== undefined, "somebody can be asked");
    const [entry] = await until("it is rolled back", async () => {
      const found = await this.rollbacks(asked);
      return found.length > 0 ? found : null;
    });
    assert(entry !== undefined, "there is an entry");
    for (const instance of instances) await this.serves(entry.revision, instance);
    return entry;
  }

  /** Waits until every worker of an instance serves this revision, or a newer one. */
  async serves(revision: number, instance: Crossfade): Promise<void> {
    await until(`revision ${revision} is served`, async () => {
      const workers = await instance.workers();
      return workers.length > 0 && workers.every((worker) => worker.applied_revision >= revision);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What is last here ends first, and all of it whatever fails.
    await using stack = new AsyncDisposableStack();
    for (const backend of [this.legacy, this.candidate]) stack.defer(() => backend.stop());
    for (const instance of this.instances) stack.defer(() => instance.stop());
    for (const events of this.#events.values()) stack.defer(() => events.end());
    for (const stream of this.#streams) stack.defer(async () => void (await stream.stop()));
  }

  /** A rollback needs the evidence of all, and only who is known counts. */
  async #acquaint(): Promise<void> {
    if (this.instances.length < 2) return;
    for (const instance of this.instances) {
      await until("the instances know each other", async () => {
        const fleet = await instance.admin<{ instances: unknown[] }>("GET", "/v1/fleet");
        return fleet.instances.length === this.instances.length;
      });
    }
  }
}

/** What a call brings along. */
export interface CallOptions {
  readonly body?: unknown;
  readonly ifMatch?: number;
  readonly instance?: Crossfade;
}

/** How long a backend takes for `/delay/MS`: that many times as long. */
export async function slowDown({ url }: BackendProcess, factor: number): Promise<void> {
  await fetch(`${url}/_slow?factor=${factor}`, { method: "POST" });
}

/** Makes this part of the requests for paths that begin so fail. */
export async function failOnly({ url }: BackendProcess, ratio: number, path: string): Promise<void> {
  await fetch(`${url}/_fail?ratio=${ratio}&path=${encodeURIComponent(path)}`, { method: "POST" });
}
