/** The command of rollouts, with a real admin API. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serveStage, type ServedStage } from "../support/shell.ts";

const FILES = {
  "plan.yaml": "steps: [5, 50, 100]\nbake: 10m\n",
  "-": '{ "steps": [1, 100] }',
  "bad.yaml": "steps:\n  - 50\n  - 5\nbaek: 1m\n",
};

let stage: ServedStage;

beforeEach(async () => {
  stage = await serveStage();
});

afterEach(() => stage.close());

async function rollout(...words: readonly string[]): ReturnType<ServedStage["run"]> {
  return stage.run(["rollout", "shop", ...words], { files: FILES });
}

describe("a plan", () => {
  it("is set from a file or standard input, shown, and removed", async () => {
    expect(await rollout("set", "plan.yaml", "--reason", "at last")).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringContaining("shop: revision 2, in effect in every worker after"),
    });
    expect(await rollout()).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^shop: not started since /),
    });
    const shown = await rollout("show", "--json");
    expect(JSON.parse(shown.out)).toMatchObject({
      plan: { steps: [5, 50, 100] },
      state: { phase: "pending" },
    });
    expect((await rollout("set", "-")).code).toBe(0);
    expect(JSON.parse((await rollout("show", "--json")).out)).toMatchObject({ plan: { steps: [1, 100] } });
    expect((await rollout("remove")).code).toBe(0);
    expect(await rollout("show")).toMatchObject({
      code: 1,
      out: "",
      err: 'error: Route "shop" has no plan; give it one with `crossfade rollout shop set FILE`\n',
    });
  });

  it("that is wrong is refused with the place of every problem, and exits with 78", async () => {
    const ran = await rollout("set", "bad.yaml");
    expect(ran).toMatchObject({ code: 78, out: "" });
    expect(ran.err).toContain('  bad.yaml:4:1: /baek: unknown key "baek"; did you mean "bake"?');
    expect(ran.err).toContain("  bad.yaml:3:5: /steps/1: steps must grow");
  });
});

describe("a move", () => {
  beforeEach(() => rollout("set", "plan.yaml"));

  it("says what it did and where the rollout is now", async () => {
    const ran = await rollout("start", "--reason", "go");
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toMatch(/^shop: revision 3, in effect in every worker after 12\.5 ms\n/);
    expect(ran.out).toContain("\n  next: 5 % for fresh\n  why: started by a person: go\n");
    const json = await rollout("pause", "--no-wait", "--json");
    expect(JSON.parse(json.out)).toMatchObject({ revision: 4, changed: true, lines: expect.any(Array) });
  });

  it("that does not fit fails with 1 and what to do instead", async () => {
    const ran = await rollout("resume");
    expect(ran).toMatchObject({ code: 1, out: "", err: expect.stringContaining("start it first") });
    const json = await rollout("resume", "--json");
    expect(JSON.parse(json.err)).toMatchObject({ error: { exit: 1, status: 409, code: "CONFLICT" } });
  });

  it("leads through a whole rollout; one that was rolled back is shown with 0", async () => {
    for (const action of ["start", "pause", "resume", "promote", "decommission"]) {
      expect([action, (await rollout(action)).code]).toEqual([action, 0]);
    }
    expect((await rollout()).out).toMatch(/^shop: decommissioned since /);
    await stage.run(["rollback", "shop"]);
    expect(await rollout("show")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^shop: rolled back/),
    });
  });

  it("is painted by its phase, and what others wrote cannot command the terminal", async () => {
    await rollout("start");
    await rollout("abort", "--reason", "\u001b[2Jgone");
    const ran = await stage.run(["rollout", "shop"], { look: { colour: true, columns: 120 } });
    expect(ran.out).toMatch(/^shop: \u001b\[31mrolled back since /);
    expect(ran.out).toContain("\\u{1b}[2Jgone");
  });
});

it.each([
  [["strat"], "Allowed choices are show, set, start"],
  [["set"], "set needs the file with the plan"],
  [["start", "plan.yaml"], "start takes no file"],
])("%j is wrong usage", async (words, why) => {
  expect(await rollout(...words)).toMatchObject({ code: 2, out: "", err: expect.stringContaining(why) });
});
