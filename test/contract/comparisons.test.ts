/** Every home of comparisons keeps the contract of ComparisonStore. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { COMPARISONS_KEPT_MS, type ComparisonStore } from "../../src/store/comparisons.ts";
import { openRedisComparisons } from "../../src/store/redis_comparisons.ts";
import { RedisLink } from "../../src/store/redis_link.ts";
import { REDIS_RIGHTS } from "../../src/store/redis_scripts.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { openSqliteComparisons } from "../../src/store/sqlite_comparisons.ts";
import { ManualClock } from "../support/clock.ts";
import { MemoryComparisons } from "../support/memory_comparisons.ts";
import { redisMissing, startRedis, type RedisServer } from "../support/redis.ts";
import { KeptLog, needRedis, redisSettings } from "../support/redis_store.ts";
import { describeComparisons } from "./comparisons.ts";

const directory = mkdtempSync(join(tmpdir(), "crossfade-test-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("in memory", () => {
  let store = new MemoryComparisons();
  describeComparisons(
    "the model",
    async () => (store = new MemoryComparisons()),
    async () => store,
  );
});

describe("in SQLite", () => {
  const clock = new ManualClock();
  const opened: ComparisonStore[] = [];
  let files = 0;
  const again = async (): Promise<ComparisonStore> => {
    const store = openSqliteComparisons({ path: join(directory, `${files}.db`), clock });
    opened.push(store);
    return {
      ...store,
      of: (route) => store.of(route),
      close: () => store.close(),
      put: (route, entry) => {
        // Each write has a moment of its own.
        clock.advance(1);
        return store.put(route, entry);
      },
    };
  };
  const open = (): Promise<ComparisonStore> => {
    files++;
    return again();
  };
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
  });
  describeComparisons("the file", open, again);

  it("an old entry is forgotten when another one is written", async () => {
    const store = await open();
    await store.put("shop", { instance: "a", text: "old" });
    clock.advance(COMPARISONS_KEPT_MS + 1);
    await store.put("shop", { instance: "b", text: "new" });
    expect(await store.of("shop")).toEqual([{ instance: "b", text: "new" }]);
  });

  it("shares the file of the table, and neither disturbs the other", async () => {
    const path = join(directory, `${++files}.db`);
    const table = openSqliteStore({ path, clock });
    const store = await again();
    await store.put("shop", { instance: "a", text: "x" });
    const change = { document: {}, actor: "a", action: "apply", reason: "", difference: [] };
    expect(await table.commit(0, change)).toEqual({ ok: true, revision: 1 });
    await store.put("shop", { instance: "a", text: "y" });
    await table.close();
    const later = openSqliteStore({ path, clock });
    expect((await later.read())?.revision).toBe(1);
    await later.close();
    expect(await store.of("shop")).toEqual([{ instance: "a", text: "y" }]);
    await store.close();
    await expect(store.of("shop")).rejects.toThrow("is closed");
  });
});

describe("in Redis with the least rights", () => {
  needRedis();
  const links: RedisLink[] = [];
  let server: RedisServer;
  let lists = 0;
  beforeAll(async () => {
    if (redisMissing() !== null) return;
    const rights = REDIS_RIGHTS.replaceAll("{PREFIX}:*", "{list-*}:*");
    server = await startRedis({ users: ["default off", `crossfade on >secret ${rights}`] });
  });
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close();
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });
  const again = async (): Promise<ComparisonStore> => {
    const login = { username: "crossfade", password: "secret" };
    const settings = redisSettings(server.port, { ...login, prefix: `list-${lists}` });
    const link = new RedisLink({ settings, clock: systemClock, log: new KeptLog() });
    links.push(link);
    await link.connect();
    return openRedisComparisons(link);
  };
  const open = (): Promise<ComparisonStore> => {
    lists++;
    return again();
  };
  describeComparisons("the server", open, again);
});
