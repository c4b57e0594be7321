/** The real processes, killed and told to stop while clients use them. */
import { createHash } from "node:crypto";
import { request } from "node:http";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { assert } from "../../src/base/fault.ts";
import { isRunning, killNow } from "../../src/control/process.ts";
import { Clients } from "../support/clients.ts";
import {
  Crossfade,
  startBackend,
  startCrossfade,
  type BackendProcess,
  type CrossfadeOptions,
  type FleetWorker,
} from "../support/crossfade.ts";
import { until } from "../support/wait.ts";

let legacy: BackendProcess;
let candidate: BackendProcess;
const started: Crossfade[] = [];
const clients: Clients[] = [];

beforeEach(async () => {
  [legacy, candidate] = await Promise.all([startBackend("legacy"), startBackend("new")]);
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((group) => group.stop()));
  for (const crossfade of started.splice(0)) await crossfade.stop();
  await Promise.all([legacy.stop(), candidate.stop()]);
});

async function start(options: CrossfadeOptions = {}): Promise<Crossfade> {
  const crossfade = await startCrossfade({ legacy: legacy.url, new: candidate.url }, options);
  started.push(crossfade);
  return crossfade;
}

/** Clients that have all been answered already. */
async function load(crossfade: Crossfade, count: number): Promise<Clients> {
  const group = new Clients(`${crossfade.url}/delay/5`, count);
  clients.push(group);
  await until("every client was answered", () => group.answersMin() > 0);
  return group;
}

/** Waits until every client was answered so many more times. */
async function goOn(group: Clients, answers = 20): Promise<void> {
  const before = group.reports().map((report) => report.answers);
  await until("every client goes on", () =>
    group.reports().every((report, client) => report.answers >= (before[client] ?? 0) + answers),
  );
}

function failuresOf(group: Clients): string[] {
  return group.reports().flatMap(({ failures }) => failures);
}

function pids(workers: readonly FleetWorker[]): Set<number> {
  return new Set(workers.map(({ pid }) => pid));
}

describe("kill -9 of a worker under load", () => {
  test("hurts only its own clients, and it is replaced", async () => {
    const crossfade = await start();
    const before = await crossfade.servingWorkers(2);
    const group = await load(crossfade, 12);
    const counted = await until("both workers report their connections", async () => {
      const workers = await crossfade.workers();
      const open = workers.reduce((sum, worker) => sum + worker.connections_open, 0);
      return open === 12 ? workers : null;
    });
    const [victim] = counted.toSorted((one, other) => one.connections_open - other.connections_open);
    assert(victim !== undefined, "there are workers");
    killNow(victim.pid);
    const after = await until("it is replaced", async () => {
      const workers = await crossfade.servingWorkers(2);
      return pids(workers).has(victim.pid) ? null : workers;
    });
    await goOn(group);
    const reports = await group.stop();
    const hurt = reports.filter(({ failures }) => failures.length > 0);
    expect(hurt.length).toBeLessThanOrEqual(victim.connections_open);
    // A request on the broken connection, no more: the next one finds a worker.
    expect(hurt.every(({ failures }) => failures.length === 1)).toBe(true);
    const survivors = before.filter(({ pid }) => pid !== victim.pid);
    expect(survivors.every(({ pid }) => pids(after).has(pid))).toBe(true);
    expect(after.find(({ worker }) => worker === victim.worker)?.restarts).toBe(1);
    expect(crossfade.lines.find(({ msg }) => msg === "worker replaced")).toMatchObject({
      former_pid: victim.pid,
    });
  });
});

describe("kill -9 of the control process", () => {
  test("goes unnoticed by clients, and so does the next start, which takes the workers over", async () => {
    const crossfade = await start();
    const before = await crossfade.servingWorkers(2);
    const group = await load(crossfade, 8);
    await crossfade.kill();
    await goOn(group);
    await crossfade.start();
    const after = await crossfade.servingWorkers(2);
    expect(pids(after)).toEqual(pids(before));
    expect(after.every(({ adopted }) => adopted)).toBe(true);
    await crossfade.admin("PUT", "/v1/routes/shop/split?wait=applied", {
      legacy: 0,
      new: 100,
      reason: "a test",
    });
    const from = await candidate.count();
    await goOn(group);
    await group.stop();
    expect(failuresOf(group)).toEqual([]);
    expect(await candidate.count()).toBeGreaterThanOrEqual(from + 8 * 20);
  });

  test("leaves a fleet whose next deaths are replaced through workers that hold the sockets", async () => {
    const crossfade = await start();
    await crossfade.servingWorkers(2);
    await crossfade.kill();
    await crossfade.start();
    const [first, second] = await crossfade.servingWorkers(2);
    assert(first !== undefined && second !== undefined, "there are two workers");
    const replace = async (victim: FleetWorker): Promise<FleetWorker[]> => {
      killNow(victim.pid);
      return until("it is replaced", async () => {
        const workers = await crossfade.servingWorkers(2);
        return pids(workers).has(victim.pid) ? null : workers;
      });
    };
    await replace(first);
    // Now only a sibling, started by the second, has the sockets besides it.
    const workers = await replace(second);
    expect(workers.some(({ adopted }) => adopted)).toBe(false);
    const group = await load(crossfade, 4);
    await goOn(group);
    await group.stop();
    expect(failuresOf(group)).toEqual([]);
  });

  test("leaves workers that have nothing to serve yet to end by themselves", async () => {
    const crossfade = await Crossfade.prepare({ legacy: legacy.url, new: candidate.url }, { table: null });
    started.push(crossfade);
    await crossfade.begin();
    const workers = await until("both are there", () => {
      const all = crossfade.workerPids();
      return all.length === 2 ? all : null;
    });
    await crossfade.kill();
    await until("they have ended", () => !workers.some(isRunning));
    expect(crossfade.lines.filter(({ msg }) => msg.startsWith("ends: it serves nobody yet"))).toHaveLength(2);
  });

  test("leaves workers whose successors need no temporary files, which may be gone with it", async ({
    skip,
  }) => {
    if (process.platform !== "linux") return skip("only Linux shows the environment of a process");
    const crossfade = await start({ env: { NODE_COMPILE_CACHE: "" } });
    await crossfade.kill();
    await crossfade.start();
    await crossfade.recycle();
    const caches = (await crossfade.servingWorkers(2)).map(({ pid }) => {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      return environment.filter((variable) => variable.startsWith("NODE_COMPILE_CACHE="));
    });
    const kept = `NODE_COMPILE_CACHE=${join(crossfade.directory, "run", "compiled")}`;
    expect(caches).toEqual([[kept], [kept]]);
  });

  test("and of all workers leaves nothing that hinders the next start", async () => {
    const crossfade = await start();
    await crossfade.admin("PUT", "/v1/routes/shop/split?wait=applied", {
      legacy: 0,
      new: 100,
      reason: "a test",
    });
    await crossfade.kill();
    for (const pid of crossfade.workerPids()) killNow(pid);
    await until("all are gone", () => crossfade.workerPids().length === 0);
    await crossfade.start();
    const response = await fetch(`${crossfade.url}/`);
    expect(response.headers.get("x-backend")).toBe("new");
  });
});

describe("a start", () => {
  test("beside a running control process is refused, and disturbs nothing", async () => {
    const crossfade = await start();
    const before = await crossfade.servingWorkers(2);
    const { code, said } = await crossfade.startInVain();
    expect(code).toBe(69);
    expect(JSON.stringify(said)).toContain("another Crossfade runs");
    expect(await crossfade.servingWorkers(2)).toEqual(
      before.map((worker) => expect.objectContaining({ pid: worker.pid, restarts: 0 })),
    );
  });

  test("on an address of another program ends with 69 and names it", async () => {
    const crossfade = await Crossfade.prepare({ legacy: legacy.url, new: candidate.url });
    started.push(crossfade);
    const { hostname, port, host } = new URL(crossfade.url);
    const other = createServer();
    await new Promise<void>((resolve) => other.listen({ host: hostname, port: Number(port) }, resolve));
    const { code, said } = await crossfade.startInVain();
    await new Promise((resolve) => other.close(resolve));
    expect(code).toBe(69);
    expect(JSON.stringify(said)).toContain(
      `cannot listen on ${host}: the address is in use by another program`,
    );
    expect(crossfade.workerPids()).toEqual([]);
  });

  test("with bad settings ends with 78 and lists every problem with its place", async () => {
    const crossfade = await Crossfade.prepare({ legacy: legacy.url, new: candidate.url });
    started.push(crossfade);
    crossfade.configure({ ...crossfade.settings(), workers: 0, lisen: 1 });
    const { code, said } = await crossfade.startInVain();
    expect(code).toBe(78);
    const text = said.map(({ msg }) => msg).join("\n");
    expect(text).toMatch(/crossfade\.yaml:\d+:\d+: \/workers: /);
    expect(text).toMatch(/crossfade\.yaml:\d+:\d+: .*lisen/);
  });
});

describe("SIGTERM", () => {
  test("answers what was accepted, refuses what comes later, and exits with 0", async () => {
    const crossfade = await start();
    const workers = await crossfade.servingWorkers(2);
    const status = new Promise<number | undefined>((resolve, reject) => {
      const asking = request(`${crossfade.url}/delay/1000`, (response) => {
        response.resume().on("end", () => resolve(response.statusCode));
      });
      asking.on("error", reject).end();
    });
    await until("the request is at the backend", async () => (await legacy.count()) > 0);
    crossfade.signal("SIGTERM");
    expect(await status).toBe(200);
    expect(await crossfade.exitCode()).toBe(0);
    await expect(fetch(`${crossfade.url}/`)).rejects.toThrow("fetch failed");
    expect(workers.some(({ pid }) => isRunning(pid))).toBe(false);
    expect(crossfade.workerPids()).toEqual([]);
  });

  test("makes it unready first, and a second one cuts what is still open", async () => {
    const crossfade = await start({ settings: { drain: { grace: "60s", idle: "60s", deadline: "300s" } } });
    const asking = fetch(`${crossfade.url}/delay/600000`).then(
      () => "answered",
      () => "cut",
    );
    await until("the request is at the backend", async () => (await legacy.count()) > 0);
    crossfade.signal("SIGTERM");
    const unready = await until("it is unready", async () => {
      const response = await fetch(`${crossfade.adminUrl}/readyz`);
      return response.status === 503 ? response.json() : null;
    });
    expect(JSON.stringify(unready)).toContain("draining");
    // The grace: load balancers have not noticed yet, and are served.
    expect((await fetch(`${crossfade.url}/`)).status).toBe(200);
    // A second signal right after the first would be taken for its echo.
    await until("it is taken for a second one", () => {
      const isHeard = crossfade.lines.some(({ msg }) => msg === "cutting what is still open");
      if (!isHeard) crossfade.signal("SIGTERM");
      return isHeard;
    });
    expect(await asking).toBe("cut");
    expect(await crossfade.exitCode()).toBe(0);
  });
});

describe("SIGHUP", () => {
  test("with a bad file changes nothing and logs every problem", async () => {
    const crossfade = await start();
    const before = await crossfade.servingWorkers(2);
    crossfade.configure({
      ...crossfade.settings(),
      workers: -1,
      admin: { address: "127.0.0.1:0", tokens: [{}] },
    });
    crossfade.signal("SIGHUP");
    await until(
      "the problems are logged",
      () => crossfade.lines.filter(({ problem }) => problem !== undefined).length > 1,
    );
    expect((await fetch(`${crossfade.url}/`)).status).toBe(200);
    expect(pids(await crossfade.servingWorkers(2))).toEqual(pids(before));
    expect(crossfade.lines.some(({ msg }) => msg === "settings reloaded")).toBe(false);
  });

  test("with a good file takes over what it can, and says what needs a restart", async () => {
    const crossfade = await start();
    const token = "a-secret-for-this-test";
    const sha256 = createHash("sha256").update(token).digest("hex");
    const admin = { address: "127.0.0.1:0", tokens: [{ name: "alice", role: "operator", sha256 }] };
    crossfade.configure({ ...crossfade.settings(), workers: 3, admin });
    crossfade.signal("SIGHUP");
    await until("it is reloaded", () => crossfade.lines.some(({ msg }) => msg === "settings reloaded"));
    expect(crossfade.lines.find(({ keys }) => keys !== undefined)).toMatchObject({ keys: ["workers"] });
    const ask = async (headers: Record<string, string>) =>
      (await fetch(`${crossfade.adminUrl}/v1/fleet`, { headers })).status;
    expect(await ask({})).toBe(401);
    expect(await ask({ authorization: `Bearer ${token}` })).toBe(200);
  });
});
