/** Who watches a store in Redis hears of everything, sooner or later. */
import { describe, expect, test } from "vitest";
import { changeTo } from "../../contract/route_store.ts";
import { needRedis, openStore, proxyTo, seed, serveRedis } from "../../support/redis_store.ts";
import { until } from "../../support/wait.ts";

describe("whoever watches", () => {
  needRedis();

  test("is told of whatever there is after an absence, and when the store falls back or is emptied", async () => {
    const server = await serveRedis();
    const proxy = await proxyTo(server);
    const { store } = await openStore(proxy.port);
    await seed(store);
    await store.commit(1, changeTo(2));
    const told: number[] = [];
    store.watch((revision) => told.push(revision));
    proxy.cut();
    await until("it is told again", () => told.at(-1) === 2);
    await server.command("FLUSHALL");
    await until("it is told that there is nothing", () => told.at(-1) === 0);
    expect(await store.commit(0, changeTo(1))).toEqual({ ok: true, revision: 1 });
    await until("it is told of the first", () => told.at(-1) === 1);
    expect(new Set(told)).toEqual(new Set([2, 0, 1]));
  });

  test("hears of changes whose messages were lost", async () => {
    const server = await serveRedis({ users: ["anna on >other ~* resetchannels +@all"] });
    const { store } = await openStore(server.port, { username: "anna", password: "other" });
    const other = await openStore(server.port);
    const told: number[] = [];
    store.watch((revision) => told.push(revision));
    await other.store.commit(0, changeTo(1));
    await until("it has looked", () => told.includes(1));
    expect(told).toEqual([1]);
  });
});
