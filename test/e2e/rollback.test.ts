/** Automatic rollback on live processes: bad candidates lose their traffic everywhere, and good ones keep it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { assert } from "../../src/base/fault.ts";
import { systemClock } from "../../src/base/clock.ts";
import { CutoverStage, failOnly, slowDown, type AuditSays } from "../support/cutover_stage.ts";
import type { Crossfade } from "../support/crossfade.ts";
import { HoldingProxy } from "../support/holding_proxy.ts";
import { redisMissing, startRedis } from "../support/redis.ts";
import type { ClientStream } from "../support/stream.ts";
import { until } from "../support/wait.ts";

const HALF = { split: { legacy: 50, new: 50 } };

/** Waits until both backends have answered, so that the judge knows both and connections are there. */
async function warmUp(stream: ClientStream, answers = 60): Promise<void> {
  await until("both backends have answered", () =>
    ["legacy", "new"].every((backend) => stream.by(backend).length >= answers),
  );
}

/** Waits for so many more requests from now on. Gives those that were begun from now on and have ended. */
async function goOn(stream: ClientStream, requests = 150): Promise<ClientStream["sent"]> {
  const sinceMs = systemClock.wallMs();
  const since = (): ClientStream["sent"] => stream.sent.filter(({ startedMs }) => startedMs > sinceMs);
  await until(`${requests} more requests have ended`, () => since().length >= requests);
  return since();
}

/** What was seen of a rollback, on one line. */
function report(what: string, stream: ClientStream, { at, reason }: AuditSays): void {
  const failed = stream.failures().length;
  const lasts = [0, 1].flatMap((target) => {
    const last = stream.by("new").findLast((one) => one.target === target);
    return last === undefined ? [] : [`${last.startedMs - Date.parse(at)} ms`];
  });
  process.stdout.write(
    `${what}: ${stream.sent.length} requests, ${failed} failed; last one on new, from the audit entry: ` +
      `${lasts.join(", ")}; ${reason}\n`,
  );
}

async function isBraked(instance: Crossfade): Promise<boolean> {
  return (await instance.admin<{ braked: boolean }>("GET", "/v1/routes/shop/health")).braked;
}

describe("one instance", () => {
  test("two backends that fail alike keep their weights, and their rollout is held with the reason", async () => {
    const rollout = { steps: [50, 100], bake: "5s", min_requests: 1 };
    await using stage = await CutoverStage.start({ route: { rollout } });
    await Promise.all([stage.legacy.fail(0.3), stage.candidate.fail(0.3)]);
    const stream = stage.stream({ perSecond: 150, requestsMax: 1200 });
    expect(await stage.move("start")).toMatchObject({ status: 200 });
    const { state } = await stage.rolloutIs("held", (says) => says.state.phase === "held");
    expect(state).toMatchObject({ held_by: "judge", candidate_shares: 50_000 });
    expect(state.reason).toMatch(
      /^the judge \(errors\): new .* held for errors: above 1 %, and not shown to be/,
    );
    await until("all are answered", () => stream.sent.length === 1200);
    expect(await stage.rollbacks()).toEqual([]);
    expect(await stage.weights()).toEqual([50]);
    const health = await stage.first.admin<{ judgement: { action: string; summary: string } }>(
      "GET",
      "/v1/routes/shop/health",
    );
    expect(health.judgement.action).toBe("hold");
    expect(health.judgement.summary).toMatch(
      /^new \d+\.\d+ % .* of \d+, legacy \d+\.\d+ % of \d+\b.*; held for errors: above 1 %, and not .* than legacy; /,
    );
    expect(stream.by("new").length).toBeGreaterThan(300);
    process.stdout.write(`both fail alike: ${health.judgement.action}; ${health.judgement.summary}\n`);
  });

  test("a candidate ten times slower is rolled back for latency", async () => {
    const rollback = { on: ["errors", "latency"] };
    await using stage = await CutoverStage.start({ route: { ...HALF, rollback } });
    await slowDown(stage.candidate, 10);
    const stream = stage.stream({ path: "/delay/5", perSecond: 80 });
    const entry = await stage.rolledBack();
    expect(entry).toMatchObject({ actor: "crossfade", action: "rollback" });
    expect(entry.reason).toContain("rolled back for latency");
    const after = await goOn(stream);
    expect(after.every(({ backend }) => backend === "legacy")).toBe(true);
    expect(stream.failures()).toEqual([]);
    report("ten times slower", stream, entry);
  });

  test("a dead candidate is rolled back, and no client sees a failure", async () => {
    await using stage = await CutoverStage.start({ route: HALF });
    // So slow that several are under way at the candidate when it dies, on old connections and on new ones.
    const stream = stage.stream({ path: "/delay/200", perSecond: 50 });
    await warmUp(stream);
    await stage.candidate.stop();
    const entry = await stage.rolledBack();
    expect(entry.reason).toContain("rolled back for errors");
    await goOn(stream);
    expect(stream.failures()).toEqual([]);
    report("dead", stream, entry);
  });
});

describe("two instances on a Redis", () => {
  beforeEach((context) => {
    const reason = redisMissing();
    if (reason !== null) context.skip(reason);
  });

  test("a failing candidate loses its traffic on both; what is under way there is finished", async () => {
    await using redis = await startRedis();
    await using stage = await CutoverStage.start({
      redis: [{ url: redis.url }, { url: redis.url }],
      route: HALF,
    });
    const slow = stage.stream({ path: "/delay/2500", perSecond: 6, prefix: "slow" });
    const stream = stage.stream({ path: "/shop", perSecond: 100 });
    await warmUp(stream);
    await failOnly(stage.candidate, 0.1, "/shop");
    const entry = await stage.rolledBack();
    const after = await goOn(stream);
    expect(after.every(({ backend }) => backend === "legacy")).toBe(true);
    expect(entry).toMatchObject({ actor: "crossfade", action: "rollback" });
    expect(entry.reason).toMatch(
      /^new \d+\.\d+ % \[.*\] of \d+, legacy 0\.00 % of \d+\b.*; rolled back for errors/,
    );
    expect(stream.failures().every(({ backend }) => backend === "new")).toBe(true);
    const [, ...rest] = await stage.rollbacks();
    expect(rest).toEqual([]);
    await slow.stop();
    const atMs = Date.parse(entry.at);
    const crossed = slow.by("new").filter(({ startedMs, endedMs }) => startedMs < atMs && endedMs > atMs);
    expect(crossed.length).toBeGreaterThan(0);
    expect(slow.failures()).toEqual([]);
    report(`10 % errors, ${crossed.length} slow requests under way`, stream, entry);
    // Whoever commits says so; the other one finds it done.
    const carriedOut = stage.instances.flatMap((instance) => stage.events(instance, "rollback"));
    expect(carriedOut.map(({ data }) => data)).toMatchObject([{ route: "shop", cause: "errors" }]);
  });

  test("an operator who raises the weight meanwhile loses, and is told why", async () => {
    await using redis = await startRedis();
    await using proxy = await HoldingProxy.start(redis.port);
    await using stage = await CutoverStage.start({
      redis: [{ url: redis.url }, { url: `redis://127.0.0.1:${proxy.port}`, timeout: "30s" }],
      route: HALF,
    });
    const [first, second] = [stage.at(0), stage.at(1)];
    const stream = stage.stream({ perSecond: 80 });
    await warmUp(stream);
    proxy.holdFrom("one more step");
    const body = { legacy: 20, new: 80, reason: "one more step" };
    const raise = stage.call("PUT", "/v1/routes/shop/split", { body, instance: second });
    await until("the raise is on its way", () => proxy.isHolding);
    // A second one waits for its turn behind the first.
    const another = { legacy: 10, new: 90 };
    const waiting = stage.call("PUT", "/v1/routes/shop/split", { body: another, instance: second });
    await stage.candidate.fail(1);
    const entry = await stage.rolledBack([first]);
    proxy.release();
    for (const told of [await raise, await waiting]) {
      expect(told).toMatchObject({ status: 409, code: "CONFLICT" });
      expect(told.detail).toContain(`"shop" was rolled back at revision ${entry.revision}`);
      expect(told.detail).toContain(entry.reason);
    }
    const outdated = await stage.call("PUT", "/v1/routes/shop/split", { body, ifMatch: entry.revision - 1 });
    expect(outdated).toMatchObject({ status: 412, code: "REVISION_MISMATCH" });
    await stage.serves(entry.revision, second);
    const after = await goOn(stream);
    expect(after.every(({ backend }) => backend === "legacy")).toBe(true);
    expect(await stage.audit()).toHaveLength(entry.revision);
    report("a raise meanwhile", stream, entry);
  });

  test.each([
    ["weights set by hand", HALF, "rollback"],
    ["a rollout under way", { rollout: { steps: [50, 100], bake: "1h" } }, "rollout.rollback"],
  ] as const)(
    "without the Redis, %s: each brakes by itself, also over a restart",
    async (_, route, action) => {
      await using redis = await startRedis({ isDurable: true });
      await using stage = await CutoverStage.start({
        redis: [
          { url: redis.url, timeout: "500ms" },
          { url: redis.url, timeout: "500ms" },
        ],
        route,
      });
      const [, second] = stage.instances;
      assert(second !== undefined, "there are two");
      const stream = stage.stream({ perSecond: 100 });
      if ("rollout" in route) expect(await stage.move("start")).toMatchObject({ status: 200 });
      await warmUp(stream);
      await Promise.all([redis.kill(), stage.candidate.fail(1)]);
      for (const instance of stage.instances) {
        await until("it has braked", () => stage.events(instance, "rollback.braked").length > 0);
      }
      await until("new gets nothing any more", async () =>
        (await goOn(stream, 20)).every(({ backend }) => backend === "legacy"),
      );
      const before = await second.servingWorkers(1);
      await second.kill();
      await stage.launch(second);
      const workers = await second.servingWorkers(1);
      expect(workers.map(({ pid }) => pid)).toEqual(before.map(({ pid }) => pid));
      expect(await isBraked(second)).toBe(true);
      expect(JSON.parse(await readFile(join(second.directory, "run", "brakes.json"), "utf8"))).toMatchObject([
        { route: "shop" },
      ]);
      const braked = await goOn(stream);
      expect(braked.every(({ backend }) => backend === "legacy")).toBe(true);
      await stage.candidate.fail(0);
      await redis.restart();
      const entry = await stage.rolledBack();
      expect(entry).toMatchObject({ actor: "crossfade", action });
      for (const instance of stage.instances) {
        await until("the brake is released", async () => !(await isBraked(instance)));
        expect(await readFile(join(instance.directory, "run", "brakes.json"), "utf8")).toBe("[]");
      }
      const after = await goOn(stream);
      expect(after.every(({ backend }) => backend === "legacy")).toBe(true);
      expect(await stage.audit()).toHaveLength(entry.revision);
      expect(await stage.rollbacks()).toHaveLength(1);
      report(`without the Redis, ${action}`, stream, entry);
    },
  );
});
