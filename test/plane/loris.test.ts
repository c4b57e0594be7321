/** Clients that send or read as slowly as they can: each is cut in time, and nobody else notices. */
import { afterEach, describe, expect, test } from "vitest";
import { turns, turnUntil } from "../support/failure_stage.ts";
import { GET, OK, PlaneStage, cellOf, type TestPlane } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import type { RawBackend, RawClient } from "../support/wire.ts";

const SECOND = 1_000;
/** How often deadlines are looked at, as in a worker. */
const SWEEP_MS = 250;
/** A client is cut so soon after its time is over. */
const LATE_MS_MAX = 2_000;
/** Looks in a row, 10 ms apart, that find nothing changed. */
const STILL_LOOKS = 30;
/** Clients of each kind. */
const COUNT = 20;
/** More than the sockets on the way take for a client that does not read. */
const LARGE_BYTES = 16 * 1024 * 1024;

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

/** Answers every GET, and nothing that announces a body; `/large` with more than a client takes that does not read. */
const script: RawBackend["script"] = ({ socket, received }) => {
  if (!received.startsWith("GET ") || !received.endsWith("\r\n\r\n")) return;
  if (!received.includes(" /large ")) return void socket.write(OK);
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE_BYTES}\r\n\r\n`);
  socket.write(Buffer.alloc(LARGE_BYTES));
};

/** A plane, clients of one kind, and what they do. */
interface Siege {
  readonly started: TestPlane;
  readonly legacy: RawBackend;
  readonly clients: readonly RawClient[];
}

async function siege(opening: string): Promise<Siege> {
  const legacy = await stage.backend(script);
  const started = await stage.plane({ legacy: [legacy.port] });
  const clients = Array.from({ length: COUNT }, () => stage.client(started.port).send(opening));
  await turnUntil("all are connected", () => started.listener.accepted === COUNT);
  await turns();
  return { started, legacy, clients };
}

/** Waits until the sockets on the way to the clients have taken all that they will: the backend gets rid of nothing. */
async function untilStill({ connections }: RawBackend): Promise<void> {
  let last = -1;
  let looks = 0;
  await until("the backend stands still", () => {
    // What Node itself looks at to see whether a write makes progress.
    const sizes = connections.map(({ socket }) => Reflect.get(socket, "_handle")?.writeQueueSize as number);
    const now = sizes.reduce((sum, size) => sum + size, 0);
    looks = now === last && now > 0 ? looks + 1 : 0;
    last = now;
    return looks === STILL_LOOKS;
  });
}

/** Lets time pass until all clients are cut. Gives how long that took; another client is answered all the time. */
async function cutAfter({ started, clients }: Siege, everyMs: number, act: () => void): Promise<number> {
  const other = stage.client(started.port);
  for (let nowMs = SWEEP_MS; nowMs <= 200 * SECOND; nowMs += SWEEP_MS) {
    if (nowMs % everyMs === 0) {
      act();
      await turns();
    }
    started.pass(SWEEP_MS);
    // Being cut is seen by the worker first: clients that do not read see it last.
    await turns();
    if (started.listener.open <= 1) {
      await turnUntil("the clients see it", () => clients.every((one) => one.isEnded || one.received === ""));
      return nowMs;
    }
    if (nowMs % (5 * SECOND) !== 0) continue;
    other.received = "";
    other.send(GET);
    await turnUntil("another client is answered meanwhile", () => other.received.endsWith("ok"));
  }
  throw new Error("they were never cut");
}

function inTime(afterMs: number, limitMs: number): void {
  expect(afterMs).toBeGreaterThanOrEqual(limitMs);
  // After its answer a client's connection may stay a little, so that the answer is not lost: see LINGER_MS.
  expect(afterMs).toBeLessThanOrEqual(limitMs + LATE_MS_MAX);
}

describe("a slow client is cut in time, and others are served meanwhile:", () => {
  test("a head at one byte a second, after 10 s with 408", async () => {
    const all = await siege("G");
    const rest = `ET / HTTP/1.1\r\nHost: h\r\nX-Padding: ${"x".repeat(100)}`;
    let at = 0;
    const afterMs = await cutAfter(all, SECOND, () => {
      for (const one of all.clients) if (!one.isEnded) one.send(rest[at] ?? "x");
      at++;
    });
    inTime(afterMs, 10 * SECOND);
    for (const one of all.clients) expect(one.received).toMatch(/^HTTP\/1.1 408 .*HEAD_TIMEOUT/s);
  });

  test("a body at one byte every 5 s, after 10 s with 408", async () => {
    const all = await siege("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nx");
    const afterMs = await cutAfter(all, 5 * SECOND, () => {
      for (const one of all.clients) if (!one.isEnded) one.send("x");
    });
    inTime(afterMs, 10 * SECOND);
    for (const one of all.clients) expect(one.received).toMatch(/^HTTP\/1.1 408 .*BODY_TIMEOUT/s);
    expect(cellOf(all.started)).toMatchObject({ failures: 0 });
  });

  test("a body at one byte a second, after 10 s with 408", async () => {
    const all = await siege("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    const afterMs = await cutAfter(all, SECOND, () => {
      for (const one of all.clients) if (!one.isEnded) one.send("1\r\nx\r\n");
    });
    inTime(afterMs, 10 * SECOND);
    for (const one of all.clients) expect(one.received).toMatch(/^HTTP\/1.1 408 .*BODY_TIMEOUT/s);
  });

  test("a body that never comes, after 60 s with 408", async () => {
    const all = await siege("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
    inTime(await cutAfter(all, SECOND, () => {}), 60 * SECOND);
    for (const one of all.clients) expect(one.received).toMatch(/^HTTP\/1.1 408 .*BODY_TIMEOUT/s);
  });

  test("one that never reads, after 60 s with 499; it is no failure of the backend", async () => {
    const all = await siege("");
    for (const one of all.clients) {
      one.pause();
      one.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    await turnUntil("all are being answered", () => cellOf(all.started).started === COUNT);
    await untilStill(all.legacy);
    inTime(await cutAfter(all, SECOND, () => {}), 60 * SECOND);
    const counted = cellOf(all.started);
    expect(counted).toMatchObject({ aborted: COUNT, failures: 0, faults: [["CLIENT_STALLED", COUNT]] });
    expect(counted.codes).toContainEqual([499, COUNT]);
  });

  test("a connection that never sends, after 75 s without a word", async () => {
    const all = await siege("");
    inTime(await cutAfter(all, SECOND, () => {}), 75 * SECOND);
    for (const one of all.clients) expect(one.received).toBe("");
  });

  test("a connection that sends nothing after its first answer, after 75 s", async () => {
    const all = await siege(GET);
    await turnUntil("all are answered", () => all.clients.every((one) => one.received.endsWith("ok")));
    inTime(await cutAfter(all, SECOND, () => {}), 75 * SECOND);
    for (const one of all.clients) expect(one.received).toMatch(/\r\n\r\nok$/);
  });

  test("a body sent fast enough is not cut, however long it takes", async () => {
    const all = await siege("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    for (let second = 0; second < 100; second++) {
      for (const one of all.clients) one.send("x".repeat(250));
      await turns();
      all.started.pass(SECOND);
    }
    expect(all.clients.some((one) => one.isEnded || one.received !== "")).toBe(false);
    expect(all.started.listener.open).toBe(COUNT);
  });
});
