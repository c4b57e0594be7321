/** A migration moves from a file to a Redis that instances share, under load, and nobody is turned away. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { Crossfade, startBackend, startCrossfade, type FleetWorker } from "../support/crossfade.ts";
import { Probes } from "../support/probes.ts";
import { PROGRAM } from "../support/program.ts";
import { redisMissing, startRedis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const WORKERS = 2;
/** Revisions that are made before the move. */
const REVISIONS = 6;

/** A page of `GET /v1/audit`. */
interface Audit {
  readonly entries: readonly { readonly revision: number; readonly difference: readonly string[] }[];
}

beforeEach((context) => {
  const reason = redisMissing();
  if (reason !== null) context.skip(reason);
});

function pidsOf(workers: readonly FleetWorker[]): number[] {
  return workers.map(({ pid }) => pid).toSorted((a, b) => a - b);
}

function shift(instance: Crossfade, percent: number): Promise<{ readonly revision: number }> {
  const body = { legacy: 100 - percent, new: percent };
  return instance.admin("PUT", "/v1/routes/shop/split?wait=applied&timeout=30s", body);
}

function auditOf(instance: Crossfade): Promise<Audit> {
  return instance.admin<Audit>("GET", "/v1/audit");
}

/** Runs both commands as an operator would, one into the other. Gives what the second one says. */
async function move(from: Crossfade, to: Crossfade): Promise<string> {
  const script = '"$0" "$1" export --url "$2" | "$0" "$1" import --url "$3"';
  const args = ["-c", script, process.execPath, PROGRAM, from.adminUrl, to.adminUrl];
  const { stdout, stderr } = await promisify(execFile)("sh", args);
  expect(stderr).toBe("");
  return stdout;
}

test.each([
  ["told to leave its workers", "SIGQUIT"],
  ["killed", "SIGKILL"],
] as const)("from SQLite to Redis, the first control process %s", async (_, signal) => {
  const backends = await Promise.all([startBackend("legacy"), startBackend("new")]);
  onTestFinished(async () => void (await Promise.all(backends.map((backend) => backend.stop()))));
  const [legacy, candidate] = backends;
  const urls = { legacy: legacy.url, new: candidate.url };
  await using redis = await startRedis({ isDurable: true });
  const store = { redis: { url: redis.url } };

  const first = await startCrossfade(urls, {
    settings: { instance: "first", workers: WORKERS },
    route: { expose: true },
  });
  onTestFinished(() => first.stop());
  const workers = pidsOf(await first.servingWorkers(WORKERS));
  const clients = await Probes.open(first, "/delay/20");
  onTestFinished(() => clients.close());
  clients.run();
  for (let revision = 2; revision <= REVISIONS; revision++) await shift(first, revision);

  const second = await Crossfade.prepare(urls, {
    settings: { instance: "second", workers: WORKERS, store },
    table: null,
  });
  onTestFinished(() => second.stop());
  await second.begin();
  expect(await move(first, second)).toContain(
    `imported ${REVISIONS} revisions; revision ${REVISIONS} is current`,
  );
  const others = await Probes.open(second, "/delay/20");
  onTestFinished(() => others.close());
  others.run();
  expect(await others.revisions()).toEqual([REVISIONS]);
  const before = await auditOf(first);
  expect(before.entries).toHaveLength(REVISIONS);
  expect(await auditOf(second)).toEqual(before);

  first.configure({ ...first.settings(), store });
  first.signal(signal);
  expect(await first.exitCode()).toBe(signal === "SIGQUIT" ? 0 : null);
  await clients.goOn();
  await first.start();
  const after = await first.servingWorkers(WORKERS);
  expect(pidsOf(after)).toEqual(workers);
  expect(after.every(({ adopted }) => adopted)).toBe(true);
  expect(await first.admin("GET", "/v1/store")).toMatchObject({
    kind: "redis",
    condition: "ok",
    served_from: "store",
    served_revision: REVISIONS,
  });
  expect(await auditOf(first)).toEqual(before);

  // Either may be asked; the other one has it too when the answer comes.
  await until("they see each other", async () => {
    const fleets = [first, second].map((one) => one.admin<{ instances: unknown[] }>("GET", "/v1/fleet"));
    return (await Promise.all(fleets)).every(({ instances }) => instances.length === 2);
  });
  for (const [index, instance] of [first, second].entries()) {
    const revision = REVISIONS + 1 + index;
    expect(await shift(instance, 50 + index)).toMatchObject({ revision });
    expect(await clients.revisions()).toEqual([revision]);
    expect(await others.revisions()).toEqual([revision]);
  }
  const [newest, next, ...older] = (await auditOf(first)).entries;
  expect([newest?.revision, next?.revision]).toEqual([REVISIONS + 2, REVISIONS + 1]);
  expect(older).toEqual(before.entries);
  await Promise.all([clients.rest(), others.rest()]);
  expect([...clients.failures, ...others.failures]).toEqual([]);
});
