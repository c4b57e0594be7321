/** Mirrored answers compared in real processes: noise is no difference, bugs are found and named, counts outlive. */
import { afterEach, describe, expect, test } from "vitest";
import type { ComparisonSays, FieldSays } from "../../src/domain/comparison_report.ts";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { startNoisy, type NoisyBackend } from "../support/noisy.ts";
import { ClientStream } from "../support/stream.ts";
import { until } from "../support/wait.ts";

const PER_SECOND = 250;
/** Pairs without a false report, before bugs are let in. */
const QUIET_PAIRS = 1_500;
/** One wrong status in a hundred takes some thousand pairs, whose rate is the test's own. */
const FOUND_MS_MAX = 100_000;
const REAL = "real difference";
/** Copies that the four workers which end in two upgrades may be at just then. */
const GIVEN_UP_MAX = 40;

interface Differences {
  readonly comparison: ComparisonSays | null;
  readonly mirror: {
    readonly answered: number;
    readonly sampled: number;
    readonly in_flight: number;
    readonly dropped: Readonly<Record<string, number>>;
  };
  readonly instances: number;
}

const ends: (() => PromiseLike<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

interface Stage {
  readonly crossfade: Crossfade;
  readonly legacy: NoisyBackend;
  readonly candidate: NoisyBackend;
  readonly stream: ClientStream;
  readonly now: () => Promise<Differences & { readonly comparison: ComparisonSays }>;
  readonly real: () => Promise<FieldSays[]>;
}

async function compare(route: object = {}): Promise<Stage> {
  const [legacy, candidate] = [await startNoisy("legacy", 1), await startNoisy("new", 2)];
  ends.push(
    () => legacy[Symbol.asyncDispose](),
    () => candidate[Symbol.asyncDispose](),
  );
  const mirror = { to: "new", percent: 100, compare: { unordered: ["/sizes"], noise: 100 } };
  const crossfade = await startCrossfade(
    { legacy: legacy.url, new: candidate.url },
    { route: { mirror, split: { legacy: 100, new: 0 }, ...route } },
  );
  ends.push(() => crossfade.stop());
  await crossfade.servingWorkers(2);
  const stream = new ClientStream({ urls: [crossfade.url], perSecond: PER_SECOND, path: "/item/41" });
  ends.push(() => stream.stop());
  const now = (): ReturnType<Stage["now"]> =>
    until("something is compared", async () => {
      const told = await crossfade.admin<Differences>("GET", "/v1/routes/shop/differences");
      return told.comparison === null ? null : { ...told, comparison: told.comparison };
    });
  const real = async (): Promise<FieldSays[]> =>
    (await now()).comparison.fields.filter(({ verdict }) => verdict === REAL);
  return { crossfade, legacy, candidate, stream, now, real };
}

function names(fields: readonly FieldSays[]): string[] {
  return fields.map(({ field }) => field).toSorted();
}

describe("a mirror that compares", () => {
  test("takes ids, times and order for noise, and names the bugs that come later", async () => {
    const { candidate, stream, now, real } = await compare();
    const quiet = await until(`${QUIET_PAIRS} pairs are compared`, async () => {
      const told = await now();
      expect(told.comparison.fields.filter(({ verdict }) => verdict === REAL)).toEqual([]);
      return told.comparison.summary.compared >= QUIET_PAIRS ? told : null;
    });
    expect(names(quiet.comparison.fields)).toEqual(["body /at", "body /id"]);
    expect(quiet.comparison.fields.map(({ verdict }) => verdict)).toEqual(["known noise", "known noise"]);
    const before = quiet.comparison.summary.compared;
    candidate.bugs = { isStockMissing: true, isPriceOff: true, wrongStatus: 0.01 };
    const due = ["body /price", "body /stock", "status"];
    const found = new Map<string, number>();
    await until(
      () => `all bugs are found; so far ${[...found.keys()].join()}`,
      async () => {
        const { compared } = (await now()).comparison.summary;
        for (const field of names(await real())) if (!found.has(field)) found.set(field, compared - before);
        return found.size >= due.length;
      },
      FOUND_MS_MAX,
    );
    const fields = await real();
    expect(names(fields)).toEqual(due);
    expect(fields.find(({ field }) => field === "body /price")?.samples[0]).toMatchObject({
      kind: "value",
      left: "41.99",
      right: "42",
    });
    expect(fields.find(({ field }) => field === "body /stock")?.samples[0]).toMatchObject({
      kind: "missing",
    });
    expect(stream.failures()).toEqual([]);
    const told = [...found].map(([field, pairs]) => `${field} after ${pairs} pairs`).join(", ");
    process.stdout.write(`differences: none in ${before} noisy pairs; then ${told}\n`);
  }, 180_000);

  test("keeps its counts over a kill -9 of the control process, and counts nothing twice", async () => {
    const { crossfade, stream, now } = await compare();
    await until(
      "some hundred pairs are compared",
      async () => (await now()).comparison.summary.compared > 300,
    );
    await stream.stop();
    const all = (told: Differences & { comparison: ComparisonSays }): number => {
      const { compared, not_compared: rest } = told.comparison.summary;
      return Object.values(rest).reduce((sum, count) => sum + count, compared);
    };
    const settled = await until("every copy is compared", async () => {
      const told = await now();
      return told.mirror.in_flight === 0 && all(told) === told.mirror.answered ? told : null;
    });
    const due = all(settled);
    await crossfade.kill();
    await crossfade.start();
    await crossfade.servingWorkers(2);
    await until("it knows them again", async () => all(await now()) === due);
    // The workers are gone after a stop, and what they counted is not.
    crossfade.signal("SIGTERM");
    expect(await crossfade.exitCode()).toBe(0);
    await crossfade.start();
    await crossfade.servingWorkers(2);
    await until("it knows them still", async () => all(await now()) === due);
    expect((await now()).instances).toBe(1);
  });

  test("keeps its counts over upgrades under load: no request is compared twice, and hardly one is not", async () => {
    const { crossfade, stream, now } = await compare();
    const all = ({ comparison: { summary } }: Awaited<ReturnType<typeof now>>): number =>
      Object.values(summary.not_compared).reduce((sum, count) => sum + count, summary.compared);
    // Busy workers give copies up, and say so; each control process knows it of its own workers and the former ones.
    const dropped = async (): Promise<number> =>
      Object.values((await now()).mirror.dropped).reduce((sum, count) => sum + count, 0);
    let givenUp = GIVEN_UP_MAX;
    await until("some are compared", async () => all(await now()) > 100);
    for (let n = 0; n < 2; n++) {
      givenUp += await dropped();
      await crossfade.upgrade();
      const { started } = stream;
      await until("requests went to the new workers", () => stream.started > started + 100);
    }
    await stream.stop();
    expect(stream.failures()).toEqual([]);
    const least = stream.started - givenUp - (await dropped());
    let told = 0;
    await until(
      () => `the requests are compared: ${told} of ${stream.started}, at least ${least}`,
      async () => (told = all(await now())) >= least,
    );
    expect((await now()).instances).toBe(1);
    process.kill((await crossfade.admin<{ pid: number }>("GET", "/v1/fleet")).pid, "SIGTERM");
    expect(await crossfade.exitCode()).toBe(0);
    await crossfade.start();
    await crossfade.servingWorkers(2);
    await until("it knows them again", async () => (told = all(await now())) >= least);
    expect(told).toBeLessThanOrEqual(stream.started);
  });

  test("keeps a rollout from going on until differences are proved to be few", async () => {
    const rollout = { steps: [5, 100], bake: "1s", min_requests: 1, differences: { above: 5, below: 2 } };
    const { crossfade, candidate, now } = await compare({ rollout });
    candidate.bugs = { wrongStatus: 0.2 };
    const lines = async (): Promise<string> =>
      (await crossfade.admin<{ lines: string[] }>("GET", "/v1/routes/shop/rollout")).lines.join("\n");
    await crossfade.admin("POST", "/v1/routes/shop/rollout/start", { reason: "go" });
    await until("it waits for proof", async () =>
      /waits for: proof that fewer than 2 % of compared answers mismatch \([\d,]+ compared/.test(
        await lines(),
      ),
    );
    await until("more are compared", async () => (await now()).comparison.summary.mismatched > 30);
    expect(await lines()).toContain("new has 5 %");
  });
});
