/** One connection to Redis, whatever leads there: it is made, used, and gone once; it never comes back by itself. */
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { CLOSED, CLOSED_EARLY, TIMED_OUT } from "./redis_faults.ts";
import { COMPARISONS_OF, PUT_COMPARISON } from "./redis_comparison_scripts.ts";
import { SCRIPTS, type RedisScript } from "./redis_scripts.ts";
import type { RedisNode, RedisSettings, RedisTls } from "./redis_settings.ts";

/** What a connection is called in CLIENT LIST. */
const CONNECTION_NAME = "crossfade";

/** The least time that a connection may take: a TLS handshake takes several round trips. */
const CONNECT_MS_MIN = 2_000;

/** How long the other side has to answer our end of a connection before it is destroyed. */
const FAREWELL_MS = 200;

/** The system asks so often whether the other side of a silent connection is still there. */
const KEEP_ALIVE_MS = 10_000;

/** How often a sentinel that cannot be reached is tried again. */
const SENTINEL_RETRY_MS = 5_000;

/** Besides the timeout: a command may be sent on 16 times, with 100 ms before each, while a slot of a cluster moves. */
const REDIRECTIONS_MS = 2_000;

/** ioredis' own choice between reply shapes stays at its default, which is the same for both protocols. */
type ClientOptions = Omit<RedisOptions, "replyMapping">;

/** How a connection is made. */
export interface DialOptions {
  readonly settings: RedisSettings;
  /** How many attempts went before: each begins with another one of several nodes. */
  readonly attempt: number;
  /** Ends the connection, also one that is not made yet. */
  readonly signal: AbortSignal;
  /** For messages: one node of a cluster is enough, of these if any are known. */
  readonly subscribesTo?: readonly RedisNode[];
}

/** An argument of a command or script. */
export type Argument = string | number;

/** A connection that was made. All its methods reject with errors of ioredis, which redis_faults.ts judges. */
export class RedisClient {
  /** Settled once the connection is gone, for whatever reason. */
  readonly ended: Promise<void>;
  readonly #client: Redis | Cluster;
  readonly #end: () => void;
  readonly #timeoutMs: number;
  #failure: unknown = null;
  #isEnding = false;
  /** How many replicas a WAIT that is under way, or about to be sent, has found. */
  #waits: { now: Promise<number> | null; next: Promise<number> | null } = { now: null, next: null };

  /** Use dialRedis. */
  constructor(client: Redis | Cluster, timeoutMs: number) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
    client.once("end", resolve);
    const note = (error: unknown): void => void (this.#failure ??= error);
    client.on("error", note);
    const noteOfNode = (error: unknown): void => {
      // One node of several says nothing about the others, but it is all there is when none is left.
      if (client.status !== "ready") note(error);
    };
    client.on("node error", noteOfNode);
    client.on("+node", (node: Redis) => settleAsking(node, noteOfNode));
  }

  /** The first error of this connection; null when it ended without one. */
  get failure(): unknown {
    return this.#failure;
  }

  /** The nodes of the cluster that can change; none for other places. */
  get nodes(): readonly RedisNode[] {
    if (!(this.#client instanceof Cluster)) return [];
    const nodes = this.#client.nodes("master").map(({ options }) => options);
    return nodes.map(({ host = "", port = 0 }) => ({ host, port }));
  }

  /** Carries out one command. */
  async command(name: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#bounded(this.#client.call(name, [...args]));
  }

  /** Carries out a script, by its hash if this connection has sent it before. */
  async run(script: RedisScript, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    type Method = (...args: readonly Argument[]) => Promise<unknown>;
    const client = this.#client as unknown as Readonly<Record<string, Method>>;
    return this.#bounded(client[script.name]?.(keys.length, ...keys, ...args));
  }

  /**
   * The library bounds what one server takes to answer. In a cluster it also sends on and waits between tries, and what
   * is under way while nodes change can get lost there: it was seen to wait for ever.
   */
  async #bounded(answer: Promise<unknown> | undefined): Promise<unknown> {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(TIMED_OUT)), this.#timeoutMs + REDIRECTIONS_MS);
    try {
      return await Promise.race([answer, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Waits until so many replicas have what was written on this connection, at most half of the timeout, so that
   * commands behind it still have theirs. Gives how many have it. Calls at once share one WAIT.
   */
  async replicated(replicas: number): Promise<number> {
    const waits = this.#waits;
    if (waits.next !== null) return waits.next;
    const ask = async (): Promise<number> => {
      // One that is under way may have been sent before the write that this one is about.
      await Promise.allSettled([waits.now]);
      waits.now = waits.next;
      waits.next = null;
      return Number(await this.command("WAIT", replicas, Math.ceil(this.#timeoutMs / 2)));
    };
    waits.next = ask();
    return waits.next;
  }

  /** Calls `listener` with every message of the channels that `subscribe` was sent for. */
  onMessage(listener: (channel: string, message: string) => void): void {
    this.#client.on("message", listener);
  }

  /** Ends the connection. What it still waits for is rejected. */
  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#client.disconnect();
    setTimeout(this.#end, FAREWELL_MS * 2);
  }

  /** Waits until the connection can be used, in bounded time. Rejects with what went wrong first. */
  async connect(boundMs: number): Promise<void> {
    const client = this.#client;
    const ended = this.ended.then(() => Promise.reject(new Error(CLOSED_EARLY)));
    const timer = setTimeout(() => {
      this.#failure ??= Object.assign(new Error("the connection took too long"), { code: "ETIMEDOUT" });
      this.end();
    }, boundMs);
    try {
      await Promise.race([client.connect(), ended]);
      // ioredis goes on in database 0 when the server refuses another one, and only says so.
      if (this.#failure !== null && client instanceof Redis) throw this.#failure;
    } catch (error) {
      this.end();
      if (this.#failure !== null) throw this.#failure;
      throw error instanceof Error && error.message === CLOSED ? new Error(CLOSED_EARLY) : error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * Before a command that a cluster sends on, the library sends ASKING and never looks what becomes of that: when the
 * connection goes away just then, its rejection would end the process. It is noted like any other trouble of a node.
 */
function settleAsking(node: Redis, note: (error: unknown) => void): void {
  const asking = node.asking.bind(node);
  Object.assign(node, {
    asking: (): Promise<unknown> => {
      const answer = asking();
      answer.catch((error: unknown) => note(error));
      return answer;
    },
  });
}

/** Makes a connection. Rejects with an error that redis_faults.ts judges, in bounded time. */
export async function dialRedis(options: DialOptions): Promise<RedisClient> {
  const { settings } = options;
  const client = new RedisClient(makeClient(options), settings.timeoutMs);
  const abort = (): void => client.end();
  options.signal.addEventListener("abort", abort);
  void client.ended.then(() => options.signal.removeEventListener("abort", abort));
  if (options.signal.aborted) client.end();
  const tries = "nodes" in settings.place ? settings.place.nodes.length : 1;
  await client.connect((connectMs(settings) + 2 * settings.timeoutMs) * (tries + 1));
  if (settings.place.kind === "sentinels" && options.subscribesTo === undefined) {
    const end = watchSentinels(settings, () => client.end());
    void client.ended.then(end);
  }
  return client;
}

function makeClient({ settings, attempt, subscribesTo }: DialOptions): Redis | Cluster {
  const { place } = settings;
  const base = baseOptions(settings);
  const scripts = Object.fromEntries(
    [...SCRIPTS, PUT_COMPARISON, COMPARISONS_OF].map(({ name, lua }) => [name, { lua }]),
  );
  const single = { ...base, scripts, db: settings.database, retryStrategy: null, enableOfflineQueue: false };
  switch (place.kind) {
    case "single":
      return new Redis({ ...single, ...place.node });
    case "unix": {
      const { tls: _, ...plain } = single;
      return new Redis({ ...plain, path: place.path });
    }
    case "sentinels":
      return new Redis({ ...single, ...sentinelOptions(settings), sentinels: turned(place.nodes, attempt) });
    case "cluster": {
      if (subscribesTo !== undefined) {
        const nodes = subscribesTo.length > 0 ? subscribesTo : place.nodes;
        return new Redis({ ...single, ...turned(nodes, attempt)[0] });
      }
      return new Cluster(turned(place.nodes, attempt), {
        scripts,
        redisOptions: base,
        lazyConnect: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: null,
        // A command whose connection is gone may have been carried out: whoever sent it decides.
        retryDelayOnFailover: 0,
        retryDelayOnClusterDown: 0,
        slotsRefreshTimeout: settings.timeoutMs,
        // A certificate is for a name, so with TLS names stay names.
        ...(settings.tls === null ? {} : { dnsLookup: (name, found) => found(null, name) }),
      });
    }
  }
}

function baseOptions(settings: RedisSettings): ClientOptions {
  const { username, password, tls, timeoutMs } = settings;
  return {
    protocol: 2,
    lazyConnect: true,
    // The link asks for more than this would.
    enableReadyCheck: false,
    maxRetriesPerRequest: null,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    disableClientInfo: true,
    connectionName: CONNECTION_NAME,
    commandTimeout: timeoutMs,
    connectTimeout: connectMs(settings),
    disconnectTimeout: FAREWELL_MS,
    keepAlive: KEEP_ALIVE_MS,
    // With its name the default user is accepted even where it needs no password.
    ...(password === undefined ? {} : { username: username ?? "default", password }),
    ...(tls === null ? {} : { tls: tlsOptions(tls) }),
  };
}

function sentinelOptions(settings: RedisSettings): ClientOptions {
  const { place, tls, timeoutMs } = settings;
  if (place.kind !== "sentinels") return {};
  return {
    name: place.name,
    role: "master",
    sentinelRetryStrategy: () => null,
    sentinelCommandTimeout: timeoutMs,
    ...(place.username === undefined ? {} : { sentinelUsername: place.username }),
    ...(place.password === undefined ? {} : { sentinelPassword: place.password }),
    ...(tls === null ? {} : { sentinelTLS: tlsOptions(tls), enableTLSForSentinelMode: true }),
  };
}

function tlsOptions({ ca, certificate, key, serverName }: RedisTls): NonNullable<RedisOptions["tls"]> {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { cert: certificate }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

/** Calls `onSwitch` when any sentinel says that the primary has changed. Gives the function that ends it. */
function watchSentinels(settings: RedisSettings, onSwitch: () => void): () => void {
  const { place, tls } = settings;
  if (place.kind !== "sentinels") return () => undefined;
  const {
    commandTimeout: _,
    username: _name,
    password: _password,
    tls: _tls,
    ...base
  } = baseOptions(settings);
  const watchers = place.nodes.map((node) => {
    const watcher = new Redis({
      ...base,
      ...node,
      ...(place.password === undefined
        ? {}
        : { username: place.username ?? "default", password: place.password }),
      ...(tls === null ? {} : { tls: tlsOptions(tls) }),
      autoResubscribe: true,
      retryStrategy: () => SENTINEL_RETRY_MS,
    });
    // Whether it can be reached is seen when it is asked for the primary; here it is tried again for ever.
    watcher.on("error", ignored);
    watcher.on("message", (_channel, message: string) => {
      if (message.startsWith(`${place.name} `)) onSwitch();
    });
    watcher.subscribe("+switch-master").catch(ignored);
    return watcher;
  });
  return () => {
    for (const watcher of watchers) watcher.disconnect();
  };
}

function ignored(_error: unknown): void {}

/** The same nodes, beginning with another one each time. */
function turned(nodes: readonly RedisNode[], attempt: number): RedisNode[] {
  const first = attempt % nodes.length;
  return [...nodes.slice(first), ...nodes.slice(0, first)];
}

function connectMs({ timeoutMs }: RedisSettings): number {
  return Math.max(timeoutMs, CONNECT_MS_MIN);
}
