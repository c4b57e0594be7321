/** Commands when the table changes under them, and when requests come twice. */
import { describe, expect, it } from "vitest";
import type { Author, Outcome } from "../../../src/control/attempt.ts";
import { ALICE, shareOf, stageCommands, weights } from "../../support/commands_stage.ts";
import { SHOP } from "../../support/table.ts";

describe("a conflict", () => {
  it("is resolved by deciding again on the newer table, so neither change is lost", async () => {
    const { commands, others, store } = await stageCommands();
    store.meddle = () => {
      store.meddle = null;
      return others.putRoute("cart", { ...SHOP, id: "cart", match: { path: "/cart" } }, ALICE);
    };
    const outcome = await commands.shift("shop", weights(25), ALICE);
    expect(outcome).toMatchObject({ ok: true, revision: 3, difference: ["route shop: new 0 % -> 25 %"] });
    const routes = (await commands.current())?.document.routes;
    expect(routes?.map((route) => [route.id, route.candidateShares])).toEqual([
      ["shop", 25_000],
      ["cart", 0],
    ]);
  });

  it("with If-Match is a mismatch", async () => {
    const { commands, others, store } = await stageCommands();
    store.meddle = () => others.shift("shop", weights(5), ALICE);
    const outcome = await commands.shift("shop", weights(25), { ...ALICE, ifMatch: 1 });
    expect(outcome).toMatchObject({ ok: false, code: "REVISION_MISMATCH" });
    expect(await shareOf(commands)).toBe(5_000);
  });

  it("with a change that takes the ground away is refused for what is missing then", async () => {
    const { commands, others, store } = await stageCommands();
    store.meddle = () => others.deleteRoute("shop", ALICE);
    expect(await commands.shift("shop", weights(25), ALICE)).toMatchObject({ ok: false, code: "NOT_FOUND" });
  });

  it("that never ends is given up after eight more tries", async () => {
    const { commands, others, store } = await stageCommands();
    store.meddle = () => others.shift("shop", weights(store.commits), ALICE);
    expect(await commands.shift("shop", weights(50), ALICE)).toMatchObject({
      ok: false,
      code: "CONFLICT",
      problems: [],
    });
    expect(store.commits).toBe(9);
  });

  it("does not happen among changes of one process: all of a hundred at once are carried out", async () => {
    const { commands, store } = await stageCommands();
    const percents = Array.from({ length: 100 }, (_, index) => index + 1);
    const outcomes = await Promise.all(
      percents.map((percent) => commands.shift("shop", weights(percent), ALICE)),
    );
    expect(outcomes.map((outcome) => outcome.ok && outcome.revision)).toEqual(
      percents.map((percent) => percent + 1),
    );
    expect(store.commits).toBe(100);
  });

  it("is no reason to queue without end: beyond a hundred waiting changes the next is refused", async () => {
    const { commands } = await stageCommands();
    const rollbacks = Array.from({ length: 101 }, () => commands.rollback("shop", ALICE));
    const outcomes = await Promise.all(rollbacks);
    expect(outcomes.slice(0, 100).every((outcome) => outcome.ok)).toBe(true);
    expect(outcomes[100]).toMatchObject({ ok: false, code: "TOO_MANY_WAITING" });
    expect(await commands.rollback("shop", ALICE)).toMatchObject({ ok: true });
  });
});

describe("an idempotency key", () => {
  const mark = { key: "k", fingerprint: "f" };
  const marked: Author = { ...ALICE, idempotency: mark };

  it("gives the first outcome again, whatever happened since", async () => {
    const { commands } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    const first = await commands.rollback("shop", { ...marked, ifMatch: 2 });
    await commands.shift("shop", weights(50), ALICE);
    expect(await commands.rollback("shop", { ...marked, ifMatch: 2 })).toEqual(first);
    expect(await shareOf(commands)).toBe(50_000);
  });

  it("gives the first outcome again when there was nothing to change", async () => {
    const { commands } = await stageCommands();
    const first = await commands.rollback("shop", marked);
    expect(first).toMatchObject({ ok: true, changed: false, revision: 1 });
    await commands.shift("shop", weights(50), ALICE);
    expect(await commands.rollback("shop", marked)).toEqual(first);
    expect(await shareOf(commands)).toBe(50_000);
  });

  it("that was used for another request is refused", async () => {
    const { commands } = await stageCommands();
    await commands.rollback("shop", marked);
    const other = { ...marked, idempotency: { ...mark, fingerprint: "g" } };
    expect(await commands.restore(1, other)).toMatchObject({ ok: false, code: "KEY_REUSED" });
  });

  it("of a refused request stays free", async () => {
    const { commands } = await stageCommands();
    expect(await commands.rollback("cart", marked)).toMatchObject({ code: "NOT_FOUND" });
    await commands.shift("shop", weights(5), ALICE);
    const other = { ...marked, idempotency: { ...mark, fingerprint: "g" } };
    expect(await commands.rollback("shop", other)).toMatchObject({ ok: true, changed: true });
  });

  it("in a dry run is neither used nor asked for", async () => {
    const { commands, store } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    const dry = { ...marked, dryRun: true };
    expect(await commands.rollback("shop", dry)).toMatchObject({ changed: true });
    expect(await commands.shift("shop", weights(5), dry)).toMatchObject({ changed: false });
    expect(await store.recall("k")).toBeNull();
    await commands.rollback("shop", { ...marked, idempotency: { ...mark, fingerprint: "g" } });
    expect(await commands.shift("shop", weights(7), dry)).toMatchObject({ changed: true, revision: 3 });
  });

  it("that came twice at the same time is carried out once, and both get that outcome", async () => {
    const { commands } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    const [first, second] = await Promise.all([
      commands.rollback("shop", marked),
      commands.rollback("shop", marked),
    ]);
    expect(first).toMatchObject({ ok: true, changed: true, revision: 3 });
    expect(second).toEqual(first);
    expect(await commands.current()).toMatchObject({ revision: 3 });
  });

  it.each([
    ["and changed something", weights(5), 3],
    ["and found nothing to change", weights(0), 1],
  ])("that came through another process meanwhile %s decides", async (_, before, revision) => {
    const { commands, others, store } = await stageCommands();
    await commands.shift("shop", before, ALICE);
    let first: Outcome | null = null;
    store.meddle = async () => {
      store.meddle = null;
      first = await others.rollback("shop", marked);
      await others.shift("shop", weights(50), ALICE);
    };
    const second = await commands.rollback("shop", { ...marked, ifMatch: before["new"] === 0 ? 1 : 2 });
    expect(second).toMatchObject({ ok: true, revision });
    expect(second).toEqual(first);
    expect(await shareOf(commands)).toBe(50_000);
  });

  it("whose revision is forgotten is refused rather than carried out again", async () => {
    const { commands, store } = await stageCommands();
    await commands.rollback("shop", marked);
    store.at = async () => null;
    const outcome = await commands.rollback("shop", marked);
    expect(outcome).toMatchObject({ ok: false, code: "KEY_REUSED" });
    expect(!outcome.ok && outcome.detail).toContain("revision 1, which is forgotten");
  });
});
