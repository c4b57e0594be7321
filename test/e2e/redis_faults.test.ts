/** A Redis that fails in every way it can, under load: no client notices, nothing is believed that should not be. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { startFaultProxy } from "../support/fault_proxy.ts";
import { redisMissing, startRedis } from "../support/redis.ts";
import { RedisStage } from "../support/redis_stage.ts";
import { until } from "../support/wait.ts";

beforeEach((context) => {
  const reason = redisMissing();
  if (reason !== null) context.skip(reason);
});

const PAUSE_MS = 30_000;

/** A stage whose only instance serves revision 2, with clients on it. */
async function stageOn(url: string): Promise<RedisStage> {
  const stage = await RedisStage.start({ redis: { url } });
  expect(await stage.shift(10)).toMatchObject({ status: 200, revision: 2 });
  return stage;
}

/** While the store is away: requests flow, readyz is ok with a warning, a write is refused and says that it was. */
async function expectAway(stage: RedisStage, detail: RegExp): Promise<void> {
  await stage.condition("away");
  await until("the reason is known", async () => detail.test((await stage.store()).detail));
  const ready = await stage.ready();
  expect(ready.status).toBe(200);
  expect(ready.text).toContain("the store cannot be read");
  expect(await stage.shift(50)).toMatchObject({ status: 503, code: "STORE_UNAVAILABLE" });
  expect(await stage.first.admin("GET", "/v1/table")).toMatchObject({ revision: 2 });
  await stage.goOn();
}

/** After it: changes work again, and nobody lost anything. */
async function expectBack(stage: RedisStage, revision = 3): Promise<void> {
  await stage.condition("ok");
  expect(await stage.shift(25)).toMatchObject({ status: 200, revision });
  await stage.goOn();
  await until("nothing is wrong any more", async () => !(await stage.ready()).text.includes("cannot"));
  expect(stage.failures()).toEqual([]);
}

describe("a Redis that goes away and comes back as it was", () => {
  test("stopped", async () => {
    await using redis = await startRedis({ isDurable: true });
    await using stage = await stageOn(redis.url);
    await redis.stop();
    await expectAway(stage, /refuse|closed|reset|not connected|connection/i);
    await redis.restart();
    await expectBack(stage);
    expect((await stage.store()).served_from).toBe("store");
  });

  test("paused for half a minute; no change is carried out late", async () => {
    await using redis = await startRedis({ isDurable: true });
    await using stage = await stageOn(redis.url);
    redis.pause();
    const sinceMs = systemClock.nowMs();
    const caught = await stage.shift(77);
    expect(caught.status).toBe(503);
    await expectAway(stage, /in time|timed out|answer/i);
    // Clients go on, longer than any answer may take and anybody is listed without a word.
    await until("it was paused for long", () => systemClock.nowMs() - sinceMs > PAUSE_MS, 2 * PAUSE_MS);
    await stage.goOn();
    redis.resume();
    await expectBack(stage);
    const { entries } = await stage.first.admin<{ entries: { difference: string[] }[] }>("GET", "/v1/audit");
    const lines = entries.flatMap(({ difference }) => difference);
    expect(lines).toContain("route shop: new 10 % -> 25 %");
    // Only where weights are: moments and ports may have these digits too.
    expect(lines.join()).not.toContain("77 %");
  });

  test("cut off again and again while changes are made: each is made once or not at all", async () => {
    await using redis = await startRedis({ isDurable: true });
    await using proxy = await startFaultProxy(redis.port);
    await using stage = await stageOn(`redis://127.0.0.1:${proxy.port}`);
    const cutting = setInterval(() => proxy.cut(), 150);
    const answered: number[] = [];
    try {
      for (let percent = 11; percent <= 40; percent++) {
        const { status, revision } = await stage.shift(percent, stage.first, "");
        if (status === 200 && revision !== undefined) answered.push(revision);
        else expect(status).toBe(503);
      }
    } finally {
      clearInterval(cutting);
    }
    await stage.condition("ok");
    expect(new Set(answered).size).toBe(answered.length);
    expect(answered).toEqual(answered.toSorted((a, b) => a - b));
    const { entries } = await stage.first.admin<{ entries: { revision: number; difference: string[] }[] }>(
      "GET",
      "/v1/audit?limit=100",
    );
    // Every percentage occurs at most once as the new weight, so no change was made twice.
    const made = entries.filter(({ revision }) => revision > 2).map(({ difference }) => difference.join());
    expect(new Set(made).size).toBe(made.length);
    expect(made.length).toBeGreaterThanOrEqual(answered.length);
    expect(proxy.counts.cut).toBeGreaterThan(0);
    await stage.goOn();
    expect(stage.failures()).toEqual([]);
  });

  test("too slow to answer in time", async () => {
    await using redis = await startRedis({ isDurable: true });
    await using proxy = await startFaultProxy(redis.port);
    await using stage = await stageOn(`redis://127.0.0.1:${proxy.port}`);
    proxy.delay(2_000);
    await expectAway(stage, /in time|timed out|answer/i);
    await proxy.heal();
    await expectBack(stage);
    expect(proxy.counts.accepted).toBeGreaterThan(0);
  });

  test("out of memory: nothing is half written, and reading goes on", async () => {
    await using redis = await startRedis();
    await using stage = await stageOn(redis.url);
    await redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await redis.command("CONFIG", "SET", "maxmemory", "1");
    const refused = await stage.shift(50);
    expect(refused).toMatchObject({ status: 503, code: "STORE_UNAVAILABLE" });
    expect(refused.detail).toContain("maxmemory");
    expect(await redis.command("XLEN", "{cf}:log")).toBe(2);
    await redis.command("CONFIG", "SET", "maxmemory", "0");
    await expectBack(stage);
  });

  test("a read-only replica", async () => {
    await using redis = await startRedis();
    await using elsewhere = await startRedis();
    await using stage = await stageOn(redis.url);
    await redis.command("CONFIG", "SET", "replica-read-only", "yes");
    await redis.command("CONFIG", "SET", "replica-serve-stale-data", "yes");
    await elsewhere.stop();
    await redis.command("REPLICAOF", "127.0.0.1", elsewhere.port);
    const refused = await stage.shift(50);
    expect(refused).toMatchObject({ status: 503, code: "STORE_UNAVAILABLE" });
    expect(refused.detail).toContain("replica");
    await stage.goOn();
    await redis.command("REPLICAOF", "NO", "ONE");
    await expectBack(stage);
  });

  test("a password that is not right any more", async () => {
    await using redis = await startRedis({ password: "right" });
    await using stage = await stageOn(redis.url);
    await redis.command("CONFIG", "SET", "requirepass", "changed");
    await redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await redis.command("CLIENT", "KILL", "TYPE", "pubsub");
    await expectAway(stage, /password/i);
    expect(JSON.stringify(stage.first.lines)).not.toMatch(/:right@|"right"/);
    await redis.command("CONFIG", "SET", "requirepass", "right");
    await expectBack(stage);
  });
});

test("a lost message of the channel only delays a change", async () => {
  await using redis = await startRedis();
  await using stage = await stageOn(redis.url);
  // Neither instance nor operator: a write without its message is what a lost message looks like.
  await redis.command("CLIENT", "KILL", "TYPE", "pubsub");
  expect(await stage.shift(30)).toMatchObject({ status: 200, revision: 3 });
  await redis.command("ACL", "SETUSER", "default", "resetchannels");
  expect((await stage.shift(31, stage.first, "")).status).toBeGreaterThanOrEqual(200);
  await redis.command("ACL", "SETUSER", "default", "allchannels");
  await stage.goOn();
  const { revision } = await stage.first.admin<{ revision: number }>("GET", "/v1/table");
  await stage.serves(revision);
  expect(stage.failures()).toEqual([]);
});

describe("a Redis that comes back as another one", () => {
  test("killed and restarted empty: the served table stays until an operator puts it back", async () => {
    await using redis = await startRedis();
    await using stage = await stageOn(redis.url);
    await redis.kill();
    await redis.restart({ isEmpty: true });
    const store = await stage.condition("empty");
    expect(store).toMatchObject({ store_revision: 0, served_revision: 2 });
    const ready = await stage.ready();
    expect(ready.status).toBe(200);
    expect(ready.text).toContain("holds no table");
    expect(await stage.shift(50)).toMatchObject({ status: 503, code: "STORE_REGRESSED" });
    await stage.goOn();
    expect(await redis.command("EXISTS", "{cf}:table")).toBe(0);
    const back = await stage.reseed("served");
    expect(back.status).toBe(200);
    await expectBack(stage, Number(back.revision) + 1);
  });

  test("restarted with old data: the older revision is refused and reported", async () => {
    await using redis = await startRedis();
    await using stage = await stageOn(redis.url);
    await redis.command("SAVE");
    expect(await stage.shift(20)).toMatchObject({ status: 200, revision: 3 });
    await redis.kill();
    await redis.restart();
    const store = await stage.condition("older");
    expect(store).toMatchObject({ store_revision: 2, served_revision: 3 });
    expect(await stage.shift(50)).toMatchObject({ status: 503, code: "STORE_REGRESSED" });
    await stage.goOn();
    await stage.serves(3);
    const back = await stage.reseed("served");
    expect(back.status).toBe(200);
    await expectBack(stage, Number(back.revision) + 1);
  });

  test("filled with another history: it is a stranger until an operator takes it", async () => {
    await using redis = await startRedis();
    await using other = await startRedis();
    await using stage = await stageOn(redis.url);
    await using elsewhere = await RedisStage.start({ redis: { url: other.url }, clients: 0 });
    await elsewhere.shift(90);
    await redis.command("FLUSHALL");
    await redis.command("REPLICAOF", "127.0.0.1", other.port);
    await until("the copy is complete", async () => (await redis.command("EXISTS", "{cf}:table")) === 1);
    await redis.command("REPLICAOF", "NO", "ONE");
    await stage.condition("stranger");
    await stage.serves(2);
    const taken = await stage.reseed("stored");
    expect(taken.status).toBe(200);
    const route = await stage.first.admin<{ route: { split: unknown } }>("GET", "/v1/routes/shop");
    expect(route.route.split).toEqual({ legacy: 10, new: 90 });
    await expectBack(stage, Number(taken.revision) + 1);
  });
});

describe("a start without Redis", () => {
  test("serves the last known table from disk and says so, until Redis is back", async () => {
    await using redis = await startRedis({ isDurable: true });
    await using stage = await stageOn(redis.url);
    const instance = stage.first;
    await until("the table is on the disk", async () => {
      const path = join(instance.directory, "run", "last-table.json");
      return existsSync(path) && (await readFile(path, "utf8")).includes('"revision":2');
    });
    await redis.stop();
    await instance.kill();
    await instance.start();
    expect(await stage.store()).toMatchObject({ served_from: "disk", served_revision: 2 });
    const ready = await stage.ready();
    expect(ready.status).toBe(200);
    expect(ready.text).toContain("disk");
    await stage.goOn();
    await redis.restart();
    await until("the store is used", async () => (await stage.store()).served_from === "store");
    await expectBack(stage);
  });

  test("with no last table it is not ready, and says why", async () => {
    await using redis = await startRedis();
    await redis.stop();
    await using stage = await RedisStage.start({
      redis: { url: redis.url },
      isPreparedOnly: true,
      clients: 0,
    });
    const instance = stage.first;
    await instance.begin();
    const ready = await stage.ready();
    expect(ready.status).toBe(503);
    expect(ready.text).toMatch(/no table is loaded/);
    await redis.restart();
    await until("it is ready", async () => (await stage.ready()).status === 200);
    await stage.serves(1);
  });
});
