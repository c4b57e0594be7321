/** The publisher with a store and a fleet that do what each test says. */
import { afterEach, describe, expect, test } from "vitest";
import { Fault } from "../../../src/base/fault.ts";
import type { WorkerStatus } from "../../../src/control/fleet.ts";
import { Publisher, WAITERS_MAX, type PublisherParts } from "../../../src/control/publisher.ts";
import type { TableSpec } from "../../../src/domain/route.ts";
import type { AuditEntry, HistoryQuery, StoredTable } from "../../../src/store/store.ts";
import { ManualClock } from "../../support/clock.ts";
import { keepLog, type Happening } from "../../support/fleet_stage.ts";
import { until } from "../../support/wait.ts";

const DOCUMENT = { backends: { legacy: { endpoints: ["http://127.0.0.1:1"] } }, routes: [] };

/** A store in memory whose reads can be held up and made to fail. */
class FakeStore {
  readonly tables: StoredTable[] = [];
  reads = 0;
  fault: Error | null = null;
  gate: Promise<void> = Promise.resolve();
  readonly #listeners = new Set<(revision: number) => void>();

  commit(document: unknown = DOCUMENT): number {
    const revision = this.tables.length + 1;
    const facts = { actor: "alice", action: "apply", reason: `r${revision}`, difference: [`d${revision}`] };
    this.tables.push({ revision, fromRevision: revision - 1, atMs: 0, document, ...facts });
    this.tell(revision);
    return revision;
  }

  tell(revision: number): void {
    for (const listener of this.#listeners) listener(revision);
  }

  async read(): Promise<StoredTable | null> {
    this.reads++;
    await this.gate;
    if (this.fault !== null) throw this.fault;
    return this.tables.at(-1) ?? null;
  }

  async history({ before, limit }: HistoryQuery): Promise<AuditEntry[]> {
    return this.tables
      .filter(({ revision }) => revision < (before ?? Infinity))
      .toReversed()
      .slice(0, limit);
  }

  watch(listener: (revision: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Workers that apply what a test lets them apply. */
class FakeFleet {
  readonly specs: TableSpec[] = [];
  readonly workers: WorkerStatus[];
  readonly problems: string[] = [];
  readonly #listeners = new Set<() => void>();

  constructor(count: number) {
    this.workers = Array.from({ length: count }, (_, worker) => ({
      worker,
      pid: 100 + worker,
      version: "1",
      state: "serving",
      adopted: false,
      appliedRevision: 0,
      connectionsOpen: 0,
      restarts: 0,
      rssBytes: 0,
      loopUtilization: 0,
    }));
  }

  publish(spec: TableSpec): void {
    this.specs.push(spec);
  }

  status(): WorkerStatus[] {
    return this.workers;
  }

  /** Those that start here were given a table. */
  followers(): WorkerStatus[] {
    return this.workers.filter(({ state }) => state !== "draining");
  }

  warnings(): string[] {
    return this.problems;
  }

  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  change(worker: number, change: Partial<WorkerStatus>): void {
    this.workers[worker] = { ...(this.workers[worker] as WorkerStatus), ...change };
    for (const listener of this.#listeners) listener();
  }

  apply(revision: number): void {
    for (const { worker } of this.workers) this.change(worker, { appliedRevision: revision });
  }
}

const publishers: Publisher[] = [];
afterEach(() => {
  for (const publisher of publishers.splice(0)) publisher.stop();
});

function stage(workers = 2, more: Partial<PublisherParts> = {}) {
  const store = new FakeStore();
  const fleet = new FakeFleet(workers);
  const clock = new ManualClock();
  const happenings: Happening[] = [];
  const kept = keepLog();
  const journal = { append: (type: string, data: Happening["data"]) => void happenings.push({ type, data }) };
  const publisher = new Publisher({ store, fleet, clock, log: kept.log, journal, ...more });
  publishers.push(publisher);
  const events = (type: string) => happenings.filter((event) => event.type === type).map(({ data }) => data);
  const revisions = () => fleet.specs.map(({ revision }) => revision);
  return { store, fleet, clock, kept, publisher, events, revisions };
}

function storedTable(revision: number): StoredTable {
  const facts = { actor: "alice", action: "apply", reason: "", difference: [], document: DOCUMENT };
  return { revision, fromRevision: revision - 1, atMs: 7, ...facts };
}

describe("a start without the store", () => {
  const away = () => new Fault("STORE_UNAVAILABLE", "nobody listens there");

  test("serves the last table known here and says so, until the store can be read", async () => {
    const { store, fleet, publisher, events, revisions } = stage(2, { fallback: () => storedTable(4) });
    store.fault = away();
    await publisher.start();
    expect(revisions()).toEqual([4]);
    fleet.apply(4);
    expect(publisher.readiness()).toMatchObject({
      ready: true,
      warnings: [expect.stringMatching(/revision 4, as it was kept on this machine's disk.*nobody listens/)],
    });
    expect(publisher.served()).toMatchObject({ revision: 4, from: "disk" });
    expect(events("table.from_disk")).toEqual([{ revision: 4, at_ms: 7 }]);
    store.fault = null;
    store.tables.push(storedTable(4), storedTable(5));
    await until("the store is read", () => publisher.served().from === "store");
    expect(revisions()).toEqual([4, 5]);
    expect(publisher.readiness().warnings).toEqual([]);
  });

  test("takes the table from disk for the store's when the store comes back with the same one", async () => {
    const { store, publisher, revisions } = stage(2, { fallback: () => storedTable(4) });
    store.fault = away();
    await publisher.start();
    store.fault = null;
    store.tables.push(storedTable(4));
    await until("the store is read", () => publisher.served().from === "store");
    expect(revisions()).toEqual([4]);
  });

  test("is not ready, with the reason, when no table is known here either", async () => {
    const { store, publisher, revisions } = stage(2, { fallback: () => null });
    store.fault = away();
    await publisher.start();
    expect(revisions()).toEqual([]);
    expect(publisher.readiness()).toMatchObject({
      ready: false,
      reason: expect.stringMatching(/no table is loaded.*nobody listens/),
    });
    expect(publisher.served()).toMatchObject({ revision: 0, from: "none" });
  });

  test("says once, not at every try, that the store cannot be read", async () => {
    const { store, publisher, kept } = stage(2, { fallback: () => storedTable(4) });
    store.fault = away();
    await publisher.start();
    await until("it was tried three times", () => store.reads >= 3);
    const said = kept.lines.filter(({ message }) => message === "the store cannot be read");
    // The second one says that the table from the disk is served since.
    expect(said.length).toBeLessThanOrEqual(2);
  });
});

test("an empty store is filled when nothing is served, and what it holds then is published", async () => {
  const seeds: number[] = [];
  const { store, publisher, revisions } = stage(2, {
    seed: async () => {
      seeds.push(store.commit());
    },
  });
  await publisher.start();
  await until("it is published", () => revisions().length === 1);
  expect(seeds).toEqual([1]);
});

test("a store that may not be filled keeps the start waiting, with the reason", async () => {
  const refused = new Fault("STORE_REGRESSED", "the instance b serves revision 9");
  const { store, publisher, revisions } = stage(2, {
    seed: () => {
      // A write that was refused makes all who watch look at the store again.
      store.tell(0);
      return Promise.reject(refused);
    },
  });
  await publisher.start();
  expect(publisher.readiness()).toMatchObject({
    ready: false,
    reason: expect.stringContaining("the instance b serves revision 9"),
  });
  store.commit();
  await until("the table that came is published", () => revisions().length === 1);
});

describe("publishing", () => {
  test("starts with what the store has, and follows every change", async () => {
    const { store, fleet, publisher, events, revisions } = stage();
    store.commit();
    await publisher.start();
    expect(revisions()).toEqual([1]);
    expect(fleet.specs[0]?.backends.map(({ id }) => id)).toEqual(["legacy"]);
    store.commit();
    await until("the change is published", () => revisions().length === 2);
    expect(revisions()).toEqual([1, 2]);
    expect(events("table.changed")[1]).toEqual({
      revision: 2,
      actor: "alice",
      action: "apply",
      reason: "r2",
      difference: ["d2"],
    });
  });

  test("reads once more, not once each, for changes that come during a read", async () => {
    const { store, publisher, events, revisions } = stage();
    store.commit();
    await publisher.start();
    const { promise, resolve } = Promise.withResolvers<void>();
    store.gate = promise;
    for (let n = 0; n < 50; n++) store.commit();
    resolve();
    await until("the newest is published", () => revisions().at(-1) === 51);
    expect(store.reads).toBeLessThanOrEqual(3);
    expect(events("table.changed").map(({ revision }) => revision)).toEqual(
      Array.from({ length: 51 }, (_, n) => n + 1),
    );
  });

  test("keeps the last table while the store fails, says so, and goes on when it is back", async () => {
    const { store, fleet, publisher, revisions } = stage();
    store.commit();
    await publisher.start();
    fleet.apply(1);
    store.fault = new Fault("STORE_UNAVAILABLE", "the disk is gone");
    store.commit();
    await until("the failure is known", () => publisher.readiness().warnings.length === 1);
    expect(publisher.readiness()).toMatchObject({ ready: true });
    expect(publisher.readiness().warnings[0]).toContain("the disk is gone");
    store.fault = null;
    await until("the change is published", () => revisions().at(-1) === 2);
    expect(publisher.readiness().warnings).toEqual([]);
  });

  test("leaves the workers what they have when the stored table cannot be used", async () => {
    const { store, publisher, kept, revisions } = stage();
    store.commit();
    await publisher.start();
    store.commit({ backends: 7 });
    await until("the failure is known", () => publisher.readiness().warnings.length === 1);
    expect(revisions()).toEqual([1]);
    expect(kept.lines.filter(({ level }) => level === "error")).toHaveLength(1);
    store.commit();
    await until("the next one is published", () => revisions().at(-1) === 3);
    expect(publisher.readiness().warnings).toEqual([]);
  });
});

describe("waiting for a revision", () => {
  test("ends when every serving worker has it, with the time since it was heard of", async () => {
    const { store, fleet, clock, publisher, events } = stage(3);
    store.commit();
    await publisher.start();
    fleet.apply(1);
    fleet.change(2, { state: "draining" });
    const revision = store.commit();
    const applied = publisher.waitApplied(revision, 60_000);
    await until("it is published", () => fleet.specs.length === 2);
    clock.advance(12);
    fleet.change(0, { appliedRevision: 2 });
    expect(events("table.applied")).toHaveLength(1);
    fleet.change(1, { appliedRevision: 2 });
    expect(await applied).toEqual({ applied: true, appliedMs: 12 });
    expect(events("table.applied").at(-1)).toEqual({ revision: 2, applied_ms: 12 });
    clock.advance(100);
    expect(await publisher.waitApplied(revision, 0)).toEqual({ applied: true, appliedMs: 12 });
  });

  test("includes a worker that starts, since it may begin to serve with the table before", async () => {
    const { store, fleet, publisher } = stage();
    store.commit();
    await publisher.start();
    fleet.change(0, { state: "starting" });
    fleet.change(1, { appliedRevision: 1 });
    const outcome = await publisher.waitApplied(1, 1);
    expect(outcome).toEqual({ applied: false, missing: ["worker 0 (pid 100) has revision 0"] });
  });

  test("ends with a newer revision too, when the one waited for was skipped", async () => {
    const { store, fleet, publisher } = stage();
    await publisher.start();
    store.commit();
    const first = publisher.waitApplied(1, 60_000);
    store.commit();
    await until("the newest is published", () => fleet.specs.at(-1)?.revision === 2);
    fleet.apply(2);
    expect((await first).applied).toBe(true);
  });

  test("is not held up by newer revisions that are on their way", async () => {
    const { store, fleet, publisher } = stage();
    await publisher.start();
    store.commit();
    const first = publisher.waitApplied(1, 60_000);
    await until("it is published", () => fleet.specs.length === 1);
    store.commit();
    await until("the newest is published", () => fleet.specs.length === 2);
    fleet.apply(1);
    expect((await first).applied).toBe(true);
  });

  test("names who is missing when the time is over", async () => {
    const { store, fleet, publisher } = stage();
    store.commit();
    await publisher.start();
    fleet.change(0, { appliedRevision: 1 });
    const outcome = await publisher.waitApplied(1, 1);
    expect(outcome).toEqual({ applied: false, missing: ["worker 1 (pid 101) has revision 0"] });
  });

  test("gives up early, with the reason, when all that are missing refused", async () => {
    const { store, fleet, publisher } = stage();
    store.commit();
    await publisher.start();
    const outcome = publisher.waitApplied(1, 3_600_000);
    fleet.change(0, { appliedRevision: 1 });
    fleet.change(1, { refused: { revision: 1, reason: "no sense" } });
    expect(await outcome).toEqual({
      applied: false,
      missing: ["worker 1 (pid 101) has revision 0; it refused 1: no sense"],
    });
  });

  test("is not over while no worker serves", async () => {
    const { store, publisher } = stage(0);
    store.commit();
    await publisher.start();
    expect(await publisher.waitApplied(1, 1)).toEqual({ applied: false, missing: ["no worker serves"] });
  });

  test("is refused to more callers than can be kept", async () => {
    const { publisher } = stage();
    await publisher.start();
    const waiting = Array.from({ length: WAITERS_MAX }, () => publisher.waitApplied(1, 3_600_000));
    await expect(publisher.waitApplied(1, 3_600_000)).rejects.toMatchObject({ code: "TOO_MANY_WAITING" });
    publisher.stop();
    expect(await waiting[0]).toEqual({ applied: false, missing: ["Crossfade stops"] });
  });
});

describe("readiness", () => {
  test("needs a table, then a serving worker, and ends with the drain", async () => {
    const { store, fleet, publisher } = stage(1);
    fleet.change(0, { state: "starting" });
    await publisher.start();
    expect(publisher.readiness()).toMatchObject({
      ready: false,
      reason: expect.stringContaining("no table is loaded"),
    });
    store.commit();
    await until("it is published", () => fleet.specs.length === 1);
    expect(publisher.readiness()).toMatchObject({ ready: false, reason: "no worker serves yet" });
    fleet.change(0, { state: "serving" });
    fleet.problems.push("worker 1 keeps dying");
    expect(publisher.readiness()).toEqual({ ready: true, reason: "", warnings: ["worker 1 keeps dying"] });
    publisher.drain();
    expect(publisher.readiness()).toMatchObject({ ready: false, reason: "draining" });
  });
});
