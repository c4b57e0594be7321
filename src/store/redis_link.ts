/** The way to Redis: kept up for ever, given up fast while it is down, and never silent about which of the two. */
import type { Clock } from "../base/clock.ts";
import { assert, Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { systemRandom, type Random } from "../base/random.ts";
import { dialRedis, type RedisClient } from "./redis_client.ts";
import { CLOSED, judge, type Trouble } from "./redis_faults.ts";
import { inspectServer } from "./redis_inspect.ts";
import { CLOCK } from "./redis_scripts.ts";
import { describePlace, type RedisSettings } from "./redis_settings.ts";

/** The pause before another attempt: doubled each time from the first to the last, less a part by chance. */
const RETRY_MS_FIRST = 50;
const RETRY_MS_MAX = 2_000;
const RETRY_DOUBLINGS_MAX = 10;

/** How often a connection is asked something, so that one that is dead is noticed and clocks stay compared. */
const HEARTBEAT_MS = 10_000;

/** Whether commands can be sent; if not, why, and since when (Unix time in milliseconds). */
export type RedisHealth =
  | { readonly ok: true }
  | { readonly ok: false; readonly detail: string; readonly sinceMs: number };

/** Which connection was made: that for commands, or that for messages. */
export type RedisRole = "commands" | "messages";

/** What a link works with. */
export interface RedisLinkOptions {
  readonly settings: RedisSettings;
  /** Tells the time that deadlines on the server's clock are reckoned from. */
  readonly clock: Clock;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  readonly random?: Random;
}

/**
 * What became of a command. `answered`: it was carried out. `refused`: it was not. `lost`: nobody knows; it may still
 * be carried out later.
 */
export type Attempt<Value> =
  | { readonly kind: "answered"; readonly value: Value }
  | { readonly kind: "refused" | "lost"; readonly fault: Fault };

type Listener<Value> = (value: Value) => void;

/**
 * Two connections, one for commands and one for messages.
 *
 * down: entered at the start, and when the connection for commands ends, does not answer in time or leads to the
 * wrong server. Calls are refused at once. Left when a new connection was made and the server behind it was found fit.
 *
 * up: calls are sent. Nothing is ever sent twice by itself.
 *
 * closed: for good. Everything that waits is rejected.
 */
export class RedisLink {
  readonly settings: RedisSettings;
  /** Where it leads, for people. */
  readonly where: string;
  readonly #clock: Clock;
  readonly #log: RedisLinkOptions["log"];
  readonly #random: Random;
  readonly #closing = new AbortController();
  readonly #clients: Record<RedisRole, RedisClient | null> = { commands: null, messages: null };
  readonly #loops: Promise<void>[] = [];
  /** Settled when the first attempt has ended, well or not. */
  readonly #begun = Promise.withResolvers<void>();
  readonly #changeListeners = new Set<Listener<RedisHealth>>();
  readonly #readyListeners = new Set<Listener<RedisRole>>();
  readonly #channels = new Map<string, Set<Listener<string>>>();
  #health: RedisHealth;
  #warnings: readonly string[] = [];
  #messageTrouble: string | null = null;
  /** The server's clock less ours, rather too little. */
  #offsetMs = 0;

  constructor({ settings, clock, log, random = systemRandom() }: RedisLinkOptions) {
    this.settings = settings;
    this.where = describePlace(settings);
    this.#clock = clock;
    this.#log = log;
    this.#random = random;
    const detail = `Redis at ${this.where}: not connected yet`;
    this.#health = { ok: false, detail, sinceMs: Math.trunc(clock.wallMs()) };
  }

  /** Begins to connect, and waits until the first attempt has ended, well or not. The first call does it too. */
  async connect(): Promise<void> {
    if (this.#loops.length === 0 && !this.#isClosed) {
      this.#loops.push(this.#keep("commands"), this.#keep("messages"));
    }
    await this.#begun.promise;
  }

  health(): RedisHealth {
    return this.#health;
  }

  /** What an operator should change at the server, a line each. */
  warnings(): readonly string[] {
    const hasTrouble = this.#health.ok && this.#messageTrouble !== null;
    return hasTrouble ? [...this.#warnings, this.#messageTrouble as string] : this.#warnings;
  }

  /** Calls `listener` whenever `health` says something else. Gives the function that ends it. */
  onChange(listener: Listener<RedisHealth>): () => void {
    this.#changeListeners.add(listener);
    return () => void this.#changeListeners.delete(listener);
  }

  /** Calls `listener` after each time that a connection was made: read again what may have changed meanwhile. */
  onReady(listener: Listener<RedisRole>): () => void {
    this.#readyListeners.add(listener);
    return () => void this.#readyListeners.delete(listener);
  }

  /** Our clock. */
  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** What the server's clock says, at the latest, when ours says `nowMs`. */
  serverMs(nowMs: number): number {
    return Math.floor(nowMs + this.#offsetMs);
  }

  /** The server has just said what time it is. */
  compareClocks(serverMs: number): void {
    this.#offsetMs = serverMs - this.#clock.nowMs();
  }

  /** Runs one command. Throws Fault STORE_UNAVAILABLE, which says where, what happened and what to do. */
  async call<Value>(work: (client: RedisClient) => Promise<Value>): Promise<Value> {
    const attempt = await this.attempt(work);
    if (attempt.kind === "answered") return attempt.value;
    throw attempt.fault;
  }

  /** Runs one command, and says what became of it. */
  async attempt<Value>(work: (client: RedisClient) => Promise<Value>): Promise<Attempt<Value>> {
    await this.connect();
    const client = this.#clients.commands;
    const health = this.#health;
    if (client === null) {
      assert(!health.ok, "without a connection the link is down");
      return { kind: "refused", fault: new Fault("STORE_UNAVAILABLE", health.detail) };
    }
    try {
      return { kind: "answered", value: await work(client) };
    } catch (error) {
      const trouble = judge(error, this.settings);
      if (trouble.isFatal) this.#drop(client, this.#reasonOf(client, trouble));
      return { kind: trouble.kind, fault: new Fault("STORE_UNAVAILABLE", trouble.detail) };
    }
  }

  /** Waits until commands can be sent, at most so long. False when that was not to be. */
  async whenReady(boundMs: number): Promise<boolean> {
    if (this.#health.ok) return true;
    if (this.#isClosed || boundMs <= 0) return false;
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = this.onChange(({ ok }) => {
      if (ok || this.#isClosed) resolve();
    });
    const timer = setTimeout(resolve, boundMs);
    await promise;
    clearTimeout(timer);
    end();
    return this.#health.ok;
  }

  /** Calls `listener` with the messages of a channel; some may get lost. Gives the function that ends it. */
  subscribe(channel: string, listener: Listener<string>): () => void {
    const listeners = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, listeners);
    listeners.add(listener);
    if (listeners.size === 1) void this.#tellServer("subscribe", channel);
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.#channels.delete(channel);
      void this.#tellServer("unsubscribe", channel);
    };
  }

  /** Ends both connections, in bounded time. May be called twice. */
  async close(): Promise<void> {
    this.#clients.commands = null;
    this.#closing.abort();
    this.#become({
      ok: false,
      detail: `Redis at ${this.where}: the store is closed`,
      sinceMs: this.#wallMs(),
    });
    this.#begun.resolve();
    await Promise.all(this.#loops);
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  #wallMs(): number {
    return Math.trunc(this.#clock.wallMs());
  }

  /** Keeps one of the two connections until the link is closed. */
  async #keep(role: RedisRole): Promise<void> {
    for (let attempt = 0, failures = 0; !this.#isClosed; attempt++) {
      const client = await this.#make(role, attempt);
      if (client !== null) {
        failures = 0;
        const heartbeat = setInterval(() => void this.#beat(role, client), HEARTBEAT_MS);
        await client.ended;
        clearInterval(heartbeat);
        this.#lose(role, client);
      }
      if (!this.#isClosed) await this.#pause(failures++);
    }
  }

  /** One attempt. Null when it led to nothing; why is known afterwards. */
  async #make(role: RedisRole, attempt: number): Promise<RedisClient | null> {
    const subscribesTo = role === "messages" ? { subscribesTo: this.#clients.commands?.nodes ?? [] } : {};
    let client: RedisClient | null = null;
    try {
      const { signal } = this.#closing;
      client = await dialRedis({ settings: this.settings, attempt, signal, ...subscribesTo });
      await (role === "commands" ? this.#inspect(client) : this.#resubscribe(client));
      // What ended while it was looked at is of no use.
      if (client.failure !== null) throw client.failure;
    } catch (error) {
      client?.end();
      this.#clients[role] = null;
      this.#note(role, error instanceof Fault ? error.message : judge(error, this.settings).detail);
      return null;
    }
    if (this.#isClosed) return client;
    this.#clients[role] = client;
    if (role === "messages") this.#messageTrouble = null;
    else {
      // What sentinels name now may not be where messages still come from.
      if (this.settings.place.kind === "sentinels" && attempt > 0) this.#clients.messages?.end();
      this.#become({ ok: true });
      this.#begun.resolve();
    }
    for (const listener of this.#readyListeners) this.#tell(listener, role);
    return client;
  }

  async #inspect(client: RedisClient): Promise<void> {
    const warnings = await inspectServer(client, this.settings);
    await this.#compare(client);
    this.#warnings = warnings;
  }

  async #resubscribe(client: RedisClient): Promise<void> {
    client.onMessage((channel, message) => {
      for (const listener of this.#channels.get(channel) ?? []) this.#tell(listener, message);
    });
    // From here on new channels are subscribed to on this connection, so that none falls between.
    this.#clients.messages = client;
    if (this.#channels.size > 0) await client.command("subscribe", ...this.#channels.keys());
  }

  async #tellServer(what: "subscribe" | "unsubscribe", channel: string): Promise<void> {
    const client = this.#clients.messages;
    try {
      await client?.command(what, channel);
    } catch (error) {
      this.#note("messages", judge(error, this.settings).detail);
      client?.end();
    }
  }

  async #beat(role: RedisRole, client: RedisClient): Promise<void> {
    if (role === "commands") return void (await this.attempt((current) => this.#compare(current)));
    try {
      await client.command("ping");
    } catch (error) {
      this.#note("messages", judge(error, this.settings).detail);
      client.end();
    }
  }

  async #compare(client: RedisClient): Promise<void> {
    const serverMs = Number(await client.run(CLOCK, [`{${this.settings.prefix}}:table`], []));
    this.compareClocks(serverMs);
  }

  /** Why a connection that was used is of no use any more: the server may have said more than the command met. */
  #reasonOf(client: RedisClient, trouble: Trouble): string {
    if (trouble.kind === "refused" || client.failure === null) return trouble.detail;
    return judge(client.failure, this.settings).detail;
  }

  #drop(client: RedisClient, detail: string): void {
    if (this.#clients.commands === client) {
      this.#clients.commands = null;
      this.#note("commands", detail);
    }
    client.end();
  }

  #lose(role: RedisRole, client: RedisClient): void {
    if (this.#clients[role] !== client) return;
    this.#clients[role] = null;
    const failure = client.failure ?? new Error(CLOSED);
    this.#note(role, judge(failure, this.settings).detail);
  }

  #note(role: RedisRole, detail: string): void {
    if (this.#isClosed) return;
    if (role === "messages") {
      this.#messageTrouble = `changes of other instances are noticed late: ${detail}`;
      return;
    }
    const sinceMs = this.#health.ok ? this.#wallMs() : this.#health.sinceMs;
    this.#become({ ok: false, detail, sinceMs });
    this.#begun.resolve();
  }

  #become(health: RedisHealth): void {
    const before = this.#health;
    const isNews = health.ok !== before.ok || (!health.ok && !before.ok && health.detail !== before.detail);
    if (!isNews) return;
    this.#health = health;
    if (health.ok) this.#log.info({ redis: this.where }, "Redis can be used");
    else if (!this.#isClosed)
      this.#log.warn({ redis: this.where, detail: health.detail }, "Redis cannot be used");
    for (const listener of this.#changeListeners) this.#tell(listener, health);
  }

  #tell<Value>(listener: Listener<Value>, value: Value): void {
    try {
      listener(value);
    } catch (error) {
      this.#log.error({ err: error, redis: this.where }, "a listener of the link to Redis failed");
    }
  }

  /** Waits before another attempt. Ends early when the link is closed. */
  async #pause(failures: number): Promise<void> {
    const fullMs = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** Math.min(failures, RETRY_DOUBLINGS_MAX));
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, fullMs / 2 + this.#random.draw(Math.ceil(fullMs / 2)));
    this.#closing.signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    clearTimeout(timer);
  }
}
