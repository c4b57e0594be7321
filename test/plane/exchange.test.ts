/** Requests through a real data plane: forwarding, framing, retries, faults, and the counters that must add up. */
import { afterEach, describe, expect, test } from "vitest";
import { RawBackend, RawClient, answering } from "../support/wire.ts";
import { startPlane, type TestPlane } from "../support/plane.ts";
import { until } from "../support/wait.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function backend(script: RawBackend["script"]): Promise<RawBackend & { port: number }> {
  const raw = new RawBackend();
  raw.script = script;
  const port = await raw.listen();
  cleanups.push(() => raw.close());
  return Object.assign(raw, { port });
}

async function plane(...args: Parameters<typeof startPlane>): Promise<TestPlane> {
  const started = await startPlane(...args);
  cleanups.push(() => started.close());
  return started;
}

function client(port: number): RawClient {
  const raw = new RawClient(port);
  cleanups.push(() => raw.close());
  return raw;
}

function cell(started: TestPlane, route = "all", name = "legacy") {
  return started.plane.counters.cell(route, name).snapshot();
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const raw = new RawBackend();
  const port = await raw.listen();
  await raw.close();
  return port;
}

describe("a request", () => {
  test("is forwarded and answered on kept-alive connections both ways", async () => {
    const legacy = await backend(answering(OK));
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    for (let i = 1; i <= 3; i++) {
      one.send(GET);
      await until("the answers", () => one.received.split("\r\n\r\nok").length === i + 1);
    }
    expect(legacy.connections).toHaveLength(1);
    expect(legacy.received).toContain("X-Forwarded-For: 127.0.0.1\r\n");
    expect(cell(started)).toMatchObject({ started: 3, finished: 3, aborted: 0, codes: [[200, 3]] });
  });

  test("with a body is streamed by length and by chunks", async () => {
    const legacy = await backend(({ socket, received }) => {
      if (/\r\n\r\n.*(hello|0\r\n\r\n)$/s.test(received)) socket.write(OK);
    });
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel").send("lo");
    await one.sees(/ok$/);
    expect(legacy.received).toMatch(/Content-Length: 5\r\n.*\r\n\r\nhello$/s);
    const two = client(started.port);
    two.send(
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    );
    await two.sees(/ok$/);
    expect(legacy.received).toContain("\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  });

  test("that follows another in the same packet is answered after it", async () => {
    const legacy = await backend(({ socket, received }, piece) => {
      expect(received).toBeTruthy();
      const path = /^GET (\S+)/.exec(piece)?.[1] ?? "?";
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
    });
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(["/1", "/2", "/3"].map((path) => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`).join(""));
    await one.sees(/\/1HTTP.*\/2HTTP.*\/3$/s);
  });

  test("in single bytes is answered like any other", async () => {
    const legacy = await backend(answering(OK));
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    for (const byte of GET) {
      one.send(byte);
      await new Promise(setImmediate);
    }
    await one.sees(/ok$/);
  });

  test("of a client that then half-closes is still answered", async () => {
    const legacy = await backend(answering(OK));
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET).halfClose();
    expect(await one.seesEnd()).toMatch(/ok$/);
  });

  test("for no route is answered 404 and reaches nobody", async () => {
    const legacy = await backend(answering(OK));
    const hosts = {
      hosts: ["only.example"],
      path: { kind: "prefix", value: "/" },
      methods: [],
      conditions: [],
    } as const;
    const started = await plane({ legacy: [legacy.port] }, { match: hosts });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 404 .*Proxy-Status: crossfade; error=destination_not_found.*\r\n\r\n404 /s);
    expect(legacy.connections).toHaveLength(0);
  });

  test("that is malformed is refused, closes the connection and reaches nobody", async () => {
    const legacy = await backend(answering(OK));
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(
      `GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${GET}`,
    );
    expect(await one.seesEnd()).toMatch(/^HTTP\/1.1 400 .*Connection: close/s);
    expect(one.received.match(/HTTP\/1.1/g)).toHaveLength(1);
    expect(legacy.connections).toHaveLength(0);
  });

  test("with a bare line feed is refused before its head is complete", async () => {
    const started = await plane({ legacy: [await closedPort()] });
    const one = client(started.port);
    one.send("GET / HTTP/1.1\nHost: h");
    expect(await one.seesEnd()).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe("an answer", () => {
  const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n";

  test("in chunks is passed on in chunks, to HTTP/1.0 up to the end of the connection", async () => {
    const legacy = await backend(answering(chunked));
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/Transfer-Encoding: chunked\r\n.*\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/s);
    const two = client(started.port);
    two.send("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    const text = await two.seesEnd();
    expect(text).toMatch(/Connection: close\r\n(.*\r\n)?\r\nhello$/s);
    expect(text).not.toContain("chunked");
  });

  test("up to the end of the connection is passed on in chunks", async () => {
    const legacy = await backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.end("HTTP/1.1 200 OK\r\n\r\nbye");
    });
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/\r\n\r\n3\r\nbye\r\n0\r\n\r\n$/);
  });

  test("to HEAD has no body, and the connection goes on", async () => {
    const legacy = await backend(answering("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"));
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    await one.sees(/Content-Length: 99\r\n/);
    one.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    await until("the second answer", () => one.received.split("Content-Length: 99").length === 3);
    expect(legacy.connections).toHaveLength(1);
  });

  test("is preceded by its interim answers", async () => {
    const legacy = await backend(answering(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`));
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1.1 200 OK/);
  });

  test("of 3 MB passes in both directions byte by byte", async () => {
    const size = 3 * 1024 * 1024;
    const data = Buffer.alloc(size, "0123456789abcdef");
    let got = 0;
    const legacy = await backend(({ socket, received }, piece) => {
      got += received === piece ? piece.length - (piece.indexOf("\r\n\r\n") + 4) : piece.length;
      if (got === size) {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        socket.write(data);
      }
    });
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${size}\r\n\r\n`).send(data);
    await until("the whole answer", () => one.received.length > size);
    expect(one.received.slice(-size)).toBe(data.toString("latin1"));
    expect(legacy.received.slice(-size)).toBe(data.toString("latin1"));
  });

  test("before the end of the request is passed on, then both connections close", async () => {
    const legacy = await backend(({ socket, received }) => {
      if (received.includes("\r\n\r\n")) socket.write("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
    });
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc");
    await one.sees(/^HTTP\/1.1 413 No\r\n.*Connection: close/s);
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
    started.pass(2000);
    await one.seesEnd();
  });

  test("cut short is never ended cleanly", async () => {
    const legacy = await backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n"))
        socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    });
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    expect(await one.seesEnd()).not.toContain("\r\n0\r\n");
    expect(cell(started)).toMatchObject({
      started: 1,
      aborted: 1,
      failures: 1,
      faults: [["RESPONSE_TRUNCATED", 1]],
    });
  });

  test("that is malformed becomes 502, and its connection is not used again", async () => {
    const legacy = await backend(
      answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    );
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 502 .*details="BAD_RESPONSE"/s);
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
  });

  test("followed by excess bytes is passed on, and its connection is closed and counted", async () => {
    const legacy = await backend(answering(`${OK}EXTRA`));
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    expect(one.received).not.toContain("EXTRA");
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
    expect(started.plane.pool.excess).toBe(1);
  });
});

describe("a backend that fails", () => {
  test("to accept is rescued by its other endpoint, and still charged", async () => {
    const legacy = await backend(answering(OK));
    const dead = await closedPort();
    const started = await plane({ legacy: [dead, legacy.port] });
    for (let i = 0; i < 4; i++) {
      const one = client(started.port);
      one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
      await one.sees(/ok$/);
    }
    const counted = cell(started);
    expect(counted).toMatchObject({ started: 4, finished: 4, codes: [[200, 4]] });
    expect(counted.retries).toBeGreaterThan(0);
    expect(counted.failures).toBe(counted.retries);
  });

  test("to accept anywhere is answered 502", async () => {
    const started = await plane({ legacy: [await closedPort()] });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 502 .*error=connection_refused/s);
    expect(cell(started)).toMatchObject({ failures: 1, finished: 1, codes: [[502, 1]] });
  });

  test("a kept-alive connection before it answers: a safe request is sent again, an unsafe one is not", async () => {
    let requests = 0;
    const legacy = await backend(({ socket, received }) => {
      if (!received.endsWith("\r\n\r\n")) return;
      requests++;
      // Every second request on a connection meets a backend that has just closed it.
      if (received.split("\r\n\r\n").length % 2 === 1) socket.destroy();
      else socket.write(OK);
    });
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    one.send(GET);
    await until("the second answer", () => one.received.split("\r\n\r\nok").length === 3);
    expect(requests).toBe(3);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    await one.sees(/HTTP\/1.1 502 .*UPSTREAM_RESET/s);
    expect(requests).toBe(4);
    expect(cell(started)).toMatchObject({ started: 3, finished: 3, retries: 1, failures: 2 });
  });

  test("to answer in time is answered 504", async () => {
    const legacy = await backend(() => {});
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await until("the request arrives", () => legacy.received.endsWith("\r\n\r\n"));
    started.pass(61_000);
    await one.sees(/^HTTP\/1.1 504 .*http_response_timeout/s);
  });
});

describe("a client", () => {
  test("that leaves cancels its request; it is no failure of the backend", async () => {
    const legacy = await backend(() => {});
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await until("the request arrives", () => legacy.received.endsWith("\r\n\r\n"));
    one.reset();
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
    expect(cell(started)).toMatchObject({ started: 1, aborted: 1, failures: 0, codes: [[499, 1]] });
  });

  test("that sends its head too slowly is told so; an idle one is closed silently", async () => {
    const started = await plane({ legacy: [await closedPort()] });
    const slow = client(started.port);
    slow.send("GET / HT");
    const idle = client(started.port);
    await until("both are connected", () => started.listener.accepted === 2);
    await new Promise(setImmediate);
    started.pass(11_000);
    expect(await slow.seesEnd()).toMatch(/^HTTP\/1.1 408 /);
    started.pass(75_000);
    expect(await idle.seesEnd()).toBe("");
  });

  test("over the connection limit is answered 503 and closed", async () => {
    const legacy = await backend(answering(OK));
    const started = await plane({ legacy: [legacy.port] }, {}, { connectionsMax: 1 });
    const one = client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    const two = client(started.port);
    expect(await two.seesEnd()).toMatch(/^HTTP\/1.1 503 .*Retry-After: 1/s);
    expect(started.listener.refused).toBe(1);
  });

  test("that does not read holds back the backend, not the worker's memory", async () => {
    const size = 64 * 1024 * 1024;
    let sent = 0;
    const piece = Buffer.alloc(1024 * 1024);
    const legacy = await backend(({ socket, received }) => {
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
    const started = await plane({ legacy: [legacy.port] });
    const one = client(started.port);
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
    const legacy = await backend(answering(OK));
    const candidate = await backend(answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"));
    const ports = { legacy: [legacy.port], candidate: [candidate.port] };
    const started = await plane(ports, { candidateShares: 50_000, expose: true });
    const sides = new Map<string, string>();
    const one = client(started.port);
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
    const legacy = await backend(answering(OK));
    const candidate = await backend(answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"));
    const ports = { legacy: [legacy.port], candidate: [candidate.port] };
    const sticky = { keys: [{ from: "issue" }], salt: "s" } as const;
    const started = await plane(ports, { candidateShares: 50_000, sticky });
    for (let i = 0; i < 10; i++) {
      const one = client(started.port);
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
    const legacy = await backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) answer = () => socket.write(OK);
    });
    const started = await startPlane({ legacy: [legacy.port] });
    const one = client(started.port);
    one.send(GET);
    await until("the request arrives", () => legacy.received.endsWith("\r\n\r\n"));
    let isDrained = false;
    started.listener.drain({ graceMs: 0, idleMs: 0, deadlineMs: 60_000 }, () => (isDrained = true));
    const late = client(started.port);
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
