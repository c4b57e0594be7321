/** Several operators at once on a Redis behind bad networks, against the sequential model of what they were told. */
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { Fault } from "../../src/base/fault.ts";
import type { Random } from "../../src/base/random.ts";
import type { RouteStore, StoredTable } from "../../src/store/store.ts";
import { changeTo } from "../contract/route_store.ts";
import type { FaultProxy } from "../support/fault_proxy.ts";
import { seededRandom } from "../support/random.ts";
import type { RedisServer } from "../support/redis.ts";
import { needRedis, openStore, proxyTo, serveRedis } from "../support/redis_store.ts";
import { until } from "../support/wait.ts";

/** Each is tried once; the number of commits is what bounds the time. */
const SEEDS = [1, 2];
const HANDLES = 3;
const WRITERS_PER_HANDLE = 2;
const COMMITS_PER_WRITER = 15;
/** So short that answers are lost often, and that patience ends now and then. */
const TIMEOUT_MS = 60;
const SETTLE_MS = 250;
const KEYS = 40;
const THINK_MS = 30;

type Told = "unavailable" | "unsure" | "conflict" | "done";

/** One commit and what its caller was told. `revision` of what is done; 0 otherwise. */
interface Record {
  readonly number: number;
  readonly key: string | null;
  readonly told: Told;
  readonly revision: number;
  /** Whether it was in the history when its caller was told that nobody knows. */
  readonly wasThere: boolean;
}

interface Stage {
  readonly server: RedisServer;
  readonly proxies: readonly FaultProxy[];
  readonly stores: readonly RouteStore[];
  /** A handle that nothing is wrong with. */
  readonly keeper: RouteStore;
}

async function openStage(): Promise<Stage> {
  const server = await serveRedis();
  const proxies: FaultProxy[] = [];
  const stores: RouteStore[] = [];
  for (let handle = 0; handle < HANDLES; handle++) {
    const proxy = await proxyTo(server);
    proxies.push(proxy);
    stores.push((await openStore(proxy.port, { timeoutMs: TIMEOUT_MS }, { settleMs: SETTLE_MS })).store);
  }
  return { server, proxies, stores, keeper: (await openStore(server.port)).store };
}

function passed(ms: number): Promise<boolean> {
  const endMs = systemClock.nowMs() + ms;
  return until("time has passed", () => systemClock.nowMs() > endMs);
}

/** Does one thing after another to the network of one handle until `isOver`, then puts everything right. */
async function spoilNetwork(proxy: FaultProxy, random: Random, isOver: () => boolean): Promise<void> {
  const faults: readonly (() => void | Promise<void>)[] = [
    () => void proxy.cut(),
    () => proxy.truncateNextAnswer(random.draw(40)),
    () => proxy.dropAnswers(true),
    () => proxy.stall(true),
    () => proxy.delay(random.draw(2 * TIMEOUT_MS)),
    () => proxy.bandwidth(2_000 + random.draw(50_000)),
    () => proxy.refuse(true),
    () => proxy.vanish(),
  ];
  while (!isOver()) {
    await faults[random.draw(faults.length)]?.();
    // Mostly shorter than the patience, sometimes longer.
    await passed(random.draw(4) === 0 ? random.draw(2 * SETTLE_MS) : random.draw(TIMEOUT_MS));
    await proxy.heal();
    await passed(random.draw(TIMEOUT_MS));
  }
}

/** Stops the server in its tracks now and then, until `isOver`. */
async function spoilServer(server: RedisServer, random: Random, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await passed(random.draw(4 * SETTLE_MS));
    server.pause();
    await passed(random.draw(2 * SETTLE_MS));
    server.resume();
  }
}

async function everyRevision(store: RouteStore): Promise<StoredTable[]> {
  const newest = (await store.read())?.revision ?? 0;
  const tables: StoredTable[] = [];
  for (let revision = 1; revision <= newest; revision++) {
    const table = await store.at(revision);
    if (table !== null) tables.push(table);
  }
  return tables;
}

function numberOf({ document }: StoredTable): number {
  return (document as { readonly number: number }).number;
}

/** Reads, and commits on what was read, over and over. What cannot be read is tried again. */
async function write(
  { keeper }: Stage,
  store: RouteStore,
  numbers: readonly number[],
  random: Random,
): Promise<Record[]> {
  const records: Record[] = [];
  for (const number of numbers) {
    const revision = await until("the store can be read", async () => {
      const table = await store.read().catch(faultOf);
      return table instanceof Fault ? null : { is: table?.revision ?? 0 };
    });
    const key = random.draw(3) === 0 ? `key-${random.draw(KEYS)}` : null;
    const mark = key === null ? undefined : { key, fingerprint: "same" };
    // An operator thinks, and may be overtaken.
    await passed(random.draw(THINK_MS));
    const outcome = await store.commit(revision.is, changeTo(number, mark)).catch(faultOf);
    if (!(outcome instanceof Fault)) {
      const done = outcome.ok ? outcome.revision : 0;
      records.push({
        number,
        key,
        told: outcome.ok ? "done" : "conflict",
        revision: done,
        wasThere: outcome.ok,
      });
      continue;
    }
    const told = outcome.code === "STORE_UNSURE" ? "unsure" : "unavailable";
    const wasThere =
      told === "unsure" && (await everyRevision(keeper)).some((table) => numberOf(table) === number);
    records.push({ number, key, told, revision: 0, wasThere });
  }
  return records;
}

function faultOf(error: unknown): Fault {
  if (error instanceof Fault) return error;
  throw error;
}

/** What the callers were told, against what is there. */
function compare(records: readonly Record[], tables: readonly StoredTable[]): void {
  expect(tables.map(({ revision }) => revision)).toEqual(tables.map((_, index) => index + 1));
  expect(tables.map(({ fromRevision }) => fromRevision)).toEqual(tables.map((_, index) => index));
  const written = tables.map(numberOf);
  expect(new Set(written).size).toBe(written.length);
  for (const { number, told, revision, wasThere } of records) {
    if (told === "done") expect(written[revision - 1], `number ${number}, told done`).toBe(number);
    else expect(written.includes(number), `number ${number}, told ${told}`).toBe(wasThere);
  }
  const keys = records.filter(({ number }) => written.includes(number)).flatMap(({ key }) => key ?? []);
  expect(new Set(keys).size, "no key was used twice").toBe(keys.length);
  expect(records.filter(({ wasThere }) => wasThere)).toHaveLength(written.length);
}

describe("several operators at once, behind networks that fail", () => {
  needRedis();

  test.each(SEEDS)("lose nothing, double nothing, and are told the truth (seed %i)", async (seed) => {
    const stage = await openStage();
    const random = seededRandom(seed);
    let isOver = false;
    const spoiling = [
      spoilServer(stage.server, random, () => isOver),
      ...stage.proxies.map((proxy, place) =>
        spoilNetwork(proxy, seededRandom(seed * 1_000 + 500 + place), () => isOver),
      ),
    ];
    const writers = stage.stores.flatMap((store, handle) =>
      Array.from({ length: WRITERS_PER_HANDLE }, (_, place) => {
        const writer = handle * WRITERS_PER_HANDLE + place;
        const numbers = Array.from(
          { length: COMMITS_PER_WRITER },
          (_number, index) => writer * 10_000 + index,
        );
        return write(stage, store, numbers, seededRandom(seed * 1_000 + writer));
      }),
    );
    const records = (await Promise.all(writers)).flat();
    isOver = true;
    await Promise.all(spoiling);
    compare(records, await everyRevision(stage.keeper));
    const counts = new Map<Told, number>();
    for (const { told } of records) counts.set(told, (counts.get(told) ?? 0) + 1);
    expect(records).toHaveLength(HANDLES * WRITERS_PER_HANDLE * COMMITS_PER_WRITER);
    expect(counts.get("done"), "somebody got through").toBeGreaterThan(0);
  });
});
