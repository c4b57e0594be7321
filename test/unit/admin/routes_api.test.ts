/** Endpoints of single routes. */
import { describe, expect, test } from "vitest";
import { adminStage, SHOP_TABLE, type Reply } from "../../support/admin_stage.ts";

const shop = SHOP_TABLE.routes[0];
const blog = {
  match: { path: "/blog" },
  cutover: { legacy: "old", candidate: "fresh" },
  split: { old: 100, fresh: 0 },
};

describe("reading", () => {
  test("all routes, in the table's order", async () => {
    const { call } = await adminStage();
    const reply = await call("GET", "/v1/routes");
    expect(reply.headers.get("etag")).toBe('"1"');
    expect(reply.json).toEqual({ revision: 1, routes: [shop] });
  });

  test("one route", async () => {
    const { call } = await adminStage();
    const reply = await call("GET", "/v1/routes/shop");
    expect(reply.headers.get("etag")).toBe('"1"');
    expect(reply.json).toEqual({ revision: 1, route: shop });
  });

  test("a route that is not there is 404 with the nearest name", async () => {
    const { call } = await adminStage();
    for (const path of ["/v1/routes/shpo", "/v1/routes/shpo/health"]) {
      const reply = await call("GET", path);
      expect(reply.status).toBe(404);
      expect(reply.json["detail"]).toBe('There is no route "shpo"; did you mean "shop"?');
    }
  });
});

describe("PUT and DELETE of a route", () => {
  test("a new route is added, its id taken from the path", async () => {
    const { call } = await adminStage();
    expect((await call("PUT", "/v1/routes/blog", { body: blog })).json).toMatchObject({
      revision: 2,
      changed: true,
    });
    expect((await call("GET", "/v1/routes/blog")).json).toMatchObject({
      route: { id: "blog", match: { path: "/blog" } },
    });
  });

  test("what comes out can be put in again", async () => {
    const { call } = await adminStage();
    const { route } = (await call("GET", "/v1/routes/shop")).json;
    expect((await call("PUT", "/v1/routes/shop", { body: route })).json).toEqual({
      revision: 1,
      changed: false,
      difference: [],
    });
  });

  test("an id that differs from the path is a problem", async () => {
    const { call } = await adminStage();
    const reply = await call("PUT", "/v1/routes/blog", { body: { ...blog, id: "other" } });
    expect(reply.status).toBe(422);
    expect(reply.json["errors"]).toMatchObject([{ path: "/id" }]);
  });

  test("a removed route is gone, and the reason is in the audit log", async () => {
    const { call } = await adminStage();
    const reply = await call("DELETE", "/v1/routes/shop?reason=closed");
    expect(reply.json).toMatchObject({ revision: 2, changed: true });
    expect((await call("GET", "/v1/routes/shop")).status).toBe(404);
    expect((await call("GET", "/v1/audit")).json["entries"]).toMatchObject([
      { action: "route.delete", reason: "closed" },
      { action: "apply" },
    ]);
  });

  test("removing what is not there is 404", async () => {
    const { call } = await adminStage();
    expect((await call("DELETE", "/v1/routes/nothing")).status).toBe(404);
  });

  test("a body on DELETE is refused instead of ignored", async () => {
    const { call } = await adminStage();
    const reply = await call("DELETE", "/v1/routes/shop", { body: { reason: "x" } });
    expect([reply.status, reply.json["code"]]).toEqual([400, "MALFORMED"]);
    expect((await call("GET", "/v1/routes/shop")).status).toBe(200);
  });
});

describe("PUT /v1/routes/{id}/split", () => {
  test("shifts traffic and keeps the reason", async () => {
    const { call } = await adminStage();
    const body = { old: 75, fresh: 25, reason: "looks good" };
    const reply = await call("PUT", "/v1/routes/shop/split", { body });
    expect(reply.json).toMatchObject({ revision: 2, changed: true });
    expect((await call("GET", "/v1/routes/shop")).json).toMatchObject({
      route: { split: { old: 75, fresh: 25 } },
    });
    expect((await call("GET", "/v1/audit?limit=1")).json["entries"]).toMatchObject([
      { action: "shift", reason: "looks good" },
    ]);
  });

  test("a reason in the body counts more than one in the query", async () => {
    const { call } = await adminStage();
    await call("PUT", "/v1/routes/shop/split?reason=query", { body: { old: 75, fresh: 25, reason: "body" } });
    await call("PUT", "/v1/routes/shop/split?reason=query", { body: { old: 74, fresh: 26 } });
    const entries = (await call("GET", "/v1/audit?limit=2")).json["entries"];
    expect(entries).toMatchObject([{ reason: "query" }, { reason: "body" }]);
  });

  test.each([
    [{ old: 75, fresh: 20 }, "add up"],
    [{ old: 75, frehs: 25 }, '"fresh"'],
    [{ old: 75.00001, fresh: 24.99999 }, "decimals"],
    [{ old: -1, fresh: 101 }, "0 to 100"],
    [{ old: "75", fresh: 25 }, "number"],
    [{ old: 75, fresh: 25, reason: 5 }, "reason"],
    [[75, 25], "map"],
    [null, "map"],
  ])("%j is refused and nothing is changed", async (body, word) => {
    const { call } = await adminStage();
    const reply = await call("PUT", "/v1/routes/shop/split", { body });
    expect(reply.status).toBe(422);
    expect(JSON.stringify(reply.json["errors"])).toContain(word.replaceAll('"', String.raw`\"`));
    expect((await call("GET", "/v1/table")).json["revision"]).toBe(1);
  });

  test("a reason may have a thousand characters and no more, and its problem hides no other", async () => {
    const { call } = await adminStage();
    const put = (percent: number, length: number): Promise<Reply> =>
      call("PUT", "/v1/routes/shop/split", {
        body: { old: 1, fresh: percent, reason: "x".repeat(length) },
      });
    const reply = await put(98, 1001);
    expect(reply.status).toBe(422);
    expect(reply.json["errors"]).toMatchObject([{ path: "" }, { path: "/reason" }]);
    expect((await put(99, 1000)).status).toBe(200);
  });

  test("a route that is not there is 404", async () => {
    const { call } = await adminStage();
    expect((await call("PUT", "/v1/routes/blog/split", { body: { old: 100 } })).status).toBe(404);
  });
});

describe("POST /v1/routes/{id}/rollback", () => {
  test("takes all traffic to legacy, without a body or with a reason", async () => {
    const { call } = await adminStage();
    expect((await call("POST", "/v1/routes/shop/rollback")).json).toMatchObject({
      revision: 2,
      changed: true,
    });
    expect((await call("GET", "/v1/routes/shop")).json).toMatchObject({
      route: { split: { old: 100, fresh: 0 } },
    });
    await call("PUT", "/v1/routes/shop/split", { body: { old: 50, fresh: 50 } });
    await call("POST", "/v1/routes/shop/rollback", { body: { reason: "errors" } });
    expect((await call("GET", "/v1/audit?limit=1")).json["entries"]).toMatchObject([
      { action: "rollback", reason: "errors", revision: 4 },
    ]);
  });

  test("a route that is on legacy already stays as it is", async () => {
    const { call } = await adminStage();
    await call("POST", "/v1/routes/shop/rollback");
    expect((await call("POST", "/v1/routes/shop/rollback")).json).toMatchObject({
      revision: 2,
      changed: false,
    });
  });

  test("an unknown key in the body is refused with the nearest name", async () => {
    const { call } = await adminStage();
    const reply = await call("POST", "/v1/routes/shop/rollback", { body: { raeson: "errors" } });
    expect(reply.status).toBe(422);
    expect(reply.json["errors"]).toEqual([
      { path: "/raeson", message: 'unknown key "raeson"; did you mean "reason"?' },
    ]);
  });
});
