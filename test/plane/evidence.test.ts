/** What a judge may use of the traffic of a real data plane: what counts, for whom, how often, and what does not. */
import { afterEach, describe, expect, test } from "vitest";
import { DEFAULT_ROLLBACK } from "../../src/domain/failure.ts";
import { latencyBucket } from "../../src/domain/latency.ts";
import type { BackendId, Route } from "../../src/domain/route.ts";
import type { Judged } from "../../src/domain/window.ts";
import { FAILED_CLIENTS_MAX } from "../../src/plane/failed_clients.ts";
import { Cell } from "../../src/shared/counters.ts";
import { GET, OK, PlaneStage, cellOf, closedPort, type TestPlane } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { answering, type RawBackend } from "../support/wire.ts";

const NOTHING: Judged = { requests: 0, failures: 0, latency: [] };
/** The clock stands still, so answers take no time. */
const AT_ONCE = latencyBucket(0);

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

function status(code: number): string {
  return `HTTP/1.1 ${code} X\r\nContent-Length: 2\r\n\r\nok`;
}

/** A backend that answers with the status that the path names. */
const asAsked: RawBackend["script"] = ({ socket }, piece) => {
  socket.write(status(Number(/^GET \/(\d+)/.exec(piece)?.[1] ?? 200)));
};

function request(path: string, user?: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: h\r\n${user === undefined ? "" : `X-User: ${user}\r\n`}\r\n`;
}

/** Sends requests one after the other on one connection, each after the answer before. */
async function ask(started: TestPlane, ...texts: readonly string[]): Promise<void> {
  const one = stage.client(started.port);
  for (const text of texts) {
    one.received = "";
    one.send(text);
    await one.sees(/^HTTP\/1.1 \d+ .*\r\n\r\n.+/s);
  }
}

function judgedOf(started: TestPlane, backend = "legacy"): Judged {
  return cellOf(started, backend).judged;
}

async function shopWith(route: Partial<Route> = {}): Promise<TestPlane> {
  const legacy = await stage.backend(asAsked);
  const candidate = await stage.backend(asAsked);
  return stage.plane({ legacy: [legacy.port], candidate: [candidate.port] }, route);
}

describe("an answer", () => {
  test("is evidence with the time it took, from the request to its end", async () => {
    const legacy = await stage.backend(() => {});
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await until("the request arrives", () => legacy.received.endsWith("\r\n\r\n"));
    started.pass(30);
    legacy.connections[0]?.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    await one.sees(/o$/);
    started.pass(10);
    legacy.connections[0]?.socket.write("k");
    await one.sees(/ok$/);
    expect(judgedOf(started)).toEqual({ requests: 1, failures: 0, latency: [[latencyBucket(40_000), 1]] });
  });

  test.each([
    ["by default", DEFAULT_ROLLBACK, 2],
    ["where nothing rolls back", null, 2],
    ["where 4xx was chosen", { ...DEFAULT_ROLLBACK, statuses: ["4xx"] as const }, 2],
    ["where one status of each was chosen", { ...DEFAULT_ROLLBACK, statuses: [404, 503] as const }, 2],
    ["where another one was chosen", { ...DEFAULT_ROLLBACK, statuses: [502] as const }, 0],
  ])("is a failure if the policy lists its status: %s", async (_, rollback, failures) => {
    const started = await shopWith({ rollback });
    const paths = ["/200", "/302", "/400", "/404", "/500", "/503"];
    await ask(started, ...paths.map((path, i) => request(path, `u${i}`)));
    expect(judgedOf(started)).toEqual({ requests: 6, failures, latency: [[AT_ONCE, 6]] });
  });

  test("to a pinned client is none, on either side", async () => {
    const when = { source: "header", name: "x-pin" } as const;
    const pins = (["legacy", "new"] as const).map((to) => ({
      when: { ...when, value: to },
      to: to as BackendId,
    }));
    const started = await shopWith({ pins });
    for (const to of ["legacy", "new"]) {
      await ask(started, `GET /500 HTTP/1.1\r\nHost: h\r\nX-Pin: ${to}\r\n\r\n`);
      expect(cellOf(started, to)).toMatchObject({ finished: 1, failures: 1, judged: NOTHING });
    }
  });

  test("to a WebSocket's handshake counts once, whatever becomes of the WebSocket", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (!received.endsWith("\r\n\r\n")) return;
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(
      "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await one.sees(/^HTTP\/1.1 101 /);
    const handshake = { requests: 1, failures: 0, latency: [[AT_ONCE, 1]] };
    expect(judgedOf(started)).toEqual(handshake);
    started.pass(60_000);
    legacy.connections[0]?.socket.resetAndDestroy();
    await one.seesEnd();
    await until("it is over", () => cellOf(started).finished + cellOf(started).aborted === 1);
    expect(judgedOf(started)).toEqual(handshake);
  });
});

describe("a backend that fails", () => {
  const none: [string, RawBackend["script"]][] = [
    ["resets the connection", ({ socket }) => socket.resetAndDestroy()],
    ["answers with rubbish", ({ socket }) => socket.write("HTTP/1.1 two hundred\r\n\r\n")],
    ["cuts its answer short", ({ socket }) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")],
    ["stops in its answer", ({ socket }) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")],
    ["does not answer", () => {}],
  ];
  test.each(none)("is evidence without an answer when it %s", async (_, script) => {
    const legacy = await stage.backend(script);
    const started = await stage.plane({ legacy: [legacy.port] });
    stage.client(started.port).send(GET);
    await until("the request arrives", () => legacy.received.endsWith("\r\n\r\n"));
    await until("it is counted", async () => {
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      started.pass(61_000);
      return cellOf(started).finished + cellOf(started).aborted === 1;
    });
    expect(judgedOf(started)).toEqual({ requests: 1, failures: 1, latency: [] });
  });

  test("to accept is evidence", async () => {
    const started = await stage.plane({ legacy: [await closedPort()] });
    await ask(started, GET);
    expect(judgedOf(started)).toEqual({ requests: 1, failures: 1, latency: [] });
  });

  test("and is made good by its other endpoint gave an answer like any other", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [await closedPort(), legacy.port] });
    for (let i = 0; i < 4; i++) await ask(started, GET);
    expect(cellOf(started).failures).toBeGreaterThan(0);
    expect(judgedOf(started)).toEqual({ requests: 4, failures: 0, latency: [[AT_ONCE, 4]] });
  });

  test("every attempt of a request fails it once", async () => {
    const dead = await Promise.all([closedPort(), closedPort(), closedPort()]);
    const route = { retries: { attempts: 2, bodyBytesMax: 0 }, sticky: { keys: [], salt: "s" } };
    const started = await stage.plane({ legacy: dead }, route);
    await ask(started, GET);
    expect(cellOf(started).faults).toEqual([["CONNECT_FAILED", 3]]);
    expect(judgedOf(started)).toEqual({ requests: 1, failures: 1, latency: [] });
  });
});

describe("a client", () => {
  test("that leaves before the answer is complete is no evidence", async () => {
    const legacy = await stage.backend(({ socket }) =>
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
    );
    const silent = await stage.backend(() => {});
    for (const [backend, seen] of [
      [silent, null],
      [legacy, /ok$/],
    ] as const) {
      const started = await stage.plane({ legacy: [backend.port] });
      const one = stage.client(started.port);
      one.send(GET);
      await until("the request arrives", () => backend.received.endsWith("\r\n\r\n"));
      if (seen !== null) await one.sees(seen);
      one.reset();
      await until("it is counted", () => cellOf(started).aborted === 1);
      expect(judgedOf(started)).toEqual(NOTHING);
    }
  });

  test("that leaves in the middle of a failure has seen it", async () => {
    const legacy = await stage.backend(({ socket }) =>
      socket.write("HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\nok"),
    );
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    one.reset();
    await until("it is counted", () => cellOf(started).aborted === 1);
    expect(judgedOf(started)).toEqual({ requests: 1, failures: 1, latency: [] });
  });

  test("that fails again in the same second or the next one is left out, and counts after that", async () => {
    const started = await shopWith();
    await ask(started, request("/500", "ann"), request("/503", "ann"), request("/200", "ann"));
    expect(judgedOf(started)).toEqual({ requests: 2, failures: 1, latency: [[AT_ONCE, 2]] });
    expect(cellOf(started).failures).toBe(2);
    started.pass(999);
    await ask(started, request("/500", "ann"));
    expect(judgedOf(started)).toMatchObject({ requests: 2, failures: 1 });
    started.pass(1);
    await ask(started, request("/500", "ann"));
    expect(judgedOf(started)).toMatchObject({ requests: 2, failures: 1 });
    started.pass(1000);
    await ask(started, request("/500", "ann"));
    expect(judgedOf(started)).toMatchObject({ requests: 3, failures: 2 });
  });

  test("is told from others by its key, without one by its address", async () => {
    const sticky = { keys: [{ from: "header", name: "x-user" }, { from: "issue" }], salt: "s" } as const;
    const started = await shopWith({ sticky });
    await ask(started, request("/500", "ann"), request("/500", "bob"), request("/500", "ann"));
    expect(judgedOf(started)).toMatchObject({ requests: 2, failures: 2 });
    // Each gets a cookie of its own, but nobody has brought one.
    await ask(started, request("/500"), request("/500"), request("/500"));
    expect(judgedOf(started)).toMatchObject({ requests: 3, failures: 3 });
  });

  test("without stickiness is told by the address that a trusted proxy names", async () => {
    const legacy = await stage.backend(asAsked);
    const route = { sticky: { keys: [], salt: "s" } };
    const started = await stage.plane({ legacy: [legacy.port] }, route, { trustedProxies: ["127.0.0.1/32"] });
    const from = (address: string): string =>
      `GET /500 HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: ${address}\r\n\r\n`;
    await ask(started, from("10.0.0.1"), from("10.0.0.2"), from("10.0.0.1"));
    expect(judgedOf(started)).toMatchObject({ requests: 2, failures: 2 });
  });

  test("that fails on both sides counts on both", async () => {
    const started = await shopWith({ candidateShares: 50_000, sticky: { keys: [], salt: "s" } });
    await until("both were asked", async () => {
      await ask(started, request("/500"));
      return cellOf(started).failures > 1 && cellOf(started, "new").failures > 1;
    });
    for (const backend of ["legacy", "new"]) {
      expect(judgedOf(started, backend)).toMatchObject({ requests: 1, failures: 1 });
    }
  });
});

describe("what Crossfade refuses", () => {
  test("is no evidence: no route, a malformed request, a malformed body", async () => {
    const legacy = await stage.backend(asAsked);
    const match: Route["match"] = {
      hosts: ["h"],
      path: { kind: "prefix", value: "/" },
      methods: [],
      conditions: [],
    };
    const started = await stage.plane({ legacy: [legacy.port] }, { match });
    await ask(started, "GET / HTTP/1.1\r\nHost: other\r\n\r\n");
    await ask(started, "GET /\u0001 HTTP/1.1\r\nHost: h\r\n\r\n");
    const one = stage.client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n");
    await one.sees(/^HTTP\/1.1 \d+ /);
    expect(cellOf(started).finished).toBe(1);
    expect(judgedOf(started)).toEqual(NOTHING);
    expect(started.plane.unrouted.snapshot()).toMatchObject({ finished: 2, judged: NOTHING });
  });

  test("because a pool is full is no evidence, unless the backend had failed the request already", async () => {
    const slow = { address: "http://slow.example", host: "slow.example", port: 80 };
    const lookup = (): Promise<never> => new Promise(() => {});
    const started = await stage.plane({ legacy: [slow] }, {}, {}, { lookup });
    const backend = { id: "legacy" as BackendId, endpoints: [slow] };
    const refused: string[] = [];
    const taker = { onConnection: (): void => {}, onNoConnection: (code: string) => void refused.push(code) };
    const wish = { backend, connectMs: 3000, client: "", avoid: null, idleMsMax: 0 };
    while (refused.length === 0) started.plane.pool.acquire(taker, wish);
    await ask(started, GET);
    expect(cellOf(started)).toMatchObject({ finished: 1, faults: [["POOL_FULL", 1]], judged: NOTHING });
    const dead = await closedPort();
    started.serve({}, { legacy: [slow, dead] });
    await ask(started, GET);
    expect(cellOf(started).faults).toEqual([
      ["POOL_FULL", 2],
      ["CONNECT_FAILED", 1],
    ]);
    expect(judgedOf(started)).toEqual({ requests: 1, failures: 1, latency: [] });
    started.pass(5000);
  });
});

test("a second with too many failures has no evidence left, of answers no more than of failures", async () => {
  const started = await shopWith({ candidateShares: 50_000 });
  const other = new Cell("other", "legacy");
  for (let i = 1; i < FAILED_CLIENTS_MAX; i++) started.plane.failedClients.add(other, `u${i}`, 0);
  const both = (): number => judgedOf(started).requests + judgedOf(started, "new").requests;
  await ask(started, request("/500", "last"));
  expect(both()).toBe(1);
  await ask(started, ...["a", "b", "c", "d"].flatMap((user) => [request("/500", user), request("/", user)]));
  expect(both()).toBe(1);
  started.pass(1000);
  await ask(started, request("/500", "newcomer"), request("/", "newcomer"));
  expect(both()).toBe(3);
});
