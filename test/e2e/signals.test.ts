/** Signals at bad moments, while a control process starts or hands over: none is lost, and none leaves a mess. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { isRunning } from "../../src/control/process.ts";
import { Crossfade } from "../support/crossfade.ts";
import { Ledger } from "../support/ledger.ts";
import { until } from "../support/wait.ts";

let ledger: Ledger;
let crossfade: Crossfade;

beforeEach(async () => {
  ledger = new Ledger();
  const [legacy, candidate] = await Promise.all([ledger.backend("legacy"), ledger.backend("new")]);
  crossfade = await Crossfade.prepare({ legacy: legacy.url, new: candidate.url });
});

afterEach(async () => {
  await crossfade.stop();
  await ledger.close();
});

/** Waits for a line of the log, of whichever process. */
function said(message: string): Promise<unknown> {
  return until(`"${message}" is in the log`, () => crossfade.lines.some(({ msg }) => msg === message));
}

async function expectNobodyLeft(): Promise<void> {
  await until("nobody is left", () => crossfade.workerPids().length + crossfade.controlPids().length === 0);
  expect(crossfade.lines.filter(({ msg }) => msg.startsWith("bug:"))).toEqual([]);
}

/** Begins an upgrade; gives the process that takes over as soon as it is there. */
async function beginUpgrade(): Promise<number> {
  crossfade.signal("SIGUSR2");
  return until("the new one is there", () => crossfade.controlPids().find((pid) => pid !== crossfade.pid));
}

test("a stop that comes when the workers have been started, but do not serve yet, ends them too", async () => {
  const ended = crossfade.startInVain();
  await until("workers are there", () => crossfade.workerPids().length > 0);
  for (const pid of crossfade.controlPids()) process.kill(pid, "SIGTERM");
  expect((await ended).code).toBe(0);
  await expectNobodyLeft();
});

test("a reload that comes before the start is over ends nothing", async () => {
  const started = crossfade.start();
  await until("a control process is there", () => crossfade.workerPids().length > 0);
  crossfade.signal("SIGHUP");
  await started;
  await said("settings reloaded");
  await crossfade.servingWorkers(2);
});

test("a stop of the new process that takes over is obeyed when it has", async () => {
  await crossfade.start();
  const pid = await beginUpgrade();
  await said("took over from the control process before");
  process.kill(pid, "SIGTERM");
  expect(await crossfade.exitCode()).toBe(0);
  await expectNobodyLeft();
});

test("a stop of the process that hands over reaches the one that takes over", async () => {
  await crossfade.start();
  const pid = await beginUpgrade();
  await said("upgrade: the new control process is ready to take over");
  crossfade.signal("SIGTERM");
  expect(await crossfade.exitCode()).toBe(0);
  await until("it has ended", () => !isRunning(pid));
  await expectNobodyLeft();
});

test("a stop while the new process starts its workers ends those too, and so does its end by force", async () => {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    await crossfade.start();
    const former = (await crossfade.servingWorkers(2)).map(({ pid }) => pid);
    const pid = await beginUpgrade();
    await until("its first worker is there", () =>
      crossfade.workerPids().some((worker) => !former.includes(worker)),
    );
    if (signal === "SIGKILL") process.kill(pid, signal);
    crossfade.signal("SIGTERM");
    expect(await crossfade.exitCode()).toBe(0);
    await expectNobodyLeft();
  }
});
