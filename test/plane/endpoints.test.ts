/** Where backends and clients can be: IPv6, Unix sockets, and names whose addresses change. */
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { Endpoint } from "../../src/domain/route.ts";
import { makeDirectory } from "../support/directory.ts";
import { GET, OK, PlaneStage, cellOf } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { answering, type RawClient } from "../support/wire.ts";

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

async function ask(client: RawClient, request = GET): Promise<void> {
  client.received = "";
  client.send(request);
  await client.sees(/ok$/);
}

describe("a backend", () => {
  test("at an IPv6 address is reached", async () => {
    const legacy = await stage.backend(answering(OK), { host: "::1", port: 0 });
    const { port } = legacy;
    const started = await stage.plane({ legacy: [{ address: `http://[::1]:${port}`, host: "::1", port }] });
    const one = stage.client(started.port);
    await ask(one);
    await ask(one);
    expect(legacy.connections).toHaveLength(1);
    expect(legacy.connections[0]?.socket.remoteAddress).toBe("::1");
  });

  test("on a Unix socket is reached, and its connections are kept", async () => {
    const path = join(makeDirectory(), "app.sock");
    const legacy = await stage.backend(answering(OK), { path });
    const started = await stage.plane({ legacy: [{ address: `unix:${path}`, path }] });
    const one = stage.client(started.port);
    await ask(one);
    await ask(one, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    expect(legacy.connections).toHaveLength(1);
    expect(legacy.received).toContain("X-Forwarded-For: 127.0.0.1\r\n");
    expect(cellOf(started)).toMatchObject({ finished: 2, failures: 0 });
  });

  test("keeps the connections of a crowd for the next one, and 128 of them for longer", async () => {
    const crowd = 140;
    const legacy = await stage.backend(() => {});
    const answers = (): void => {
      for (const { socket } of legacy.connections) socket.write(OK);
    };
    const started = await stage.plane({ legacy: [legacy.port] });
    const clients = Array.from({ length: crowd }, () => stage.client(started.port));
    const askTogether = async (times: number): Promise<void> => {
      for (const client of clients) client.send(GET);
      await until("all have asked", () => legacy.received.split("GET ").length - 1 === times * crowd);
      answers();
      await until("all are answered", () =>
        clients.every(({ received }) => received.split("\r\n\r\nok").length - 1 === times),
      );
    };
    await askTogether(1);
    await askTogether(2);
    expect(legacy.connections).toHaveLength(crowd);
    started.pass(600);
    const open = (): number => legacy.connections.filter(({ isEnded }) => !isEnded).length;
    await until("the surplus is closed", () => open() <= 128);
    expect(open()).toBe(128);
  });

  test("on a Unix socket that nobody serves is answered 502", async () => {
    const path = join(makeDirectory(), "nobody.sock");
    const started = await stage.plane({ legacy: [{ address: `unix:${path}`, path }] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 502 .*details="CONNECT_FAILED"/s);
  });
});

describe("clients on a Unix socket", () => {
  test("are answered, and called unix", async () => {
    const path = join(makeDirectory(), "in.sock");
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] }, {}, {}, { path });
    const one = stage.client(path);
    await ask(one, "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    expect(legacy.received).toContain("X-Forwarded-For: unix\r\n");
    expect(legacy.received).not.toContain("192.0.2.1");
    expect(started.listener.accepted).toBe(1);
  });

  test("are believed where the settings say so", async () => {
    const path = join(makeDirectory(), "in.sock");
    const legacy = await stage.backend(answering(OK));
    await stage.plane({ legacy: [legacy.port] }, {}, { trustedProxies: ["unix"] }, { path });
    const one = stage.client(path);
    await ask(
      one,
      "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\r\n",
    );
    expect(legacy.received).toContain("X-Forwarded-For: 192.0.2.1\r\n");
    expect(legacy.received).toContain("X-Forwarded-For: unix\r\n");
    expect(legacy.received).toContain("Forwarded: for=unknown\r\n");
  });
});

describe("a name", () => {
  /** Two backends on one port of different loopback addresses, behind a name. */
  async function pair() {
    const first = await stage.backend(answering(OK), { host: "127.0.0.1", port: 0 });
    const { port } = first;
    const second = await stage.backend(answering(OK), { host: "127.0.0.2", port });
    const endpoint: Endpoint = { address: `http://shop.test:${port}`, host: "shop.test", port };
    return { first, second, endpoint };
  }

  test("is looked up once for a few seconds, and its addresses take turns", async () => {
    const { first, second, endpoint } = await pair();
    let lookups = 0;
    const lookup = async () => {
      lookups++;
      return ["127.0.0.1", "127.0.0.2"];
    };
    const started = await stage.plane({ legacy: [endpoint] }, {}, {}, { lookup });
    for (let i = 0; i < 4; i++) {
      const slow = stage.client(started.port);
      await ask(slow);
      started.plane.pool.closeIdle();
      await until("idle connections are closed", () => started.plane.pool.now()[0]?.[1] === 0);
    }
    expect(lookups).toBe(1);
    expect(first.connections).toHaveLength(2);
    expect(second.connections).toHaveLength(2);
    started.pass(5_000);
    await ask(stage.client(started.port));
    expect(lookups).toBe(2);
  });

  test("with an address that refuses is reached at the next one, without a fault", async () => {
    const legacy = await stage.backend(answering(OK), { host: "127.0.0.2", port: 0 });
    const { port } = legacy;
    const endpoint: Endpoint = { address: `http://shop.test:${port}`, host: "shop.test", port };
    const lookup = async () => ["127.0.0.3", "127.0.0.2"];
    const started = await stage.plane({ legacy: [endpoint] }, {}, {}, { lookup });
    for (let i = 0; i < 3; i++) {
      await ask(stage.client(started.port), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
      started.plane.pool.closeIdle();
    }
    expect(legacy.connections.length).toBeGreaterThan(1);
    expect(cellOf(started)).toMatchObject({ finished: 3, failures: 0, retries: 0 });
  });

  test("that moves takes its kept connections along", async () => {
    const { first, second, endpoint } = await pair();
    let addresses = ["127.0.0.1"];
    const lookup = async () => addresses;
    const started = await stage.plane({ legacy: [endpoint] }, {}, {}, { lookup });
    const one = stage.client(started.port);
    await ask(one);
    await ask(one);
    expect(first.connections).toHaveLength(1);
    addresses = ["127.0.0.2"];
    // Short of the idle time of the connection, which is in use all the time.
    for (let i = 0; i < 3; i++) {
      started.pass(2_500);
      await ask(one);
    }
    await until("the connection to the old address is closed", () => first.connections[0]?.isEnded);
    await ask(one);
    expect(first.connections).toHaveLength(1);
    expect(second.connections.length).toBeGreaterThan(0);
    expect(cellOf(started)).toMatchObject({ failures: 0, retries: 0 });
  });

  test("that nobody knows is answered 502 and named as such; known ones outlive their name server", async () => {
    const { first, endpoint } = await pair();
    let isKnown = false;
    const lookup = async () => {
      if (!isKnown) throw new Error("getaddrinfo ENOTFOUND shop.test");
      return ["127.0.0.1"];
    };
    const started = await stage.plane({ legacy: [endpoint] }, {}, {}, { lookup });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 502 .*error=dns_error.*details="NAME_UNRESOLVED"/s);
    isKnown = true;
    started.pass(1_000);
    await ask(one);
    isKnown = false;
    for (let i = 0; i < 3; i++) {
      started.pass(60_000);
      await ask(stage.client(started.port));
    }
    expect(first.connections).toHaveLength(4);
    expect(started.plane.resolver.failures).toBe(4);
  });
});
