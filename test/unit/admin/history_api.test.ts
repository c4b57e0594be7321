/** Endpoints of the past. */
import { describe, expect, test } from "vitest";
import { adminStage, SHOP_TABLE, type AdminStage } from "../../support/admin_stage.ts";

/** A stage with revisions 1 to `count`, one minute apart. */
async function stageWith(count: number): Promise<AdminStage> {
  const stage = await adminStage();
  for (let revision = 2; revision <= count; revision++) {
    stage.clock.advance(60_000);
    await stage.call("PUT", "/v1/routes/shop/split", {
      body: { old: 100 - revision, fresh: revision, reason: `step ${revision}` },
    });
  }
  return stage;
}

function revisions(entries: unknown): number[] {
  return (entries as { revision: number }[]).map(({ revision }) => revision);
}

describe("pages", () => {
  test.each(["/v1/history", "/v1/audit"])("%s is newest first and pages to the end", async (path) => {
    const { call } = await stageWith(5);
    const first = (await call("GET", `${path}?limit=2`)).json;
    expect(revisions(first["entries"])).toEqual([5, 4]);
    expect(first["next_before"]).toBe(4);
    const second = (await call("GET", `${path}?limit=2&before=4`)).json;
    expect(revisions(second["entries"])).toEqual([3, 2]);
    const last = (await call("GET", `${path}?limit=2&before=2`)).json;
    expect(revisions(last["entries"])).toEqual([1]);
    expect(last["next_before"]).toBeNull();
    expect(revisions((await call("GET", path)).json["entries"])).toEqual([5, 4, 3, 2, 1]);
  });

  test("the audit log says who, when, why, from where, and the difference", async () => {
    const { call } = await stageWith(2);
    const [entry] = (await call("GET", "/v1/audit?limit=1")).json["entries"] as unknown[];
    expect(entry).toEqual({
      revision: 2,
      from_revision: 1,
      at: "2026-01-01T00:01:00.000Z",
      actor: "loopback",
      action: "shift",
      reason: "step 2",
      difference: [expect.stringContaining("2 %")],
    });
  });

  test.each([
    ["limit=0", "?limit"],
    ["limit=501", "?limit"],
    ["limit=1e2", "?limit"],
    ["before=0", "?before"],
    ["before=-1", "?before"],
    ["before=x", "?before"],
    ["before=", "?before"],
    ["limt=5", "?limt"],
    ["limit=5&limit=6", "?limit"],
  ])("?%s is refused at %s", async (query, path) => {
    const { call } = await adminStage();
    const reply = await call("GET", `/v1/history?${query}`);
    expect(reply.status).toBe(422);
    expect(reply.json["errors"]).toMatchObject([{ path }]);
  });

  test("an empty store has an empty history", async () => {
    const { call } = await adminStage({ isEmpty: true });
    expect((await call("GET", "/v1/history")).json).toEqual({ entries: [], next_before: null });
  });
});

describe("one past revision", () => {
  test("is given with its table", async () => {
    const { call } = await stageWith(3);
    const reply = await call("GET", "/v1/history/1");
    expect(reply.headers.get("etag")).toBe('"1"');
    expect(reply.json).toMatchObject({ revision: 1, action: "apply", table: SHOP_TABLE });
  });

  test.each(["4", "0", "x", "1.5", "-1", "99999999999999999999"])("%s is not there", async (revision) => {
    const { call } = await stageWith(3);
    expect((await call("GET", `/v1/history/${revision}`)).status).toBe(404);
    expect((await call("POST", `/v1/history/${revision}/restore`)).status).toBe(404);
  });
});

describe("restoring", () => {
  test("makes a past table the current one, as a new revision", async () => {
    const { call } = await stageWith(3);
    const reply = await call("POST", "/v1/history/1/restore", { body: { reason: "back" } });
    expect(reply.json).toMatchObject({ revision: 4, changed: true });
    expect((await call("GET", "/v1/table")).json).toEqual({ revision: 4, table: SHOP_TABLE });
    expect((await call("GET", "/v1/audit?limit=1")).json["entries"]).toMatchObject([
      { action: "restore", reason: "back", from_revision: 3 },
    ]);
  });

  test("the current revision again changes nothing", async () => {
    const { call } = await stageWith(3);
    expect((await call("POST", "/v1/history/3/restore")).json).toMatchObject({ revision: 3, changed: false });
  });
});
