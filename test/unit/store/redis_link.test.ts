/** The link to Redis: what it says of every trouble, how fast it gives up, and that it always comes back. */
import { createServer, type AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { Fault } from "../../../src/base/fault.ts";
import { RedisLink, type RedisHealth } from "../../../src/store/redis_link.ts";
import { openRedisStore } from "../../../src/store/redis.ts";
import { REDIS_RIGHTS } from "../../../src/store/redis_scripts.ts";
import type { RedisSettings } from "../../../src/store/redis_settings.ts";
import { changeTo, historyOf } from "../../contract/route_store.ts";
import { opensslMissing } from "../../support/certificates.ts";
import { redisMissing, sentinelMissing, type RedisServer } from "../../support/redis.ts";
import { startCluster, startSentinels } from "../../support/redis_groups.ts";
import {
  KeptLog,
  needRedis,
  openLink,
  proxyTo,
  redisSettings,
  serveRedis,
} from "../../support/redis_store.ts";
import { until } from "../../support/wait.ts";

const noRedis = redisMissing();

/** Short, for servers that never answer. */
const SHORT_MS = 150;

/** A server that says of itself what it is told to, and that all else is well. */
async function startImpostor(info: string): Promise<number> {
  const impostor = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => {
      const names = [...String(bytes).matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)].map(([, name]) => name);
      for (const name of names) {
        const isClock = name === "eval" || name === "evalsha";
        const text = name === "info" ? info : isClock ? "1000" : null;
        socket.write(
          name === "config" ? "*0\r\n" : text === null ? "+OK\r\n" : `$${text.length}\r\n${text}\r\n`,
        );
      }
    });
  });
  await new Promise<void>((resolve) => impostor.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void impostor.close());
  return (impostor.address() as AddressInfo).port;
}

function ping(link: RedisLink): Promise<unknown> {
  return link.call((client) => client.command("ping"));
}

async function detailOf(link: RedisLink): Promise<string> {
  const error: unknown = await ping(link).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(Fault);
  expect(error).toMatchObject({ code: "STORE_UNAVAILABLE" });
  return (error as Fault).message;
}

function detailOfFault(error: unknown): string {
  if (error instanceof Fault) return error.message;
  throw error;
}

async function downWith(settings: RedisSettings): Promise<string> {
  const link = await openLink(settings);
  const health = link.health();
  expect(health.ok).toBe(false);
  expect(await detailOf(link)).toBe(health.ok ? "" : health.detail);
  return health.ok ? "" : health.detail;
}

describe("a link", () => {
  needRedis();

  test("is up once connected, also by its first call, and is closed for good", async () => {
    const server = await serveRedis({ isDurable: true });
    const link = await openLink(redisSettings(server.port));
    expect(link.health()).toEqual({ ok: true });
    expect(link.warnings()).toEqual([]);
    expect(await ping(link)).toBe("PONG");
    await link.close();
    await link.close();
    expect(await detailOf(link)).toContain("the store is closed");
    expect(await link.whenReady(10_000)).toBe(false);
  });

  test("uses the database that it is told, and none that the server does not have", async () => {
    const server = await serveRedis();
    const link = await openLink(redisSettings(server.port, { database: 3 }));
    await link.call((client) => client.command("set", "a", "b"));
    expect(await server.command("EXISTS", "a")).toBe(0);
    expect(await downWith(redisSettings(server.port, { database: 99 }))).toContain(
      "DB index is out of range",
    );
  });

  test("knows the server's clock", async () => {
    const server = await serveRedis();
    const link = await openLink(redisSettings(server.port));
    const said = link.serverMs(link.nowMs());
    const [seconds] = (await server.command("TIME")) as readonly string[];
    // Never ahead of it, and behind by no more than the time of one answer.
    expect(said).toBeLessThan((Number(seconds) + 1) * 1_000);
    expect(said).toBeGreaterThan((Number(seconds) - 60) * 1_000);
  });

  test("that is down refuses at once, says why, and comes back by itself", async () => {
    const server = await serveRedis();
    const proxy = await proxyTo(server);
    const log = new KeptLog();
    const link = await openLink(redisSettings(proxy.port, { timeoutMs: SHORT_MS }), log);
    const changes: RedisHealth[] = [];
    const ready: string[] = [];
    link.onChange((health) => changes.push(health));
    link.onReady((role) => ready.push(role));
    await until("the messages too", () => proxy.counts.open === 2);
    proxy.stall(true);
    expect(await detailOf(link)).toContain(`it has not answered within ${SHORT_MS} ms`);
    const opened = proxy.counts.bytesUp;
    for (let call = 0; call < 100; call++) expect(await detailOf(link)).toContain("has not answered");
    expect(link.health()).toMatchObject({ ok: false });
    expect(proxy.counts.bytesUp).toBe(opened);
    proxy.stall(false);
    await until("it is up", () => link.health().ok);
    expect(await ping(link)).toBe("PONG");
    expect(changes.map(({ ok }) => ok)).toEqual([false, true]);
    await until("both are ready again", () => ready.includes("commands"));
    expect(log.lines.map(({ message }) => message)).toEqual([
      "Redis can be used",
      "Redis cannot be used",
      "Redis can be used",
    ]);
  });

  test("goes on after any number of cuts, and its subscriptions with it", async () => {
    const server = await serveRedis();
    const proxy = await proxyTo(server);
    const link = await openLink(redisSettings(proxy.port));
    const heard: string[] = [];
    link.subscribe("{cf}:changes", (message) => heard.push(message));
    for (let cut = 0; cut < 5; cut++) {
      await until("the message arrives", async () => {
        await server.command("PUBLISH", "{cf}:changes", String(cut));
        return heard.includes(String(cut));
      });
      proxy.cut();
      await until(
        "it is up again",
        async () => (await link.whenReady(100)) && ping(link).catch((error: unknown) => !error),
      );
    }
  });

  test("of which a listener fails does not fail", async () => {
    const server = await serveRedis();
    const proxy = await proxyTo(server);
    const log = new KeptLog();
    const link = await openLink(redisSettings(proxy.port), log);
    link.onChange(() => {
      throw new Error("planted");
    });
    proxy.cut();
    await until("it is noticed", () => !link.health().ok);
    await until("it is up", () => link.health().ok);
    expect(log.lines.map(({ message }) => message)).toContain("a listener of the link to Redis failed");
  });

  test("closes in the midst of everything, and leaves nothing behind that rejects", async () => {
    const server = await serveRedis();
    const proxy = await proxyTo(server);
    const link = await openLink(redisSettings(proxy.port));
    proxy.stall(true);
    const pending = detailOf(link);
    await link.close();
    expect(await pending).toMatch(/the connection (?:was closed|is gone)|the store is closed/);
    const early = await proxyTo(server);
    early.stall(true);
    const settings = redisSettings(early.port, { password: "x" });
    const other = new RedisLink({ settings, clock: systemClock, log: new KeptLog() });
    const begun = other.connect();
    await until("it dials", () => early.counts.accepted > 0);
    await other.close();
    await begun;
    expect(other.health()).toMatchObject({ ok: false });
  });
});

describe("a link says what is wrong and what to do:", () => {
  needRedis();

  test("nobody listens there", async () => {
    const server = await serveRedis();
    await server.stop();
    const place = `Redis at redis://127.0.0.1:${server.port}/0: nobody listens there; start Redis, or correct`;
    expect(await downWith(redisSettings(server.port))).toContain(place);
    expect(await downWith(redisSettings(server.socketPath))).toMatch(/nobody listens|no such socket/);
    const nowhere = { kind: "single", node: { host: "nowhere.invalid", port: 6379 } } as const;
    expect(await downWith(redisSettings(nowhere))).toMatch(/no address|looked up/);
  });

  test("the password, the user, or none at all is refused, and no password is told", async () => {
    const server = await serveRedis({ password: "secret-word", users: ["anna on >other ~* &* +@all"] });
    expect(await downWith(redisSettings(server.port))).toContain("it wants a password or user");
    const wrong = { password: "wrong password" };
    const details = [
      await downWith(redisSettings(server.port, wrong)),
      await downWith(redisSettings(server.port, { ...wrong, username: "anna" })),
    ];
    for (const detail of details) {
      expect(detail).toContain("the password or user in store.redis is refused; correct them");
      expect(detail).not.toContain("wrong password");
    }
    const link = await openLink(redisSettings(server.port, { password: "secret-word" }));
    expect(link.health()).toEqual({ ok: true });
    const open = await serveRedis();
    // Where none is wanted, one too many does no harm.
    expect((await openLink(redisSettings(open.port, { password: "any" }))).health()).toEqual({ ok: true });
  });

  test("the user may not do what is needed", async () => {
    const server = await serveRedis({ users: ["anna on >other ~{cf}:* +@all -ping"] });
    const link = await openLink(redisSettings(server.port, { username: "anna", password: "other" }));
    expect(await detailOf(link)).toContain("its ACL does not allow what is needed (NOPERM");
    expect(await detailOf(link)).toContain(REDIS_RIGHTS.replaceAll("PREFIX", "cf"));
    expect(link.health()).toEqual({ ok: true });
    link.subscribe("{cf}:changes", () => undefined);
    await until("the channel is missed", () => link.warnings().some((line) => line.includes("noticed late")));
  });

  test("it is a replica, a sentinel, too old, of unknown version, or still loading", async () => {
    const primary = await serveRedis();
    const replica = await serveRedis({ replicaOf: primary });
    expect(await downWith(redisSettings(replica.port))).toContain("point store.redis at the primary");
    const claims = {
      "redis_version:6.2.14\r\nrole:master": "it is version 6.2.14, and Crossfade needs Redis 7.0 or later",
      "role:master": "it does not say its version",
      "redis_version:7.2.0\r\nredis_mode:sentinel": "this is a sentinel",
      "redis_version:7.2.0\r\nloading:1": "it is still loading its data",
    };
    for (const [info, wrong] of Object.entries(claims)) {
      expect(await downWith(redisSettings(await startImpostor(info)))).toContain(wrong);
    }
    const valkey = "server_name:valkey\r\nvalkey_version:8.1.0\r\nredis_version:7.2.4\r\nrole:master";
    const link = await openLink(redisSettings(await startImpostor(valkey)));
    expect(link.health()).toEqual({ ok: true });
  });

  test("a primary that has become a replica is left, and used again as a primary", async () => {
    const [server, other] = [await serveRedis(), await serveRedis()];
    const link = await openLink(redisSettings(server.port));
    await server.command("REPLICAOF", "127.0.0.1", other.port);
    const set = (): Promise<unknown> => link.call((client) => client.command("set", "a", "b"));
    await expect(set()).rejects.toThrow("this is a read-only replica; point store.redis at the primary");
    await until("it has looked again", () => {
      const health = link.health();
      return !health.ok && health.detail.includes("read-only replica");
    });
    await server.command("REPLICAOF", "NO", "ONE");
    await until("it is up", () => link.health().ok);
    expect(await set()).toBe("OK");
  });

  test("an acknowledged change could be lost, or the table thrown away", async () => {
    const server = await serveRedis({ lines: ["maxmemory-policy allkeys-lru"] });
    const link = await openLink(redisSettings(server.port));
    expect(link.warnings()).toEqual([
      expect.stringContaining(
        "keeps no append-only file: a crash of it loses acknowledged changes; set appendonly yes",
      ),
      expect.stringContaining("set maxmemory-policy noeviction"),
    ]);
    const lazy = await serveRedis({ lines: ["appendonly yes", "appendfsync everysec"] });
    expect((await openLink(redisSettings(lazy.port))).warnings()).toEqual([
      expect.stringContaining("syncs its append-only file everysec"),
    ]);
    const hidden = await serveRedis({ users: ["anna on >other ~* &* +@all -config"] });
    const anna = { username: "anna", password: "other" };
    expect((await openLink(redisSettings(hidden.port, anna))).warnings()).toEqual([]);
  });
});

describe("a link finds its way", () => {
  test("by TLS, with a certificate of its own or without", async (context) => {
    const reason = noRedis ?? opensslMissing();
    if (reason !== null) context.skip(reason);
    const server = await serveRedis({ tls: "server" });
    const ca = server.certificates?.authority.certificate ?? "";
    const link = await openLink(redisSettings(server.port, { tls: { ca } }));
    expect(link.health()).toEqual({ ok: true });
    const untrusted = await downWith(redisSettings(server.port, { tls: {} }));
    expect(untrusted).toContain("nobody we believe vouches for its certificate");
    const misnamed = await downWith(redisSettings(server.port, { tls: { ca, serverName: "other.test" } }));
    expect(misnamed).toContain("its certificate is for another name");
    expect(await downWith(redisSettings(server.port))).toMatch(/whether it wants TLS there|was cut/);
    const plain = await serveRedis();
    const hasty = redisSettings(plain.port, { tls: { ca }, timeoutMs: SHORT_MS });
    expect(await downWith(hasty)).toContain("whether it speaks TLS there");
    const { certificates } = server;
    const mutual = await serveRedis({ tls: "mutual", certificates });
    const own = certificates?.client;
    const tls = { ca, certificate: own?.certificate ?? "", key: own?.key ?? "" };
    const certain = await openLink(redisSettings(mutual.port, { tls }));
    const store = openRedisStore({ link: certain, clock: systemClock, log: new KeptLog() });
    expect(await store.commit(0, changeTo(1))).toEqual({ ok: true, revision: 1 });
    const anonymous = await downWith(redisSettings(mutual.port, { tls: { ca } }));
    expect(anonymous).toContain("it wants a certificate of ours");
  });

  test("by sentinels, to the new primary too", async (context) => {
    const reason = sentinelMissing();
    if (reason !== null) context.skip(reason);
    const group = await startSentinels({ sentinelPassword: "watch" });
    onTestFinished(() => group[Symbol.asyncDispose]());
    const nodes = group.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
    const place = { kind: "sentinels", name: group.name, nodes, password: "watch" } as const;
    const link = await openLink(redisSettings(place, { timeoutMs: 2_000 }));
    expect(link.health()).toEqual({ ok: true });
    const store = openRedisStore({ link, clock: systemClock, log: new KeptLog() });
    expect(await store.commit(0, changeTo(1))).toEqual({ ok: true, revision: 1 });
    const primary = await group.failOver();
    await until("it writes to the new primary", async () => {
      await store.commit(1, changeTo(2)).catch(detailOfFault);
      return (await primary.command("HGET", "{cf}:table", "revision")) === "2";
    });
    const locked = await downWith(redisSettings({ ...place, password: "wrong" }));
    expect(locked).toContain("no sentinel says where it is; check them, and their password in store.redis");
    const strange = await downWith(redisSettings({ ...place, name: "strange" }));
    expect(strange).toContain("no sentinel knows a primary of this name");
  });

  test("in a cluster, also while a slot moves and afterwards", async (context) => {
    if (noRedis !== null) context.skip(noRedis);
    const cluster = await startCluster();
    onTestFinished(() => cluster[Symbol.asyncDispose]());
    const nodes = cluster.servers.map(({ port }) => ({ host: "127.0.0.1", port }));
    const link = await openLink(redisSettings({ kind: "cluster", nodes }, { timeoutMs: 2_000 }));
    expect(link.health()).toEqual({ ok: true });
    const store = openRedisStore({ link, clock: systemClock, log: new KeptLog() });
    onTestFinished(() => store.close());
    const heard: number[] = [];
    store.watch((revision) => heard.push(revision));
    expect(await store.load(historyOf(1, 2))).toBe(true);
    const owner = await cluster.ownerOf("{cf}:table");
    const other = cluster.servers.find((server) => server !== owner) as RedisServer;
    await cluster.moveSlot("{cf}:table", other, {
      onMoved: async () => {
        expect(await store.commit(2, changeTo(3))).toEqual({ ok: true, revision: 3 });
      },
    });
    const mark = { key: "key-1", fingerprint: "fingerprint-1" };
    expect(await store.commit(3, changeTo(4, mark))).toEqual({ ok: true, revision: 4 });
    expect(await other.command("HGET", "{cf}:table", "revision")).toBe("4");
    expect((await store.history({ limit: 9 })).map(({ revision }) => revision)).toEqual([4, 3, 2, 1]);
    await until("it is heard of", () => heard.includes(4));
    const single = await serveRedis();
    const alone = { kind: "cluster", nodes: [{ host: "127.0.0.1", port: single.port }] } as const;
    expect(await downWith(redisSettings(alone))).toContain("it is no cluster");
  });
});
