/** The endpoint that explains where a request would go. */
import { describe, expect, test } from "vitest";
import { bucketOf } from "../../../src/domain/split.ts";
import { adminStage } from "../../support/admin_stage.ts";

/** A value of the cookie uid whose bucket is below 5,000 of 100,000 (or not). */
function uid(isInCohort: boolean): string {
  const salt = "old/fresh";
  for (let n = 0; ; n++) if (bucketOf(salt, `u${n}`) < 5_000 === isInCohort) return `u${n}`;
}

describe("POST /v1/explain", () => {
  test.each([
    [true, "fresh", ["http://127.0.0.1:9002", "http://127.0.0.1:9003"]],
    [false, "old", ["http://127.0.0.1:9001"]],
  ])("a client in the cohort: %s goes to %s, with its endpoints", async (isInCohort, backend, endpoints) => {
    const { call } = await adminStage();
    const cookie = `uid=${uid(isInCohort)}`;
    const body = { method: "GET", url: "http://shop.example.com/api/x?y=1", headers: { cookie } };
    const reply = await call("POST", "/v1/explain", { body });
    expect(reply.status).toBe(200);
    expect(reply.headers.get("etag")).toBe('"1"');
    expect(reply.json).toMatchObject({
      revision: 1,
      route: "shop",
      backend,
      endpoints,
      bucket: bucketOf("old/fresh", uid(isInCohort)),
      key: "cookie:uid",
      candidate_percent: 5,
    });
  });

  test("follows the table: after a shift the same client goes elsewhere", async () => {
    const { call } = await adminStage();
    const body = {
      method: "GET",
      url: "http://shop.example.com/",
      headers: { cookie: [`uid=${uid(false)}`] },
    };
    expect((await call("POST", "/v1/explain", { body })).json["backend"]).toBe("old");
    await call("PUT", "/v1/routes/shop/split", { body: { fresh: 100 } });
    expect((await call("POST", "/v1/explain", { body })).json).toMatchObject({
      backend: "fresh",
      revision: 2,
    });
  });

  test("a request that no route takes goes nowhere", async () => {
    const { call } = await adminStage();
    const body = { method: "GET", url: "http://other.example.com/" };
    const reply = await call("POST", "/v1/explain", { body });
    expect(reply.json).toMatchObject({ route: null, backend: null, endpoints: [], candidate_percent: null });
  });

  test("the client's address may be given", async () => {
    const { call } = await adminStage();
    const bucket = async (client?: string): Promise<unknown> => {
      const body = { method: "GET", url: "http://shop.example.com/", client };
      return (await call("POST", "/v1/explain", { body })).json["bucket"];
    };
    expect(await bucket()).toBe(bucketOf("old/fresh", "127.0.0.1"));
    expect(await bucket("10.1.2.3")).toBe(bucketOf("old/fresh", "10.1.2.3"));
  });

  test.each([
    [{ url: "http://x/" }, "/method"],
    [{ method: "GE T", url: "http://x/" }, "/method"],
    [{ method: "GET", url: "" }, "/url"],
    [{ method: "GET", url: "http://x/", headers: { a: 1 } }, "/headers/a"],
    [{ method: "GET", url: "http://x/", header: {} }, "/header"],
    [{ method: "GET", url: "http://x/", client: "not an address" }, "/client"],
    [{ method: "GET", url: `http://x/${"x".repeat(20_000)}` }, "/url"],
    [JSON.parse('{"method":"GET","url":"http://x/","headers":{"__proto__":"x"}}'), "/headers/__proto__"],
  ])("%j is refused at %s", async (body, path) => {
    const { call } = await adminStage();
    const reply = await call("POST", "/v1/explain", { body });
    expect(reply.status).toBe(422);
    expect(reply.json["errors"]).toMatchObject([{ path }]);
  });
});
