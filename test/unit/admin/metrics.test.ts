/** Metrics: the text of a scrape against what workers reported. */
import { describe, expect, test } from "vitest";
import type { TableNow } from "../../../src/admin/current.ts";
import {
  DURATION_BOUNDS_SECONDS,
  Metrics,
  METRICS_TYPE,
  type MetricsSource,
} from "../../../src/admin/metrics.ts";
import { Fault } from "../../../src/base/fault.ts";
import { Sampler } from "../../../src/control/sampler.ts";
import { decodeDocument } from "../../../src/domain/document.ts";
import { LATENCY_BOUNDS_US } from "../../../src/domain/latency.ts";
import { Cell, type CellSnapshot, type WorkerSnapshot } from "../../../src/shared/counters.ts";
import { totalsOf } from "../../support/answers.ts";
import { ManualClock } from "../../support/clock.ts";
import { Story } from "../../support/rollout_story.ts";
import { verdictOn } from "../../support/verdicts.ts";

const worker: WorkerSnapshot = {
  connectionsAccepted: 11,
  connectionsRefused: 2,
  connectionsOpenNow: 3,
  upstreamNow: [
    ["old", 1, 2],
    ["fresh", 4, 0],
  ],
  upstreamExcess: 5,
  logLinesDropped: 6,
  fieldsDropped: 6,
  lookupsFailed: 7,
  loopUtilization: 0.25,
  rssBytes: 1,
};

function table(): TableNow {
  const decoded = decodeDocument({
    backends: { old: { endpoints: ["http://127.0.0.1:1"] }, fresh: { endpoints: ["http://127.0.0.1:2"] } },
    routes: [
      { id: "shop", cutover: { legacy: "old", candidate: "fresh" }, split: { old: 87.5, fresh: 12.5 } },
    ],
  });
  if (!decoded.ok) throw new Error("the table of this test is wrong");
  return { revision: 7, document: decoded.value };
}

function cell(backend: string, durationsUs: readonly number[]): CellSnapshot {
  const counted = new Cell("shop", backend);
  for (const us of durationsUs) {
    counted.started++;
    counted.finish(200, us);
  }
  return counted.snapshot();
}

interface Stage {
  readonly sampler: Sampler;
  readonly metrics: Metrics;
  readonly source: { current: () => Promise<TableNow> };
  readonly rollouts: { -readonly [Key in keyof MetricsSource["rollouts"]]: MetricsSource["rollouts"][Key] };
}

function stage(): Stage {
  const sampler = new Sampler(new ManualClock());
  const source = { current: () => Promise.resolve(table()) };
  const rollouts: Stage["rollouts"] = { verdict: () => null, rollbacks: () => [] };
  const compared = totalsOf(12, 0, [["status", 2, 0]]);
  const comparisons: MetricsSource["comparisons"] = { own: () => [["shop", compared]] };
  const metrics = new Metrics({
    sampler,
    rollouts,
    comparisons,
    version: "1.2.3",
    current: () => source.current(),
  });
  sampler.report("0.10", worker, []);
  return { sampler, metrics, source, rollouts };
}

/** The value of a series, or undefined. Labels in the order of the text. */
function valueOf(text: string, series: string): number | undefined {
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

describe("a scrape", () => {
  test("counts requests by status, faults that are not the client's, and retries", async () => {
    const { sampler, metrics } = stage();
    const counted = new Cell("shop", "fresh");
    counted.started = 4;
    counted.retries = 3;
    counted.finish(200, 1_000);
    counted.finish(200, 1_000);
    counted.finish(502, 1_000);
    counted.abort(499);
    counted.fault("UPSTREAM_RESET");
    counted.fault("POOL_FULL");
    counted.fault("CLIENT_GONE");
    sampler.report("0.10", worker, [counted.snapshot()]);
    const text = await metrics.scrape();
    expect(valueOf(text, 'crossfade_requests_total{route="shop",backend="fresh",code="200"}')).toBe(2);
    expect(valueOf(text, 'crossfade_requests_total{route="shop",backend="fresh",code="502"}')).toBe(1);
    expect(valueOf(text, 'crossfade_requests_total{route="shop",backend="fresh",code="499"}')).toBe(1);
    const faults = "crossfade_upstream_faults_total";
    expect(valueOf(text, `${faults}{route="shop",backend="fresh",fault="UPSTREAM_RESET"}`)).toBe(1);
    expect(valueOf(text, `${faults}{route="shop",backend="fresh",fault="POOL_FULL"}`)).toBe(1);
    expect(text).not.toContain("CLIENT_GONE");
    expect(valueOf(text, 'crossfade_retries_total{route="shop",backend="fresh"}')).toBe(3);
  });

  test("counts what became of copies, apart from how many were to be made", async () => {
    const { sampler, metrics } = stage();
    expect(await metrics.scrape()).not.toContain("crossfade_shadow_total{");
    const copies = [
      ["shop", "sampled", 9],
      ["shop", "answered", 5],
      ["shop", "busy", 2],
    ] as const;
    sampler.report("0.10", worker, [], copies);
    const text = await metrics.scrape();
    expect(valueOf(text, 'crossfade_shadow_sampled_total{route="shop"}')).toBe(9);
    expect(valueOf(text, 'crossfade_shadow_total{route="shop",result="answered"}')).toBe(5);
    expect(valueOf(text, 'crossfade_shadow_total{route="shop",result="busy"}')).toBe(2);
    expect(text).not.toContain('result="sampled"');
  });

  test("counts what came of comparisons", async () => {
    const text = await stage().metrics.scrape();
    expect(valueOf(text, 'crossfade_comparisons_total{route="shop",result="matched"}')).toBe(10);
    expect(valueOf(text, 'crossfade_comparisons_total{route="shop",result="mismatched"}')).toBe(2);
    expect(valueOf(text, 'crossfade_comparisons_total{route="shop",result="legacy_failed"}')).toBeUndefined();
  });

  test("shows connections, workers, the table and the build", async () => {
    const { sampler, metrics } = stage();
    sampler.report("1.11", { ...worker, loopUtilization: 0.5 }, []);
    sampler.report("1.12", { ...worker, loopUtilization: 0.125 }, []);
    const text = await metrics.scrape();
    expect(valueOf(text, 'crossfade_connections{side="downstream"}')).toBe(9);
    expect(valueOf(text, 'crossfade_connections{side="upstream"}')).toBe(21);
    expect(valueOf(text, 'crossfade_upstream_connections{backend="old",state="idle"}')).toBe(3);
    expect(valueOf(text, 'crossfade_upstream_connections{backend="old",state="busy"}')).toBe(6);
    expect(valueOf(text, 'crossfade_upstream_connections{backend="fresh",state="idle"}')).toBe(12);
    expect(valueOf(text, "crossfade_connections_accepted_total")).toBe(33);
    expect(valueOf(text, "crossfade_connections_refused_total")).toBe(6);
    expect(valueOf(text, "crossfade_upstream_excess_total")).toBe(15);
    expect(valueOf(text, "crossfade_lookups_failed_total")).toBe(21);
    expect(valueOf(text, "crossfade_log_lines_dropped_total")).toBe(18);
    expect(valueOf(text, 'crossfade_worker_event_loop_utilization{worker="0"}')).toBe(0.25);
    expect(valueOf(text, 'crossfade_worker_pressure{worker="0"}')).toBe(0);
    expect(valueOf(text, 'crossfade_worker_event_loop_utilization{worker="1"}')).toBe(0.5);
    expect(valueOf(text, "crossfade_table_revision")).toBe(7);
    expect(valueOf(text, 'crossfade_split_ratio{route="shop",backend="old"}')).toBe(0.875);
    expect(valueOf(text, 'crossfade_split_ratio{route="shop",backend="fresh"}')).toBe(0.125);
    expect(text).toContain('crossfade_build_info{version="1.2.3",node="26');
  });

  test("shows observed shares once there are requests, and requests in flight", async () => {
    const { sampler, metrics } = stage();
    expect(await metrics.scrape()).not.toContain("crossfade_share_ratio{");
    sampler.report("0.10", worker, [
      cell("old", [1_000, 1_000, 1_000]),
      { ...cell("fresh", [1_000]), started: 5 },
    ]);
    const text = await metrics.scrape();
    expect(valueOf(text, 'crossfade_share_ratio{route="shop",backend="old"}')).toBe(0.75);
    expect(valueOf(text, 'crossfade_share_ratio{route="shop",backend="fresh"}')).toBe(0.25);
    expect(valueOf(text, 'crossfade_requests_in_flight{route="shop",backend="fresh"}')).toBe(4);
  });

  test("scraping again gives the same, not the double", async () => {
    const { sampler, metrics } = stage();
    sampler.report("0.10", worker, [cell("old", [1_000, 9_000])]);
    const first = await metrics.scrape();
    expect(await metrics.scrape()).toBe(first);
    const [one, other] = await Promise.all([metrics.scrape(), metrics.scrape()]);
    expect([one, other]).toEqual([first, first]);
  });

  test("while the store is away the table is the last one seen", async () => {
    const { metrics, source } = stage();
    await metrics.scrape();
    source.current = () => Promise.reject(new Fault("STORE_UNAVAILABLE"));
    expect(valueOf(await metrics.scrape(), "crossfade_table_revision")).toBe(7);
  });

  test("a bug in reading the table is not hidden", async () => {
    const { metrics, source } = stage();
    source.current = () => Promise.reject(new TypeError("a bug"));
    await expect(metrics.scrape()).rejects.toThrow("a bug");
  });

  test("what a worker has now goes with it, and nothing of it stays behind in the text", async () => {
    const { sampler, metrics } = stage();
    await metrics.scrape();
    sampler.retire("0.10");
    const text = await metrics.scrape();
    expect(text).not.toContain("crossfade_worker_event_loop_utilization{");
    expect(text).not.toContain("crossfade_upstream_connections{");
    expect(valueOf(text, "crossfade_connections_accepted_total")).toBe(11);
  });
});

describe("rollouts in a scrape", () => {
  test("counts rollbacks by cause, and shows the evidence for one", async () => {
    const { metrics, rollouts } = stage();
    rollouts.rollbacks = () => [{ route: "shop", cause: "errors", count: 2 }];
    rollouts.verdict = (route) => (route === "shop" ? { verdict: verdictOn(6), stepSinceMs: 0 } : null);
    const text = await metrics.scrape();
    expect(valueOf(text, 'crossfade_rollbacks_total{route="shop",cause="errors"}')).toBe(2);
    expect(Math.floor(valueOf(text, 'crossfade_evidence{route="shop",signal="all"}') ?? 0)).toBe(6);
    expect(valueOf(text, 'crossfade_evidence{route="shop",signal="latency"}')).toBe(0);
  });

  test("shows step and phase of routes with a plan, and nothing of others", async () => {
    const { metrics, source } = stage();
    expect(await metrics.scrape()).not.toMatch(/^crossfade_(rollout|evidence|rollbacks)\w*\{/m);
    const { revision, document } = table();
    const { plan, state } = new Story().person("start").tick(1).tick(1);
    const routes = document.routes.map((route) => ({ ...route, rollout: plan }));
    const rollouts = routes.map(({ id }) => ({ route: id, state }));
    source.current = () => Promise.resolve({ revision, document: { ...document, routes, rollouts } });
    const text = await metrics.scrape();
    expect(valueOf(text, 'crossfade_rollout_step{route="shop"}')).toBe(1);
    expect(valueOf(text, 'crossfade_rollout_phase{route="shop",phase="progressing"}')).toBe(1);
    expect(valueOf(text, 'crossfade_rollout_phase{route="shop",phase="held"}')).toBe(0);
  });
});

describe("the histogram of durations", () => {
  test("its bounds are bounds of the cells too, so that nothing is estimated", () => {
    for (const seconds of DURATION_BOUNDS_SECONDS) {
      expect(LATENCY_BOUNDS_US).toContain(Math.round(seconds * 1_000_000));
    }
  });

  test("counts every answer exactly at or below each bound", async () => {
    const { sampler, metrics } = stage();
    const durationsUs = [
      1, 4_999, 5_000, 5_001, 74_000, 75_000, 75_001, 999_999, 7_500_000, 10_000_000, 10_000_001, 2e8,
    ];
    sampler.report("0.10", worker, [cell("old", durationsUs)]);
    const text = await metrics.scrape();
    const labels = 'route="shop",backend="old"';
    for (const seconds of DURATION_BOUNDS_SECONDS) {
      const naive = durationsUs.filter((us) => us <= seconds * 1e6).length;
      const series = `crossfade_request_duration_seconds_bucket{le="${seconds}",${labels}}`;
      expect([series, valueOf(text, series)]).toEqual([series, naive]);
    }
    expect(valueOf(text, `crossfade_request_duration_seconds_bucket{le="+Inf",${labels}}`)).toBe(12);
    expect(valueOf(text, `crossfade_request_duration_seconds_count{${labels}}`)).toBe(12);
    const sum = durationsUs.reduce((total, us) => total + us, 0) / 1e6;
    expect(valueOf(text, `crossfade_request_duration_seconds_sum{${labels}}`)).toBeCloseTo(sum, 6);
  });
});

describe("the text", () => {
  test("has one HELP and one TYPE for each metric, and names a type", async () => {
    const { sampler, metrics } = stage();
    sampler.report("0.10", worker, [cell("old", [1_000])]);
    const lines = (await metrics.scrape()).trim().split("\n").filter(Boolean);
    const named = (prefix: string): string[] =>
      lines.filter((line) => line.startsWith(prefix)).map((line) => line.split(" ")[2] ?? "");
    const types = named("# TYPE");
    expect(types).toEqual(named("# HELP"));
    expect(new Set(types).size).toBe(types.length);
    const samples = lines.filter((line) => !line.startsWith("#"));
    for (const sample of samples) {
      expect(sample).toMatch(/^crossfade_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+$/);
      const name = sample.replace(/[ {].*/s, "");
      expect(types.some((type) => name === type || name.startsWith(`${type}_`))).toBe(true);
    }
    expect(METRICS_TYPE).toBe("text/plain; version=0.0.4; charset=utf-8");
  });

  test("holds nothing of the process itself: no global registry is used", async () => {
    const { metrics } = stage();
    expect(await metrics.scrape()).not.toMatch(/^(?!crossfade_|#|$)/m);
  });
});
