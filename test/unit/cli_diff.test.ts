/** The command that shows in what mirrored answers differ. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { ComparisonJudge } from "../../src/domain/comparison.ts";
import type { BackendId } from "../../src/domain/route.ts";
import { SHOP_TABLE } from "../support/admin_stage.ts";
import { totalsOf } from "../support/answers.ts";
import { serveStage, type ServedStage } from "../support/shell.ts";

let stage: ServedStage;

beforeEach(async () => {
  stage = await serveStage();
});

afterEach(async () => {
  await stage.close();
});

/** The judge has seen these fields, some of them real by now. */
async function compared(fields: Parameters<typeof totalsOf>[2], instances = 1): Promise<void> {
  const mirror = { to: "fresh", percent: 10 };
  await stage.call("PUT", "/v1/routes/shop", { body: { ...SHOP_TABLE.routes[0], mirror } });
  const judge = new ComparisonJudge();
  judge.tick(0, totalsOf(1, 100, []));
  judge.tick(1000, totalsOf(4000, 400, fields));
  stage.told.comparisons.set("shop", {
    pair: { legacy: "old" as BackendId, candidate: "fresh" as BackendId },
    basis: "b",
    sinceMs: 0,
    summary: judge.summary,
    fields: judge.fields,
    instances,
  });
}

test("a real difference is named, and exits with 3", async () => {
  await compared([["status", 2000, 0]]);
  const ran = await stage.run(["diff", "shop"]);
  expect(ran).toMatchObject({ code: 3, err: "" });
  expect(ran.out).toMatch(/^route +shop\ncopies +0 to fresh, 0 answered\ngiven up +none\n\n4,000 compared, /);
  expect(ran.out).toContain(
    "status: real difference\n  differs  in 2,000 of 4,000 (50 %); evidence 10.0 of 10\n",
  );
});

test("noise and what is not decided yet exit with 0", async () => {
  await compared(
    [
      ["body /id", 4000, 400],
      ["status", 1, 0],
    ],
    3,
  );
  const ran = await stage.run(["diff", "shop"]);
  expect(ran).toMatchObject({ code: 0, err: "" });
  expect(ran.out).toContain("route        shop, in 3 instances\ncopies here  0 to fresh");
  expect(ran.out).toContain("body /id: known noise\n");
  expect(ran.out).toContain("status: not decided yet\n");
});

test("with --json it is the API's answer, with the same exit code", async () => {
  await compared([["status", 2000, 0]]);
  const ran = await stage.run(["diff", "shop", "--json"]);
  expect(ran.code).toBe(3);
  expect(JSON.parse(ran.out)).toMatchObject({
    route: "shop",
    mirror: { to: "fresh" },
    comparison: { summary: { compared: 4000 }, fields: [{ field: "status", verdict: "real difference" }] },
  });
});

test("a route that compares nothing fails with the reason, and so does one that is not there", async () => {
  const ran = await stage.run(["diff", "shop"]);
  expect(ran).toMatchObject({ code: 1, out: "" });
  expect(ran.err).toContain('route "shop" has no mirror, so there is nothing to compare');
  const unknown = await stage.run(["diff", "shpo"]);
  expect(unknown).toMatchObject({ code: 1, out: "" });
  expect(unknown.err).toContain('did you mean "shop"?');
});
