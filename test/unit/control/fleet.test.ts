/** The fleet with real processes: started, replaced, taken over and drained. */
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { assert } from "../../../src/base/fault.ts";
import type { Fleet, WorkerStatus } from "../../../src/control/fleet.ts";
import { isRunning, killNow } from "../../../src/control/process.ts";
import { PROTOCOL } from "../../../src/shared/messages.ts";
import { BRISK, FleetStage, NO_LIMITS, emptyTable, freePort, loopback } from "../../support/fleet_stage.ts";
import { until } from "../../support/wait.ts";

const DRAIN = { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 5_000, tunnelsMs: 5_000 };

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

async function ask(address: string): Promise<{ worker: number; pid: number; revision: number }> {
  const response = await fetch(`http://${address}/`);
  return (await response.json()) as { worker: number; pid: number; revision: number };
}

function pidOf(workers: readonly WorkerStatus[], worker: number): number {
  const found = workers.find((status) => status.worker === worker);
  assert(found !== undefined, "the slot has a worker");
  return found.pid;
}

describe("a fleet that owns its sockets", () => {
  test("has one serving worker per slot, which clients reach on the real address", async () => {
    const fleet = stage.fleet();
    const workers = await started(fleet);
    expect(workers.map(({ worker }) => worker)).toEqual([0, 1]);
    expect(
      workers.every(
        (status) => status.version === "1.2.3" && !status.adopted && status.appliedRevision === 1,
      ),
    ).toBe(true);
    const answer = await ask(fleet.addresses()[0] ?? "");
    expect(workers.map(({ pid }) => pid)).toContain(answer.pid);
    await until("counters arrive", () =>
      fleet.status().every(({ connectionsOpen }) => connectionsOpen === 7),
    );
    expect(stage.reports).toContain(`0.${pidOf(workers, 0)}`);
  });

  test("gives every worker a new table, and later ones only the newest", async () => {
    const fleet = stage.fleet();
    await started(fleet);
    for (const revision of [2, 3, 4, 5]) fleet.publish(emptyTable(revision));
    await until("all have the newest", () =>
      fleet.status().every(({ appliedRevision }) => appliedRevision === 5),
    );
  });

  test("replaces a killed worker in its slot, while the other goes on", async () => {
    const fleet = stage.fleet();
    const before = await started(fleet);
    killNow(pidOf(before, 0));
    await until("a successor is ready", () => stage.events("worker.replaced").length > 0);
    const after = await serving(fleet, 2);
    expect(pidOf(after, 1)).toBe(pidOf(before, 1));
    expect(pidOf(after, 0)).not.toBe(pidOf(before, 0));
    expect(after[0]?.restarts).toBe(1);
    expect(stage.events("worker.lost")).toEqual([
      { worker: 0, pid: pidOf(before, 0), cause: "signal SIGKILL" },
    ]);
    expect(stage.events("worker.replaced")[0]).toMatchObject({ worker: 0, former_pid: pidOf(before, 0) });
    expect(stage.retired).toEqual([`0.${pidOf(before, 0)}`]);
  });

  test("reports a slot whose workers keep dying, and goes on trying", async () => {
    stage.script({ crashing: 0 });
    const fleet = stage.fleet();
    fleet.publish(emptyTable(1));
    await fleet.start();
    await until("the loop is reported", () => stage.events("worker.crash_loop").length > 1);
    expect(fleet.warnings()).toEqual([expect.stringContaining("worker 0 keeps dying")]);
    expect(fleet.status().some(({ worker, state }) => worker === 1 && state === "serving")).toBe(true);
    stage.script({});
    await serving(fleet, 2);
  });

  test("kills and replaces a worker that sends no counters", async () => {
    const fleet = stage.fleet({ limits: { ...NO_LIMITS, heartbeatMs: 1_000 } });
    const before = await started(fleet);
    stage.script({ isMute: true });
    await until("both are lost", () => stage.events("worker.lost").length >= 2);
    stage.script({});
    expect(stage.events("worker.lost")[0]).toMatchObject({ cause: "it sent no counters for 1000 ms" });
    expect(before.map(({ pid }) => pid).some(isRunning)).toBe(false);
    await serving(fleet, 2);
  });

  test("kills and replaces a worker that does not acknowledge a table", async () => {
    const fleet = stage.fleet({ pace: { ...BRISK, owedMaxMs: 1_000 } });
    await started(fleet);
    stage.script({ isDeaf: true });
    fleet.publish(emptyTable(2));
    await until("both are lost", () => stage.events("worker.lost").length >= 2);
    stage.script({});
    expect(stage.events("worker.lost")[0]).toMatchObject({
      cause: "it did not acknowledge a table within 1000 ms",
    });
    await until("all have the table", async () =>
      (await serving(fleet, 2)).every(({ appliedRevision }) => appliedRevision === 2),
    );
  });

  test("kills and replaces a worker that lives, but does not come back to its channel", async () => {
    const fleet = stage.fleet({ workers: 1, pace: { ...BRISK, silentMaxMs: 500 } });
    const [worker] = await started(fleet, 1);
    stage.script({ isLost: true });
    await until("it is lost", () => stage.events("worker.lost").length > 0);
    stage.script({});
    expect(stage.events("worker.lost")[0]?.["cause"]).toContain("it lost its channel");
    expect(isRunning(worker?.pid ?? 0)).toBe(false);
    await serving(fleet, 1);
  });

  test("shows a worker that refuses a table, with its reason", async () => {
    const fleet = stage.fleet({ workers: 1 });
    const [worker] = await started(fleet, 1);
    stage.script({ refused: 2 });
    fleet.publish(emptyTable(2));
    await until("the refusal is known", () => fleet.warnings().length > 0);
    expect(fleet.warnings()).toEqual([`worker 0 (pid ${worker?.pid}) refused revision 2: it is scripted`]);
    expect(fleet.status()[0]).toMatchObject({
      appliedRevision: 1,
      refused: { revision: 2, reason: "it is scripted" },
    });
    expect(stage.events("table.refused")).toEqual([
      { worker: 0, pid: worker?.pid, revision: 2, reason: "it is scripted" },
    ]);
    fleet.publish(emptyTable(3));
    await until("the next one is applied", () => fleet.warnings().length === 0);
  });

  test("replaces a worker of another protocol again and again, slower and slower", async () => {
    stage.script({ protocol: PROTOCOL + 1 });
    const fleet = stage.fleet({ workers: 1 });
    fleet.publish(emptyTable(1));
    await fleet.start();
    await until("the loop is reported", () => stage.events("worker.crash_loop").length > 0);
    expect(stage.events("worker.lost")[0]?.["cause"]).toContain(`it speaks protocol ${PROTOCOL + 1}`);
  });

  test("serves on a Unix socket, replaces a stale one, and removes it after a drain", async () => {
    const path = join(stage.directory, "proxy.sock");
    const listen = [{ kind: "unix", path, text: `unix:${path}` }] as const;
    const first = stage.fleet({ listen, workers: 1 });
    const [worker] = await started(first, 1);
    await first.close();
    killNow(worker?.pid ?? 0);
    await until("its process is gone", () => !isRunning(worker?.pid ?? 0));
    expect(existsSync(path)).toBe(true);
    const second = stage.fleet({ listen, workers: 1 });
    await started(second, 1);
    await second.drain(DRAIN, false);
    expect(existsSync(path)).toBe(false);
  });
});

describe("a fleet whose control process is gone", () => {
  test("is taken over by the next one: the same processes serve on, and follow its tables", async () => {
    const listen = [loopback(await freePort())];
    const first = stage.fleet({ listen });
    const before = await started(first);
    await first.close();
    expect((await ask(listen[0]?.text ?? "")).revision).toBe(1);
    const second = stage.fleet({ listen });
    second.publish(emptyTable(2));
    expect(await second.start()).toEqual({ ok: true });
    const after = await serving(second, 2);
    expect(new Set(after.map(({ pid }) => pid))).toEqual(new Set(before.map(({ pid }) => pid)));
    expect(after.every(({ adopted }) => adopted)).toBe(true);
    await until("all have the new table", () =>
      second.status().every(({ appliedRevision }) => appliedRevision === 2),
    );
    expect(stage.events("worker.adopted")).toHaveLength(2);
  });

  test("has later deaths replaced through a worker that holds the sockets", async () => {
    const listen = [loopback(await freePort())];
    const first = stage.fleet({ listen });
    await started(first);
    await first.close();
    const second = stage.fleet({ listen });
    const before = await started(second);
    killNow(pidOf(before, 1));
    await until("a successor is ready", () => stage.events("worker.replaced").length > 0);
    const after = await serving(second, 2);
    expect(pidOf(after, 0)).toBe(pidOf(before, 0));
    expect(after.map(({ adopted }) => adopted)).toEqual([true, false]);
  });

  test("is started anew when all its workers die at once", async () => {
    const listen = [loopback(await freePort())];
    const first = stage.fleet({ listen });
    await started(first);
    await first.close();
    const second = stage.fleet({ listen });
    for (const { pid } of await started(second)) killNow(pid);
    const after = await until("both are replaced", async () => {
      const workers = await serving(second, 2);
      return workers.every(({ adopted }) => !adopted) ? workers : null;
    });
    expect(after.map(({ pid }) => pid)).toContain((await ask(listen[0]?.text ?? "")).pid);
  });

  test("grows to the number of workers that the settings ask for", async () => {
    const listen = [loopback(await freePort())];
    const first = stage.fleet({ listen, workers: 1 });
    const [old] = await started(first, 1);
    await first.close();
    const second = stage.fleet({ listen, workers: 3 });
    const workers = await started(second, 3);
    expect(workers.map(({ adopted }) => adopted)).toEqual([true, false, false]);
    expect(workers[0]?.pid).toBe(old?.pid);
  });

  test("shrinks to the number of workers that the settings ask for", async () => {
    const listen = [loopback(await freePort())];
    const first = stage.fleet({ listen, workers: 3 });
    const before = await started(first, 3);
    await first.close();
    const second = stage.fleet({ listen, workers: 1 });
    const [kept] = await started(second, 1);
    await until("the others are gone", () => before.filter(({ pid }) => isRunning(pid)).length === 1);
    expect(before.map(({ pid }) => pid)).toContain(kept?.pid);
  });

  test("is drained where the settings listen elsewhere now", async () => {
    const first = stage.fleet({ listen: [loopback(await freePort())] });
    const before = await started(first);
    await first.close();
    const second = stage.fleet();
    const after = await started(second);
    expect(after.some(({ adopted }) => adopted)).toBe(false);
    await until("the old ones are gone", () => !before.some(({ pid }) => isRunning(pid)));
  });

  test("is drained, and its address bound, where the settings add another address", async () => {
    const kept = loopback(await freePort());
    const first = stage.fleet({ listen: [kept] });
    await started(first);
    await first.close();
    const second = stage.fleet({ listen: [kept, loopback(0)] });
    await started(second);
    expect(await Promise.all(second.addresses().map(ask))).toHaveLength(2);
  });

  test("is exchanged worker by worker when it speaks another protocol", async () => {
    const listen = [loopback(await freePort())];
    const first = stage.fleet({ listen });
    const before = await started(first);
    await first.close();
    stage.script({ protocol: PROTOCOL + 1 });
    const second = stage.fleet({ listen });
    second.publish(emptyTable(2));
    // The old workers say hello with the other protocol; the script changes before their successors start.
    const start = second.start();
    await until("the old ones came", () =>
      stage.kept.lines.some(({ fields }) => fields["as"] === "outdated"),
    );
    await until("both came", () => second.status().length >= 2);
    stage.script({});
    expect(await start).toEqual({ ok: true });
    await until("the old ones are gone", () => !before.some(({ pid }) => isRunning(pid)));
    const after = await serving(second, 2);
    expect(after.every(({ appliedRevision }) => appliedRevision === 2)).toBe(true);
  });
});

describe("a fleet that cannot start", () => {
  test("says that another program has the address", async () => {
    const other = createServer();
    const port = await freePort();
    const listen = [loopback(port)];
    await new Promise<void>((resolve) => other.listen({ host: "127.0.0.1", port }, resolve));
    const start = await stage.fleet({ listen, pace: { ...BRISK, takeoverMaxMs: 100 } }).start();
    await new Promise((resolve) => other.close(resolve));
    const taken = "the address is in use by another program";
    expect(start).toEqual({ ok: false, detail: `cannot listen on 127.0.0.1:${port}: ${taken}` });
  });

  test("names the workers of an earlier one that have the address and do not come", async ({ skip }) => {
    if (process.platform !== "linux") return skip("only Linux lists the processes of a control socket");
    const listen = [loopback(await freePort())];
    const first = stage.fleet({ listen, workers: 1 });
    const [worker] = await started(first, 1);
    stage.script({ isLost: true });
    await first.close();
    const start = await stage.fleet({ listen, workers: 1, pace: { ...BRISK, takeoverMaxMs: 500 } }).start();
    const detail = `by workers that hang: end them with kill -9 ${worker?.pid}, and start again`;
    expect(start).toMatchObject({ ok: false, detail: expect.stringContaining(detail) });
  });

  test("says at once that the address is not its own", async () => {
    const address = { kind: "tcp", host: "192.0.2.1", port: 0, text: "192.0.2.1:0" } as const;
    const start = await stage.fleet({ listen: [address] }).start();
    expect(start).toMatchObject({
      ok: false,
      detail: expect.stringContaining("cannot listen on 192.0.2.1:0"),
    });
  });
});

describe("a drain", () => {
  test("ends every worker and settles when the last is gone", async () => {
    const fleet = stage.fleet();
    const workers = await started(fleet);
    await fleet.drain(DRAIN, false);
    expect(workers.some(({ pid }) => isRunning(pid))).toBe(false);
    expect(fleet.status()).toEqual([]);
    expect(stage.events("worker.lost")).toEqual([]);
  });

  test("kills workers that are left after its deadline", async () => {
    stage.script({ isStubborn: true });
    const fleet = stage.fleet();
    const workers = await started(fleet);
    const drained = fleet.drain({ ...DRAIN, deadlineMs: 120_000 }, false);
    await until("all are told", () => fleet.status().every(({ state }) => state === "draining"));
    await fleet.drain(DRAIN, true);
    await drained;
    expect(workers.some(({ pid }) => isRunning(pid))).toBe(false);
  });

  test("of one worker by its own signal has it replaced before it ends", async () => {
    stage.script({ isStubborn: true });
    const fleet = stage.fleet({ workers: 1 });
    const [worker] = await started(fleet, 1);
    process.kill(worker?.pid ?? 0, "SIGTERM");
    await until(
      "both are there",
      () =>
        fleet
          .status()
          .map(({ state }) => state)
          .toSorted()
          .join(" ") === "draining serving",
    );
  });
});
