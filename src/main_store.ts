/** The store that the settings name: opened, guarded where it may forget, and filled when it is new. */
import { join, resolve } from "node:path";
import type { StoreInfo } from "./admin/parts.ts";
import type { Clock } from "./base/clock.ts";
import { Fault } from "./base/fault.ts";
import type { Logger } from "./base/logger.ts";
import type { Commands } from "./control/commands.ts";
import type { Document } from "./domain/route.ts";
import type { Settings } from "./settings.ts";
import { GuardedStore } from "./store/guard.ts";
import { WORD_MS } from "./control/other_members.ts";
import type { ComparisonStore } from "./store/comparisons.ts";
import type { InstanceRegistry } from "./store/instances.ts";
import { LastTable } from "./store/last_table.ts";
import { openRedisComparisons } from "./store/redis_comparisons.ts";
import { RedisLink } from "./store/redis_link.ts";
import { openRedisInstances } from "./store/redis_instances.ts";
import { describePlace } from "./store/redis_settings.ts";
import { openRedisStore } from "./store/redis.ts";
import { openSqliteComparisons } from "./store/sqlite_comparisons.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import type { RouteStore } from "./store/store.ts";

/** The name of the last good table in the run directory. */
const LAST_TABLE = "last-table.json";

/** In this time every other instance says how it is, in milliseconds. */
const LOST_TABLE_MS = 1.5 * WORD_MS;

/** An open store with what belongs to its kind. */
export interface OpenStore {
  readonly store: RouteStore;
  /** Null for a store that cannot forget. */
  readonly guard: GuardedStore | null;
  /** Null for a store of one instance. */
  readonly registry: InstanceRegistry | null;
  readonly comparisons: ComparisonStore;
  readonly info: () => StoreInfo;
  close(): Promise<void>;
}

/** What a store is opened with. */
export interface OpenStoreParts {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Opens the store of the settings. Throws Fault STORE_UNAVAILABLE for a file that is none; a Redis need not answer. */
export function openStore(parts: OpenStoreParts): OpenStore {
  const { store } = parts.settings;
  return store.kind === "sqlite" ? openFile(store.sqlite, parts) : openRedis(store.redis, parts);
}

function openFile(path: string, { clock, log }: OpenStoreParts): OpenStore {
  const store = openSqliteStore({ path, clock, log });
  const sinceMs = Math.trunc(clock.wallMs());
  const status = { condition: "ok", detail: "", sinceMs, storeRevision: null } as const;
  const info = (): StoreInfo => ({ kind: "sqlite", where: resolve(path), status, warnings: [] });
  const comparisons = openSqliteComparisons({ path, clock });
  const close = async (): Promise<void> => {
    await comparisons.close();
    await store.close();
  };
  return { store, guard: null, registry: null, comparisons, info, close };
}

function openRedis(
  redis: Extract<Settings["store"], { readonly kind: "redis" }>["redis"],
  { settings, clock, log }: OpenStoreParts,
): OpenStore {
  const link = new RedisLink({ settings: redis, clock, log });
  const where = describePlace(redis);
  const path = join(settings.runDir, LAST_TABLE);
  const last = new LastTable({ path, storeName: `${where} ${redis.prefix}`, log });
  const guard = new GuardedStore({ store: openRedisStore({ link, clock, log }), last, clock, log, where });
  // Nobody may be reading when it goes away, and it shall be known all the same.
  link.onChange(() => guard.lookAgain());
  const warnings = () => [...link.warnings(), ...last.warnings()];
  return {
    store: guard,
    guard,
    registry: openRedisInstances({ link, log }),
    comparisons: openRedisComparisons(link),
    info: () => ({ kind: "redis", where, status: guard.status, warnings: warnings() }),
    async close() {
      await guard.close();
      await link.close();
    },
  };
}

/** What decides whether an empty store is new or has lost its table. */
export interface SeedParts {
  readonly commands: Commands;
  readonly registry: InstanceRegistry | null;
  /** The name of this instance. */
  readonly id: string;
}

/**
 * Gives an empty store the table of the settings.
 *
 * A shared store that is empty may have lost its table a moment ago. So others get the time to say how they are: when
 * any of them serves a table, Fault STORE_REGRESSED is thrown and nothing is changed. Throws Fault
 * STORE_UNAVAILABLE when the table cannot be stored.
 */
export async function seedStore(table: Document, { commands, registry, id }: SeedParts): Promise<void> {
  if (registry !== null) await refuseLostTable(registry, id);
  const outcome = await commands.seed(table);
  if (outcome.ok) return;
  throw new Fault("STORE_UNAVAILABLE", `the table of the settings cannot be stored: ${outcome.detail}`);
}

/** Gives an empty file the table of the settings. One that has a table keeps it: it may be newer than the settings. */
export async function seedFile(
  table: Document,
  parts: SeedParts & { readonly store: RouteStore; readonly log: Logger },
): Promise<void> {
  const stored = await parts.store.read();
  if (stored !== null) {
    const facts = { revision: stored.revision };
    return parts.log.info(facts, "the store has a table; the one in the settings file is not used");
  }
  await seedStore(table, parts);
}

async function refuseLostTable(registry: InstanceRegistry, id: string): Promise<void> {
  const until = Promise.withResolvers<void>();
  setTimeout(until.resolve, LOST_TABLE_MS);
  await until.promise;
  const serving = (await registry.list()).filter((other) => other.id !== id && other.appliedRevision > 0);
  const [first] = serving.toSorted((a, b) => b.appliedRevision - a.appliedRevision);
  if (first === undefined) return;
  throw new Fault(
    "STORE_REGRESSED",
    `the store is empty, but the instance ${first.id} serves revision ${first.appliedRevision}: ` +
      "put its table back with `crossfade store reseed --from served` there",
  );
}
