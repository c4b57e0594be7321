/** The guard before a store that may forget. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Fault } from "../../../src/base/fault.ts";
import { GuardedStore } from "../../../src/store/guard.ts";
import { LastTable } from "../../../src/store/last_table.ts";
import { changeTo } from "../../contract/route_store.ts";
import { ManualClock } from "../../support/clock.ts";
import { makeDirectory } from "../../support/directory.ts";
import { keepLog } from "../../support/fleet_stage.ts";
import { awayFault, MemoryLineageStore } from "../../support/memory_lineage.ts";

const clock = new ManualClock();
let store: MemoryLineageStore;
let path: string;
let kept: ReturnType<typeof keepLog>;

beforeEach(() => {
  store = new MemoryLineageStore(clock);
  path = `${makeDirectory()}/last-table.json`;
  kept = keepLog();
});

/** A guard as a start of Crossfade makes it. */
function guardNow(): GuardedStore {
  const { log } = kept;
  const last = new LastTable({ path, storeName: "the test's store", log });
  return new GuardedStore({ store, last, clock, log, where: "the test's store" });
}

/** A guard that has accepted revisions 1 to `count`. */
async function guardWith(count: number): Promise<GuardedStore> {
  const guard = guardNow();
  for (let number = 1; number <= count; number++) await guard.commit(number - 1, changeTo(number));
  await guard.read();
  return guard;
}

function refusal(code: Fault["code"], words: RegExp): unknown {
  return expect.objectContaining({ code, message: expect.stringMatching(words) });
}

describe("what passes", () => {
  test("an empty store that never had a table is empty", async () => {
    const guard = guardNow();
    expect(await guard.read()).toBeNull();
    expect(guard.status).toMatchObject({ condition: "ok", storeRevision: 0 });
  });

  test("each later table of the history passes and is known from then on", async () => {
    const guard = await guardWith(2);
    expect(guard.known?.revision).toBe(2);
    await guard.commit(2, changeTo(3));
    expect((await guard.read())?.revision).toBe(3);
    expect(guard.known?.revision).toBe(3);
  });

  test("an answer that was overtaken by a newer one is no step back", async () => {
    const guard = await guardWith(1);
    const first = await store.readTable();
    await guard.commit(1, changeTo(2));
    await guard.read();
    store.overtaken.push(first);
    expect((await guard.read())?.revision).toBe(2);
    expect(guard.status.condition).toBe("ok");
  });
});

describe("what is refused", () => {
  test("an emptied store is not believed, and keeps its revision known here", async () => {
    const guard = await guardWith(3);
    store.memory = { revisions: [], lineage: "" };
    await expect(guard.read()).rejects.toEqual(
      refusal("STORE_REGRESSED", /holds no table; revision 3.*--from served/),
    );
    expect(guard.status).toMatchObject({ condition: "empty", storeRevision: 0 });
    expect(guard.known?.revision).toBe(3);
  });

  test("an older revision is not believed", async () => {
    const guard = await guardWith(3);
    const { revisions, lineage } = store.memory;
    store.memory = { revisions: revisions.slice(0, 1), lineage };
    await expect(guard.read()).rejects.toEqual(refusal("STORE_REGRESSED", /gone back to revision 1/));
    expect(guard.status).toMatchObject({ condition: "older", storeRevision: 1 });
  });

  test("a later revision of another history is not believed", async () => {
    const guard = await guardWith(1);
    const { revisions } = store.memory;
    const [first] = revisions;
    store.memory = { revisions: [...revisions, { ...first!, revision: 9 }], lineage: "another" };
    await expect(guard.read()).rejects.toEqual(refusal("STORE_REGRESSED", /revision 9 of another history/));
    expect(guard.status.condition).toBe("stranger");
  });

  test("the same revision with another change in it is not believed", async () => {
    const guard = await guardWith(2);
    const { revisions, lineage } = store.memory;
    store.memory = { revisions: [revisions[0]!, { ...revisions[1]!, reason: "another one" }], lineage };
    await expect(guard.read()).rejects.toEqual(refusal("STORE_REGRESSED", /another revision 2/));
  });

  test("an import into a store that has lost its table changes nothing", async () => {
    const guard = await guardWith(1);
    const past = await store.read();
    store.memory = { revisions: [], lineage: "" };
    await expect(guard.load([past!])).rejects.toEqual(refusal("STORE_REGRESSED", /holds no table/));
    expect(store.memory.revisions).toEqual([]);
  });

  test("the log says once that the store cannot be used, and once that it can", async () => {
    const guard = await guardWith(1);
    const whole = store.memory;
    store.memory = { revisions: [], lineage: "" };
    for (let i = 0; i < 3; i++) await expect(guard.read()).rejects.toThrow("holds no table");
    store.memory = whole;
    for (let i = 0; i < 3; i++) await guard.read();
    expect(kept.lines.filter(({ message }) => message.includes("cannot be used"))).toHaveLength(1);
    expect(kept.lines.filter(({ message }) => message.includes("can be used again"))).toHaveLength(1);
  });
});

test("a store out of reach is away since its first failure, and ok again after the next answer", async () => {
  const guard = await guardWith(1);
  store.fault = awayFault();
  await expect(guard.read()).rejects.toEqual(refusal("STORE_UNAVAILABLE", /nobody listens/));
  const sinceMs = clock.wallMs();
  clock.advance(1_000);
  await expect(guard.read()).rejects.toEqual(refusal("STORE_UNAVAILABLE", /nobody listens/));
  expect(guard.status).toEqual({
    condition: "away",
    detail: "nobody listens there",
    sinceMs,
    storeRevision: 1,
  });
  store.fault = null;
  await guard.read();
  expect(guard.status).toMatchObject({ condition: "ok", sinceMs: clock.wallMs() });
});

test("a refused write alone does not make the store away, and makes everybody look", async () => {
  const guard = await guardWith(1);
  let looks = 0;
  guard.watch(() => looks++);
  store.fault = awayFault();
  await expect(guard.commit(1, changeTo(2))).rejects.toEqual(refusal("STORE_UNAVAILABLE", /nobody listens/));
  expect(looks).toBe(1);
  expect(guard.status.condition).toBe("ok");
});

describe("after a restart", () => {
  test("the last table is known without the store", async () => {
    const before = await guardWith(2);
    await before.close();
    store = new MemoryLineageStore(clock);
    store.fault = awayFault();
    expect(guardNow().known).toMatchObject({ revision: 2, reason: "because of 2" });
  });

  test("an emptied store is still not believed", async () => {
    const before = await guardWith(2);
    await before.close();
    store = new MemoryLineageStore(clock);
    await expect(guardNow().read()).rejects.toEqual(refusal("STORE_REGRESSED", /holds no table/));
  });
});

describe("an operator's word", () => {
  test("puts the served table back above every revision that anybody has seen", async () => {
    const guard = await guardWith(3);
    const { lineage } = store.memory;
    store.memory = { revisions: [], lineage: "" };
    expect(await guard.candidate("served")).toMatchObject({ revision: 3 });
    expect(await guard.reseed(changeTo(3), 5)).toBe(6);
    expect(await store.readTable()).toMatchObject({ revision: 6, lineage });
    expect((await guard.read())?.revision).toBe(6);
  });

  test("takes the stored table as a later revision of the known history, so that others accept it", async () => {
    const guard = await guardWith(1);
    const other = guardNow();
    await other.read();
    const { lineage } = store.memory;
    const [first] = store.memory.revisions;
    store.memory = { revisions: [{ ...first!, revision: 4 }], lineage: "another" };
    expect(await guard.candidate("stored")).toMatchObject({ revision: 4 });
    expect(await guard.reseed(changeTo(9), 0)).toBe(5);
    expect(store.memory.lineage).toBe(lineage);
    expect((await guard.read())?.revision).toBe(5);
    expect((await other.read())?.revision).toBe(5);
  });

  test("changes nothing when the store moved meanwhile", async () => {
    const guard = await guardWith(2);
    const { revisions, lineage } = store.memory;
    store.memory = { revisions: [], lineage: "" };
    const moved = { revisions: revisions.slice(0, 1), lineage };
    const seen = store.readTable.bind(store);
    store.readTable = async () => {
      const table = await seen();
      store.memory = moved;
      return table;
    };
    expect(await guard.reseed(changeTo(2), 0)).toBeNull();
    expect(store.memory).toEqual(moved);
  });
});
