/** The list of instances in Redis keeps the contract of InstanceRegistry. */
import { afterAll, afterEach, beforeAll, describe } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { InstanceRegistry } from "../../src/store/instances.ts";
import { openRedisInstances } from "../../src/store/redis_instances.ts";
import { RedisLink } from "../../src/store/redis_link.ts";
import { REDIS_RIGHTS } from "../../src/store/redis_scripts.ts";
import { redisMissing, startRedis, type RedisServer } from "../support/redis.ts";
import { KeptLog, needRedis, redisSettings } from "../support/redis_store.ts";
import { describeInstances } from "./instances.ts";

/** Silence that counts soon, in tests only. */
const HASTY_TTL_MS = 50;

describe("Redis with the least rights", () => {
  needRedis();

  const links: RedisLink[] = [];
  let log = new KeptLog();
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

  const openAnother = async (ttl: { readonly ttlMs?: number } = {}): Promise<InstanceRegistry> => {
    const login = { username: "crossfade", password: "secret" };
    const settings = redisSettings(server.port, { ...login, prefix: `list-${lists}` });
    const link = new RedisLink({ settings, clock: systemClock, log });
    links.push(link);
    await link.connect();
    return openRedisInstances({ link, log, ...ttl });
  };
  const open = async (): Promise<InstanceRegistry> => {
    lists++;
    log = new KeptLog();
    return openAnother();
  };
  describeInstances("the list in Redis", open, {
    again: () => openAnother(),
    openHasty: () => openAnother({ ttlMs: HASTY_TTL_MS }),
    warnings: () => log.lines.map(({ message }) => message).filter((message) => !message.includes("Redis")),
  });
});
