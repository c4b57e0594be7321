/** What bodies, stalled clients and idle connections cost a real worker in memory. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { BulkBackend, BulkClient, type BulkRequest } from "../support/bulk.ts";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { peakBytes, settledBytes } from "../support/memory.ts";
import { until } from "../support/wait.ts";

const MIB = 1024 * 1024;
const BODY_BYTES = 100 * MIB;
const SMALL_BYTES = BODY_BYTES / 10;
/** Bodies that pass at the same time, each way. */
const BODIES = 3;
const STALLED = 50;
const GROWTH_MAX = 64 * MIB;

const IDLE = 10_000;
const IDLE_BYTES_MAX = 8 * 1024;
/** Connections opened at the same time. */
const BATCH = 100;
/** What a browser would send. */
const COOKIE = `Cookie: session=${"x".repeat(600)}\r\n`;

let backend: BulkBackend;
let crossfade: Crossfade;
let pid: number;
let port: number;
const clients: BulkClient[] = [];

function client(request: BulkRequest): BulkClient {
  const one = new BulkClient(port, request);
  clients.push(one);
  return one;
}

function clientsOf(count: number, request: BulkRequest): BulkClient[] {
  return Array.from({ length: count }, () => client(request));
}

/** A few large bodies at once: to the client, from it, and both. */
async function passBodies(length: number): Promise<void> {
  const takers = clientsOf(BODIES, { path: `/take/${length}` });
  const bringers = clientsOf(BODIES, { path: "/bring", announced: length, sent: length });
  const echoes = clientsOf(BODIES, { path: "/echo", announced: length, sent: length });
  await Promise.all([...takers, ...echoes].map((one) => one.gets(length)));
  await Promise.all(bringers.map((one) => one.gets(1)));
  for (const one of [...takers, ...bringers, ...echoes]) expect(one.head).toMatch(/^HTTP\/1.1 200 /);
}

async function passOften(times: number, length: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    await passBodies(length);
    await leave();
  }
}

async function leave(): Promise<void> {
  backend.dropIgnored();
  for (const one of clients.splice(0)) one.close();
  await until("all clients are gone", async () => (await crossfade.workers())[0]?.connections_open === 0);
}

/** Lets the worker reach its usual size. Gives that. */
async function warmUp(): Promise<number> {
  await passBodies(SMALL_BYTES);
  await leave();
  return settledBytes(pid);
}

function report(what: string, bytes: number, warm: number): void {
  const [over, level] = [bytes - warm, warm].map((one) => (one / MIB).toFixed(1));
  process.stdout.write(`${what}: ${over} MiB over ${level} MiB\n`);
}

/** Opens connections that each have one answer and then wait. */
async function openIdle(count: number): Promise<void> {
  for (let left = count; left > 0; left -= BATCH) {
    const batch = clientsOf(Math.min(BATCH, left), { path: "/take/2", fields: COOKIE });
    await Promise.all(batch.map((one) => one.gets(1)));
  }
}

// A worker for each test, because memory that one has left behind would hide what the next one takes.
beforeEach(async () => {
  backend = new BulkBackend();
  const url = await backend.listen();
  crossfade = await startCrossfade(
    { legacy: url, new: url },
    { settings: { workers: 1, limits: { connections_per_address: 2 * IDLE, connections: 2 * IDLE } } },
  );
  port = Number(new URL(crossfade.url).port);
  pid = (await crossfade.servingWorkers(1))[0]?.pid ?? 0;
});

afterEach(async () => {
  for (const one of clients.splice(0)) one.close();
  await crossfade.stop();
  await backend.close();
});

test("10,000 idle connections cost at most 8 KB each", async () => {
  await openIdle(1_000);
  await leave();
  const before = await settledBytes(pid);
  await openIdle(IDLE);
  const after = await settledBytes(pid);
  for (const one of clients) expect(one.isClosed).toBe(false);
  const each = (after - before) / IDLE;
  process.stdout.write(`${IDLE} idle connections: ${Math.round(each)} bytes each\n`);
  expect(each).toBeLessThan(IDLE_BYTES_MAX);
});

test("bodies of 100 MB pass both ways, a few at once, in less than 64 MB", async () => {
  // Against as many bytes in small bodies: what the collector has not come to yet is there in both.
  const warm = await peakBytes(pid, passOften(BODY_BYTES / SMALL_BYTES, SMALL_BYTES));
  const peak = await peakBytes(pid, passBodies(BODY_BYTES));
  report("100 MB bodies, at their peak", peak, warm);
  expect(peak - warm).toBeLessThan(GROWTH_MAX);
});

test("50 clients that stop reading, 50 that stop sending, 50 that the backend ignores: less than 64 MB", async () => {
  const warm = await warmUp();
  const readers = clientsOf(STALLED, { path: `/take/${BODY_BYTES}`, readMax: 1 });
  const writers = clientsOf(STALLED, { path: "/bring", announced: BODY_BYTES, sent: MIB });
  const ignored = clientsOf(STALLED, { path: "/ignore", announced: BODY_BYTES, sent: BODY_BYTES });
  await Promise.all(readers.map((one) => one.gets(1)));
  const bytes = await settledBytes(pid);
  for (const one of [...readers, ...writers, ...ignored]) expect(one.isClosed).toBe(false);
  report("150 stalled clients", bytes, warm);
  expect(bytes - warm).toBeLessThan(GROWTH_MAX);
});
