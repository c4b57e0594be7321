/** Requests and answers through a real data plane: forwarding, framing, order, and counters that add up. */
import { afterEach, describe, expect, test } from "vitest";
import { GET, OK, PlaneStage, cellOf, closedPort } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { answering } from "../support/wire.ts";

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

describe("a request", () => {
  test("is forwarded and answered on kept-alive connections both ways", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    for (let i = 1; i <= 3; i++) {
      one.send(GET);
      await until("the answers", () => one.received.split("\r\n\r\nok").length === i + 1);
    }
    expect(legacy.connections).toHaveLength(1);
    expect(legacy.received).toContain("X-Forwarded-For: 127.0.0.1\r\n");
    expect(cellOf(started)).toMatchObject({ started: 3, finished: 3, aborted: 0, codes: [[200, 3]] });
  });

  test("with a body is streamed by length and by chunks", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (/\r\n\r\n.*(hello|0\r\n\r\n)$/s.test(received)) socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel").send("lo");
    await one.sees(/ok$/);
    expect(legacy.received).toMatch(/Content-Length: 5\r\n.*\r\n\r\nhello$/s);
    const two = stage.client(started.port);
    two.send(
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    );
    await two.sees(/ok$/);
    expect(legacy.received).toContain("\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  });

  test("that follows another in the same packet is answered after it", async () => {
    const legacy = await stage.backend(({ socket, received }, piece) => {
      expect(received).toBeTruthy();
      const path = /^GET (\S+)/.exec(piece)?.[1] ?? "?";
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(["/1", "/2", "/3"].map((path) => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`).join(""));
    await one.sees(/\/1HTTP.*\/2HTTP.*\/3$/s);
  });

  test("in single bytes is answered like any other", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    for (const byte of GET) {
      one.send(byte);
      await new Promise(setImmediate);
    }
    await one.sees(/ok$/);
  });

  test("of a client that then half-closes is still answered", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET).halfClose();
    expect(await one.seesEnd()).toMatch(/ok$/);
  });

  test("of a client that says it is its last one is answered, and nothing is waited for", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    expect(await one.seesEnd()).toMatch(/\r\nConnection: close\r\n.*ok$/s);
    // The client has not closed its side, and no time has passed.
    expect(started.listener.open).toBe(0);
  });

  test("of a client that says so and sends more is answered, and the rest waited for", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(`${GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")}${"x".repeat(1000)}`);
    expect(await one.seesEnd()).toMatch(/ok$/);
    expect(started.listener.open).toBe(1);
    expect(one.isReset).toBe(false);
    started.pass(2000);
    expect(started.listener.open).toBe(0);
  });

  test("takes along what came of its body together with its head", async () => {
    const pieces: string[] = [];
    const legacy = await stage.backend(({ socket, received }, piece) => {
      pieces.push(piece);
      if (received.endsWith("hello")) socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
    await until("the beginning", () => pieces.length > 0);
    one.send("lo");
    await one.sees(/ok$/);
    expect(pieces).toEqual([expect.stringMatching(/^POST .*\r\n\r\nhel$/s), "lo"]);
  });

  test.each([
    ["nothing", ""],
    ["part of a head", "GET /b HT"],
    ["part of a body", "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"],
  ])(
    "of a client that sends three at once, then %s, then no more, is answered with the other two",
    async (_, tail) => {
      const legacy = await stage.backend(answering(OK));
      const started = await stage.plane({ legacy: [legacy.port] });
      const one = stage.client(started.port);
      one.send(GET.repeat(3) + tail).halfClose();
      await until("all three answers", () => one.received.split("\r\n\r\nok").length === 4);
      started.pass(2000);
      await one.seesEnd();
      expect(one.received.split("\r\n\r\nok").at(-1)).toBe("");
    },
  );

  test("for no route is answered 404 and reaches nobody", async () => {
    const legacy = await stage.backend(answering(OK));
    const hosts = {
      hosts: ["only.example"],
      path: { kind: "prefix", value: "/" },
      methods: [],
      conditions: [],
    } as const;
    const started = await stage.plane({ legacy: [legacy.port] }, { match: hosts });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 404 .*Proxy-Status: crossfade; error=destination_not_found.*\r\n\r\n404 /s);
    expect(legacy.connections).toHaveLength(0);
  });

  test("that is malformed is refused, closes the connection and reaches nobody", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(
      `GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${GET}`,
    );
    expect(await one.seesEnd()).toMatch(/^HTTP\/1.1 400 .*Connection: close/s);
    expect(one.received.match(/HTTP\/1.1/g)).toHaveLength(1);
    expect(legacy.connections).toHaveLength(0);
  });

  test("with a bare line feed is refused before its head is complete", async () => {
    const started = await stage.plane({ legacy: [await closedPort()] });
    const one = stage.client(started.port);
    one.send("GET / HTTP/1.1\nHost: h");
    expect(await one.seesEnd()).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe("an answer", () => {
  const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n";

  test("in chunks is passed on in chunks, to HTTP/1.0 up to the end of the connection", async () => {
    const legacy = await stage.backend(answering(chunked));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/Transfer-Encoding: chunked\r\n.*\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/s);
    const two = stage.client(started.port);
    two.send("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    const text = await two.seesEnd();
    expect(text).toMatch(/Connection: close\r\n(.*\r\n)?\r\nhello$/s);
    expect(text).not.toContain("chunked");
  });

  test("up to the end of the connection is passed on in chunks", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.end("HTTP/1.1 200 OK\r\n\r\nbye");
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/\r\n\r\n3\r\nbye\r\n0\r\n\r\n$/);
  });

  test("to HEAD has no body, and the connection goes on", async () => {
    const legacy = await stage.backend(answering("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    await one.sees(/Content-Length: 99\r\n/);
    one.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    await until("the second answer", () => one.received.split("Content-Length: 99").length === 3);
    expect(legacy.connections).toHaveLength(1);
  });

  test("is preceded by its interim answers", async () => {
    const legacy = await stage.backend(answering(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1.1 200 OK/);
  });

  test("of 3 MB passes in both directions byte by byte", async () => {
    const size = 3 * 1024 * 1024;
    const data = Buffer.alloc(size, "0123456789abcdef");
    let got = 0;
    const legacy = await stage.backend(({ socket, received }, piece) => {
      got += received === piece ? piece.length - (piece.indexOf("\r\n\r\n") + 4) : piece.length;
      if (got === size) {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        socket.write(data);
      }
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${size}\r\n\r\n`).send(data);
    await until("the whole answer", () => one.received.length > size);
    expect(one.received.slice(-size)).toBe(data.toString("latin1"));
    expect(legacy.received.slice(-size)).toBe(data.toString("latin1"));
  });

  test("before the end of the request is passed on, then both connections close", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.includes("\r\n\r\n")) socket.write("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc");
    await one.sees(/^HTTP\/1.1 413 No\r\n.*Connection: close/s);
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
    started.pass(2000);
    await one.seesEnd();
  });

  test("cut short is never ended cleanly", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n"))
        socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    expect(await one.seesEnd()).not.toContain("\r\n0\r\n");
    expect(cellOf(started)).toMatchObject({
      started: 1,
      aborted: 1,
      failures: 1,
      faults: [["RESPONSE_TRUNCATED", 1]],
    });
  });

  test("that is malformed becomes 502, and its connection is not used again", async () => {
    const legacy = await stage.backend(
      answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    );
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 502 .*details="BAD_RESPONSE"/s);
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
  });

  test("followed by excess bytes is passed on, and its connection is closed and counted", async () => {
    const legacy = await stage.backend(answering(`${OK}EXTRA`));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    expect(one.received).not.toContain("EXTRA");
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
    expect(started.plane.pool.excess).toBe(1);
  });
});
