/** The sampler: totals over workers that come and go, windows, shares and bounds. */
import { describe, expect, test } from "vitest";
import { RINGS_MAX, Sampler, TOTALS_MAX } from "../../../src/control/sampler.ts";
import { decodeDocument } from "../../../src/domain/document.ts";
import { latencyBucket } from "../../../src/domain/latency.ts";
import type { Route } from "../../../src/domain/route.ts";
import { NO_FIGURES, NO_SAMPLE } from "../../../src/domain/window.ts";
import type { CellSnapshot, WorkerSnapshot } from "../../../src/shared/counters.ts";
import { ManualClock } from "../../support/clock.ts";
import { IDLE_WORKER as idle } from "../../support/snapshots.ts";

function cell(backend: string, finished: number, more: Partial<CellSnapshot> = {}): CellSnapshot {
  const latency: [number, number][] = finished === 0 ? [] : [[latencyBucket(10_000), finished]];
  const codes: [number, number][] = finished === 0 ? [] : [[200, finished]];
  return { ...NO_SAMPLE, route: "shop", backend, started: finished, finished, latency, codes, ...more };
}

function shop(percent: number): Route {
  const decoded = decodeDocument({
    backends: { old: { endpoints: ["http://127.0.0.1:1"] }, fresh: { endpoints: ["http://127.0.0.1:2"] } },
    routes: [
      {
        id: "shop",
        cutover: { legacy: "old", candidate: "fresh" },
        split: { old: 100 - percent, fresh: percent },
      },
    ],
  });
  if (!decoded.ok || decoded.value.routes[0] === undefined)
    throw new Error("the table of this test is wrong");
  return decoded.value.routes[0];
}

/** A sampler whose worker "0.10" has made its first report. */
function started(): { clock: ManualClock; sampler: Sampler } {
  const clock = new ManualClock();
  const sampler = new Sampler(clock);
  sampler.report("0.10", idle, []);
  return { clock, sampler };
}

function finishedOf(sampler: Sampler, backend: string): number | undefined {
  return sampler.totals().cells.find((one) => one.backend === backend)?.finished;
}

describe("totals", () => {
  test("are the sum over workers, and a report counts only what it adds", () => {
    const { sampler } = started();
    sampler.report("0.10", idle, [cell("old", 10)]);
    sampler.report("1.11", idle, [cell("old", 5), cell("fresh", 1)]);
    sampler.report("0.10", idle, [cell("old", 12)]);
    expect(finishedOf(sampler, "old")).toBe(17);
    expect(finishedOf(sampler, "fresh")).toBe(1);
  });

  test("cells that a report leaves out are as they were", () => {
    const { sampler } = started();
    sampler.report("0.10", idle, [cell("old", 10), cell("fresh", 3)]);
    sampler.report("0.10", idle, [cell("fresh", 4)]);
    expect(finishedOf(sampler, "old")).toBe(10);
    expect(finishedOf(sampler, "fresh")).toBe(4);
  });

  test("never go back when a worker goes and its successor starts from zero", () => {
    const { sampler } = started();
    const counted = {
      ...idle,
      connectionsAccepted: 7,
      connectionsRefused: 2,
      upstreamExcess: 1,
      logLinesDropped: 3,
      fieldsDropped: 3,
      lookupsFailed: 4,
    };
    sampler.report("0.10", counted, [cell("old", 10, { faults: [["UPSTREAM_RESET", 2]] })]);
    sampler.retire("0.10");
    sampler.report("0.12", { ...counted, connectionsAccepted: 1 }, [cell("old", 4)]);
    const totals = sampler.totals();
    expect(finishedOf(sampler, "old")).toBe(14);
    expect(totals.cells[0]?.faults).toEqual([["UPSTREAM_RESET", 2]]);
    expect(totals.cells[0]?.codes).toEqual([[200, 14]]);
    expect(totals.connectionsAccepted).toBe(8);
    expect(totals.connectionsRefused).toBe(4);
    expect(totals.upstreamExcess).toBe(2);
    expect(totals.logLinesDropped).toBe(6);
  });

  test("a report that went back takes nothing away", () => {
    const { sampler } = started();
    sampler.report("0.10", idle, [cell("old", 10)]);
    sampler.report("0.10", idle, [cell("old", 8)]);
    expect(finishedOf(sampler, "old")).toBe(10);
  });

  test("show what live workers have now, and forget it with the worker", () => {
    const { sampler } = started();
    const now: WorkerSnapshot = { ...idle, connectionsOpenNow: 3, upstreamNow: [["old", 1, 2]] };
    sampler.report("0.10", now, [cell("old", 5, { started: 8, aborted: 1 })]);
    sampler.report("1.11", idle, [cell("old", 0, { started: 4 })]);
    expect([...sampler.totals().workers]).toEqual([
      ["0.10", now],
      ["1.11", idle],
    ]);
    expect(sampler.totals().inFlight).toEqual([{ route: "shop", backend: "old", requests: 6 }]);
    sampler.retire("0.10");
    expect([...sampler.totals().workers.keys()]).toEqual(["1.11"]);
    expect(sampler.totals().inFlight).toEqual([{ route: "shop", backend: "old", requests: 4 }]);
    expect(finishedOf(sampler, "old")).toBe(5);
  });

  test("count what a worker had not ended as aborted when it is gone, so that what was started adds up", () => {
    const { sampler } = started();
    sampler.report("0.10", idle, [cell("old", 5, { started: 9, aborted: 1 })]);
    sampler.retire("0.10");
    sampler.report("0.12", idle, [cell("old", 2, { started: 3 })]);
    const [old] = sampler.totals().cells;
    expect(old).toMatchObject({ started: 12, finished: 7, aborted: 4 });
    expect(sampler.totals().inFlight).toEqual([{ route: "shop", backend: "old", requests: 1 }]);
  });

  test("retiring a worker that nobody knows or twice changes nothing", () => {
    const { sampler } = started();
    sampler.report("0.10", { ...idle, connectionsAccepted: 5 }, []);
    sampler.retire("9.9");
    sampler.retire("0.10");
    sampler.retire("0.10");
    expect(sampler.totals().connectionsAccepted).toBe(5);
  });

  test("leave out pairs that nobody ever asked for", () => {
    const { sampler } = started();
    sampler.report("0.10", idle, [cell("old", 0)]);
    expect(sampler.totals().cells).toEqual([]);
  });

  test("are bounded: the pair that was idle longest goes first", () => {
    const { sampler } = started();
    const many = Array.from({ length: TOTALS_MAX }, (_, n) => cell("old", 1, { route: `r${n}` }));
    sampler.report("0.10", idle, many);
    sampler.report("0.10", idle, [cell("old", 2, { route: "r0" })]);
    sampler.report("0.10", idle, [cell("old", 1, { route: "one-more" })]);
    const routes = new Set(sampler.totals().cells.map(({ route }) => route));
    expect(routes.size).toBe(TOTALS_MAX);
    expect([routes.has("r0"), routes.has("r1"), routes.has("one-more")]).toEqual([true, false, true]);
  });
});

describe("health", () => {
  test("without traffic there are no shares and no quantiles", () => {
    const { sampler } = started();
    expect(sampler.health(shop(12.5))).toEqual({
      route: "shop",
      backends: [
        {
          backend: "old",
          role: "legacy",
          shareConfiguredPercent: 87.5,
          shareObservedPercent: null,
          windows: { "10s": NO_FIGURES, "60s": NO_FIGURES },
        },
        {
          backend: "fresh",
          role: "candidate",
          shareConfiguredPercent: 12.5,
          shareObservedPercent: null,
          windows: { "10s": NO_FIGURES, "60s": NO_FIGURES },
        },
      ],
    });
  });

  test("shows shares and windows over all workers", () => {
    const { clock, sampler } = started();
    sampler.report("1.11", idle, []);
    sampler.report("0.10", idle, [cell("old", 30)]);
    clock.advance(20_000);
    sampler.report("1.11", idle, [cell("old", 45), cell("fresh", 25, { failures: 5, aborted: 0 })]);
    const [legacy, candidate] = sampler.health(shop(25)).backends;
    expect(legacy?.windows["60s"]).toEqual({
      requests: 75,
      failures: 0,
      aborted: 0,
      p50Ms: 10,
      p90Ms: 10,
      p99Ms: 10,
    });
    expect(legacy?.windows["10s"].requests).toBe(45);
    expect(legacy?.shareObservedPercent).toBe(75);
    expect(candidate?.shareObservedPercent).toBe(25);
    expect(candidate?.windows["10s"].failures).toBe(5);
  });

  test("forgets what is older than a minute", () => {
    const { clock, sampler } = started();
    sampler.report("0.10", idle, [cell("old", 30)]);
    clock.advance(60_999);
    expect(sampler.health(shop(0)).backends[0]?.windows["60s"].requests).toBe(30);
    clock.advance(1);
    expect(sampler.health(shop(0)).backends[0]?.windows["60s"].requests).toBe(0);
    expect(sampler.health(shop(0)).backends[0]?.shareObservedPercent).toBeNull();
  });

  test("a worker that was taken over adds its past to the totals, not to the window", () => {
    const { sampler } = started();
    sampler.report("3.99", idle, [cell("old", 1_000_000)]);
    expect(finishedOf(sampler, "old")).toBe(1_000_000);
    expect(sampler.health(shop(0)).backends[0]?.windows["60s"].requests).toBe(0);
    sampler.report("3.99", idle, [cell("old", 1_000_002)]);
    expect(sampler.health(shop(0)).backends[0]?.windows["60s"].requests).toBe(2);
  });

  test("what a worker did stays in the window after it is gone", () => {
    const { sampler } = started();
    sampler.report("0.10", idle, [cell("fresh", 9)]);
    sampler.retire("0.10");
    expect(sampler.health(shop(5)).backends[1]?.windows["60s"].requests).toBe(9);
  });

  test("other routes of the same backend do not count", () => {
    const { sampler } = started();
    sampler.report("0.10", idle, [cell("old", 9, { route: "other" }), cell("old", 1)]);
    expect(sampler.health(shop(5)).backends[0]?.windows["60s"].requests).toBe(1);
  });

  test("shows what other instances did as if it happened now, and no total counts it", () => {
    const { clock, sampler } = started();
    const heard: [string, number, boolean][] = [];
    const unwatch = sampler.watch(({ backend, delta }, isOwn) => {
      heard.push([backend, delta.finished, isOwn]);
    });
    sampler.report("0.10", idle, [cell("old", 30)]);
    clock.advance(20_000);
    const { route: _, backend: __, ...delta } = cell("fresh", 10, { failures: 2 });
    sampler.addOthers([
      { route: "shop", backend: "fresh", delta },
      { route: "shop", backend: "old", delta: NO_SAMPLE },
    ]);
    const [legacy, candidate] = sampler.health(shop(25)).backends;
    expect(candidate?.windows["10s"]).toMatchObject({ requests: 10, failures: 2, p50Ms: 10 });
    expect([legacy?.shareObservedPercent, candidate?.shareObservedPercent]).toEqual([75, 25]);
    expect(finishedOf(sampler, "fresh")).toBeUndefined();
    unwatch();
    sampler.report("0.10", idle, [cell("old", 31)]);
    expect(heard).toEqual([
      ["old", 30, true],
      ["fresh", 10, false],
    ]);
  });

  test("ticks free the windows of idle pairs only", () => {
    const { clock, sampler } = started();
    sampler.report("0.10", idle, [cell("old", 1)]);
    clock.advance(30_000);
    sampler.report("0.10", idle, [cell("fresh", 1)]);
    clock.advance(31_000);
    sampler.tick();
    const [legacy, candidate] = sampler.health(shop(50)).backends;
    expect(legacy?.windows["60s"].requests).toBe(0);
    expect(candidate?.windows["60s"].requests).toBe(1);
    expect(finishedOf(sampler, "old")).toBe(1);
  });

  test("windows are bounded: the pair that was idle longest loses its own", () => {
    const { sampler } = started();
    sampler.report("0.10", idle, [cell("old", 1)]);
    const many = Array.from({ length: RINGS_MAX }, (_, n) => cell("old", 1, { route: `r${n}` }));
    sampler.report("0.10", idle, many);
    expect(sampler.health(shop(0)).backends[0]?.windows["60s"].requests).toBe(0);
    expect(finishedOf(sampler, "old")).toBe(1);
  });
});
