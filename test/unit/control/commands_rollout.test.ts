/** Rollouts moved by commands: weight and state in one commit, told in the audit log, and safe from other hands. */
import { describe, expect, it } from "vitest";
import { Commands, type MoveOutcome } from "../../../src/control/commands.ts";
import { writeExport } from "../../../src/control/export.ts";
import { ALICE, stageCommands, weights } from "../../support/commands_stage.ts";
import { MemoryStore } from "../../support/memory_store.ts";
import { MACHINE, Rollout } from "../../support/rollout_stage.ts";
import { ALARM, DOUBT, gated } from "../../support/rollout_story.ts";
import { SHOP } from "../../support/table.ts";

const FIVE_MINUTES_MS = 300_000;

describe("a move", () => {
  it("commits weight and state together, and tells what is to be done", async () => {
    const rollout = await Rollout.planned();
    const started = await rollout.person("start");
    expect(started).toMatchObject({ ok: true, changed: true, revision: 3, state: { phase: "progressing" } });
    const step = await rollout.tick(1);
    expect(step).toMatchObject({
      revision: 4,
      effects: [{ type: "setShares", candidateShares: 5_000 }, { type: "announce" }],
      state: { candidateShares: 5_000, stage: "baking" },
    });
    expect(rollout.stage.store.commits).toBe(2);
    expect(await rollout.share()).toBe(5_000);
    expect(await rollout.state()).toEqual(step.ok && step.state);
  });

  it("that changes nothing commits nothing", async () => {
    const rollout = await Rollout.started();
    rollout.stage.store.commits = 0;
    const nothing = { ok: true, changed: false, revision: 4, effects: [], difference: [] };
    expect(await rollout.tick(0)).toMatchObject(nothing);
    expect(await rollout.stage.commands.moveRollout("shop", () => null, MACHINE)).toMatchObject(nothing);
    expect(rollout.stage.store.commits).toBe(0);
  });

  it("starts at 0 % whatever people had set before", async () => {
    const rollout = await Rollout.planned();
    await rollout.stage.commands.shift("shop", weights(20), ALICE);
    expect(await rollout.state()).toMatchObject({ phase: "pending" });
    await rollout.person("start");
    expect(await rollout.share()).toBe(0);
  });

  it("that the state does not allow is refused with what to do instead", async () => {
    const rollout = await Rollout.planned();
    expect(await rollout.person("pause")).toMatchObject({
      ok: false,
      code: "CONFLICT",
      detail: expect.stringContaining("it was never started: start it first"),
    });
  });

  it("needs a route, and the route a plan", async () => {
    const { commands } = await stageCommands();
    const event = { type: "start", nowMs: 0, reason: "" } as const;
    expect(await commands.moveRollout("shpo", event, ALICE)).toMatchObject({ code: "NOT_FOUND" });
    const refusal = await commands.moveRollout("shop", event, ALICE);
    expect(refusal).toMatchObject({ code: "NOT_FOUND", detail: expect.stringContaining("has no plan") });
  });

  it("goes on from the state that won a conflict", async () => {
    const rollout = await Rollout.started();
    const { store, others } = rollout.stage;
    store.meddle = () => {
      store.meddle = null;
      return rollout.person("pause", others);
    };
    const outcome = await rollout.tick(FIVE_MINUTES_MS);
    expect(outcome).toMatchObject({ ok: true, changed: false, effects: [], state: { phase: "paused" } });
    expect(await rollout.share()).toBe(5_000);
  });

  it("that two instances make at once is made by one, and only that one carries it out", async () => {
    const rollout = await Rollout.started();
    const { store, others, clock } = rollout.stage;
    clock.advance(FIVE_MINUTES_MS);
    const found: MoveOutcome[] = [];
    store.meddle = async () => {
      store.meddle = null;
      found.push(await others.moveRollout("shop", (state) => rollout.tickFor(state), MACHINE));
    };
    const late = await rollout.tick(0);
    expect(found).toMatchObject([{ changed: true, state: { candidateShares: 50_000 } }]);
    expect(late).toMatchObject({ ok: true, changed: false, effects: [], state: { candidateShares: 50_000 } });
  });

  it("that is sent twice with one key has the first outcome again, and nothing more to do", async () => {
    const rollout = await Rollout.started();
    const author = { ...ALICE, idempotency: { key: "k", fingerprint: "f" } };
    const event = { type: "pause", nowMs: 5, reason: "" } as const;
    const first = await rollout.stage.commands.moveRollout("shop", event, author);
    expect(first.ok && first.effects).toHaveLength(1);
    await rollout.person("resume");
    const again = await rollout.stage.commands.moveRollout("shop", event, author);
    expect(again).toEqual({ ...first, effects: [] });
    expect(await rollout.state()).toMatchObject({ phase: "progressing" });
  });

  it("in a dry run says what it would do", async () => {
    const rollout = await Rollout.started();
    const event = { type: "promote", nowMs: 5, reason: "" } as const;
    const outcome = await rollout.stage.commands.moveRollout("shop", event, { ...ALICE, dryRun: true });
    expect(outcome).toMatchObject({ changed: true, revision: 4, state: { phase: "promoted" } });
    expect(await rollout.share()).toBe(5_000);
  });
});

describe("the audit log", () => {
  it("tells what persons did, with their names and reasons", async () => {
    const rollout = await Rollout.started();
    for (const type of [
      "pause",
      "resume",
      "promote",
      "decommission",
      "rolledBack",
      "start",
      "abort",
    ] as const) {
      await rollout.person(type);
      const action = type === "rolledBack" ? "rollout.rollback" : `rollout.${type}`;
      expect(await rollout.audit()).toMatchObject({ action, actor: "alice", reason: "looks good" });
    }
  });

  it("tells what the machine did, with its reasons, whoever had it moved", async () => {
    const rollout = await Rollout.started(gated("after-step", { retries: 0 }));
    const entry = (action: string, reason: string) => ({ action, reason, actor: "crossfade" });
    expect(await rollout.audit()).toEqual({
      ...entry("rollout.step", "step 1 of 2: the candidate gets 5 %"),
      difference: [
        "route shop: new 0 % -> 5 %",
        "route shop: rollout progressing, step 1 of 2 at 5 %",
        "route shop: rollout because step 1 of 2: the candidate gets 5 %",
      ],
    });
    await rollout.tick(1, { verdict: DOUBT });
    expect(await rollout.audit()).toMatchObject(entry("rollout.hold", "the judge (errors): 4 of 50 failed"));
    await rollout.tick(1);
    expect(await rollout.audit()).toMatchObject(
      entry("rollout.resume", "what held the rollout is gone; it goes on"),
    );
    await rollout.tick(FIVE_MINUTES_MS, { candidateRequests: 1000 });
    expect(await rollout.audit()).toMatchObject({
      ...entry("rollout.gate", "gate after-step (https://g.example/) is asked"),
      difference: [
        "route shop: rollout progressing, step 1 of 2 at 5 %, leaving",
        "route shop: rollout gate after-step is asked, call 1: 0 passed, tries 1",
      ],
    });
    await rollout.tick(1, { verdict: ALARM });
    const reason = "rolled back at 5 %: the judge (errors): 40 of 50 failed";
    expect(await rollout.audit()).toMatchObject(entry("rollout.rollback", reason));
  });

  it("tells when the candidate was promoted by itself", async () => {
    const rollout = await Rollout.started({ steps: [5, 100], min_requests: 1 });
    await rollout.tick(FIVE_MINUTES_MS);
    await rollout.tick(FIVE_MINUTES_MS);
    expect(await rollout.audit()).toMatchObject({ action: "rollout.promote", actor: "crossfade" });
  });
});

describe("a person's rollback", () => {
  it("ends the rollout in the very commit, at any weight", async () => {
    const rollout = await Rollout.started();
    expect(await rollout.stage.commands.rollback("shop", ALICE)).toMatchObject({
      changed: true,
      difference: expect.arrayContaining(["route shop: new 5 % -> 0 %", "route shop: rollout rolled back"]),
    });
    expect(await rollout.audit()).toMatchObject({ action: "rollback", actor: "alice" });
    await rollout.person("start");
    expect(await rollout.share()).toBe(0);
    expect(await rollout.stage.commands.rollback("shop", ALICE)).toMatchObject({ changed: true });
    expect(await rollout.state()).toMatchObject({ phase: "rolled_back" });
  });

  it("leaves the gates after it to the next tick, so that they are asked where effects are carried out", async () => {
    const rollout = await Rollout.started(gated("on-rollback"));
    await rollout.stage.commands.rollback("shop", ALICE);
    expect(await rollout.state()).toMatchObject({ gates: null, calls: 0 });
    const asked = await rollout.tick(1);
    expect(asked.ok && asked.effects).toMatchObject([{ type: "callGate", point: "on-rollback", call: 1 }]);
    await rollout.person("start");
    await rollout.tick(1);
    expect((await rollout.person("abort")).ok).toBe(true);
    expect(await rollout.state()).toMatchObject({ phase: "aborted", gates: null, calls: 1 });
  });

  it("takes back what people had set after the end of a run", async () => {
    const rollout = await Rollout.started();
    await rollout.person("abort");
    await rollout.stage.commands.shift("shop", weights(20), ALICE);
    expect(await rollout.stage.commands.rollback("shop", ALICE)).toMatchObject({ changed: true });
    expect(await rollout.share()).toBe(0);
    expect(await rollout.state()).toMatchObject({ phase: "aborted" });
  });
});

describe("a rollout at its end", () => {
  it("asks its gates without touching the weight that people have set since", async () => {
    const rollout = await Rollout.started(gated("on-rollback"));
    await rollout.stage.commands.rollback("shop", ALICE);
    await rollout.stage.commands.shift("shop", weights(20), ALICE);
    expect(await rollout.tick(1)).toMatchObject({ changed: true, effects: [{ type: "callGate" }] });
    expect(await rollout.share()).toBe(20_000);
  });
});

describe("changes by hand", () => {
  it("are refused while a rollout owns the weight, and say what to do", async () => {
    const rollout = await Rollout.started();
    const { commands } = rollout.stage;
    const refusal = {
      ok: false,
      code: "CONFLICT",
      detail: expect.stringContaining("`crossfade rollout shop abort`"),
    };
    expect(await commands.shift("shop", weights(20), ALICE)).toMatchObject(refusal);
    expect(await commands.putRoute("shop", SHOP, ALICE)).toMatchObject(refusal);
    expect(await commands.deleteRoute("shop", ALICE)).toMatchObject(refusal);
    expect(await commands.deleteRollout("shop", ALICE)).toMatchObject(refusal);
    expect(await commands.restore(1, ALICE)).toMatchObject(refusal);
    expect(await rollout.state()).toMatchObject({ phase: "progressing" });
  });

  it("that a restore makes bring plans back, and never where rollouts were", async () => {
    const rollout = await Rollout.started();
    await rollout.person("abort");
    await rollout.stage.commands.deleteRollout("shop", ALICE);
    expect(await rollout.stage.commands.restore(4, ALICE)).toMatchObject({ ok: true, changed: true });
    expect(await rollout.state()).toMatchObject({ phase: "pending", runId: 0 });
    expect(await rollout.share()).toBe(5_000);
  });
});

describe("a migration that is carried to another store", () => {
  it("goes on there from where it was", async () => {
    const rollout = await Rollout.started();
    const { clock, store } = rollout.stage;
    const exported = await writeExport(store, { version: "0", wallMs: clock.wallMs() });
    const elsewhere = new Commands(new MemoryStore(clock), { clock });
    expect(await elsewhere.importHistory(exported)).toMatchObject({ ok: true, revision: 4 });
    expect((await elsewhere.current())?.document).toEqual((await rollout.stage.commands.current())?.document);
    clock.advance(FIVE_MINUTES_MS);
    const step = await elsewhere.moveRollout("shop", (state) => rollout.tickFor(state), MACHINE);
    expect(step).toMatchObject({ ok: true, revision: 5, state: { candidateShares: 50_000 } });
  });

  it("is refused when a state in its newest table is damaged", async () => {
    const rollout = await Rollout.started();
    const { clock, store } = rollout.stage;
    const exported = await writeExport(store, { version: "0", wallMs: clock.wallMs() });
    const text = JSON.stringify(exported).replaceAll('"candidate_shares":5000', '"candidate_shares":6000');
    const elsewhere = new Commands(new MemoryStore(clock), { clock });
    expect(await elsewhere.importHistory(JSON.parse(text))).toMatchObject({
      ok: false,
      problems: [{ path: "/revisions/3/table/rollouts/shop/candidate_shares" }],
    });
  });
});

describe("a stored table whose rollout is damaged", () => {
  it("is a fault that says where, until a whole or a past table replaces it", async () => {
    const rollout = await Rollout.started();
    const { commands, store } = rollout.stage;
    const stored = await store.read();
    const document = { ...(stored?.document as object), rollouts: { shop: { phase: "progressing" } } };
    await store.commit(4, { document, actor: "a", action: "apply", reason: "", difference: [] });
    await expect(commands.current()).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("/rollouts/shop/run"),
    });
    expect(await commands.restore(4, ALICE)).toMatchObject({ ok: true, changed: true });
    expect(await rollout.state()).toMatchObject({ phase: "pending" });
    expect(await rollout.share()).toBe(5_000);
    // What was damaged is restored without its states.
    expect(await commands.restore(5, ALICE)).toMatchObject({ ok: true, changed: false });
  });
});
