/** Every change of the table: what is committed, what is refused, and what is done when the store misbehaves. */
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/base/fault.ts";
import type { Author, Outcome } from "../../../src/control/attempt.ts";
import { Commands } from "../../../src/control/commands.ts";
import { decodeDocument } from "../../../src/domain/document.ts";
import type { Document } from "../../../src/domain/route.ts";
import { ManualClock } from "../../support/clock.ts";
import { ALICE, BusyStore, shareOf, stageCommands, TABLE, weights } from "../../support/commands_stage.ts";
import { MemoryData, MemoryStore } from "../../support/memory_store.ts";
import { SHOP, tableWith, valueOf } from "../../support/table.ts";

const clock = new ManualClock();

function documentOf(input: unknown): Document {
  return valueOf(decodeDocument(input));
}

/** Every command that changes the shop when its new backend has 5 %, its action and its difference. */
const CHANGES: [
  name: string,
  change: (commands: Commands, author: Author) => Promise<Outcome>,
  action: string,
  difference: string[],
][] = [
  [
    "replaceTable",
    (commands, author) => commands.replaceTable(tableWith({ ...SHOP, split: weights(7) }), author),
    "apply",
    ["route shop: new 5 % -> 7 %"],
  ],
  [
    "putRoute",
    (commands, author) =>
      commands.putRoute("cart", { ...SHOP, id: "cart", match: { path: "/cart" } }, author),
    "route.put",
    ["route cart: added, legacy 100 %, new 0 %"],
  ],
  [
    "deleteRoute",
    (commands, author) => commands.deleteRoute("shop", author),
    "route.delete",
    ["route shop: removed"],
  ],
  [
    "shift",
    (commands, author) => commands.shift("shop", weights(25), author),
    "shift",
    ["route shop: new 5 % -> 25 %"],
  ],
  [
    "rollback",
    (commands, author) => commands.rollback("shop", author),
    "rollback",
    ["route shop: new 5 % -> 0 %"],
  ],
  ["restore", (commands, author) => commands.restore(1, author), "restore", ["route shop: new 5 % -> 0 %"]],
];

describe("every command", () => {
  it.each(CHANGES)(
    "%s commits with who, why, what and the difference",
    async (_, change, action, difference) => {
      const { commands } = await stageCommands();
      await commands.shift("shop", weights(5), ALICE);
      const outcome = await change(commands, ALICE);
      expect(outcome).toMatchObject({ ok: true, changed: true, revision: 3, difference });
      const current = await commands.current();
      expect(current?.document).toEqual(outcome.ok && outcome.document);
      const audit = {
        actor: "alice",
        reason: "looks good",
        action,
        difference,
        revision: 3,
        fromRevision: 2,
      };
      expect(current).toMatchObject({ revision: 3, audit });
      expect(current?.audit).not.toHaveProperty("document");
    },
  );

  it.each(CHANGES)("%s in a dry run says what it would do and commits nothing", async (...row) => {
    const [, change, , difference] = row;
    const { commands, store } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    store.commits = 0;
    const outcome = await change(commands, { ...ALICE, dryRun: true });
    expect(outcome).toMatchObject({ ok: true, changed: true, revision: 2, difference });
    expect(store.commits).toBe(0);
    expect(await shareOf(commands)).toBe(5_000);
  });

  it.each(CHANGES)("%s for another revision than the current one is refused", async (_, change) => {
    const { commands, store } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    store.commits = 0;
    expect(await change(commands, { ...ALICE, ifMatch: 1 })).toEqual({
      ok: false,
      code: "REVISION_MISMATCH",
      detail: "The table is at revision 2, not 1",
      problems: [],
    });
    expect(store.commits).toBe(0);
    expect(await change(commands, { ...ALICE, ifMatch: 2 })).toMatchObject({ ok: true, revision: 3 });
  });

  it.each(CHANGES)("%s that changes nothing commits nothing", async (name, change) => {
    const { commands, store } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    await change(commands, ALICE);
    store.commits = 0;
    const nothing = { ok: true, changed: false, revision: 3, difference: [] };
    const gone = { ok: false, code: "NOT_FOUND" };
    expect(await change(commands, ALICE)).toMatchObject(name === "deleteRoute" ? gone : nothing);
    expect(store.commits).toBe(0);
  });

  it.each(CHANGES)(
    "%s without a name or with a long reason is refused, with both problems",
    async (_, change) => {
      const { commands, store } = await stageCommands();
      await commands.shift("shop", weights(5), ALICE);
      store.commits = 0;
      const outcome = await change(commands, { actor: "", reason: "x".repeat(1_001) });
      expect(outcome).toMatchObject({ ok: false, code: "INVALID" });
      expect(outcome.ok || outcome.problems.map((problem) => problem.path)).toEqual(["/actor", "/reason"]);
      expect(store.commits).toBe(0);
      const longest = { actor: "a".repeat(64), reason: "x".repeat(1_000) };
      expect(await change(commands, longest)).toMatchObject({ ok: true });
    },
  );
});

describe("a refused input", () => {
  it("is answered with all problems, the author's too, and changes nothing", async () => {
    const { commands, store } = await stageCommands();
    const input = { backends: {}, routes: [{ ...SHOP, splitt: {} }] };
    const outcome = await commands.replaceTable(input, { actor: "a".repeat(65), reason: "" });
    expect(outcome).toMatchObject({ ok: false, code: "INVALID" });
    expect(outcome.ok || outcome.problems.map((problem) => problem.path).toSorted()).toEqual([
      "/actor",
      "/routes/0/cutover/candidate",
      "/routes/0/cutover/legacy",
      "/routes/0/splitt",
    ]);
    expect(store.commits).toBe(0);
  });

  it.each([0, -1, 1.5, NaN, 99])("is a revision that never was: %d", async (revision) => {
    const { commands } = await stageCommands();
    const detail = `There is no revision ${revision}, or it is forgotten`;
    expect(await commands.restore(revision, ALICE)).toMatchObject({ ok: false, code: "NOT_FOUND", detail });
  });
});

describe("seed", () => {
  it("fills an empty store as crossfade itself", async () => {
    const commands = new Commands(new MemoryStore(clock), { clock });
    expect(await commands.current()).toBeNull();
    expect(await commands.seed(documentOf(TABLE))).toMatchObject({ ok: true, changed: true, revision: 1 });
    expect(await commands.current()).toMatchObject({
      document: documentOf(TABLE),
      audit: { actor: "crossfade", action: "seed", fromRevision: 0 },
    });
  });

  it("leaves a table that is there alone", async () => {
    const { commands, store } = await stageCommands();
    const other = documentOf(tableWith({ ...SHOP, expose: true }));
    expect(await commands.seed(other)).toMatchObject({
      ok: true,
      changed: false,
      revision: 1,
      document: documentOf(TABLE),
    });
    expect(store.commits).toBe(0);
  });

  it("of two processes that start on one empty store, one seeds and both go on with its table", async () => {
    const data = new MemoryData();
    const stores = [
      new BusyStore(new ManualClock(), data),
      new MemoryStore(new ManualClock(), data),
    ] as const;
    const [slow, fast] = [new Commands(stores[0], { clock }), new Commands(stores[1], { clock })];
    const tables = [documentOf(TABLE), documentOf(tableWith())] as const;
    stores[0].meddle = () => fast.seed(tables[1]);
    expect(await slow.seed(tables[0])).toMatchObject({
      ok: true,
      changed: false,
      revision: 1,
      document: tables[1],
    });
  });

  it("takes a table without anything, which is still a table", async () => {
    const commands = new Commands(new MemoryStore(clock), { clock });
    const empty = documentOf({ backends: {}, routes: [] });
    expect(await commands.seed(empty)).toMatchObject({ ok: true, changed: true, revision: 1 });
  });
});

describe("a table that no worker could use", () => {
  it("is refused before it is committed", async () => {
    const store = new BusyStore(new ManualClock());
    const outcome = await new Commands(store, { clock }).seed({ ...documentOf(TABLE), backends: [] });
    expect(outcome).toMatchObject({ ok: false, code: "INVALID", problems: [{ path: "" }] });
    expect(!outcome.ok && outcome.problems[0]?.message).toMatch(/^the table cannot be used: /);
    expect(store.commits).toBe(0);
  });
});

describe("a stored table that this version cannot read", () => {
  const change = {
    document: { backends: {}, routes: 7 },
    actor: "a",
    action: "apply",
    reason: "",
    difference: [],
  };

  it("is a fault that names the revision and the problems", async () => {
    const { commands, othersStore } = await stageCommands();
    await othersStore.commit(1, change);
    const calls = [
      () => commands.current(),
      () => commands.shift("shop", weights(5), ALICE),
      () => commands.rollback("shop", ALICE),
      () => commands.putRoute("shop", SHOP, ALICE),
      () => commands.deleteRoute("shop", ALICE),
      () => commands.seed(documentOf(TABLE)),
    ];
    for (const call of calls) {
      const message = expect.stringMatching(/cannot read revision 2 in the store: \/routes: /);
      await expect(call()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message });
    }
  });

  it("can be replaced by a whole table or a past one", async () => {
    const { commands, othersStore } = await stageCommands();
    await othersStore.commit(1, change);
    const difference = ["replaces revision 2, which this version cannot read"];
    expect(await commands.restore(1, ALICE)).toMatchObject({
      ok: true,
      changed: true,
      revision: 3,
      difference,
    });
    await othersStore.commit(3, change);
    expect(await commands.replaceTable(TABLE, ALICE)).toMatchObject({ ok: true, changed: true, revision: 5 });
    expect((await commands.current())?.document).toEqual(documentOf(TABLE));
  });

  it("cannot be restored, and the refusal says why", async () => {
    const { commands, othersStore } = await stageCommands();
    await othersStore.commit(1, change);
    await commands.replaceTable(TABLE, ALICE);
    const outcome = await commands.restore(2, ALICE);
    expect(outcome).toMatchObject({ ok: false, code: "INVALID", problems: [{ path: "/routes" }] });
    expect(!outcome.ok && outcome.detail).toContain("Revision 2 cannot be restored");
  });
});

describe("a store that fails", () => {
  it("fails the command with its fault, and the next one is carried out", async () => {
    const { commands, store } = await stageCommands();
    store.meddle = async () => {
      store.meddle = null;
      throw new Fault("STORE_UNAVAILABLE", "planted");
    };
    await expect(commands.shift("shop", weights(5), ALICE)).rejects.toMatchObject({ message: "planted" });
    expect(await commands.shift("shop", weights(5), ALICE)).toMatchObject({ ok: true, revision: 2 });
  });
});
