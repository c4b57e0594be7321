/** What is compared, over workers, restarts and instances: counted once, judged, and kept where a store is there. */
import { describe, expect, test } from "vitest";
import { Comparisons } from "../../../src/control/comparisons.ts";
import { ComparisonTotals } from "../../../src/control/comparison_totals.ts";
import { comparisonBasis } from "../../../src/domain/comparison_basis.ts";
import { comparedOf, type ComparisonCounts } from "../../../src/domain/comparison_counts.ts";
import type { Document, Route } from "../../../src/domain/route.ts";
import { totalsOf } from "../../support/answers.ts";
import { ManualClock } from "../../support/clock.ts";
import { MemoryComparisons } from "../../support/memory_comparisons.ts";
import { KeptLog } from "../../support/redis_store.ts";
import { shopWith } from "../../support/table.ts";
import { until } from "../../support/wait.ts";

const ROUTE = shopWith({ mirror: { to: "new", percent: 10 } });
const OTHER_POLICY = shopWith({ mirror: { to: "new", percent: 10, compare: { ignore: ["/at"] } } });

function basisOf(route: Route): string {
  return comparisonBasis(route) ?? expect.fail("the route compares");
}

/** One run of a control process. */
class Run {
  readonly totals = new ComparisonTotals();
  readonly comparisons: Comparisons;
  readonly log = new KeptLog();
  readonly #clock: ManualClock;
  route: Route = ROUTE;

  constructor(clock: ManualClock, store: MemoryComparisons, instance: string) {
    this.#clock = clock;
    const document = (): Document => ({ backends: [], routes: [this.route], rollouts: [] });
    const publisher = { table: () => ({ document: document() }) };
    const { info, warn, error } = this.log;
    const log = { info, warn, error, debug: () => undefined };
    this.comparisons = new Comparisons({ store, totals: this.totals, publisher, instance, clock, log });
  }

  /** A worker with this id, in this process of the fleet, has compared so many pairs in all. */
  report(
    worker: string,
    pairs: number,
    process = worker,
    counts: ComparisonCounts = totalsOf(pairs, 0, []),
  ): void {
    const report = { route: "shop", basis: basisOf(this.route), worker, counts };
    this.totals.report(process, [report], this.#clock.wallMs());
  }

  /** Lets time go by until the store was asked and told, and judges have looked after that. */
  async settle(): Promise<void> {
    for (const ms of [5_000, 1_000]) {
      this.#clock.advance(ms);
      this.comparisons.tick();
      await new Promise(setImmediate);
    }
  }

  compared(): number {
    return this.comparisons.of(this.route)?.summary.compared ?? -1;
  }
}

interface Stage {
  readonly store: MemoryComparisons;
  readonly clock: ManualClock;
  readonly run: (instance?: string) => Run;
}

function stageOf(): Stage {
  const clock = new ManualClock();
  const store = new MemoryComparisons();
  return { store, clock, run: (instance = "one") => new Run(clock, store, instance) };
}

describe("comparisons", () => {
  test("of all workers add up, those that are gone too, and a report that comes again counts once", async () => {
    const run = stageOf().run();
    run.report("a", 10);
    run.report("b", 5);
    run.report("a", 12);
    run.report("a", 12);
    run.totals.retire("b");
    run.report("c", 1);
    await run.settle();
    expect(run.compared()).toBe(18);
    expect(run.comparisons.own().map(([route, { pairs }]) => [route, comparedOf(pairs)])).toEqual([
      ["shop", 18],
    ]);
  });

  test("outlive a restart with new workers, and what was there is not counted twice", async () => {
    const { run } = stageOf();
    const first = run();
    first.report("a", 10);
    first.totals.retire("a");
    first.report("b", 5);
    await first.settle();
    await first.comparisons.stop();
    const second = run();
    second.report("c", 2);
    await second.settle();
    expect(second.compared()).toBe(17);
    await second.settle();
    expect(second.compared()).toBe(17);
  });

  test("of workers that a new control process takes over are counted once", async () => {
    const { run } = stageOf();
    const first = run();
    first.report("a", 10);
    await first.settle();
    // It is killed here, and the worker goes on.
    const second = run();
    await second.settle();
    expect(second.compared()).toBe(10);
    second.report("a", 14);
    await second.settle();
    expect(second.compared()).toBe(14);
    second.totals.retire("a");
    await second.settle();
    const third = run();
    await third.settle();
    expect(third.compared()).toBe(14);
  });

  test("of a worker that is taken over and ends before the store was read are counted once", async () => {
    const { run } = stageOf();
    const first = run();
    first.report("a", 10);
    await first.settle();
    const second = run();
    second.report("a", 11);
    second.totals.retire("a");
    await second.settle();
    expect(second.compared()).toBe(11);
  });

  test("of several instances add up everywhere", async () => {
    const { run } = stageOf();
    const [one, two] = [run("one"), run("two")];
    one.report("a", 10);
    two.report("b", 20);
    await one.settle();
    await two.settle();
    await one.settle();
    expect([one.compared(), two.compared()]).toEqual([30, 30]);
    expect(one.comparisons.of(ROUTE)?.instances).toBe(2);
    expect(comparedOf(one.comparisons.own()[0]?.[1].pairs ?? expect.fail("it has counts"))).toBe(10);
  });

  test("begin anew with another policy, on every instance", async () => {
    const { run } = stageOf();
    const [one, two] = [run("one"), run("two")];
    one.report("a", 10);
    two.report("b", 20);
    await one.settle();
    await two.settle();
    one.route = OTHER_POLICY;
    await one.settle();
    expect(one.compared()).toBe(0);
    expect(one.comparisons.of(ROUTE)).toBeNull();
    one.report("a", 3);
    await one.settle();
    expect(one.compared()).toBe(3);
  });

  test("of a route that compares no more are forgotten", async () => {
    const run = stageOf().run();
    run.report("a", 10);
    await run.settle();
    run.route = shopWith({});
    await run.settle();
    expect(run.comparisons.of(run.route)).toBeNull();
    expect(run.comparisons.own()).toEqual([]);
  });

  test("are written when they changed, and not otherwise", async () => {
    const { run, store } = stageOf();
    const one = run();
    await one.settle();
    expect(store.puts).toBe(0);
    one.report("a", 1);
    await one.settle();
    await one.settle();
    await one.settle();
    expect(store.puts).toBe(1);
  });

  test("go on while the store is away, say so once, and are kept when it is back", async () => {
    const { run, store } = stageOf();
    const one = run();
    store.isAway = true;
    one.report("a", 10);
    await one.settle();
    await one.settle();
    expect(one.compared()).toBe(10);
    expect(one.comparisons.warnings()).toEqual([
      "what is compared cannot be kept: the store of comparisons is away",
    ]);
    store.isAway = false;
    await one.settle();
    expect(one.comparisons.warnings()).toEqual([]);
    expect(one.log.lines.map(({ message }) => message)).toEqual([
      "comparisons are not kept",
      "what is compared is kept again",
    ]);
    expect(await store.of("shop")).toHaveLength(1);
  });

  test("that an instance has in the store already are not overwritten before they are read", async () => {
    const { run, store } = stageOf();
    const first = run();
    first.report("a", 10);
    await first.settle();
    store.isAway = true;
    const second = run();
    second.report("b", 1);
    await second.settle();
    expect(second.compared()).toBe(1);
    store.isAway = false;
    await second.settle();
    expect(second.compared()).toBe(11);
  });

  test("that nobody can read are left out", async () => {
    const { run, store } = stageOf();
    await store.put("shop", { instance: "later", text: '{"format":2}' });
    await store.put("shop", { instance: "broken", text: "{" });
    const one = run();
    one.report("a", 1);
    await one.settle();
    expect([one.compared(), one.comparisons.of(ROUTE)?.instances]).toEqual([1, 1]);
  });

  test("prove a rate once there are enough of them", async () => {
    const run = stageOf().run();
    run.report("a", 100);
    await run.settle();
    expect(run.comparisons.isProvenBelow(ROUTE, 0.001)).toBe(false);
    run.report("a", 10_000);
    await run.settle();
    expect(run.comparisons.isProvenBelow(ROUTE, 0.001)).toBe(true);
    expect(run.comparisons.isProvenBelow(OTHER_POLICY, 0.001)).toBe(false);
  });

  test("of a field that really differs name it", async () => {
    const run = stageOf().run();
    for (let second = 1; second <= 5; second++) {
      const counts = totalsOf(200 * second, 20 * second, [["body /price", 80 * second, 0]]);
      run.report("a", 0, "a", counts);
      await run.settle();
    }
    expect(run.comparisons.of(ROUTE)?.fields).toMatchObject([
      { field: "body /price", verdict: "real difference" },
    ]);
  });

  test("are kept by a stop", async () => {
    const { run, store } = stageOf();
    const one = run();
    one.comparisons.tick();
    await new Promise(setImmediate);
    one.report("a", 7);
    await one.comparisons.stop();
    await until("they are kept", async () => (await store.of("shop")).length === 1);
  });
});
