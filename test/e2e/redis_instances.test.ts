/** Instances that share a Redis behave as one: changes, figures, the list of who is there, and who has gone. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { assert } from "../../src/base/fault.ts";
import type { Crossfade } from "../support/crossfade.ts";
import { Probes } from "../support/probes.ts";
import { runProgram } from "../support/program.ts";
import { redisMissing, startRedis, type RedisServer } from "../support/redis.ts";
import { RedisStage, type WriteSays } from "../support/redis_stage.ts";
import { until } from "../support/wait.ts";

const INSTANCES = 3;
const WORKERS = 2;
const CHANGES = 50;
const WRITES = 50;
/** What the newest requests are shown for, less the time that a test may take to look. */
const WINDOW_MS = 50_000;

/** An instance as `GET /v1/fleet` shows it. */
interface FleetInstance {
  readonly id: string;
  readonly lag: number;
  readonly state: string;
  readonly applied_revision: number;
  readonly workers: readonly { readonly pid: number; readonly adopted: boolean }[];
}

const reason = redisMissing();

// The tests follow one story: what each leaves behind, the next begins with.
describe("three instances of two workers at one Redis", () => {
  let redis: RedisServer;
  let stage: RedisStage;
  let all: Crossfade[];
  let probes: Probes[] = [];
  let probingSinceMs = 0;
  /** Requests of clients that were closed: some of them are in the windows still. */
  let sentBefore = 0;

  beforeAll(async () => {
    if (reason !== null) return;
    redis = await startRedis({ isDurable: true });
    stage = await RedisStage.start({
      redis: { url: redis.url, timeout: "2s" },
      instances: INSTANCES,
      workers: WORKERS,
      clients: 0,
      route: { expose: true },
    });
    all = stage.instances;
  });

  beforeEach((context) => {
    if (reason !== null) context.skip(reason);
  });

  afterAll(async () => {
    await Promise.all(probes.map((group) => group.close()));
    await stage?.[Symbol.asyncDispose]();
    await redis?.[Symbol.asyncDispose]();
  });

  function at(index: number): Crossfade {
    const instance = all[index];
    assert(instance !== undefined, "there is such an instance");
    return instance;
  }

  async function fleet(instance: Crossfade): Promise<readonly FleetInstance[]> {
    return (await instance.admin<{ instances: FleetInstance[] }>("GET", "/v1/fleet")).instances;
  }

  /** The ids of a fleet, with a star for whoever is behind or does not serve. */
  async function ids(instance: Crossfade): Promise<string> {
    const listed = await fleet(instance);
    return listed.map(({ id, lag, state }) => (lag === 0 && state === "serving" ? id : `${id}*`)).join(" ");
  }

  /** The requests of the last 60 s and of how many instances, as one instance shows them. */
  async function shown(
    instance: Crossfade,
  ): Promise<{ readonly requests: number; readonly instances: number }> {
    const { backends, instances } = await instance.admin<{
      instances: number;
      backends: { windows: { "60s": { requests: number } } }[];
    }>("GET", "/v1/routes/shop/health");
    const requests = backends.reduce((sum, { windows }) => sum + windows["60s"].requests, 0);
    return { requests, instances };
  }

  function sent(): number {
    return probes.reduce((sum, group) => sum + group.sent, sentBefore);
  }

  function failures(): string[] {
    return probes.flatMap((group) => group.failures);
  }

  async function revision(): Promise<number> {
    return (await at(0).admin<{ revision: number }>("GET", "/v1/table")).revision;
  }

  /** Which revisions the workers of all instances serve by. */
  async function served(): Promise<number[]> {
    return [...new Set((await Promise.all(probes.map((group) => group.revisions()))).flat())];
  }

  test("each shows the requests of all, no more and no fewer", async () => {
    await until("each counts the others", async () => {
      return (await Promise.all(all.map(shown))).every(({ instances }) => instances === INSTANCES);
    });
    probingSinceMs = systemClock.nowMs();
    probes = await Promise.all(all.map((instance) => Probes.open(instance)));
    await served();
    expect(failures()).toEqual([]);
    let last: unknown;
    await until(
      () => `each shows ${sent()} requests; last: ${JSON.stringify(last)}`,
      async () => {
        const requests = (last = (await Promise.all(all.map(shown))).map((one) => one.requests));
        expect(Math.max(...requests)).toBeLessThanOrEqual(sent());
        // On a machine so slow that the window is over, what is left of it is no more than there was.
        return (
          systemClock.nowMs() - probingSinceMs > WINDOW_MS || requests.every((count) => count === sent())
        );
      },
    );
  });

  test("kill -9 of a control process: its workers serve on and are taken over, and no ghost stays", async () => {
    const instance = at(1);
    const before = new Set((await instance.workers()).map(({ pid }) => pid));
    await instance.kill();
    let made: WriteSays;
    try {
      made = await stage.shift(1, at(0), "");
      await probes[1]?.goOn();
    } finally {
      await instance.start();
    }
    expect(made.status).toBe(200);
    await until("it serves what it has missed", async () => {
      for (const other of all) expect((await shown(other)).requests).toBeLessThanOrEqual(sent());
      return (await ids(at(0))) === "instance-0 instance-1 instance-2";
    });
    const workers = await instance.workers();
    expect(new Set(workers.map(({ pid }) => pid))).toEqual(before);
    expect(workers.every(({ adopted }) => adopted)).toBe(true);
    expect(await served()).toEqual([made.revision]);
    expect(await stage.shift(2, at(2))).toMatchObject({ status: 200, revision: Number(made.revision) + 1 });
    expect(failures()).toEqual([]);
  });

  test("kill -9 of an instance: it leaves after its silence, and a wait for it ends well", async () => {
    const clients = probes.pop();
    assert(clients !== undefined, "it has clients");
    // The last minute's requests of the others include those of whoever has gone.
    await clients.goOn();
    await clients.close();
    sentBefore += clients.sent;
    await at(2).killAll();
    try {
      const changing = stage.shift(3, at(0), "?wait=applied&timeout=30s");
      let hasWaited = false;
      const seen = changing.finally(() => (hasWaited = true));
      await until("the wait is over", async () => {
        for (const other of [at(0), at(1)]) expect((await shown(other)).requests).toBeLessThanOrEqual(sent());
        return hasWaited;
      });
      expect(await seen).toMatchObject({ status: 200 });
      expect(await ids(at(0))).toBe("instance-0 instance-1");
      await until(
        "the other one has noticed too",
        async () => (await ids(at(1))) === "instance-0 instance-1",
      );
    } finally {
      // Whatever comes of it, the tests below begin with three.
      await at(2).start();
      await at(2).servingWorkers(WORKERS);
    }
    for (const other of all) {
      await until("it is there again", async () => {
        expect((await shown(other)).requests).toBeLessThanOrEqual(sent());
        return (await ids(other)) === "instance-0 instance-1 instance-2";
      });
    }
    probes.push(await Probes.open(at(2)));
    expect(failures()).toEqual([]);
  });

  test(`${CHANGES} changes by turns under load: each is served by every worker when it is answered`, async () => {
    const before = await revision();
    for (const group of probes) group.run();
    for (let change = 1; change <= CHANGES; change++) {
      const answer = await stage.shift(change % 2 === 0 ? 20 : 80, at(change % INSTANCES));
      expect(answer).toMatchObject({ status: 200, revision: before + change });
      expect(await served()).toEqual([before + change]);
    }
    for (const group of probes) await group.rest();
    expect(failures()).toEqual([]);
  });

  test("one with a worker that hangs is named by waits and by the list, and catches up", async () => {
    const before = await revision();
    const [victim] = await at(1).workers();
    assert(victim !== undefined, "there is a worker");
    process.kill(victim.pid, "SIGSTOP");
    let late: WriteSays;
    let printed: { readonly code: number | null; readonly out: string };
    try {
      late = await stage.shift(33, at(0), "?wait=applied&timeout=2s");
      expect(await ids(at(2))).toBe("instance-0 instance-1* instance-2");
      printed = await runProgram(["fleet"], { env: { CROSSFADE_URL: at(2).adminUrl } });
    } finally {
      process.kill(victim.pid, "SIGCONT");
    }
    expect(late).toMatchObject({ status: 504, code: "NOT_APPLIED", revision: before + 1 });
    expect(late.detail).toContain(`instance instance-1 has revision ${before}, heard`);
    const lines = printed.out.split("\n").filter((line) => line.includes("instance-"));
    expect(lines).toHaveLength(INSTANCES * WORKERS);
    expect(lines.filter((line) => line.includes("1 behind"))).toEqual([
      expect.stringContaining("instance-1 "),
    ]);
    await until("it has caught up", async () => {
      return (await ids(at(0))) === "instance-0 instance-1 instance-2";
    });
    expect(await served()).toEqual([before + 1]);
    expect(failures()).toEqual([]);
  });

  test("two of one name are told so, until one is gone", async () => {
    const warning = "another Crossfade uses the instance name instance-2";
    const impostor = await stage.prepare({ instance: "instance-2" });
    await impostor.start();
    for (const instance of [at(2), impostor]) {
      await until("it is warned", async () => (await stage.ready(instance)).text.includes(warning));
    }
    await impostor.stop();
    await until("the warning is gone", async () => !(await stage.ready(at(2))).text.includes(warning));
    expect(await ids(at(0))).toBe("instance-0 instance-1 instance-2");
  });

  test(`two operators at two instances, ${2 * WRITES} writes at once: none is lost`, async () => {
    const before = await revision();
    const write = async (operator: number): Promise<Map<number, string>> => {
      const acknowledged = new Map<number, string>();
      for (let number = 1; acknowledged.size < WRITES;) {
        const why = `operator-${operator}-${number}`;
        // Weights that no other write has, so that each of them changes the table.
        const percent = operator * 40 + number / 10;
        const { status, revision: made } = await stage.shift(percent, at(operator), `?reason=${why}`);
        // Whoever met others nine times in a row is told to try again.
        expect([200, 409]).toContain(status);
        if (status !== 200) continue;
        acknowledged.set(Number(made), why);
        number++;
      }
      return acknowledged;
    };
    const [one, other] = await Promise.all([write(0), write(1)]);
    const acknowledged = new Map([...one, ...other].toSorted(([a], [b]) => a - b));
    const numbers = Array.from({ length: 2 * WRITES }, (_, index) => before + 1 + index);
    expect([...acknowledged.keys()]).toEqual(numbers);
    const { entries } = await at(2).admin<{ entries: { revision: number; reason: string }[] }>(
      "GET",
      `/v1/history?limit=${2 * WRITES}`,
    );
    const stored = entries.toReversed().map((entry) => [entry.revision, entry.reason]);
    expect(stored).toEqual([...acknowledged]);
    for (const instance of all) await stage.serves(before + 2 * WRITES, instance);
    expect(await served()).toEqual([before + 2 * WRITES]);
  });

  test("one with a table in its settings does not fill a Redis that was emptied while others serve", async () => {
    const before = await revision();
    await redis.command("FLUSHALL");
    await stage.condition("empty", at(0));
    const newcomer = await stage.prepare({ instance: "newcomer" });
    await newcomer.begin();
    const why = /the store is empty, but the instance instance-\d serves revision (\d+)/;
    const found = await until("it says why it is not ready", async () => {
      const ready = await stage.ready(newcomer);
      expect(ready.status).toBe(503);
      return why.exec(ready.text);
    });
    expect(Number(found[1])).toBe(before);
    expect(await redis.command("EXISTS", "{cf}:table")).toBe(0);
    expect(await served()).toEqual([before]);
    expect(await stage.reseed("served", at(0))).toMatchObject({ status: 200, revision: before + 1 });
    await until("the newcomer is ready", async () => (await stage.ready(newcomer)).status === 200);
    for (const instance of [...all, newcomer]) await stage.serves(before + 1, instance);
    expect(failures()).toEqual([]);
  });
});
