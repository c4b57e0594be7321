/** Endpoints of the whole table. */
import { describe, expect, test } from "vitest";
import { adminStage, SHOP_TABLE } from "../../support/admin_stage.ts";

const moreRoutes = {
  ...SHOP_TABLE,
  routes: [
    ...SHOP_TABLE.routes,
    { id: "blog", match: { path: "/blog" }, cutover: { legacy: "old", candidate: "fresh" } },
  ],
};

describe("GET /v1/table", () => {
  test("gives the table in the operator's form, with its revision as ETag", async () => {
    const { call } = await adminStage();
    const reply = await call("GET", "/v1/table");
    expect(reply.status).toBe(200);
    expect(reply.headers.get("etag")).toBe('"1"');
    expect(reply.json).toEqual({ revision: 1, table: SHOP_TABLE });
  });

  test("an empty store is revision 0 of an empty table", async () => {
    const { call } = await adminStage({ isEmpty: true });
    const reply = await call("GET", "/v1/table");
    expect(reply.headers.get("etag")).toBe('"0"');
    expect(reply.json).toEqual({ revision: 0, table: { backends: {}, routes: [] } });
  });

  test("HEAD has the same fields and no body", async () => {
    const { call } = await adminStage();
    const reply = await call("HEAD", "/v1/table");
    expect([reply.status, reply.headers.get("etag"), reply.text]).toEqual([200, '"1"', ""]);
  });

  test("is never cached", async () => {
    const { call } = await adminStage();
    expect((await call("GET", "/v1/table")).headers.get("cache-control")).toBe("no-store");
  });
});

describe("PUT /v1/table", () => {
  test("replaces the table and says what is different", async () => {
    const { call } = await adminStage();
    const reply = await call("PUT", "/v1/table?reason=the%20blog%20too", { body: moreRoutes });
    expect(reply.status).toBe(200);
    expect(reply.headers.get("etag")).toBe('"2"');
    expect(reply.json).toMatchObject({ revision: 2, changed: true });
    expect(String(reply.json["difference"])).toContain("blog");
    expect((await call("GET", "/v1/table")).json).toMatchObject({
      revision: 2,
      table: { routes: [{ id: "shop" }, { id: "blog" }] },
    });
    const audit = (await call("GET", "/v1/audit?limit=1")).json["entries"];
    expect(audit).toMatchObject([
      { revision: 2, from_revision: 1, actor: "loopback", action: "apply", reason: "the blog too" },
    ]);
  });

  test("the first table of an empty store becomes revision 1", async () => {
    const { call } = await adminStage({ isEmpty: true });
    expect((await call("PUT", "/v1/table", { body: SHOP_TABLE })).json).toMatchObject({
      revision: 1,
      changed: true,
    });
  });

  test("the same table again changes nothing", async () => {
    const { call } = await adminStage();
    const reply = await call("PUT", "/v1/table", { body: SHOP_TABLE });
    expect(reply.json).toEqual({ revision: 1, changed: false, difference: [] });
  });

  test("a dry run shows the difference and commits nothing", async () => {
    const { call, publisher } = await adminStage();
    publisher.waitApplied = () => Promise.reject(new Error("a dry run waits for nobody"));
    const reply = await call("PUT", "/v1/table?dry_run=true&wait=applied", { body: moreRoutes });
    expect(reply.json).toMatchObject({ revision: 1, changed: true, dry_run: true });
    expect(String(reply.json["difference"])).toContain("blog");
    expect((await call("GET", "/v1/table")).json["revision"]).toBe(1);
  });

  test("a dry run lists the problems like a real one", async () => {
    const { call } = await adminStage();
    const reply = await call("PUT", "/v1/table?dry_run=true", { body: { backends: {}, routes: [{}] } });
    expect(reply.status).toBe(422);
  });

  test("every problem is reported at once, with its place, and nothing is changed", async () => {
    const { call } = await adminStage();
    const body = {
      backends: { old: { endpoints: ["not a url"] }, fresh: { endpoints: ["http://127.0.0.1:9002"] } },
      routes: [
        { id: "shop", cutover: { legacy: "old", candidate: "frehs" }, splitt: { old: 50, fresh: 20 } },
      ],
    };
    const reply = await call("PUT", "/v1/table", { body });
    expect(reply.status).toBe(422);
    expect(reply.json).toMatchObject({ code: "INVALID", status: 422 });
    const errors = reply.json["errors"] as { path: string; message: string }[];
    expect(errors.map(({ path }) => path)).toEqual(
      expect.arrayContaining([
        "/backends/old/endpoints/0",
        "/routes/0/cutover/candidate",
        "/routes/0/splitt",
      ]),
    );
    const messages = errors.map(({ message }) => message).join("\n");
    expect(messages).toContain('"split"');
    expect(messages).toContain('"fresh"');
    expect((await call("GET", "/v1/table")).json["revision"]).toBe(1);
  });
});
