/** Planned replacement with real processes: every successor serves before its predecessor drains. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { assert } from "../../../src/base/fault.ts";
import type { Fleet, WorkerStatus } from "../../../src/control/fleet.ts";
import { isRunning, killNow } from "../../../src/control/process.ts";
import { FleetStage, NO_LIMITS, PLANE, emptyTable, freePort, loopback } from "../../support/fleet_stage.ts";
import { until } from "../../support/wait.ts";

let stage: FleetStage;
beforeEach(() => {
  stage = new FleetStage();
});
afterEach(() => stage.close());

/** Waits until all slots have a serving worker. Gives those workers. */
function serving(fleet: Fleet, count: number): Promise<WorkerStatus[]> {
  return until(`${count} workers serve`, () => {
    const workers = fleet.status();
    return workers.length === count && workers.every(({ state }) => state === "serving") ? workers : null;
  });
}

async function started(fleet: Fleet, count = 2): Promise<WorkerStatus[]> {
  fleet.publish(emptyTable(1));
  expect(await fleet.start()).toEqual({ ok: true });
  return serving(fleet, count);
}

function pidOf(workers: readonly WorkerStatus[], worker: number): number {
  const found = workers.find((status) => status.worker === worker);
  assert(found !== undefined, "the slot has a worker");
  return found.pid;
}

describe("a planned replacement", () => {
  test("of every worker goes slot by slot: each successor serves before its predecessor drains", async () => {
    const fleet = stage.fleet();
    const before = await started(fleet);
    let fewest = 2;
    fleet.watch(() => {
      fewest = Math.min(fewest, fleet.status().filter(({ state }) => state === "serving").length);
    });
    expect(fleet.recycle("alice: new Node")).toEqual(before.map(({ worker, pid }) => ({ worker, pid })));
    const after = await until("all are replaced and gone", async () => {
      const workers = await serving(fleet, 2);
      return workers.some(({ pid }) => before.some((old) => old.pid === pid)) ? null : workers;
    });
    expect(fewest).toBe(2);
    expect(after.map(({ restarts }) => restarts)).toEqual([0, 0]);
    const events = stage.happenings.filter(({ type }) => /recycl/.test(type));
    expect(events.map(({ type, data }) => [type, data["worker"]])).toEqual([
      ["fleet.recycling", undefined],
      ["worker.recycling", 0],
      ["worker.recycled", 0],
      ["worker.recycling", 1],
      ["worker.recycled", 1],
    ]);
    expect(stage.events("worker.recycling")[0]).toMatchObject({ cause: "alice: new Node" });
    expect(stage.events("worker.lost")).toEqual([]);
  });

  test("whose successors keep dying is reported, and leaves the predecessor serving", async () => {
    const fleet = stage.fleet();
    const before = await started(fleet);
    stage.script({ crashing: 0 });
    fleet.recycle("a test");
    await until("the loop is reported", () => stage.events("worker.crash_loop").length > 1);
    expect(fleet.warnings()).toEqual([expect.stringContaining("worker 0 keeps dying")]);
    const old = fleet.status().find(({ pid }) => pid === pidOf(before, 0));
    expect(old).toMatchObject({ state: "serving", replacedBecause: "a test" });
    stage.script({});
    await until("both are replaced", () => stage.events("worker.recycled").length === 2);
  });

  test("whose predecessor dies first is reported as a loss, and ends all the same", async () => {
    const fleet = stage.fleet({ workers: 1 });
    const [old] = await started(fleet, 1);
    stage.script({ crashing: 0 });
    fleet.recycle("a test");
    await until("a successor has died", () => stage.events("worker.lost").length > 0);
    killNow(old?.pid ?? 0);
    await until("its death is known", () => stage.events("worker.lost").some(({ pid }) => pid === old?.pid));
    stage.script({});
    const [next] = await serving(fleet, 1);
    expect(next?.pid).not.toBe(old?.pid);
  });

  test("comes by itself for workers over their memory, which is changed while they run", async () => {
    const fleet = stage.fleet({ workers: 1 });
    const [old] = await started(fleet, 1);
    fleet.configure(PLANE, { ...NO_LIMITS, memoryBytesMax: 0 });
    await until("it is replaced", () => stage.events("worker.recycled").length > 0);
    fleet.configure(PLANE, NO_LIMITS);
    expect(stage.events("worker.recycling")[0]).toMatchObject({ pid: old?.pid });
    expect(stage.events("worker.recycling")[0]?.["cause"]).toContain("of memory");
  });

  test("comes by itself for workers over their age", async () => {
    const fleet = stage.fleet({ workers: 1, limits: { ...NO_LIMITS, ageMsMax: 500 } });
    await started(fleet, 1);
    await until("it is replaced", () => stage.events("worker.recycled").length > 0);
    expect(stage.events("worker.recycling")[0]?.["cause"]).toBe("it is older than 0.5 s");
  });

  test("waits while as many drain as may, and gives draining workers every table", async () => {
    const fleet = stage.fleet({ workers: 1 });
    await started(fleet, 1);
    stage.script({ isStubborn: true });
    fleet.recycle("first");
    await until("one drains", () => stage.events("worker.recycled").length === 1);
    fleet.recycle("second");
    await until("two drain", () => stage.events("worker.recycled").length === 2);
    fleet.recycle("third");
    fleet.publish(emptyTable(2));
    await until("all three have the table", () =>
      fleet.status().every(({ appliedRevision }) => appliedRevision === 2),
    );
    expect(
      fleet
        .status()
        .map(({ state }) => state)
        .toSorted(),
    ).toEqual(["draining", "draining", "serving"]);
    expect(stage.events("worker.recycling")).toHaveLength(2);
    await until("the wait is told", () => fleet.warnings().length > 0);
    expect(fleet.warnings()).toEqual([
      expect.stringMatching(/shall be replaced \(third\), but 2 workers drain already/),
    ]);
    killNow(fleet.status().find(({ state }) => state === "draining")?.pid ?? 0);
    await until("the third is replaced", () => stage.events("worker.recycled").length === 3);
  });

  test("goes through siblings where only workers have the sockets", async () => {
    const listen = [loopback(await freePort())];
    const first = stage.fleet({ listen });
    await started(first);
    await first.close();
    const second = stage.fleet({ listen });
    const before = await started(second);
    second.recycle("a test");
    const after = await until("all are replaced and gone", async () => {
      const workers = await serving(second, 2);
      return workers.some(({ pid }) => before.some((old) => old.pid === pid)) ? null : workers;
    });
    expect(after.every(({ adopted }) => !adopted)).toBe(true);
    expect(stage.events("worker.lost")).toEqual([]);
  });

  test("is no answer to a worker that does not end its drain: that one is killed", async () => {
    const fleet = stage.fleet({ workers: 1 });
    const drain = { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 100, tunnelsMs: 100 };
    fleet.configure({ ...PLANE, drain }, NO_LIMITS);
    const [old] = await started(fleet, 1);
    stage.script({ isStubborn: true });
    fleet.recycle("a test");
    await until("it is gone", () => !isRunning(old?.pid ?? 0));
    expect(stage.events("worker.lost")).toEqual([]);
  });
});
