/** A thousand weight changes under load: every one is applied by every worker, and no request fails. */
import { afterEach, expect, test } from "vitest";
import { Clients } from "../support/clients.ts";
import { startBackend, startCrossfade, type BackendProcess, type Crossfade } from "../support/crossfade.ts";
import { until } from "../support/wait.ts";

const CHANGES = 1000;
const CLIENTS = 8;

const backends: BackendProcess[] = [];
let crossfade: Crossfade | null = null;

afterEach(async () => {
  await crossfade?.stop();
  crossfade = null;
  for (const backend of backends.splice(0)) await backend.stop();
});

/** What a change is answered with. */
interface Changed {
  readonly revision: number;
  readonly changed: boolean;
  readonly applied_ms: number;
}

function quantile(sorted: readonly number[], ratio: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(ratio * sorted.length))] ?? Number.NaN;
}

test("1,000 weight changes under load are each applied by every worker, and no request fails", async () => {
  backends.push(await startBackend("legacy"), await startBackend("new"));
  const [legacy, candidate] = backends as [BackendProcess, BackendProcess];
  crossfade = await startCrossfade({ legacy: legacy.url, new: candidate.url });
  await crossfade.servingWorkers(2);
  const clients = new Clients(`${crossfade.url}/delay/2`, CLIENTS);
  await until("every client was answered", () => clients.answersMin() > 0);
  const before = (await crossfade.admin<{ revision: number }>("GET", "/v1/table")).revision;
  const appliedMs: number[] = [];
  for (let change = 1; change <= CHANGES; change++) {
    const share = change % 2 === 0 ? 20 : 80;
    const body = { legacy: 100 - share, new: share, reason: `change ${change}` };
    const path = "/v1/routes/shop/split?wait=applied&timeout=30s";
    const answer = await crossfade.admin<Changed>("PUT", path, body);
    expect(answer).toMatchObject({ revision: before + change, changed: true });
    appliedMs.push(answer.applied_ms);
  }
  for (const worker of await crossfade.workers()) expect(worker.applied_revision).toBe(before + CHANGES);
  const reports = await clients.stop();
  expect(reports.flatMap(({ failures }) => failures)).toEqual([]);
  const answers = reports.reduce((sum, report) => sum + report.answers, 0);
  expect(answers).toBeGreaterThan(CHANGES / 10);
  const sides = new Set(reports.flatMap(({ byBackend }) => Object.keys(byBackend)));
  expect(sides).toEqual(new Set(["legacy", "new"]));
  const sorted = appliedMs.toSorted((a, b) => a - b);
  const figures = [0.5, 0.99, 1].map((ratio) => quantile(sorted, ratio).toFixed(1));
  process.stdout.write(
    `${CHANGES} changes under load: ${answers} requests, 0 failed; call to applied by all workers: ` +
      `median ${figures[0]} ms, p99 ${figures[1]} ms, longest ${figures[2]} ms\n`,
  );
});
