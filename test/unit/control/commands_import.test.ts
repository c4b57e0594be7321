/** A history that is imported: into an empty store only, all of it or nothing, once. */
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/base/fault.ts";
import { Commands } from "../../../src/control/commands.ts";
import { writeExport } from "../../../src/control/export.ts";
import type { StoredTable } from "../../../src/store/store.ts";
import { ManualClock } from "../../support/clock.ts";
import { ALICE, shareOf, stageCommands, TABLE, weights } from "../../support/commands_stage.ts";
import { MemoryData, MemoryStore } from "../../support/memory_store.ts";
import { tableWith } from "../../support/table.ts";

/** An export of a store with revisions 1 to 3, the shop at 5 % and then at 25 %. */
async function exported(): Promise<unknown> {
  const { commands, store } = await stageCommands();
  await commands.shift("shop", weights(5), ALICE);
  await commands.shift("shop", weights(25), { actor: "bob", reason: "more" });
  return writeExport(store, { version: "1.2.3", wallMs: 0 });
}

/** A store that is filled by somebody else right before a load, or that forgets what to remember. */
class AwkwardStore extends MemoryStore {
  meddle: (() => Promise<unknown>) | null = null;
  isForgetful = false;

  override async load(history: readonly StoredTable[]): Promise<boolean> {
    await this.meddle?.();
    return super.load(history);
  }

  override async remember(...args: Parameters<MemoryStore["remember"]>): Promise<boolean> {
    if (this.isForgetful) throw new Fault("STORE_UNAVAILABLE", "planted");
    return super.remember(...args);
  }
}

function emptyStage(): { store: AwkwardStore; commands: Commands; others: Commands } {
  const data = new MemoryData();
  const clock = new ManualClock();
  const store = new AwkwardStore(clock, data);
  return {
    store,
    commands: new Commands(store, { clock }),
    others: new Commands(new MemoryStore(clock, data), { clock }),
  };
}

const MARK = { key: "key-1", fingerprint: "of the document" };

describe("importHistory", () => {
  it("makes the newest revision the table, with the past below it, and counts on from there", async () => {
    const { store, commands } = emptyStage();
    expect(await commands.importHistory(await exported())).toEqual({ ok: true, revision: 3, revisions: 3 });
    expect(await shareOf(commands)).toBe(25_000);
    expect((await commands.current())?.audit).toMatchObject({ revision: 3, actor: "bob", reason: "more" });
    expect(await commands.restore(2, ALICE)).toMatchObject({ ok: true, revision: 4, changed: true });
    expect(await shareOf(commands)).toBe(5_000);
    const actions = (await store.history({ limit: 9 })).map(({ action }) => action);
    expect(actions).toEqual(["restore", "shift", "shift", "apply"]);
  });

  it("into a store that holds anything is a conflict that says what is there and what to do", async () => {
    const { commands, store } = await stageCommands();
    const outcome = await commands.importHistory(await exported());
    expect(outcome).toMatchObject({ ok: false, code: "CONFLICT", problems: [] });
    expect(outcome.ok || outcome.detail).toMatch(
      /^The store holds revision 1 \(apply by alice\), .*empty store.*crossfade apply.*crossfade restore/,
    );
    expect(await store.history({ limit: 9 })).toHaveLength(1);
  });

  it("is a conflict when somebody fills the store at the last moment", async () => {
    const { store, commands, others } = emptyStage();
    store.meddle = () => others.replaceTable(TABLE, ALICE);
    const outcome = await commands.importHistory(await exported());
    expect(outcome).toMatchObject({
      ok: false,
      code: "CONFLICT",
      detail: expect.stringContaining("by alice"),
    });
    expect(await store.history({ limit: 9 })).toHaveLength(1);
  });

  it("is refused with every problem before the store is looked at", async () => {
    const { commands } = await stageCommands();
    const document = { format: "x", revisions: [{ table: tableWith({ id: "shop" }) }] };
    const outcome = await commands.importHistory(document);
    expect(outcome).toMatchObject({ ok: false, code: "INVALID" });
    const paths = outcome.ok ? [] : outcome.problems.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining(["/format", "/version", "/revisions/0/table/routes/0/cutover"]),
    );
  });

  it("for another revision than 0 is a mismatch", async () => {
    const { commands } = emptyStage();
    const document = await exported();
    expect(await commands.importHistory(document, { ifMatch: 3 })).toMatchObject({
      ok: false,
      code: "REVISION_MISMATCH",
      detail: "The table is at revision 0, not 3",
    });
    expect(await commands.importHistory(document, { ifMatch: 0 })).toMatchObject({ ok: true });
  });

  it("sent again with its key gives the first outcome, also after later changes", async () => {
    const { commands, store } = emptyStage();
    const document = await exported();
    const first = await commands.importHistory(document, { idempotency: MARK });
    await commands.shift("shop", weights(50), ALICE);
    expect(await commands.importHistory(document, { idempotency: MARK })).toEqual(first);
    expect(await store.read()).toMatchObject({ revision: 4 });
    const other = { ...MARK, fingerprint: "of another one" };
    expect(await commands.importHistory(document, { idempotency: other })).toMatchObject({
      code: "KEY_REUSED",
    });
  });

  it("sent twice at once with one key is carried out once, and both hear of it", async () => {
    const { commands } = emptyStage();
    const document = await exported();
    const calls = [1, 2].map(() => commands.importHistory(document, { idempotency: MARK }));
    const outcome = { ok: true, revision: 3, revisions: 3 };
    expect(await Promise.all(calls)).toEqual([outcome, outcome]);
  });

  it("is done when the history is stored, even if its key cannot be remembered", async () => {
    const { commands, store } = emptyStage();
    store.isForgetful = true;
    const outcome = await commands.importHistory(await exported(), { idempotency: MARK });
    expect(outcome).toMatchObject({ ok: true, revision: 3 });
    expect(await store.read()).toMatchObject({ revision: 3 });
  });

  it("and a seed at once leave one of them in the store, whole", async () => {
    const { commands, others, store } = emptyStage();
    const document = await exported();
    const [imported] = await Promise.all([
      commands.importHistory(document),
      others.replaceTable(TABLE, ALICE),
    ]);
    const revisions = (await store.history({ limit: 9 })).map(({ revision }) => revision);
    // Whoever changes the whole table goes on from whatever there is; whoever imports does not.
    expect(revisions).toEqual(imported.ok ? [4, 3, 2, 1] : [1]);
  });
});
