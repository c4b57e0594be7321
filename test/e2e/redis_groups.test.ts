/** Redis servers that belong together, and one that demands certificates: changes go on while they change places. */
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { REDIS_RIGHTS } from "../../src/store/redis_scripts.ts";
import { opensslMissing } from "../support/certificates.ts";
import type { Crossfade } from "../support/crossfade.ts";
import { redisMissing, sentinelMissing, startRedis, type RedisServer } from "../support/redis.ts";
import { startCluster, startSentinels } from "../support/redis_groups.ts";
import { RedisStage, type WriteSays } from "../support/redis_stage.ts";
import { until } from "../support/wait.ts";

const INSTANCES = 3;
/** Long enough for a replica on a machine that has better things to do. */
const TIMEOUT = "2s";

/** A key of the slot that holds everything. */
const TABLE_KEY = "{cf}:table";

/** Someone who shifts a little traffic again and again, at each instance in turn, whatever comes of it. */
class Operator {
  readonly #stage: RedisStage;
  readonly #loop: Promise<void>;
  #isStopping = false;
  #number = 0;
  /** Why each acknowledged revision was made. */
  readonly acknowledged = new Map<number, string>();
  /** How often each answer that was no success was given. */
  readonly refused = new Map<string, number>();

  constructor(stage: RedisStage) {
    this.#stage = stage;
    this.#loop = this.#run();
  }

  /** Waits until so many more changes were acknowledged. */
  async goOn(changes = 5): Promise<void> {
    const before = this.acknowledged.size;
    await until(
      () => `changes go on; refused so far: ${JSON.stringify([...this.refused])}`,
      () => this.acknowledged.size >= before + changes,
    );
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { instances } = this.#stage;
    while (!this.#isStopping) {
      const number = ++this.#number;
      const instance = instances[number % instances.length] as Crossfade;
      // Weights that the change before did not have, so that each one makes a revision.
      const percent = (number % 1000) / 10;
      const why = `change-${number}`;
      const { status, revision, code = "" } = await this.#stage.shift(percent, instance, `?reason=${why}`);
      if (status === 200) this.acknowledged.set(Number(revision), why);
      else this.refused.set(`${status} ${code}`, (this.refused.get(`${status} ${code}`) ?? 0) + 1);
    }
  }
}

/** Every change that was acknowledged is in the history, under its number. */
async function expectKept(stage: RedisStage, { acknowledged }: Operator): Promise<void> {
  const stored = new Map<number, string>();
  for (let before: number | null = 1_000_000; before !== null;) {
    const page: { entries: { revision: number; reason: string }[]; next_before: number | null } =
      await stage.first.admin("GET", `/v1/history?limit=500&before=${before}`);
    for (const { revision, reason } of page.entries) stored.set(revision, reason);
    before = page.next_before;
  }
  const lost = [...acknowledged].filter(([revision, why]) => stored.get(revision) !== why);
  expect(lost).toEqual([]);
}

/**
 * Waits until an instance uses the store. What nobody was promised may have been seen and then lost with the primary:
 * it is told as a step back, and an operator says that the store's table counts.
 */
async function settleWith(stage: RedisStage, instance: Crossfade): Promise<void> {
  let last: unknown;
  await until(
    () => `the store is used; last: ${JSON.stringify(last)}`,
    async () => {
      const { condition } = (last = await stage.store(instance));
      if (condition === "older" || condition === "stranger") last = await stage.reseed("stored", instance);
      return condition === "ok";
    },
  );
}

/** All instances use the store, serve one revision, and make the next one together. */
async function expectTogether(stage: RedisStage): Promise<void> {
  for (const instance of stage.instances) await stage.condition("ok", instance);
  const { revision } = await stage.first.admin<{ revision: number }>("GET", "/v1/table");
  for (const instance of stage.instances) await stage.serves(revision, instance);
  let last: WriteSays | null = null;
  await until(
    () => `a change is made; last: ${JSON.stringify(last)}`,
    async () => {
      last = await stage.shift(99.9);
      // For a moment more it may be refused, or made on the primary alone; then there is nothing left to change.
      expect([200, 503]).toContain(last.status);
      return last.status === 200;
    },
  );
  for (const instance of stage.instances) await stage.serves(revision + 1, instance);
}

/** Everybody of the fleet, as one instance lists it. */
async function fleetOf(instance: Crossfade): Promise<readonly string[]> {
  const { instances } = await instance.admin<{ instances: { id: string; lag: number; state: string }[] }>(
    "GET",
    "/v1/fleet",
  );
  return instances.map(({ id, lag, state }) => `${id} ${state} ${lag}`);
}

test("sentinels put a replica in the place of a primary that was killed, while changes are made", async (context) => {
  const reason = sentinelMissing();
  if (reason !== null) context.skip(reason);
  await using group = await startSentinels({ replicas: 2 });
  await using stage = await RedisStage.start({
    redis: {
      sentinels: { name: group.name, nodes: group.nodes },
      replicas: 1,
      timeout: TIMEOUT,
    },
    instances: INSTANCES,
    clients: 2,
  });
  const operator = new Operator(stage);
  onTestFinished(() => operator.stop());
  await operator.goOn();
  const former = await group.primary();
  await former.kill();
  await group.newPrimary(former);
  await stage.goOn();
  await operator.goOn();
  await operator.stop();
  // Refused, or made and not yet where it would outlive the primary; never anything else.
  for (const answer of operator.refused.keys()) {
    expect(answer).toMatch(/^503 STORE_(?:UNAVAILABLE|UNSURE|REGRESSED)$/);
  }
  for (const instance of stage.instances) await settleWith(stage, instance);
  await expectKept(stage, operator);
  await expectTogether(stage);
  await stage.goOn();
  expect(stage.failures()).toEqual([]);
});

test("a cluster moves the slot of the table back and forth, while changes are made", async (context) => {
  const reason = redisMissing();
  if (reason !== null) context.skip(reason);
  await using cluster = await startCluster();
  await using stage = await RedisStage.start({
    redis: { cluster: cluster.nodes, timeout: TIMEOUT },
    instances: INSTANCES,
    clients: 2,
  });
  const operator = new Operator(stage);
  onTestFinished(() => operator.stop());
  const home = await cluster.ownerOf(TABLE_KEY);
  const others = cluster.servers.filter((server) => server !== home);
  for (const to of [...others, home]) {
    await operator.goOn();
    // ASK: whoever asks the former owner for what has moved is sent on. MOVED: afterwards, for good.
    await cluster.moveSlot(TABLE_KEY, to, { onMoved: () => operator.goOn(3) });
    await operator.goOn(3);
    expect(await cluster.ownerOf(TABLE_KEY)).toBe(to);
  }
  await operator.stop();
  for (const answer of operator.refused.keys()) expect(answer).toMatch(/^503 STORE_UNAVAILABLE$/);
  await expectKept(stage, operator);
  await expectTogether(stage);
  await stage.goOn();
  expect(stage.failures()).toEqual([]);
});

describe("TLS with an authority of one's own, certificates both ways, and the least rights", () => {
  beforeEach((context) => {
    const reason = redisMissing() ?? opensslMissing();
    if (reason !== null) context.skip(reason);
  });

  async function start(rights: string): Promise<RedisServer> {
    return startRedis({
      tls: "mutual",
      isDurable: true,
      users: ["default off", `crossfade on >secret ${rights}`],
    });
  }

  function settingsFor(redis: RedisServer): Readonly<Record<string, unknown>> {
    const { authority, client } = redis.certificates ?? {};
    return {
      url: `rediss://127.0.0.1:${redis.port}/0`,
      username: "crossfade",
      password: "secret",
      tls: {
        ca: authority?.certificatePath,
        certificate: client?.certificatePath,
        key: client?.keyPath,
      },
      timeout: TIMEOUT,
    };
  }

  test("are enough for a start, changes, the fleet, a loss of the connection and a restart", async () => {
    await using redis = await start(REDIS_RIGHTS.replaceAll("PREFIX", "cf"));
    await using stage = await RedisStage.start({
      redis: settingsFor(redis),
      instances: INSTANCES,
      clients: 2,
    });
    expect(await stage.shift(10)).toMatchObject({ status: 200, revision: 2 });
    for (const instance of stage.instances) {
      await until("it sees the others", async () => {
        return (
          (await fleetOf(instance)).join() ===
          "instance-0 serving 0,instance-1 serving 0,instance-2 serving 0"
        );
      });
      expect((await stage.ready(instance)).text).toContain('"warnings":[]');
    }
    await redis.command("CLIENT", "KILL", "TYPE", "normal", "USER", "crossfade");
    await stage.condition("ok");
    const [, second] = stage.instances as [Crossfade, Crossfade];
    await second.kill();
    await second.start();
    await until("a change is made by all again", async () => (await stage.shift(20, second)).status === 200);
    await expectTogether(stage);
    await stage.goOn();
    expect(stage.failures()).toEqual([]);
    // Nothing was even tried that is not among the rights.
    expect(await redis.command("ACL", "LOG")).toEqual([]);
  });

  test("one right too few is named at the start, with what to grant", async () => {
    await using redis = await start(`${REDIS_RIGHTS.replaceAll("PREFIX", "cf")} -xadd`);
    await using stage = await RedisStage.start({
      redis: settingsFor(redis),
      clients: 0,
      isPreparedOnly: true,
    });
    await stage.first.begin();
    const { status, text } = await stage.ready();
    expect(status).toBe(503);
    expect(text).toMatch(/xadd/i);
    expect(text).toContain(REDIS_RIGHTS.replaceAll("PREFIX", "cf"));
  });
});
