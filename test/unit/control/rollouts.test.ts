/** The loop that acts on verdicts and moves plans, over real commands and a store that does what each test says. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Fault } from "../../../src/base/fault.ts";
import { Brakes } from "../../../src/control/brakes.ts";
import { Commands } from "../../../src/control/commands.ts";
import type { GateOutcome } from "../../../src/control/gates.ts";
import { Publisher } from "../../../src/control/publisher.ts";
import { Rollouts } from "../../../src/control/rollouts.ts";
import type { AdditionListener } from "../../../src/control/sampler.ts";
import type { TableSpec } from "../../../src/domain/route.ts";
import { NO_SAMPLE } from "../../../src/domain/window.ts";
import type { StoredTable } from "../../../src/store/store.ts";
import { SHOP_TABLE } from "../../support/admin_stage.ts";
import { ManualClock } from "../../support/clock.ts";
import { makeDirectory } from "../../support/directory.ts";
import { keepLog, type Happening } from "../../support/fleet_stage.ts";
import { MemoryStore } from "../../support/memory_store.ts";
import { until } from "../../support/wait.ts";

const ALICE = { actor: "alice", reason: "a test" };

/** A store that can be out of reach. */
class FailingStore extends MemoryStore {
  fault: Fault | null = null;

  override async read(): Promise<StoredTable | null> {
    if (this.fault !== null) throw this.fault;
    return super.read();
  }
}

/** One instance: everything between evidence and the tables of its workers. */
class Stage {
  readonly clock = new ManualClock();
  readonly store = new FailingStore(this.clock);
  readonly commands = new Commands(this.store, { clock: this.clock });
  readonly specs: TableSpec[] = [];
  readonly happenings: Happening[] = [];
  readonly calls: string[] = [];
  answer: GateOutcome = { outcome: "passed", detail: "" };
  leads = true;
  isProven = false;
  readonly brakesPath: string;
  readonly brakes: Brakes;
  readonly publisher: Publisher;
  readonly rollouts: Rollouts;
  #listener: AdditionListener = () => undefined;

  constructor(brakesPath = `${makeDirectory()}/brakes.json`) {
    const { clock, store, commands } = this;
    const { log } = keepLog();
    const journal = {
      append: (type: string, data: Happening["data"]) => void this.happenings.push({ type, data }),
    };
    this.brakesPath = brakesPath;
    this.brakes = new Brakes(brakesPath, log);
    const fleet = {
      publish: (spec: TableSpec) => void this.specs.push(spec),
      status: () => [],
      followers: () => [],
      warnings: () => [],
      watch: () => () => undefined,
    };
    this.publisher = new Publisher({ store, fleet, clock, log, journal, brakes: this.brakes });
    this.rollouts = new Rollouts({
      sampler: {
        watch: (listener) => {
          this.#listener = listener;
          return () => undefined;
        },
      },
      publisher: this.publisher,
      commands,
      brakes: this.brakes,
      leads: () => this.leads,
      storeOk: () => true,
      comparisons: { isProvenBelow: () => this.isProven },
      askGate: async (call) => {
        this.calls.push(call.point);
        return this.answer;
      },
      clock,
      log,
      journal,
    });
  }

  /** What happened at a backend since the last tick. */
  evidence(backend: string, requests: number, failures: number): void {
    const delta = { ...NO_SAMPLE, judged: { requests, failures, latency: [] } };
    this.#listener({ route: "shop", backend, delta }, true);
  }

  /** One tick, a second later. */
  tick(fresh: readonly [number, number] = [0, 0], old: readonly [number, number] = [0, 0]): void {
    this.evidence("fresh", ...fresh);
    this.evidence("old", ...old);
    this.clock.advance(1_000);
    this.rollouts.tick();
  }

  /** The weight that workers have, in shares. */
  weight(): number | undefined {
    return this.specs.at(-1)?.routes[0]?.candidateShares;
  }

  async audit(): Promise<string[]> {
    const entries = await this.store.history({ limit: 100 });
    return entries.toReversed().map(({ actor, action }) => `${actor} ${action}`);
  }

  types(): string[] {
    return this.happenings.map(({ type }) => type);
  }
}

let stage: Stage;
const stages: Stage[] = [];
beforeEach(() => {
  stage = open();
});
afterEach(() => {
  for (const { rollouts, publisher } of stages.splice(0)) {
    rollouts.stop();
    publisher.stop();
  }
});

function open(brakesPath?: string): Stage {
  const made = new Stage(brakesPath);
  stages.push(made);
  return made;
}

/** A table whose route has these keys besides the usual ones. */
function shopWith(more: object, fresh = 20): unknown {
  const [shop] = SHOP_TABLE.routes;
  return { ...SHOP_TABLE, routes: [{ ...shop, split: { old: 100 - fresh, fresh }, ...more }] };
}

async function serve(table: unknown): Promise<void> {
  const outcome = await stage.commands.replaceTable(table, ALICE);
  expect(outcome.ok).toBe(true);
  await stage.publisher.start();
}

const BAD = [
  [30, 10],
  [120, 0],
] as const;

describe("weights set by hand", () => {
  test("go back to legacy on the judge's word, with its figures in the audit log", async () => {
    await serve(shopWith({}));
    stage.tick(...BAD);
    await until("the workers have it", () => stage.weight() === 0);
    const [last] = await stage.store.history({ limit: 1 });
    expect(last).toMatchObject({ actor: "crossfade", action: "rollback" });
    expect(last?.reason).toMatch(/fresh 33\.\d+ % .* of 30, old 0\.00 % of 120/);
    await until("it is told", () => stage.types().includes("rollback"));
    expect(stage.rollouts.rollbacks()).toEqual([{ route: "shop", cause: "errors", count: 1 }]);
    expect(stage.brakes.list()).toEqual([]);
  });

  test("stay where both backends fail alike, with a doubt", async () => {
    await serve(shopWith({}));
    for (let i = 0; i < 50; i++) stage.tick([30, 3], [120, 12]);
    expect(stage.rollouts.verdict("shop")?.verdict).toMatchObject({
      action: "hold",
      figures: { candidate: { requests: 1_500 }, isAboveMargin: true },
    });
    expect(await stage.audit()).toEqual(["alice apply"]);
    expect(stage.weight()).toBe(20_000);
  });

  test("stay where rollback is off, and the judge is still asked", async () => {
    await serve(shopWith({ rollback: "off" }));
    stage.tick(...BAD);
    stage.tick(...BAD);
    expect(stage.rollouts.verdict("shop")?.verdict.action).toBe("rollback");
    expect(await stage.audit()).toEqual(["alice apply"]);
  });

  test("that were taken back stay so, whatever a person does not do", async () => {
    await serve(shopWith({}));
    stage.tick(...BAD);
    await until("the workers have it", () => stage.weight() === 0);
    for (let i = 0; i < 50; i++) stage.tick([0, 0], [150, 0]);
    expect(await stage.audit()).toEqual(["alice apply", "crossfade rollback"]);
  });
});

describe("a store that does not take the rollback", () => {
  test("is gone round by the brake at once, and gets the rollback when it is back", async () => {
    await serve(shopWith({}));
    stage.store.fault = new Fault("STORE_UNAVAILABLE", "nobody listens there");
    stage.tick(...BAD);
    await until("the workers have it", () => stage.weight() === 0);
    expect(stage.types()).toContain("rollback.braked");
    expect(stage.rollouts.warnings()).toEqual([expect.stringMatching(/"shop" is kept on legacy/)]);
    expect(stage.specs.at(-1)?.revision).toBe(1);
    stage.store.fault = null;
    await until("it is committed", async () => {
      stage.tick();
      return (await stage.audit()).length === 2;
    });
    await until("the brake is released", () => stage.brakes.list().length === 0);
    expect(await stage.audit()).toEqual(["alice apply", "crossfade rollback"]);
    expect(stage.specs.at(-1)).toMatchObject({ revision: 2, routes: [{ candidateShares: 0 }] });
    expect(stage.specs.slice(1).every(({ routes }) => routes[0]?.candidateShares === 0)).toBe(true);
  });

  test("that refuses it for another reason is gone round too", async () => {
    await serve(shopWith({}));
    const commit = stage.store.commit.bind(stage.store);
    stage.store.commit = async () => ({ ok: false, currentRevision: 1 });
    stage.tick(...BAD);
    await until("the workers have it", () => stage.weight() === 0);
    expect(stage.brakes.has("shop")).toBe(true);
    stage.store.commit = commit;
    await until("it is committed", async () => {
      stage.tick();
      return (await stage.audit()).length === 2;
    });
  });

  test("and was changed by people after a rollback of others keeps what they decided", async () => {
    await serve(shopWith({}));
    await stage.commands.rollBackByItself("shop", "another instance was faster");
    await stage.commands.shift("shop", { old: 50, fresh: 50 }, ALICE);
    await until("the shift is published", () => stage.weight() === 50_000);
    stage.brakes.put({ route: "shop", reason: "an old verdict", revision: 1, atMs: 0 });
    stage.publisher.republish();
    expect(stage.weight()).toBe(0);
    await until("the brake is released", () => {
      stage.tick();
      return stage.brakes.list().length === 0;
    });
    expect(stage.weight()).toBe(50_000);
    expect(await stage.audit()).toEqual(["alice apply", "crossfade rollback", "alice shift"]);
  });

  test("leaves the brake on over a restart", async () => {
    await serve(shopWith({}));
    stage.store.fault = new Fault("STORE_UNAVAILABLE", "nobody listens there");
    stage.tick(...BAD);
    await until("the brake is on", () => stage.brakes.has("shop"));
    const table = stage.publisher.table();
    stage = open(stage.brakesPath);
    await serve(shopWith({}));
    expect(table?.document.routes[0]?.candidateShares).toBe(20_000);
    expect(stage.weight()).toBe(0);
    await until("it is committed", async () => {
      stage.tick();
      return (await stage.audit()).length === 2;
    });
    expect(stage.weight()).toBe(0);
  });
});

describe("a plan", () => {
  const plan = { rollout: { steps: [5, 100], bake: "10s", min_requests: 10 } };

  async function start(more: object = plan): Promise<void> {
    await serve(shopWith(more, 0));
    const outcome = await stage.commands.moveRollout(
      "shop",
      { type: "start", nowMs: stage.clock.wallMs(), reason: "go" },
      ALICE,
    );
    expect(outcome.ok).toBe(true);
  }

  /** Ticks of good traffic until the workers have a weight. */
  async function proceedTo(shares: number): Promise<void> {
    await until(`the weight is ${shares}`, () => {
      stage.tick([20, 0], [80, 0]);
      return stage.weight() === shares;
    });
  }

  test("goes through its steps and ends promoted, each step once", async () => {
    await start();
    await proceedTo(5_000);
    await proceedTo(100_000);
    await until("it is promoted", async () => {
      stage.tick([100, 0]);
      return (await stage.audit()).includes("crossfade rollout.promote");
    });
    const steps = (await stage.audit()).filter((entry) => /rollout\.(?:step|promote)/.test(entry));
    expect(steps).toHaveLength(3);
    expect(await stage.audit()).not.toContain("crossfade rollout.rollback");
  });

  test("is moved on by the instance that leads alone; taking back is everybody's", async () => {
    await start();
    await proceedTo(5_000);
    stage.leads = false;
    for (let i = 0; i < 30; i++) stage.tick([20, 0], [80, 0]);
    expect(stage.weight()).toBe(5_000);
    stage.tick(...BAD);
    stage.tick(...BAD);
    await until("it is taken back", () => stage.weight() === 0);
    expect(await stage.audit()).toContain("crossfade rollout.rollback");
  });

  test("that was rolled back gives the candidate nothing more by itself", async () => {
    await start();
    await proceedTo(5_000);
    stage.tick(...BAD);
    stage.tick(...BAD);
    await until("it is taken back", () => stage.weight() === 0);
    const before = await stage.audit();
    for (let i = 0; i < 60; i++) stage.tick([0, 0], [100, 0]);
    expect(await stage.audit()).toEqual(before);
    expect(stage.weight()).toBe(0);
  });

  test("without traffic is never left", async () => {
    await start();
    await until("the first step is set", () => {
      stage.tick();
      return stage.weight() === 5_000;
    });
    for (let i = 0; i < 100; i++) stage.tick();
    expect(stage.weight()).toBe(5_000);
  });

  test("asks its gates, and is held by one that says no", async () => {
    const gate = { at: "before-step", url: "http://127.0.0.1:9/", timeout: "1s", retries: 0 };
    stage.answer = { outcome: "failed", detail: "not today" };
    await start({ rollout: { ...plan.rollout, gates: [gate] } });
    await until("the gate was asked and heard", () => {
      stage.tick([0, 0], [100, 0]);
      return stage.publisher.table()?.document.rollouts[0]?.state.phase === "held";
    });
    expect(stage.calls).toEqual(["before-step"]);
    expect(stage.weight()).toBe(0);
    expect(stage.publisher.table()?.document.rollouts[0]?.state.reason).toContain("not today");
    expect(stage.types()).toContain("rollout.gate");
  });
});
