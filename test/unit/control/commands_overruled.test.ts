/** The machine's rollback of a route, and that nobody overrules it without having seen it. */
import { describe, expect, it } from "vitest";
import type { Outcome } from "../../../src/control/attempt.ts";
import type { Commands, MoveOutcome } from "../../../src/control/commands.ts";
import { ALICE, shareOf, stageCommands, weights } from "../../support/commands_stage.ts";
import { MACHINE, Rollout } from "../../support/rollout_stage.ts";
import { ALARM } from "../../support/rollout_story.ts";
import { SHOP, tableWith } from "../../support/table.ts";

describe("the machine's rollback", () => {
  const why = "new fails too often";
  const overruled = (revision: number) => ({
    ok: false,
    code: "CONFLICT",
    detail: `"shop" was rolled back at revision ${revision} while this was under way: ${why}`,
  });

  it("takes all traffic of a route without a plan, in its own name", async () => {
    const { commands } = await stageCommands();
    await commands.shift("shop", weights(20), ALICE);
    expect(await commands.rollBackByItself("shop", why)).toMatchObject({ changed: true, revision: 3 });
    expect(await commands.current()).toMatchObject({
      audit: { action: "rollback", actor: "crossfade", reason: why },
      document: { routes: [{ candidateShares: 0 }] },
    });
    expect(await commands.rollBackByItself("shop", why)).toMatchObject({ changed: false });
  });

  it("ends a rollout that was started in the meantime", async () => {
    const rollout = await Rollout.started();
    await rollout.stage.commands.rollBackByItself("shop", why);
    expect(await rollout.share()).toBe(0);
    expect(await rollout.state()).toMatchObject({ phase: "rolled_back", by: "machine" });
  });

  /** Everything that would give the shop's candidate more, and was sent when it had 5 %. */
  const RAISES: [string, (commands: Commands) => Promise<Outcome | MoveOutcome>][] = [
    ["shift", (commands) => commands.shift("shop", weights(50), ALICE)],
    ["putRoute", (commands) => commands.putRoute("shop", { ...SHOP, split: weights(50) }, ALICE)],
    ["replaceTable", (commands) => commands.replaceTable(tableWith({ ...SHOP, split: weights(50) }), ALICE)],
    ["restore", (commands) => commands.restore(2, ALICE)],
  ];

  it.each(RAISES)("is not overruled by a %s that it met", async (_, raise) => {
    const { commands, others, store } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    await commands.putRoute("cart", { ...SHOP, id: "cart", match: { path: "/cart" } }, ALICE);
    store.meddle = () => {
      store.meddle = null;
      return others.rollBackByItself("shop", why);
    };
    expect(await raise(commands)).toMatchObject(overruled(4));
    expect(await shareOf(commands)).toBe(0);
    expect(await raise(commands)).toMatchObject({ ok: true, changed: true });
  });

  it("is not overruled by a change that waited for its turn behind it", async () => {
    const { commands } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    const rollback = commands.rollBackByItself("shop", why);
    const shift = commands.shift("shop", weights(50), ALICE);
    expect(await rollback).toMatchObject({ ok: true, revision: 3 });
    expect(await shift).toMatchObject(overruled(3));
    expect(await commands.shift("shop", weights(50), ALICE)).toMatchObject({ ok: true, changed: true });
  });

  it("is not overruled by a start that it met", async () => {
    const rollout = await Rollout.planned();
    const { commands, others, store } = rollout.stage;
    await commands.shift("shop", weights(20), ALICE);
    store.meddle = () => {
      store.meddle = null;
      return others.rollBackByItself("shop", why);
    };
    expect(await rollout.person("start")).toMatchObject(overruled(4));
    expect(await rollout.person("start")).toMatchObject({ ok: true, changed: true });
  });

  it("of a rollout is not overruled by weights that were meant to be less than it had", async () => {
    const rollout = await Rollout.started();
    const { commands, others, store } = rollout.stage;
    await rollout.person("promote");
    store.meddle = async () => {
      store.meddle = null;
      await others.moveRollout("shop", (state) => rollout.tickFor(state, { verdict: ALARM }), MACHINE);
    };
    expect(await commands.shift("shop", weights(50), ALICE)).toMatchObject({
      code: "CONFLICT",
      detail: expect.stringContaining(
        "was rolled back at revision 6 while this was under way: rolled back at 100 %",
      ),
    });
    expect(await rollout.share()).toBe(0);
  });

  it("lets changes through that give its route nothing", async () => {
    const { commands, others, store } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    store.meddle = () => {
      store.meddle = null;
      return others.rollBackByItself("shop", why);
    };
    const cart = { ...SHOP, id: "cart", match: { path: "/cart" }, split: weights(50) };
    expect(await commands.putRoute("cart", cart, ALICE)).toMatchObject({ ok: true, changed: true });
    expect((await commands.current())?.document.routes.map((route) => route.candidateShares)).toEqual([
      0, 50_000,
    ]);
  });

  it("with If-Match is a mismatch before that", async () => {
    const { commands, others, store } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    store.meddle = () => others.rollBackByItself("shop", why);
    const shift = commands.shift("shop", weights(50), { ...ALICE, ifMatch: 2 });
    expect(await shift).toMatchObject({ code: "REVISION_MISMATCH" });
  });

  it("by a person is no reason to refuse: two persons are equals", async () => {
    const { commands, others, store } = await stageCommands();
    await commands.shift("shop", weights(5), ALICE);
    store.meddle = () => {
      store.meddle = null;
      return others.rollback("shop", ALICE);
    };
    expect(await commands.shift("shop", weights(50), ALICE)).toMatchObject({ ok: true, changed: true });
  });
});
