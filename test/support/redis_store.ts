/** Links and stores on real Redis servers, for tests: closed when the test that opened them has finished. */
import { beforeEach, onTestFinished } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { RedisLink } from "../../src/store/redis_link.ts";
import type { RedisPlace, RedisSettings } from "../../src/store/redis_settings.ts";
import type { LineageStore, LineageTable } from "../../src/store/lineage.ts";
import { openRedisStore, type RedisStoreOptions } from "../../src/store/redis.ts";
import { changeTo } from "../contract/route_store.ts";
import { startFaultProxy, type FaultProxy } from "./fault_proxy.ts";
import { redisMissing, startRedis, type RedisOptions, type RedisServer } from "./redis.ts";

/** Long enough for a machine that has better things to do. */
const TIMEOUT_MS = 10_000;

/** Skips the tests of the suite that it is called in, with the reason, where there is no Redis. */
export function needRedis(): void {
  beforeEach((context) => {
    const reason = redisMissing();
    if (reason !== null) context.skip(reason);
  });
}

/** A log that keeps what it is told. */
export class KeptLog {
  readonly lines: { readonly fields: Readonly<Record<string, unknown>>; readonly message: string }[] = [];
  readonly #write = (fields: Readonly<Record<string, unknown>>, message: string): void => {
    this.lines.push({ fields, message });
  };
  readonly info = this.#write;
  readonly warn = this.#write;
  readonly error = this.#write;
}

/** Settings for a place, or a port of 127.0.0.1, or the path of a Unix socket. */
export function redisSettings(
  at: number | string | RedisPlace,
  settings: Partial<RedisSettings> = {},
): RedisSettings {
  const place: RedisPlace =
    typeof at === "number"
      ? { kind: "single", node: { host: "127.0.0.1", port: at } }
      : typeof at === "string"
        ? { kind: "unix", path: at }
        : at;
  return { place, database: 0, tls: null, prefix: "cf", timeoutMs: TIMEOUT_MS, replicas: 0, ...settings };
}

/** A link that is up, or has found out why it cannot be, until the running test has finished. */
export async function openLink(settings: RedisSettings, log = new KeptLog()): Promise<RedisLink> {
  const link = new RedisLink({ settings, clock: systemClock, log });
  onTestFinished(() => link.close());
  await link.connect();
  return link;
}

/** A server, until the running test has finished. */
export async function serveRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

/** A proxy before a server, until the running test has finished. */
export async function proxyTo(server: RedisServer): Promise<FaultProxy> {
  const proxy = await startFaultProxy(server.port);
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  return proxy;
}

/** A store with its own link. */
export interface OpenedStore {
  readonly link: RedisLink;
  readonly store: LineageStore;
}

/** A store at a port, until the running test has finished. */
export async function openStore(
  port: number,
  settings: Partial<RedisSettings> = {},
  options: Pick<RedisStoreOptions, "settleMs" | "bytesMax"> = {},
): Promise<OpenedStore> {
  const log = new KeptLog();
  const link = await openLink(redisSettings(port, settings), log);
  const store = openRedisStore({ link, clock: systemClock, log, ...options });
  onTestFinished(() => store.close());
  return { link, store };
}

/** An idempotency key. */
export const MARK = { key: "key-1", fingerprint: "fingerprint-1" };

/** Every write there is for a store that has revision 1. */
export const WRITES: Readonly<
  Record<string, (store: LineageStore, table: LineageTable) => Promise<unknown>>
> = {
  commit: (store) => store.commit(1, changeTo(2, MARK)),
  remember: (store) => store.remember(MARK, 1),
  reseed: (store, { revision, lineage }) =>
    store.reseed({ revision, lineage }, { revision: 9, lineage: "another" }, changeTo(9)),
};
/** Gives an empty store revision 1, and gives that. */
export async function seed(store: LineageStore): Promise<LineageTable> {
  await store.commit(0, changeTo(1));
  return (await store.readTable()) as LineageTable;
}

/** Everything that a server holds, as text to compare: what a refused change must leave as it was. */
export async function dumpKeys(server: RedisServer): Promise<string> {
  const keys = (await server.command("KEYS", "*")) as readonly string[];
  const dumps = keys.toSorted().map(async (key) => `${key} ${String(await server.command("DUMP", key))}`);
  return (await Promise.all(dumps)).join("\n");
}
