/** In what the answers of a route's backends differ, as the API tells it. */
import { describe, expect, test } from "vitest";
import { ComparisonJudge } from "../../../src/domain/comparison.ts";
import type { BackendId } from "../../../src/domain/route.ts";
import { adminStage, SHOP_TABLE } from "../../support/admin_stage.ts";
import { totalsOf } from "../../support/answers.ts";

const SHOP = SHOP_TABLE.routes[0];

describe("GET /v1/routes/{id}/differences", () => {
  test("tells counts, the bound and every field", async () => {
    const { call, told } = await adminStage();
    const judge = new ComparisonJudge();
    judge.tick(0, totalsOf(1, 100, [["body /id", 0, 50]]));
    judge.tick(
      1000,
      totalsOf(4000, 400, [
        ["status", 40, 0],
        ["body /id", 2000, 200],
      ]),
    );
    told.comparisons.set("shop", {
      pair: { legacy: "old" as BackendId, candidate: "fresh" as BackendId },
      basis: "b",
      sinceMs: 1_000,
      summary: judge.summary,
      fields: judge.fields,
      instances: 2,
    });
    const { status, json } = await call("GET", "/v1/routes/shop/differences");
    expect(status).toBe(200);
    expect(json).toMatchObject({
      route: "shop",
      instances: 2,
      reason: null,
      comparison: {
        legacy: "old",
        candidate: "fresh",
        since: "1970-01-01T00:00:01.000Z",
        summary: {
          text: expect.stringMatching(/^4,000 compared, mismatch rate below \S+ % with 99 % confidence/),
          compared: 4000,
          mismatched: 2000,
          rate: 0.5,
          not_compared: {},
          noise: { differing: 200, compared: 400 },
        },
        fields: [
          {
            field: "status",
            pairs: { differing: 40, compared: 4000 },
            noise: { differing: 0, compared: 400 },
          },
          {
            field: "body /id",
            verdict: "known noise",
            pairs: { differing: 2000 },
            noise: { differing: 200 },
          },
        ],
      },
    });
  });

  test.each([
    [
      "has no mirror",
      undefined,
      'route "shop" has no mirror, so there is nothing to compare; give it one with "mirror"',
    ],
    [
      "does not compare",
      { to: "fresh", percent: 10, compare: "off" },
      'the mirror of route "shop" says "compare: off"',
    ],
    ["has not compared yet", { to: "fresh", percent: 10 }, "nothing is known yet: ask again in a second"],
  ])("says why nothing is known where a route %s", async (_, mirror, reason) => {
    const { call } = await adminStage();
    const body = { ...SHOP, ...(mirror === undefined ? {} : { mirror }) };
    await call("PUT", "/v1/routes/shop", { body });
    const { status, json } = await call("GET", "/v1/routes/shop/differences");
    expect([status, json["comparison"], json["reason"]]).toEqual([200, null, reason]);
  });

  test("of a route that is not there names the nearest one", async () => {
    const { call } = await adminStage();
    const { status, json } = await call("GET", "/v1/routes/shpo/differences");
    expect([status, json["detail"]]).toEqual([404, 'There is no route "shpo"; did you mean "shop"?']);
  });
});
