/** The store in Redis beyond the contract: what is refused, strange, emptied, or too much. */
import { describe, expect, test } from "vitest";
import type { LineageTable } from "../../../src/store/lineage.ts";
import { HISTORY_BYTES_MAX } from "../../../src/store/redis.ts";
import type { StoredTable } from "../../../src/store/store.ts";
import { changeTo, historyOf } from "../../contract/route_store.ts";
import type { RedisServer } from "../../support/redis.ts";
import {
  dumpKeys,
  MARK,
  needRedis,
  type OpenedStore,
  openStore,
  seed,
  serveRedis,
  WRITES,
} from "../../support/redis_store.ts";

async function refusesAll(server: RedisServer, { store }: OpenedStore, table: LineageTable, what: string) {
  const before = await dumpKeys(server);
  for (const write of Object.values(WRITES)) {
    await expect(write(store, table)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect(write(store, table)).rejects.toThrow(what);
  }
  expect(await dumpKeys(server)).toBe(before);
}

describe("a write that Redis refuses changes nothing:", () => {
  needRedis();

  test("without memory, and is carried out when there is some", async () => {
    const server = await serveRedis();
    const opened = await openStore(server.port);
    const table = await seed(opened.store);
    await server.command("CONFIG", "SET", "maxmemory", 1);
    await refusesAll(server, opened, table, "it is out of memory; raise maxmemory there");
    expect(await opened.store.read()).toMatchObject({ revision: 1 });
    await server.command("CONFIG", "SET", "maxmemory", 0);
    expect(await opened.store.commit(1, changeTo(2))).toEqual({ ok: true, revision: 2 });
  });

  test("without memory a history is not loaded", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port);
    await server.command("CONFIG", "SET", "maxmemory", 1);
    await expect(store.load(historyOf(1, 2))).rejects.toThrow("it is out of memory");
    expect(await server.command("DBSIZE")).toBe(0);
  });

  test("on too few replicas, by the rule of the server", async () => {
    const server = await serveRedis();
    const opened = await openStore(server.port);
    const table = await seed(opened.store);
    await server.command("CONFIG", "SET", "min-replicas-to-write", 1);
    expect(table.revision).toBe(1);
    await refusesAll(server, opened, table, "it has fewer replicas than its min-replicas-to-write asks for");
  });

  test.each(["hset", "publish", "xtrim", "zadd", "pexpire"])("without the right to %s", async (right) => {
    const server = await serveRedis({ users: [`anna on >other ~* &* +@all -${right}`] });
    const keeper = await openStore(server.port);
    const table = await seed(keeper.store);
    const { store } = await openStore(server.port, { username: "anna", password: "other" });
    const before = await dumpKeys(server);
    await store.read();
    await expect(store.commit(1, changeTo(2, MARK))).rejects.toThrow(/ACL does not allow .*NOPERM/);
    expect(table.revision).toBe(1);
    expect(await dumpKeys(server)).toBe(before);
  });

  test("of a log that is ahead of the table, or of keys of strange types", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port);
    await seed(store);
    const spoil = async (key: string, ...command: readonly string[]): Promise<void> => {
      await server.command("COPY", key, "saved");
      await server.command(...command);
      const before = await dumpKeys(server);
      await expect(store.commit(1, changeTo(2, MARK))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      expect(await dumpKeys(server)).toBe(before);
      await server.command("DEL", key);
      await server.command("RENAME", "saved", key).catch((error: unknown) => String(error));
    };
    await spoil("{cf}:log", "XADD", "{cf}:log", "2-0", "a", "b");
    await spoil("{cf}:log", "SET", "{cf}:log", "a");
    await spoil("{cf}:table", "SET", "{cf}:table", "a");
    await spoil("{cf}:idempotency", "SET", "{cf}:idempotency", "a");
    await spoil("{cf}:idempotency:key-1", "SET", "{cf}:idempotency:key-1", "a");
    expect(await store.commit(1, changeTo(2, MARK))).toEqual({ ok: true, revision: 2 });
  });
});

describe("what Crossfade has not written", () => {
  needRedis();

  test("is told with its key", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port);
    await server.command("HSET", "{cf}:table", "name", "Anna");
    await expect(store.read()).rejects.toThrow(
      "the key {cf}:table is damaged, or belongs to another program",
    );
    await expect(store.commit(0, changeTo(1))).rejects.toThrow("the key {cf}:table is damaged");
    await server.command("DEL", "{cf}:table");
    await seed(store);
    for (const [field, value] of [
      ["document", "{"],
      ["difference", "[1]"],
      ["at_ms", "soon"],
      ["lineage", ""],
    ] as const) {
      const right = await server.command("HGET", "{cf}:table", field);
      await server.command("HSET", "{cf}:table", field, value);
      await expect(store.read()).rejects.toThrow("the key {cf}:table is damaged");
      await server.command("HSET", "{cf}:table", field, String(right));
    }
    await server.command("XADD", "{cf}:log", "2-0", "name", "Anna");
    await expect(store.at(2)).rejects.toThrow("the key {cf}:log is damaged");
    await expect(store.history({ limit: 2 })).rejects.toThrow("the key {cf}:log is damaged");
    await server.command("SET", "{cf}:log", "a");
    await expect(store.at(2)).rejects.toThrow("a key belongs to another program");
  });
});

describe("a lineage", () => {
  needRedis();

  test("is made with the first revision, kept by all others, and another one after the store was emptied", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port);
    const other = await openStore(server.port);
    const { lineage } = await seed(store);
    await store.commit(1, changeTo(2));
    expect(await other.store.readTable()).toMatchObject({ revision: 2, lineage });
    await server.command("FLUSHALL");
    expect(await other.store.readTable()).toBeNull();
    await other.store.commit(0, changeTo(1));
    await other.store.commit(1, changeTo(2));
    expect((await other.store.readTable())?.lineage).not.toBe(lineage);
    // The first handle has read revision 2 of another history.
    expect(await store.commit(2, changeTo(3))).toEqual({ ok: false, currentRevision: 2 });
    await store.read();
    expect(await store.commit(2, changeTo(3))).toEqual({ ok: true, revision: 3 });
  });

  test("can be put above what is there, as expected or not at all", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port);
    const { lineage } = await seed(store);
    const target = { revision: 7, lineage: "known" };
    for (const expected of [
      { revision: 0, lineage: "" },
      { revision: 1, lineage: "other" },
      { revision: 2, lineage },
    ]) {
      expect(await store.reseed(expected, target, changeTo(7))).toBe(false);
    }
    expect(await store.reseed({ revision: 1, lineage }, target, changeTo(7))).toBe(true);
    expect(await store.readTable()).toMatchObject({ ...target, fromRevision: 1, document: { number: 7 } });
    expect((await store.history({ limit: 5 })).map(({ revision }) => revision)).toEqual([7, 1]);
    expect(await store.commit(7, changeTo(8))).toEqual({ ok: true, revision: 8 });
    await server.command("FLUSHALL");
    const empty = { revision: 0, lineage: "" };
    expect(await store.reseed(empty, { ...target, revision: 9 }, changeTo(9))).toBe(true);
    expect(await store.readTable()).toMatchObject({ revision: 9, fromRevision: 0, lineage: "known" });
  });

  test("goes on above a log whose table is gone", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port);
    await seed(store);
    await store.commit(1, changeTo(2));
    await server.command("DEL", "{cf}:table");
    expect(await store.readTable()).toBeNull();
    await expect(store.commit(0, changeTo(1))).rejects.toThrow("the key {cf}:log is damaged");
    expect(await store.load(historyOf(5))).toBe(false);
    const target = { revision: 3, lineage: "known" };
    expect(await store.reseed({ revision: 0, lineage: "" }, target, changeTo(3))).toBe(true);
    expect((await store.history({ limit: 5 })).map(({ revision }) => revision)).toEqual([3, 2, 1]);
  });
});

describe("the bytes of the history are bounded", () => {
  needRedis();

  const BYTES_MAX = 64_000;
  const SIZE = BYTES_MAX / 4;
  const large = (number: number): StoredTable["document"] => ({ number, filler: "x".repeat(SIZE - 100) });

  test("by forgetting the oldest, whether committed or loaded, and never the newest", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port, {}, { bytesMax: BYTES_MAX });
    const kept = async (): Promise<number[]> => {
      return (await store.history({ limit: 10 })).map(({ revision }) => revision);
    };
    for (let number = 1; number <= 6; number++) {
      await store.commit(number - 1, { ...changeTo(number), document: large(number) });
    }
    expect(await kept()).toEqual([6, 5, 4, 3]);
    await store.commit(6, { ...changeTo(7), document: "x".repeat(2 * BYTES_MAX) });
    expect(await kept()).toEqual([7]);
    await store.commit(7, changeTo(8));
    expect(await kept()).toEqual([8]);
    await server.command("FLUSHALL");
    const history = historyOf(1, 2, 3, 4, 5).map((stored) => ({
      ...stored,
      document: large(stored.revision),
    }));
    expect(await store.load(history)).toBe(true);
    expect(await kept()).toEqual([5, 4, 3, 2]);
    const sizes = history.slice(1).map(({ document, difference }) => {
      return Buffer.byteLength(JSON.stringify(document) + JSON.stringify(difference));
    });
    const bytes = Number(await server.command("HGET", "{cf}:table", "bytes"));
    expect(bytes).toBe(sizes.reduce((sum, size) => sum + size));
  });

  test("and a long page of large documents is read in parts", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port);
    const history = historyOf(1, 2, 3, 4, 5, 6).map((stored) => {
      return { ...stored, document: "x".repeat(HISTORY_BYTES_MAX / 40) };
    });
    expect(await store.load(history)).toBe(true);
    const page = await store.history({ limit: 5 });
    expect(page.map(({ revision }) => revision)).toEqual([6, 5, 4, 3, 2]);
  });
});
