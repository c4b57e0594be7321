/** The Redis servers that tests start do what the tests of the store rely on. */
import { afterEach, describe, expect, test } from "vitest";
import { opensslMissing } from "../support/certificates.ts";
import {
  startRedis,
  redisMissing,
  sentinelMissing,
  type RedisOptions,
  type RedisServer,
} from "../support/redis.ts";
import { startCluster, startSentinels } from "../support/redis_groups.ts";
import { isRunning } from "../../src/control/process.ts";
import { askRedis } from "../support/redis_link.ts";
import { until } from "../support/wait.ts";

const started: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of started.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

async function start(options: RedisOptions = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  started.push(server);
  return server;
}

describe("a server", () => {
  test("comes back at its port with what was saved, or with nothing", async (context) => {
    const reason = redisMissing();
    if (reason !== null) context.skip(reason);
    const server = await start();
    await server.command("SET", "a", "saved");
    await server.command("SAVE");
    await server.command("SET", "a", "not saved");
    const { pid, port } = server;
    await server.kill();
    await server.restart();
    expect([server.port, await server.command("GET", "a")]).toEqual([port, "saved"]);
    expect(isRunning(pid)).toBe(false);
    await server.restart({ isEmpty: true });
    expect(await server.command("GET", "a")).toBe(null);
  });

  test("answers nothing while it is paused, and can be killed all the same", async (context) => {
    const reason = redisMissing();
    if (reason !== null) context.skip(reason);
    const server = await start();
    server.pause();
    const late = server.command("PING");
    server.resume();
    expect(await late).toBe("PONG");
    server.pause();
    await server.kill();
    expect(server.pid).toBe(0);
  });

  test("speaks TLS at its port, to its replica too, and has the users that it was given", async (context) => {
    const reason = redisMissing() ?? opensslMissing();
    if (reason !== null) context.skip(reason);
    const primary = await start({ tls: "mutual", password: "secret", users: ["reader on >r ~* +get"] });
    expect(primary.url).toBe(`rediss://:secret@127.0.0.1:${primary.port}/0`);
    expect(await primary.command("ACL", "USERS")).toEqual(["default", "keeper", "reader"]);
    await expect(askRedis(primary.port, ["PING"])).rejects.toThrow(/ECONNRESET|closed/);
    const replica = await start({ tls: "mutual", certificates: primary.certificates, replicaOf: primary });
    await primary.command("SET", "a", "1");
    await until("it was copied", async () => (await replica.command("GET", "a")) === "1");
  });
});

test("sentinels name another primary when told, and when the primary is killed", async (context) => {
  const reason = sentinelMissing();
  if (reason !== null) context.skip(reason);
  const group = await startSentinels({ replicas: 2, sentinelPassword: "secret" });
  started.push(group);
  const first = await group.primary();
  expect(first).toBe(group.servers[0]);
  const second = await group.failOver();
  await second.kill();
  const third = await group.newPrimary(second);
  expect(new Set([first, second, third]).size).toBe(3);
});

test("a cluster moves a slot with its keys, and sends on whoever asks meanwhile", async (context) => {
  const reason = redisMissing();
  if (reason !== null) context.skip(reason);
  const cluster = await startCluster();
  started.push(cluster);
  const from = await cluster.ownerOf("{cf}:table");
  await from.command("SET", "{cf}:table", "kept");
  const to = cluster.servers.find((server) => server !== from) as RedisServer;
  await cluster.moveSlot("{cf}:table", to, {
    onMoved: () => expect(from.command("GET", "{cf}:table")).rejects.toThrow(/^ASK /),
  });
  expect(await to.command("GET", "{cf}:table")).toBe("kept");
  await expect(from.command("GET", "{cf}:table")).rejects.toThrow(/^MOVED /);
  expect(await cluster.ownerOf("{cf}:table")).toBe(to);
});
