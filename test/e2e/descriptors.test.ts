/** A worker that runs out of descriptors: it lives, answers whom it has taken, tells the others, and says so. */
import { afterEach, expect, test } from "vitest";
import { startBackend, startCrossfade, type BackendProcess, type Crossfade } from "../support/crossfade.ts";
import { until } from "../support/wait.ts";
import { RawClient } from "../support/wire.ts";

/** Enough for a worker and some clients, and far too few for all of them. */
const FILES_MAX = 140;
const CLIENTS = 200;

let crossfade: Crossfade | null = null;
let backend: BackendProcess | null = null;
const clients: RawClient[] = [];
afterEach(async () => {
  for (const one of clients.splice(0)) one.close();
  await crossfade?.stop();
  await backend?.stop();
});

test("more clients than there are descriptors end no worker: some are served, the others hear 503", async () => {
  backend = await startBackend("legacy");
  const running = await startCrossfade(
    { legacy: backend.url, new: backend.url },
    { filesMax: FILES_MAX, settings: { workers: 1 } },
  );
  crossfade = running;
  const [before] = await running.servingWorkers(1);
  const port = Number(new URL(running.url).port);
  for (let i = 0; i < CLIENTS; i++) clients.push(new RawClient(port));
  for (const one of clients) one.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await until("every client was answered or closed", () =>
    clients.every(({ received, isEnded }) => isEnded || received.includes("\r\n\r\n")),
  );
  const statuses = clients.map(({ received }) => received.slice(9, 12));
  expect(statuses.filter((status) => status === "200").length).toBeGreaterThan(20);
  expect(statuses.filter((status) => status === "503").length).toBeGreaterThan(20);
  // In a burst there may be no descriptor even for a refusal: then the connection is closed.
  expect(statuses.filter((status) => !["200", "503", ""].includes(status))).toEqual([]);
  for (const one of clients.splice(0)) one.close();
  await until("it serves new clients", async () => (await fetch(running.url)).status === 200);
  const [after] = await running.servingWorkers(1);
  expect(after?.pid).toBe(before?.pid);
  expect(running.lines.map(({ msg }) => msg)).toContain(
    "fewer descriptors than limits.connections needs: raise the limit of open files",
  );
});
