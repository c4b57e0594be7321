/** A mirror in real processes: what workers count of copies arrives where an operator reads it, and adds up. */
import { afterEach, expect, test } from "vitest";
import { Clients } from "../support/clients.ts";
import { startBackend, startCrossfade, type BackendProcess, type Crossfade } from "../support/crossfade.ts";
import { until } from "../support/wait.ts";

const backends: BackendProcess[] = [];
let crossfade: Crossfade | null = null;

afterEach(async () => {
  await crossfade?.stop();
  crossfade = null;
  for (const backend of backends.splice(0)) await backend.stop();
});

interface Mirrored {
  readonly sampled: number;
  readonly answered: number;
  readonly in_flight: number;
  readonly dropped: Readonly<Record<string, number>>;
}

interface Health {
  readonly mirror: Mirrored;
  readonly backends: readonly unknown[];
}

test("every request to legacy has a copy that is accounted for, and no client an answer of the shadow", async () => {
  backends.push(await startBackend("legacy"), await startBackend("new"));
  const [legacy, candidate] = backends as [BackendProcess, BackendProcess];
  const mirror = { to: "new", percent: 100 };
  const running = await startCrossfade(
    { legacy: legacy.url, new: candidate.url },
    { route: { mirror, split: { legacy: 100, new: 0 } } },
  );
  crossfade = running;
  await running.servingWorkers(2);
  await candidate.fail(0.5);
  const healthNow = (): Promise<Health> => running.admin<Health>("GET", "/v1/routes/shop/health");
  // With a pause, so that the workers have time for copies.
  const clients = new Clients(`${running.url}/delay/2`, 8);
  await until("every client was answered often", () => clients.answersMin() > 100);
  await until("copies were answered", async () => (await healthNow()).mirror.answered > 0);
  const reports = await clients.stop();
  expect(reports.flatMap(({ failures }) => failures)).toEqual([]);
  expect(new Set(reports.flatMap(({ byBackend }) => Object.keys(byBackend)))).toEqual(new Set(["legacy"]));
  const answers = reports.reduce((sum, report) => sum + report.answers, 0);
  const health = await until("all copies are counted", async () => {
    const shown = await healthNow();
    return shown.mirror.sampled >= answers && shown.mirror.in_flight === 0 ? shown : null;
  });
  const { sampled, answered, dropped } = health.mirror;
  expect(answered + Object.values(dropped).reduce((sum, count) => sum + count, 0)).toBe(sampled);
  expect(health.backends).toMatchObject([
    { backend: "legacy" },
    { backend: "new", share_observed_percent: 0, windows: { "10s": { requests: 0, failures: 0 } } },
  ]);
});
