/** Shadows that behave badly, and bounds that are met: copies are given up and counted, and requests go on as ever. */
import { afterEach, describe, expect, test } from "vitest";
import { GET, OK, cellOf, closedPort } from "../support/plane.ts";
import { ALL, MIB, ShadowStage, counted, inFlight, settled } from "../support/shadow_stage.ts";
import { until } from "../support/wait.ts";
import { answering, type RawBackend, type RawExchange } from "../support/wire.ts";

let stage = new ShadowStage();
afterEach(async () => {
  await stage.close();
  stage = new ShadowStage();
});

describe("a shadow that", () => {
  const CASES: [string, RawBackend["script"], string][] = [
    ["hangs", () => {}, "timeout"],
    [
      "stops in its answer",
      ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
      "timeout",
    ],
    ["sends interim answers only", ({ socket }) => void socket.write("HTTP/1.1 103 E\r\n\r\n"), "timeout"],
    ["resets", ({ socket }) => void socket.resetAndDestroy(), "reset"],
    ["closes", ({ socket }) => void socket.end(), "reset"],
    [
      "cuts its answer",
      ({ socket }) => void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
      "reset",
    ],
    ["sends rubbish", ({ socket }) => void socket.write("\0\0 two hundred\r\n\r\n"), "malformed"],
    [
      "breaks its chunks",
      ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n"),
      "malformed",
    ],
    [
      "becomes a WebSocket unasked",
      ({ socket }) =>
        void socket.write("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
      "malformed",
    ],
    ["fails", ({ socket }) => void socket.write("HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno"), "answered"],
    ["says too much", ({ socket }) => void socket.write(`${OK}${OK}`), "answered"],
    ["never stops answering", endless("HTTP/1.1 200 OK\r\n\r\n"), "answered"],
    ["announces a gigabyte", endless("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"), "answered"],
    ["never ends its head", endless("HTTP/1.1 200 OK\r\nX: "), "malformed"],
  ];

  /** Writes for as long as anybody reads. */
  function endless(head: string): RawBackend["script"] {
    return ({ socket }: RawExchange) => {
      const piece = "x".repeat(MIB);
      const more = (): void => {
        while (!socket.destroyed && socket.write(piece));
      };
      socket.on("drain", more);
      socket.write(head);
      more();
    };
  }

  test.each(CASES)("%s is not noticed, and counted by what it did", async (_, script, result) => {
    const plain = await stage.plane({ legacy: [(await stage.backend(answering(OK))).port] });
    const { started, legacy, shadow } = await stage.mirrored(script);
    const expected = await stage.ask(plain);
    const one = stage.client(started.port);
    for (let i = 1; i <= 3; i++) {
      one.send(GET);
      await until("the answer", () => one.received.split("\r\n\r\nok").length === i + 1);
    }
    // Legacy says nothing of itself, so that answers are equal to the letter.
    expect(one.received).toBe(expected.repeat(3));
    expect(legacy.connections).toHaveLength(1);
    await until(
      "all copies arrive",
      () => shadow.connections.filter(({ received }) => received !== "").length > 0,
    );
    await until("they end", async () => {
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      if (result === "timeout" && shadow.received.split("Crossfade-Shadow").length === 4)
        started.pass(10_000);
      return inFlight(started) === 0;
    });
    expect(await settled(started)).toEqual({ sampled: 3, [result]: 3 });
    const { durationUsSum: _sum, ...cell } = cellOf(started);
    expect(cell).toMatchObject({
      started: 3,
      finished: 3,
      failures: 0,
      retries: 0,
      faults: [],
      judged: { requests: 3, failures: 0 },
    });
    expect(cellOf(started, "new")).toMatchObject({
      started: 0,
      failures: 0,
      faults: [],
      judged: { requests: 0 },
    });
    expect(started.plane.pool.excess).toBe(0);
    expect(started.plane.pool.now()).toEqual([["legacy", expect.any(Number), 0]]);
  });

  test("refuses connections is counted, and not set aside for requests", async () => {
    const legacy = await stage.backend(answering(OK));
    const dead = await closedPort();
    const ports = { legacy: [legacy.port], candidate: [dead] };
    const started = await stage.plane(ports, { mirror: ALL });
    for (let i = 0; i < 3; i++) await stage.ask(started);
    expect(await settled(started)).toEqual({ sampled: 3, no_connection: 3 });
    expect(started.plane.pool.now()).toEqual([["legacy", 1, 0]]);
    expect(cellOf(started, "new").faults).toEqual([]);
  });

  test("does not read never holds up a request's body", async () => {
    const { started, legacy } = await stage.mirrored(({ socket }) => void socket.pause(), {
      bodyBytesMax: MIB,
    });
    let got = 0;
    legacy.script = ({ socket }, piece) => {
      got += piece.length;
      if (got > MIB) socket.write(OK);
    };
    await stage.ask(started, `GET / HTTP/1.1\r\nHost: h\r\nContent-Length: ${MIB}\r\n\r\n${"x".repeat(MIB)}`);
    expect(inFlight(started)).toBe(1);
    expect(started.plane.shadows.heldBytes).toBeGreaterThan(MIB);
    started.pass(10_000);
    expect(await settled(started)).toEqual({ sampled: 1, timeout: 1 });
  });
});

describe("a copy is given up", () => {
  test("when as many as may be are under way", async () => {
    const { started, shadow } = await stage.mirrored(() => {}, { inFlightMax: 2 });
    for (let i = 0; i < 5; i++) await stage.ask(started);
    expect(counted(started)).toEqual({ sampled: 5, busy: 3 });
    await until("two arrive", () => shadow.received.split("Crossfade-Shadow").length === 3);
    started.pass(10_000);
    await settled(started);
    await stage.ask(started);
    expect(inFlight(started)).toBe(1);
  });

  test.each([
    ["is announced", "Content-Length: 65537", "x".repeat(65_537)],
    [
      "comes in chunks",
      "Transfer-Encoding: chunked",
      `8000\r\n${"x".repeat(32_768)}\r\n8001\r\n${"x".repeat(32_769)}\r\n0\r\n\r\n`,
    ],
  ])("when a body over the bound %s, of which the shadow sees nothing", async (_, field, body) => {
    const { started, shadow, legacy } = await stage.mirrored(answering(OK));
    legacy.script = ({ socket, received }) =>
      void (received.length > 65_537 && /x$|\r\n0\r\n\r\n$/.test(received) && socket.end(OK));
    await stage.ask(started, `OPTIONS / HTTP/1.1\r\nHost: h\r\n${field}\r\n\r\n${body}`);
    expect(await settled(started)).toEqual({ sampled: 1, body_too_large: 1 });
    expect(shadow.connections).toHaveLength(0);
    expect(legacy.received.replaceAll(/[^x]/g, "").length).toBeGreaterThanOrEqual(65_537);
  });

  test("when all of them hold as much as they may, and a client that leaves gives back its part", async () => {
    const { started, legacy } = await stage.mirrored(answering(OK), { bodyBytesMax: MIB });
    legacy.script = () => {};
    const clients = Array.from({ length: 33 }, () => stage.client(started.port));
    for (const one of clients) one.send(`GET / HTTP/1.1\r\nHost: h\r\nContent-Length: ${MIB}\r\n\r\n`);
    await until("all have begun", () => counted(started)["sampled"] === 33);
    expect(counted(started)).toEqual({ sampled: 33, memory: 2 });
    expect(started.plane.shadows.heldBytes).toBeLessThanOrEqual(32 * MIB);
    await until("legacy has all of them", () => legacy.connections.length === 33);
    for (const one of clients) one.reset();
    expect(await settled(started)).toEqual({ sampled: 33, memory: 2, incomplete: 31 });
  });

  test("when a body in chunks grows beyond what is left", async () => {
    const { started, legacy } = await stage.mirrored(answering(OK), { bodyBytesMax: MIB });
    legacy.script = () => {};
    const clients = Array.from({ length: 31 }, () => stage.client(started.port));
    for (const one of clients) one.send(`GET / HTTP/1.1\r\nHost: h\r\nContent-Length: ${MIB}\r\n\r\n`);
    await until("all have begun", () => counted(started)["sampled"] === 31);
    const last = stage.client(started.port);
    last.send("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    await until("it has begun too", () => inFlight(started) === 32);
    last.send(`fffff\r\n${"x".repeat(0xf_ffff)}\r\n`);
    await until("it is given up", () => counted(started)["memory"] === 1);
    for (const one of [...clients, last]) one.reset();
    expect(await settled(started)).toEqual({ sampled: 32, memory: 1, incomplete: 31 });
  });

  test.each([
    ["late", { lagMs: 51, utilization: 0.1, heap: 0, files: 0 }],
    ["busy", { lagMs: 0, utilization: 0.96, heap: 0, files: 0 }],
  ])("while the worker is %s, and for a second after that", async (_, load) => {
    const { started, shadow } = await stage.mirrored(answering(OK));
    started.plane.feel(load);
    await stage.ask(started);
    started.pass(999);
    started.plane.feel({ lagMs: 50, utilization: 0.95, heap: 0, files: 0 });
    await stage.ask(started);
    expect(await settled(started)).toEqual({ sampled: 2, overload: 2 });
    expect(shadow.connections).toHaveLength(0);
    started.pass(1);
    started.plane.feel({ lagMs: 50, utilization: 0.95, heap: 0, files: 0 });
    await stage.ask(started);
    expect(await settled(started)).toEqual({ sampled: 3, overload: 2, answered: 1 });
  });

  test("when the request is answered before it is whole, or is malformed in its body", async () => {
    const { started, legacy, shadow } = await stage.mirrored(answering(OK));
    legacy.script = ({ socket, received }) => void (received.includes("early") && socket.write(OK));
    await stage.ask(started, "GET /early HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
    expect(await settled(started)).toEqual({ sampled: 1, incomplete: 1 });
    const one = stage.client(started.port);
    one.send("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nno chunk\r\n");
    await one.sees(/^HTTP\/1.1 400 /);
    expect(await settled(started)).toEqual({ sampled: 2, incomplete: 2 });
    expect(shadow.connections).toHaveLength(0);
    started.pass(2000);
  });

  test("at its deadline, the route's own if that is sooner, also while it waits for its body", async () => {
    const { started, shadow } = await stage.mirrored(
      () => {},
      {},
      { timeouts: { connectMs: 3000, responseMs: 500, idleMs: 0 } },
    );
    await stage.ask(started);
    stage.client(started.port).send("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
    await until("both have begun", () => counted(started)["sampled"] === 2);
    started.pass(499);
    expect(inFlight(started)).toBe(2);
    started.pass(1);
    expect(await settled(started)).toEqual({ sampled: 2, timeout: 2 });
    await until("its connection is closed", () => shadow.connections.every(({ isEnded }) => isEnded));
  });

  test("when the worker ends", async () => {
    const { started } = await stage.mirrored(() => {});
    await stage.ask(started);
    void started.plane.shadows.close();
    expect(await settled(started)).toEqual({ sampled: 1, stopped: 1 });
  });
});
