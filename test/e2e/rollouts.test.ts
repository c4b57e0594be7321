/** Rollouts on live processes: good candidates go up by themselves, doubtful ones wait, bad ones come back for good. */
import { beforeEach, describe, expect, test } from "vitest";
import { CutoverStage, type AuditSays, type RolloutSays } from "../support/cutover_stage.ts";
import { GateServer } from "../support/gate_server.ts";
import { redisMissing, startRedis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

/** The shares of a percentage. */
function sharesOf(percent: number): number {
  return percent * 1_000;
}

function isAt(percent: number): (says: RolloutSays) => boolean {
  return ({ state }) => state.phase === "progressing" && state.candidate_shares === sharesOf(percent);
}

function isIn(phase: string): (says: RolloutSays) => boolean {
  return ({ state }) => state.phase === phase;
}

function print(what: string, entries: readonly AuditSays[]): void {
  const [first] = entries;
  const lines = entries.map(({ at, action, actor }) => {
    return `${action} by ${actor} at ${((Date.parse(at) - Date.parse(first?.at ?? at)) / 1000).toFixed(1)} s`;
  });
  process.stdout.write(`${what}: ${lines.join(", ")}\n`);
}

describe("one instance", () => {
  test("a good candidate goes from 1 to 100 % by itself, except where a gate says no or nothing", async () => {
    await using gates = await GateServer.start();
    gates.set("/before", "no");
    gates.set("/promote", "silent");
    const gate = { timeout: "300ms", retries: 0 };
    const plan = {
      steps: [1, 25, { weight: 60, bake: "1s", until: "proven" }, 100],
      bake: "1s",
      margin: 10,
      min_requests: 1,
      gates: [
        { at: "pre-flight", url: gates.url("/flight"), ...gate },
        { at: "before-step", url: gates.url("/before"), steps: [25], ...gate },
        { at: "before-promote", url: gates.url("/promote"), ...gate },
        { at: "post-cutover", url: gates.url("/cutover"), ...gate },
      ],
    };
    await using stage = await CutoverStage.start({ route: { rollout: plan } });
    const stream = stage.stream({ perSecond: 20 });
    expect(await stage.move("start")).toMatchObject({ status: 200 });
    const refused = await stage.rolloutIs("held", isIn("held"));
    expect(refused.state).toMatchObject({ held_by: "gate", candidate_shares: sharesOf(1) });
    expect(refused.state.reason).toContain(
      "did not pass (tries: 1): it answered 409: the reports are not ready",
    );
    gates.set("/before", "yes");
    expect(await stage.move("resume")).toMatchObject({ status: 200 });
    const silent = await stage.rolloutIs("held", isIn("held"));
    expect(silent.state).toMatchObject({ held_by: "gate", candidate_shares: sharesOf(60) });
    expect(silent.state.reason).toContain("did not answer in time (tries: 1): no answer in 300 ms");
    gates.set("/promote", "yes");
    expect(await stage.move("resume")).toMatchObject({ status: 200 });
    await stage.rolloutIs("promoted", isIn("promoted"));
    const entries = await stage.audit();
    expect(await stage.weights()).toEqual([1, 25, 60, 100]);
    expect(await stage.rollbacks()).toEqual([]);
    expect(gates.asked()).toEqual(["/flight", "/before", "/before", "/promote", "/promote", "/cutover"]);
    expect(new Set(gates.calls.map(({ key }) => key)).size).toBe(gates.calls.length);
    expect(gates.calls.at(-1)?.body).toMatchObject({ route: "shop", point: "post-cutover", weight: 100 });
    await stream.stop();
    expect(stream.failures()).toEqual([]);
    print("1 to 100 % at 20 requests a second", entries);
  });

  test("without traffic nothing goes on, and nothing is rolled back", async () => {
    const plan = { steps: [10, 100], bake: "1s", min_requests: 5 };
    await using stage = await CutoverStage.start({ route: { rollout: plan } });
    expect(await stage.move("start")).toMatchObject({ status: 200 });
    const waiting = await stage.rolloutIs("past its bake", ({ lines }) => {
      return lines.includes("waits for: requests: 0 of at least 5 seen");
    });
    expect(waiting.state).toMatchObject({ phase: "progressing", step: 0, candidate_shares: sharesOf(10) });
    const { length } = await stage.audit();
    expect(await stage.rollbacks()).toEqual([]);
    const stream = stage.stream({ perSecond: 40 });
    await stage.rolloutIs("promoted", isIn("promoted"));
    await stream.stop();
    // Until there was traffic, there was no change.
    const [next] = (await stage.audit()).slice(length);
    expect(Date.parse(next?.at ?? "")).toBeGreaterThanOrEqual(stream.sent[0]?.startedMs ?? Infinity);
  });

  test("a doubt holds a rollout, and it goes on by itself when the doubt is gone", async () => {
    const plan = { steps: [50, 100], bake: "1s", until: "proven", margin: 20, min_requests: 20 };
    // What is doubtful is not yet bad enough to be rolled back.
    await using stage = await CutoverStage.start({ route: { rollout: plan, rollback: { tolerance: 6 } } });
    await Promise.all([stage.legacy.fail(0.1), stage.candidate.fail(0.3)]);
    stage.stream({ perSecond: 120 });
    expect(await stage.move("start")).toMatchObject({ status: 200 });
    const held = await stage.rolloutIs("held", isIn("held"));
    expect(held.state).toMatchObject({ held_by: "judge", candidate_shares: sharesOf(50) });
    expect(held.state.reason).toMatch(/^the judge \(errors\): new .* held for errors, evidence \d of 10/);
    await Promise.all([stage.legacy.fail(0), stage.candidate.fail(0)]);
    await stage.rolloutIs("promoted", isIn("promoted"));
    const entries = await stage.audit();
    expect(entries.map(({ action }) => action)).toContain("rollout.resume");
    expect(await stage.rollbacks()).toEqual([]);
    print("held for a doubt", entries);
  });

  test("a freeze stops progress and no rollback; what was rolled back stays so until a person starts it", async () => {
    const plan = { steps: [20, 60, 100], bake: "1s", min_requests: 5 };
    const moment = (hours: number): string => {
      return Temporal.Now.instant().add({ hours }).round("second").toString();
    };
    const freeze = [{ from: moment(-1), to: moment(1), why: "the yearly sale" }];
    await using stage = await CutoverStage.start({ route: { rollout: { ...plan, bake: "1h" } } });
    const stream = stage.stream({ perSecond: 80 });
    expect(await stage.move("start")).toMatchObject({ status: 200 });
    await stage.rolloutIs("at its first step", isAt(20));
    const put = (body: unknown) => stage.call("PUT", "/v1/routes/shop/rollout", { body });
    expect(await put({ ...plan, freeze })).toMatchObject({ status: 200 });
    const frozen = await stage.rolloutIs("past its bake", ({ state }) => state.stage === "entering");
    expect(frozen.state).toMatchObject({ phase: "progressing", candidate_shares: sharesOf(20) });
    expect(frozen.lines[0]).toContain("(the yearly sale)");
    await stage.candidate.fail(1);
    const entry = await stage.rolledBack();
    expect(entry.action).toBe("rollout.rollback");
    expect(entry.reason).toMatch(/^rolled back at 20 %: the judge \(errors\): new /);
    await stage.candidate.fail(0);
    // Nothing but its phase keeps it now.
    expect(await put(plan)).toMatchObject({ status: 200 });
    const { length } = await stage.audit();
    const from = stream.started;
    await until("many more requests have ended", () => stream.sent.length >= from + 300);
    expect((await stage.rollout()).state).toMatchObject({
      phase: "rolled_back",
      run: 1,
      candidate_shares: 0,
    });
    expect(await stage.audit()).toHaveLength(length);
    const [atMs, sinceMs] = [Date.parse(entry.at), stream.by("new").at(-1)?.startedMs ?? Infinity];
    expect(await stage.move("start")).toMatchObject({ status: 200 });
    await stage.rolloutIs("promoted", isIn("promoted"));
    const entries = await stage.audit();
    expect(await stage.weights()).toEqual([20, 0, 20, 60, 100]);
    expect((await stage.rollout()).state.run).toBe(2);
    print(`frozen; last request on new ${sinceMs - atMs} ms after the audit entry`, entries);
  });
});

describe("two instances on a Redis", () => {
  beforeEach((context) => {
    const reason = redisMissing();
    if (reason !== null) context.skip(reason);
  });

  test("the one that leads loses its power: the other takes each further step once, to the end", async () => {
    await using redis = await startRedis();
    const weights = [10, 30, 60, 100];
    const plan = { steps: weights, bake: "1s", min_requests: 5 };
    await using stage = await CutoverStage.start({
      redis: [{ url: redis.url }, { url: redis.url }],
      route: { rollout: plan },
    });
    const [first, second] = [stage.at(0), stage.at(1)];
    const stream = stage.stream({ perSecond: 80 }, [second]);
    expect(await stage.move("start", second)).toMatchObject({ status: 200 });
    const found = await stage.rolloutIs("at its second step", isAt(30), { instance: second });
    await first.killAll();
    await stage.rolloutIs("promoted", isIn("promoted"), { instance: second });
    const entries = await stage.audit(second);
    expect(await stage.weights(second)).toEqual(weights);
    expect(await stage.rollbacks(second)).toEqual([]);
    expect((await stage.rollout(second)).state.run).toBe(found.state.run);
    await stream.stop();
    expect(stream.failures()).toEqual([]);
    print("the leading instance was killed at 30 %", entries);
  });
});
