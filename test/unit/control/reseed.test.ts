/** An operator's word on which table counts. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Fault } from "../../../src/base/fault.ts";
import { Commands } from "../../../src/control/commands.ts";
import { GuardedStore } from "../../../src/store/guard.ts";
import { LastTable } from "../../../src/store/last_table.ts";
import { SHOP_TABLE } from "../../support/admin_stage.ts";
import { ManualClock } from "../../support/clock.ts";
import { makeDirectory } from "../../support/directory.ts";
import { keepLog } from "../../support/fleet_stage.ts";
import { awayFault, MemoryLineageStore } from "../../support/memory_lineage.ts";

const WHO = { actor: "alice", reason: "the disk was lost" };

let store: MemoryLineageStore;
let guard: GuardedStore;
let commands: Commands;
let above: number;

beforeEach(async () => {
  const clock = new ManualClock();
  const { log } = keepLog();
  store = new MemoryLineageStore(clock);
  const last = new LastTable({ path: `${makeDirectory()}/last-table.json`, storeName: "s", log });
  guard = new GuardedStore({ store, last, clock, log, where: "the store" });
  above = 0;
  commands = new Commands(guard, { clock, known: () => guard.known, reseed: { guard, above: () => above } });
  await commands.replaceTable(SHOP_TABLE, WHO);
  await commands.shift("shop", { old: 90, fresh: 10 }, WHO);
  await guard.read();
});

function wipe(): void {
  store.memory = { revisions: [], lineage: "" };
}

describe("while the store has lost its table", () => {
  test("every change is refused, and the last table can still be read", async () => {
    wipe();
    const shift = commands.shift("shop", { old: 50, fresh: 50 }, WHO);
    await expect(shift).rejects.toMatchObject({ code: "STORE_REGRESSED" } satisfies Partial<Fault>);
    expect(store.memory.revisions).toEqual([]);
    expect(await commands.current()).toMatchObject({ revision: 2, isStale: true });
  });

  test("the served table goes back on a word, with who said it and why, and changes go on", async () => {
    wipe();
    above = 7;
    const outcome = await commands.reseed("served", WHO);
    expect(outcome).toMatchObject({ ok: true, changed: true, revision: 8 });
    expect(await guard.read()).toMatchObject({
      revision: 8,
      action: "reseed",
      actor: "alice",
      reason: "the disk was lost",
      difference: expect.arrayContaining([expect.stringContaining("served revision 2")]),
    });
    expect(await commands.current()).toMatchObject({ revision: 8, isStale: false });
    expect(await commands.shift("shop", { old: 50, fresh: 50 }, WHO)).toMatchObject({
      ok: true,
      revision: 9,
    });
  });

  test("the stored table is taken on a word", async () => {
    const [first] = store.memory.revisions;
    store.memory = { ...store.memory, revisions: [first!] };
    expect(await commands.reseed("stored", WHO)).toMatchObject({ ok: true, revision: 3 });
    const current = await commands.current();
    expect(current).toMatchObject({ revision: 3, isStale: false });
    expect(current?.document.routes[0]?.candidateShares).not.toBe(10_000);
    expect(current?.audit.difference[0]).toContain("takes revision 1 from the store");
  });

  test("what the store does not hold cannot be taken from it", async () => {
    wipe();
    expect(await commands.reseed("stored", WHO)).toMatchObject({ ok: false, code: "NOT_FOUND" });
    expect(store.memory.revisions).toEqual([]);
  });

  test("a stored table that this version cannot read is not taken", async () => {
    const [first] = store.memory.revisions;
    store.memory = { lineage: "another", revisions: [{ ...first!, document: { routes: 5 } }] };
    const outcome = await commands.reseed("stored", WHO);
    expect(outcome).toMatchObject({ ok: false, code: "INVALID" });
    expect(store.memory.lineage).toBe("another");
  });
});

test("nothing is decided while the store's table is in use", async () => {
  expect(await commands.reseed("served", WHO)).toMatchObject({ ok: false, code: "CONFLICT" });
  expect(store.memory.revisions).toHaveLength(2);
});

test("a store out of reach takes no word", async () => {
  wipe();
  store.fault = awayFault();
  await expect(commands.reseed("served", WHO)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
});

test("a word needs a name and a reason of bounded length", async () => {
  wipe();
  const outcome = await commands.reseed("served", { actor: "", reason: "x".repeat(1_001) });
  expect(outcome).toMatchObject({
    ok: false,
    code: "INVALID",
    problems: [{ path: "/actor" }, { path: "/reason" }],
  });
});

test("the embedded store needs no word", async () => {
  const plain = new Commands(store, { clock: new ManualClock() });
  expect(await plain.reseed("served", WHO)).toMatchObject({ ok: false, code: "CONFLICT" });
});
