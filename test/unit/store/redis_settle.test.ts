/** Writes whose answers get lost: done once or not at all, and told as what they are. */
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { changeTo, historyOf } from "../../contract/route_store.ts";
import { MARK, needRedis, openStore, proxyTo, seed, serveRedis, WRITES } from "../../support/redis_store.ts";
import { until } from "../../support/wait.ts";

/** Short, for servers that never answer. */
const SHORT_MS = 200;

/** What each is told when it was carried out. */
const DONE: Readonly<Record<string, unknown>> = {
  commit: { ok: true, revision: 2 },
  remember: true,
  reseed: true,
};

function waited(ms: number): () => boolean {
  const endMs = systemClock.nowMs() + ms;
  return () => systemClock.nowMs() > endMs;
}

describe("a write whose answer is lost", () => {
  needRedis();

  test.each(Object.keys(WRITES))("is found to be done: %s", async (name) => {
    const server = await serveRedis();
    const proxy = await proxyTo(server);
    const other = await openStore(server.port);
    const { store } = await openStore(proxy.port);
    const table = await seed(store);
    proxy.dropAnswers(true);
    const outcome = WRITES[name]?.(store, table);
    await until("it is carried out", async () => {
      if (name === "remember") return other.store.recall(MARK.key);
      return ((await other.store.read())?.revision ?? 0) > 1;
    });
    // Others go on meanwhile.
    const newest = (await other.store.read())?.revision ?? 0;
    await other.store.commit(newest, changeTo(50));
    await other.store.commit(newest + 1, changeTo(51));
    proxy.dropAnswers(false);
    expect(await outcome).toEqual(DONE[name]);
    expect((await store.read())?.revision).toBe(newest + 2);
    expect(await store.history({ limit: 10 })).toHaveLength(name === "remember" ? 3 : 4);
  });

  test("is found to be done: load", async () => {
    const server = await serveRedis();
    const proxy = await proxyTo(server);
    const { link, store } = await openStore(proxy.port);
    const other = await openStore(server.port);
    const call = link.call.bind(link);
    link.call = async (work) => {
      const answer = await call(work);
      // The history lies aside: what gets lost is the answer to the step that counts.
      proxy.dropAnswers(true);
      return answer;
    };
    const outcome = store.load(historyOf(4, 7));
    await until("it is carried out", () => other.store.read());
    proxy.dropAnswers(false);
    expect(await outcome).toBe(true);
    expect((await other.store.history({ limit: 9 })).map(({ revision }) => revision)).toEqual([7, 4]);
    expect(await server.command("TTL", "{cf}:log")).toBe(-1);
  });

  test("is carried out once when Redis was paused for less than the patience, and told as such", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port, { timeoutMs: SHORT_MS });
    await seed(store);
    server.pause();
    const outcome = store.commit(1, changeTo(2));
    const settled = await Promise.race([outcome, until("two timeouts", waited(2 * SHORT_MS))]);
    expect(settled).toBe(true);
    server.resume();
    expect(await outcome).toEqual({ ok: true, revision: 2 });
    expect(await store.history({ limit: 10 })).toHaveLength(2);
  });

  test("is not carried out any more when Redis was paused for longer, and nobody claims to know", async () => {
    const server = await serveRedis();
    const { link, store } = await openStore(server.port, { timeoutMs: SHORT_MS }, { settleMs: 2 * SHORT_MS });
    const table = await seed(store);
    server.pause();
    const outcomes = Object.values(WRITES).map((write) => write(store, table));
    for (const outcome of await Promise.allSettled(outcomes)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "STORE_UNSURE" } });
    }
    // From now on nothing is sent: what is down is refused at once.
    await expect(store.commit(1, changeTo(2))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    const before = link.nowMs();
    server.resume();
    await until("it is up", () => link.health().ok);
    expect(link.nowMs()).toBeGreaterThan(before);
    expect(await store.read()).toMatchObject({ revision: 1 });
    expect(await store.recall(MARK.key)).toBeNull();
    expect(await server.command("XLEN", "{cf}:log")).toBe(1);
  });

  test("is asked for again when the clocks were compared wrongly", async () => {
    const server = await serveRedis();
    const { link, store } = await openStore(server.port);
    link.compareClocks(systemClock.wallMs() - 3_600_000);
    expect(await store.commit(0, changeTo(1))).toEqual({ ok: true, revision: 1 });
    expect(link.serverMs(link.nowMs())).toBeGreaterThan(systemClock.wallMs() - 600_000);
  });

  test("survives that Redis has forgotten all scripts", async () => {
    const server = await serveRedis();
    const { store } = await openStore(server.port);
    await seed(store);
    await server.command("SCRIPT", "FLUSH");
    expect(await store.commit(1, changeTo(2))).toEqual({ ok: true, revision: 2 });
    await server.command("SCRIPT", "FLUSH");
    expect(await store.history({ limit: 2 })).toHaveLength(2);
  });
});

describe("replicas", () => {
  needRedis();

  test("that must have a change have it, and one that is missing makes it unsure", async () => {
    const server = await serveRedis();
    const replica = await serveRedis({ replicaOf: server });
    await until("the primary counts on it", async () => {
      return (await server.info("slave0"))?.includes("state=online");
    });
    const patient = (await openStore(server.port, { replicas: 1 })).store;
    const outcomes = [0, 1, 2].map((revision) => patient.commit(revision, changeTo(revision + 1)));
    for (const outcome of await Promise.all(outcomes)) expect(outcome).toMatchObject({ ok: true });
    expect(await replica.command("HGET", "{cf}:table", "revision")).toBe("3");
    await replica.stop();
    const { store } = await openStore(server.port, { replicas: 1, timeoutMs: 2 * SHORT_MS });
    const told: number[] = [];
    store.watch((revision) => told.push(revision));
    await expect(store.commit(3, changeTo(4))).rejects.toMatchObject({
      code: "STORE_UNSURE",
      message: expect.stringContaining("the change is stored, but only 0 of 1 replicas had it") as string,
    });
    await until("it is told all the same", () => told.includes(4));
    await expect(store.remember(MARK, 4)).rejects.toMatchObject({ code: "STORE_UNSURE" });
    expect(await store.read()).toMatchObject({ revision: 4 });
  });
});
