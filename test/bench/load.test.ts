/** The load and the backend of the measurements, without anything between them. */
import { createServer, type AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { BenchBackend } from "../../bench/proxies/backend.ts";
import { Load } from "../../bench/proxies/load.ts";
import { PLAIN_WORKLOADS, SMALL, smallAs } from "../../bench/proxies/workloads.ts";
import { systemClock } from "../../src/base/clock.ts";
import { until } from "../support/wait.ts";

const HELD_MS = 200;

test.each(PLAIN_WORKLOADS)(
  "$name: every answer is right, and the backend counts as many",
  async (workload) => {
    await using backend = await BenchBackend.start();
    const load = new Load(backend.port, { ...workload, connections: 4 });
    load.start();
    await until("a few answers of each client", () => load.counts.answers > 40);
    await load[Symbol.asyncDispose]();
    expect(load.counts.failed).toBe(0);
    expect(load.counts.answers).toBe(backend.answered);
  },
);

test("a rate is kept as long as answers come in time", async () => {
  await using backend = await BenchBackend.start();
  const load = new Load(backend.port, smallAs("paced", { perSecond: 500, connections: 8 }));
  const startedMs = systemClock.nowMs();
  load.start();
  await until("many answers", () => load.counts.answers >= 100);
  const wanted = ((systemClock.nowMs() - startedMs) * 500) / 1000;
  await load[Symbol.asyncDispose]();
  expect(load.counts.answers).toBeLessThanOrEqual(wanted + 8);
  expect(load.counts.latenciesMs.length).toBe(load.counts.answers);
});

test("requests that had to wait for a slow one are as slow: nothing is omitted", async () => {
  const held: (() => void)[] = [];
  let isHeld = true;
  const server = createServer((socket) => {
    socket.on("data", () => {
      const answer = (): boolean =>
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n" + "x".repeat(128));
      if (isHeld) held.push(answer);
      else answer();
    });
    socket.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const load = new Load(port, smallAs("one client", { perSecond: 200, connections: 1 }));
  load.start();
  const startedMs = systemClock.nowMs();
  await until("the first one has been held", () => systemClock.nowMs() - startedMs > HELD_MS);
  isHeld = false;
  for (const answer of held) answer();
  await until("all that waited is answered", () => load.counts.answers >= 20);
  await load[Symbol.asyncDispose]();
  server.close();
  expect(held.length).toBe(1);
  const slow = load.counts.latenciesMs.filter((ms) => ms > HELD_MS / 2);
  expect(slow.length).toBeGreaterThan(5);
});

test("a wrong answer has failed", async () => {
  await using backend = await BenchBackend.start();
  const load = new Load(backend.port, {
    ...SMALL,
    connections: 2,
    request: () => Buffer.from("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"),
  });
  await load.once();
  await load[Symbol.asyncDispose]();
  expect(load.counts).toMatchObject({ answers: 0, failed: 2 });
});
