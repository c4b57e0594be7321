/** The store in Redis keeps the contract of RouteStore, as a user who may do no more than the README asks for. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { openRedisStore } from "../../src/store/redis.ts";
import { RedisLink } from "../../src/store/redis_link.ts";
import { REDIS_RIGHTS } from "../../src/store/redis_scripts.ts";
import type { RouteStore } from "../../src/store/store.ts";
import { ManualClock } from "../support/clock.ts";
import { redisMissing, startRedis, type RedisServer } from "../support/redis.ts";
import { KeptLog, needRedis, redisSettings } from "../support/redis_store.ts";
import { describeRouteStore } from "./route_store.ts";

describe("Redis behind a Unix socket, with the least rights", () => {
  needRedis();

  const clock = new ManualClock();
  const links: RedisLink[] = [];
  let server: RedisServer;
  let stores = 0;

  beforeAll(async () => {
    if (redisMissing() !== null) return;
    // Each test has a prefix of its own.
    const rights = REDIS_RIGHTS.replaceAll("{PREFIX}:*", "{store-*}:*");
    server = await startRedis({ users: ["default off", `crossfade on >secret ${rights}`] });
  });
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close();
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  const again = async (): Promise<RouteStore> => {
    const login = { username: "crossfade", password: "secret" };
    const settings = redisSettings(server.socketPath, { ...login, prefix: `store-${stores}` });
    const log = new KeptLog();
    const link = new RedisLink({ settings, clock: systemClock, log });
    links.push(link);
    await link.connect();
    return openRedisStore({ link, clock, log });
  };
  const open = async (): Promise<RouteStore> => {
    stores++;
    return again();
  };
  describeRouteStore("the Redis store", open, { clock, again });

  it("asked for no right that it was not given", async () => {
    expect(await server.command("ACL", "LOG")).toEqual([]);
  });
});
