/** Upgrades under load of every kind, those that fail included: no request is lost, none is sent twice. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isRunning, killNow } from "../../src/control/process.ts";
import { startCrossfade, type Crossfade, type Fleet } from "../support/crossfade.ts";
import { Ledger, type LedgerBackend } from "../support/ledger.ts";
import { MixedClients } from "../support/mixed_clients.ts";
import { runProgram } from "../support/program.ts";
import { until } from "../support/wait.ts";

const UPGRADES = 5;

let ledger: Ledger;
let legacy: LedgerBackend;
let candidate: LedgerBackend;
let crossfade: Crossfade;
let clients: MixedClients;

beforeEach(async () => {
  ledger = new Ledger();
  [legacy, candidate] = await Promise.all([ledger.backend("legacy"), ledger.backend("new")]);
  crossfade = await startCrossfade(
    { legacy: legacy.url, new: candidate.url },
    {
      settings: { drain: { grace: "0s", spread: "500ms", idle: "10s", deadline: "60s" } },
      route: { split: { legacy: 50, new: 50 } },
    },
  );
  await crossfade.servingWorkers(2);
  clients = new MixedClients(crossfade.url, 2);
  await until("every client was answered", () => clients.answersMin() > 0);
});

afterEach(async () => {
  await clients.stop();
  await crossfade.stop();
  await ledger.close();
});

function fleet(): Promise<Fleet> {
  return crossfade.admin<Fleet>("GET", "/v1/fleet");
}

async function expectNothingLost(): Promise<void> {
  const { answered, sent, sockets, losses, statuses } = await clients.stop();
  expect({ losses, doubled: ledger.doubled }).toEqual({ losses: [], doubled: [] });
  expect(Object.keys(statuses)).toEqual(["200"]);
  expect(answered).toBe(sent);
  expect(sockets).toMatchObject({ echoed: sockets.sent, lost: 0 });
}

/** Upgrades in vain. Gives what the API answers, an empty text if that is no failure. */
async function upgradeInVain(): Promise<string> {
  try {
    await crossfade.admin("POST", "/v1/upgrade", { reason: "a test" });
    return "";
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    expect(text).toMatch(/^POST \/v1\/upgrade gave 500: .*"UPGRADE_FAILED"/);
    return text;
  }
}

describe("five upgrades under load", () => {
  test("lose no request, send none twice, and end as one process for whoever waits for the first", async () => {
    const first = crossfade.pid;
    const pids = [first];
    for (let n = 0; n < UPGRADES; n++) {
      const before = await fleet();
      const after = await crossfade.upgrade();
      expect(after.workers.some(({ pid }) => before.workers.some((old) => old.pid === pid))).toBe(false);
      pids.push(after.pid);
      const split = { legacy: n, new: 100 - n, reason: "a test" };
      await crossfade.admin("PUT", "/v1/routes/shop/split?wait=applied", split);
    }
    expect(new Set(pids).size).toBe(UPGRADES + 1);
    // Only the first, which stays for its parent, and the last.
    await until("the others have ended", () => pids.filter(isRunning).length === 2);
    expect(pids.filter(isRunning)).toEqual([first, pids.at(-1)]);
    await expectNothingLost();
    crossfade.signal("SIGTERM");
    expect(await crossfade.exitCode()).toBe(0);
    await until("nobody is left", () => !pids.some(isRunning) && crossfade.workerPids().length === 0);
  });
});

describe("an upgrade", () => {
  test("by SIGUSR2 works where only the workers have the sockets", async () => {
    await crossfade.kill();
    await crossfade.start();
    const before = await fleet();
    crossfade.signal("SIGUSR2");
    const after = await crossfade.successor(({ pid }) => pid !== before.pid);
    expect(after.workers.some(({ pid }) => before.workers.some((old) => old.pid === pid))).toBe(false);
    await expectNothingLost();
  });

  test("is verified by probes that go through all of it", async () => {
    const args = ["upgrade", "--verify", `${crossfade.url}/get`, "--json"];
    const { code, out, err } = await runProgram(args, { env: { CROSSFADE_URL: crossfade.adminUrl } });
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const said = JSON.parse(out) as { former_pid: number; pid: number; verify: Record<string, number> };
    expect(said.former_pid).toBe(crossfade.pid);
    expect(said.verify["lost"]).toBe(0);
    expect(said.verify["sent"]).toBeGreaterThan(100);
    expect(said.verify["answered"]).toBe(said.verify["sent"]);
    await expectNothingLost();
  });

  test("ends a worker of the first process that hangs and never comes over", async () => {
    const hung = (await fleet()).workers[0]?.pid ?? 0;
    await clients.stop();
    process.kill(hung, "SIGSTOP");
    const { pid } = await crossfade.upgrade();
    expect((await fleet()).workers.some((worker) => worker.pid === hung)).toBe(false);
    expect((await fetch(`${crossfade.url}/get`)).status).toBe(200);
    await until("it is gone", () => !isRunning(hung));
    expect((await fleet()).pid).toBe(pid);
    await until("it was said why", () =>
      crossfade.lines.some((line) => line.msg === "worker hangs and is killed" && line["pid"] === hung),
    );
    await crossfade.servingWorkers(2);
  });

  test("survives the kill of whoever is left of the first process", async () => {
    const after = await crossfade.upgrade();
    killNow(crossfade.pid);
    await until("it is gone", () => !isRunning(crossfade.pid));
    expect((await fleet()).pid).toBe(after.pid);
    process.kill(after.pid, "SIGTERM");
    await until("the other one has drained", () => crossfade.workerPids().length === 0);
  });
});

describe("an upgrade that fails loses nothing and changes nothing:", () => {
  test("settings with problems, another run_dir, a store that is none, a worker that cannot start", async () => {
    const before = await fleet();
    const good = crossfade.settings();
    const garbage = join(crossfade.directory, "garbage.db");
    writeFileSync(garbage, "this is no database at all, and long enough to be taken for one by nobody");
    const attempts: readonly (readonly [Record<string, unknown>, RegExp])[] = [
      [{ workers: 0, lisen: 1 }, /the settings have problems: .*\/workers: .*lisen/],
      [{ run_dir: join(crossfade.directory, "elsewhere") }, /run_dir is .*: stop and start instead/],
      [{ store: { sqlite: garbage } }, /garbage\.db/],
      [{ listen: [{ address: "192.0.2.1:1" }] }, /cannot listen on 192\.0\.2\.1:1/],
    ];
    for (const [change, why] of attempts) {
      crossfade.configure({ ...good, ...change });
      expect(await upgradeInVain()).toMatch(why);
      expect((await fleet()).pid).toBe(before.pid);
    }
    crossfade.configure(good);
    const { workers } = await fleet();
    const pids = before.workers.map(({ pid }) => pid);
    expect(workers.filter(({ state }) => state === "serving").map(({ pid }) => pid)).toEqual(pids);
    await until("the log has every reason", () => {
      const failed = crossfade.lines.filter(({ msg }) => msg.startsWith("upgrade failed"));
      return failed.length === attempts.length;
    });
    // And the next one, with good settings, comes up.
    expect((await crossfade.upgrade()).pid).not.toBe(before.pid);
    await expectNothingLost();
  });

  test("a new process that is killed when its workers serve already", async () => {
    const before = await fleet();
    const failing = upgradeInVain();
    const victim = await until("workers of the new one are there", () => {
      const all = crossfade.workerPids();
      const mine = all.filter((pid) => !before.workers.some((worker) => worker.pid === pid));
      return mine.length > 0 ? crossfade.controlPids().find((pid) => pid !== before.pid) : undefined;
    });
    killNow(victim);
    expect(await failing).toMatch(/SIGKILL before it was ready/);
    await until("its workers were drained by the one before", async () => {
      const { pid, workers } = await fleet();
      return pid === before.pid && workers.length === 2 && crossfade.workerPids().length === 2;
    });
    await expectNothingLost();
  });

  test("a stop of the one before, which drains all of them", async () => {
    const failing = upgradeInVain();
    await until("the new one is there", () => crossfade.controlPids().length > 1);
    crossfade.signal("SIGTERM");
    await clients.stop();
    expect(await failing).toContain("it was told to stop");
    expect(await crossfade.exitCode()).toBe(0);
    await until("nobody is left", () => crossfade.workerPids().length + crossfade.controlPids().length === 0);
  });
});
