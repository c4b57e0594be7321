/** A real data plane in trouble: failing backends, slow or absent clients, limits; and the split, and the drain. */
import { afterEach, describe, expect, test } from "vitest";
import type { BackendId } from "../../src/domain/route.ts";
import { GET, OK, PlaneStage, cellOf, closedPort } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { answering } from "../support/wire.ts";

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

describe("a backend that fails", () => {
  test("to accept is rescued by its other endpoint, and still charged", async () => {
    const legacy = await stage.backend(answering(OK));
    const dead = await closedPort();
    const started = await stage.plane({ legacy: [dead, legacy.port] });
    for (let i = 0; i < 4; i++) {
      const one = stage.client(started.port);
      one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
      await one.sees(/ok$/);
    }
    const counted = cellOf(started);
    expect(counted).toMatchObject({ started: 4, finished: 4, codes: [[200, 4]] });
    expect(counted.retries).toBeGreaterThan(0);
    expect(counted.failures).toBe(counted.retries);
  });

  test("to keep idle connections open loses no request that can't be repeated: it gets a new one", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    const post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    const ask = async (text: string): Promise<number> => {
      one.received = "";
      one.send(text);
      await one.sees(/ok$/);
      return legacy.connections.length;
    };
    expect(await ask(GET)).toBe(1);
    expect(await ask(post)).toBe(1);
    started.pass(1_500);
    expect(await ask(post)).toBe(2);
    started.pass(1_500);
    expect(await ask(GET)).toBe(2);
  });

  test("to accept at three endpoints is rescued by the fourth, if the route allows three retries", async () => {
    const legacy = await stage.backend(answering(OK));
    const dead = await Promise.all([closedPort(), closedPort(), closedPort()]);
    const route = { retries: { attempts: 3, bodyBytesMax: 0 } };
    const started = await stage.plane({ legacy: [...dead, legacy.port] }, route);
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    expect(cellOf(started)).toMatchObject({ started: 1, finished: 1, codes: [[200, 1]] });
    expect(cellOf(started).retries).toBeLessThanOrEqual(3);
  });

  test("to accept anywhere is answered 502", async () => {
    const started = await stage.plane({ legacy: [await closedPort()] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 502 .*error=connection_refused/s);
    const counted = { failures: 1, finished: 1, codes: [[502, 1]], faults: [["CONNECT_FAILED", 1]] };
    expect(cellOf(started)).toMatchObject(counted);
  });

  test("to accept as the candidate costs no client anything: legacy gets the request, once", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("hello")) socket.write(OK);
    });
    const [one, two] = await Promise.all([closedPort(), closedPort()]);
    const shop = { candidateShares: 100_000, expose: true };
    const started = await stage.plane({ legacy: [legacy.port], candidate: [one, two] }, shop);
    const client = stage.client(started.port);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    await client.sees(/^HTTP\/1.1 200 .*Crossfade-Backend: legacy\r\n.*ok$/s);
    expect(legacy.received.match(/POST/g)).toHaveLength(1);
    expect(legacy.received).toContain("hello");
    expect(cellOf(started, "new")).toMatchObject({
      started: 1,
      finished: 1,
      failures: 1,
      codes: [[200, 1]],
      judged: { requests: 1, failures: 1, latency: [] },
    });
    expect(cellOf(started)).toMatchObject({ started: 0 });
  });

  test("to accept as the candidate is seen by whoever is pinned to it, and where retries are off", async () => {
    const legacy = await stage.backend(answering(OK));
    const dead = [await closedPort()];
    const when = { source: "header", name: "x-pin" } as const;
    const pinned = { pins: [{ when, to: "new" as BackendId }] };
    const started = await stage.plane({ legacy: [legacy.port], candidate: dead }, pinned);
    const client = stage.client(started.port);
    client.send("GET / HTTP/1.1\r\nHost: h\r\nX-Pin: 1\r\n\r\n");
    await client.sees(/^HTTP\/1.1 502 /s);
    started.serve(
      { candidateShares: 100_000, retries: { attempts: 0, bodyBytesMax: 0 } },
      { legacy: [legacy.port], candidate: dead },
    );
    const other = stage.client(started.port);
    other.send(GET);
    await other.sees(/^HTTP\/1.1 502 /s);
    expect(legacy.received).toBe("");
  });

  test("a kept-alive connection before it answers: a safe request is sent again, an unsafe one is not", async () => {
    let requests = 0;
    const legacy = await stage.backend(({ socket, received }) => {
      if (!received.endsWith("\r\n\r\n")) return;
      requests++;
      // Every second request on a connection meets a backend that has just closed it.
      if (received.split("\r\n\r\n").length % 2 === 1) socket.destroy();
      else socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    one.send(GET);
    await until("the second answer", () => one.received.split("\r\n\r\nok").length === 3);
    expect(requests).toBe(3);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    await one.sees(/HTTP\/1.1 502 .*UPSTREAM_RESET/s);
    expect(requests).toBe(4);
    expect(cellOf(started)).toMatchObject({ started: 3, finished: 3, retries: 1, failures: 2 });
  });

  test("as the candidate before it answers costs no client anything that can be repeated: legacy gets it", async () => {
    const legacy = await stage.backend(({ socket }, piece) => {
      if (piece.startsWith("GET ") || piece.endsWith("hello")) socket.write(OK);
    });
    const candidate = await stage.backend(() => {});
    const started = await stage.plane(
      { legacy: [legacy.port], candidate: [candidate.port] },
      { candidateShares: 100_000 },
    );
    const body = "HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    // All on new connections, and more than may be tried again at a time.
    const safe = [GET, GET, GET, GET, GET, `PUT / ${body}`, `DELETE / ${body}`];
    const clients = safe.map((text) => stage.client(started.port).send(text));
    const post = stage.client(started.port).send(`POST / ${body}`);
    await until("all are under way", () => {
      const { connections } = candidate;
      return (
        connections.length === 8 && connections.every(({ received }) => /(?:\r\n\r\n|hello)$/.test(received))
      );
    });
    for (const { socket } of candidate.connections) socket.resetAndDestroy();
    for (const client of clients) await client.sees(/^HTTP\/1.1 200 .*ok$/s);
    await post.sees(/^HTTP\/1.1 502 .*UPSTREAM_RESET/s);
    expect(legacy.received.match(/X-Request-Id/g)).toHaveLength(7);
    expect(legacy.received).not.toContain("POST");
    expect(legacy.received.match(/hello/g)).toHaveLength(2);
    expect(cellOf(started, "new")).toMatchObject({
      started: 8,
      finished: 8,
      failures: 8,
      retries: 7,
      faults: [["UPSTREAM_RESET", 8]],
    });
    expect(cellOf(started)).toMatchObject({ started: 0 });
  });

  test("as the candidate, twice, on kept connections too: it is asked again once, then legacy", async () => {
    const legacy = await stage.backend(answering(OK));
    const candidate = await stage.backend(({ socket }, piece) => {
      if (piece.startsWith("GET /a ")) socket.write(OK);
      else socket.destroy();
    });
    const backends = { legacy: [legacy.port], candidate: [candidate.port] };
    const started = await stage.plane(backends, { candidateShares: 100_000 });
    const one = stage.client(started.port).send(GET);
    await one.sees(/ok$/);
    one.received = "";
    one.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    await one.sees(/^HTTP\/1.1 200 .*ok$/s);
    expect(candidate.received.match(/GET \/b/g)).toHaveLength(2);
    expect(legacy.received.match(/GET \/b/g)).toHaveLength(1);
    expect(cellOf(started, "new")).toMatchObject({
      started: 2,
      failures: 1,
      retries: 2,
      judged: { failures: 1 },
    });
  });

  test("as the candidate before it answers is seen by whoever is pinned to it, and where retries are off", async () => {
    const legacy = await stage.backend(answering(OK));
    const candidate = await stage.backend(({ socket }) => socket.resetAndDestroy());
    const backends = { legacy: [legacy.port], candidate: [candidate.port] };
    const when = { source: "header", name: "x-pin" } as const;
    const started = await stage.plane(backends, { pins: [{ when, to: "new" as BackendId }] });
    await stage
      .client(started.port)
      .send("GET / HTTP/1.1\r\nHost: h\r\nX-Pin: 1\r\n\r\n")
      .sees(/^HTTP\/1.1 502 /s);
    started.serve({ candidateShares: 100_000, retries: { attempts: 0, bodyBytesMax: 0 } }, backends);
    await stage
      .client(started.port)
      .send(GET)
      .sees(/^HTTP\/1.1 502 /s);
    expect(legacy.received).toBe("");
  });

  test("to take the body it is sent is answered 504 and charged", async () => {
    const legacy = await stage.backend(({ socket }) => socket.pause());
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    const size = 32 * 1024 * 1024;
    one.send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${size}\r\n\r\n`).send(Buffer.alloc(size));
    await until("the backend stands still", async () => {
      started.pass(1000);
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      return one.received !== "";
    });
    await one.sees(/^HTTP\/1.1 504 .*RESPONSE_TIMEOUT/s);
    expect(cellOf(started)).toMatchObject({ failures: 1, faults: [["RESPONSE_TIMEOUT", 1]] });
  });

  test("to answer in time is answered 504", async () => {
    const legacy = await stage.backend(() => {});
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await until("the request arrives", () => legacy.received.endsWith("\r\n\r\n"));
    started.pass(61_000);
    await one.sees(/^HTTP\/1.1 504 .*http_response_timeout/s);
  });
});

describe("a client", () => {
  test("that leaves cancels its request; it is no failure of the backend", async () => {
    const legacy = await stage.backend(() => {});
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await until("the request arrives", () => legacy.received.endsWith("\r\n\r\n"));
    one.reset();
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
    expect(cellOf(started)).toMatchObject({ started: 1, aborted: 1, failures: 0, codes: [[499, 1]] });
  });

  test("that sends its head too slowly is told so; an idle one is closed silently", async () => {
    const started = await stage.plane({ legacy: [await closedPort()] });
    const slow = stage.client(started.port);
    slow.send("GET / HT");
    const idle = stage.client(started.port);
    await until("both are connected", () => started.listener.accepted === 2);
    await new Promise(setImmediate);
    started.pass(11_000);
    expect(await slow.seesEnd()).toMatch(/^HTTP\/1.1 408 /);
    started.pass(75_000);
    expect(await idle.seesEnd()).toBe("");
  });

  test("over the connection limit is answered 503 and closed", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] }, {}, { connectionsMax: 1 });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    const two = stage.client(started.port);
    expect(await two.seesEnd()).toMatch(/^HTTP\/1.1 503 .*Retry-After: 1/s);
    expect(started.listener.refused).toBe(1);
  });

  test("that does not read holds back the backend, not the worker's memory", async () => {
    const size = 64 * 1024 * 1024;
    let sent = 0;
    const piece = Buffer.alloc(1024 * 1024);
    const legacy = await stage.backend(({ socket, received }) => {
      if (!received.endsWith("\r\n\r\n")) return;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      const more = (): void => {
        while (sent < size) {
          sent += piece.length;
          if (!socket.write(piece)) break;
        }
        if (sent < size) socket.once("drain", more);
      };
      more();
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    one.pause();
    let last = -1;
    await until("the backend stands still", async () => {
      const isStill = sent === last && sent > 0;
      last = sent;
      for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate);
      return isStill;
    });
    expect(sent).toBeLessThan(size / 2);
    one.resume();
    await until("the whole answer", () => one.received.length > size);
  });
});

describe("the split", () => {
  test("sends a client where its bucket says, and follows a new table with the next request", async () => {
    const legacy = await stage.backend(answering(OK));
    const candidate = await stage.backend(answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"));
    const ports = { legacy: [legacy.port], candidate: [candidate.port] };
    const started = await stage.plane(ports, { candidateShares: 50_000, expose: true });
    const sides = new Map<string, string>();
    const one = stage.client(started.port);
    for (let i = 0; i < 40; i++) {
      one.received = "";
      one.send(`GET / HTTP/1.1\r\nHost: h\r\nX-User: u${i}\r\n\r\n`);
      sides.set(`u${i}`, (await one.sees(/Crossfade-Backend: (\w+)\r\n.*\r\n\r\n(ok|new)$/s))[1] as string);
    }
    const onNew = [...sides.values()].filter((side) => side === "new").length;
    expect(onNew).toBeGreaterThan(5);
    expect(onNew).toBeLessThan(35);
    started.serve({ candidateShares: 60_000, expose: true }, ports);
    for (const [user, before] of sides) {
      one.received = "";
      one.send(`GET / HTTP/1.1\r\nHost: h\r\nX-User: ${user}\r\n\r\n`);
      const now = (await one.sees(/Crossfade-Backend: (\w+)\r\nCrossfade-Revision: 2\r\n\r\n(ok|new)$/s))[1];
      // Whoever was on new stays there; legacy may lose clients to it.
      expect([before, "new"]).toContain(now);
    }
    started.serve({ candidateShares: 0 }, ports);
    one.received = "";
    one.send("GET / HTTP/1.1\r\nHost: h\r\nX-User: u1\r\n\r\n");
    await one.sees(/ok$/);
    expect(one.received).not.toContain("Crossfade-");
  });

  test("gives a client without identity a cookie that keeps it on its side", async () => {
    const legacy = await stage.backend(answering(OK));
    const candidate = await stage.backend(answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"));
    const ports = { legacy: [legacy.port], candidate: [candidate.port] };
    const sticky = { keys: [{ from: "issue" }], salt: "s" } as const;
    const started = await stage.plane(ports, { candidateShares: 50_000, sticky });
    for (let i = 0; i < 10; i++) {
      const one = stage.client(started.port);
      one.send(GET);
      const [, cookie, body] = await one.sees(/Set-Cookie: (crossfade_id=[^;]+);.*\r\n\r\n(ok|new)$/s);
      one.received = "";
      one.send(`GET / HTTP/1.1\r\nHost: h\r\nCookie: ${cookie}\r\n\r\n`);
      await one.sees(new RegExp(`\r\n\r\n${body}$`));
      expect(one.received).not.toContain("Set-Cookie");
    }
  });
});

describe("a drained plane", () => {
  test("answers what it accepted, then closes, and accepts nobody new", async () => {
    let answer = (): void => {};
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) answer = () => socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await until("the request arrives", () => legacy.received.endsWith("\r\n\r\n"));
    let isDrained = false;
    started.listener.drain(
      { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 60_000, tunnelsMs: 60_000 },
      () => (isDrained = true),
    );
    const late = stage.client(started.port);
    await late.seesEnd();
    expect(isDrained).toBe(false);
    answer();
    expect(await one.seesEnd()).toMatch(/Connection: close\r\n.*ok$/s);
    // The client keeps its half of the connection open, which is waited for only so long.
    started.pass(2000);
    await until("it is drained", () => isDrained);
    started.plane.pool.closeIdle();
  });
});
