/** The endpoints of the store. */
import { expect, test } from "vitest";
import { adminStage } from "../../support/admin_stage.ts";

test("the store says where it is, whether its table is in use, and what is served", async () => {
  const { call } = await adminStage();
  expect((await call("GET", "/v1/store")).json).toEqual({
    kind: "sqlite",
    where: "the stage's memory",
    condition: "ok",
    detail: "",
    since: "1970-01-01T00:00:00.000Z",
    store_revision: 1,
    served_revision: 1,
    served_from: "store",
    warnings: [],
  });
});

test("a word on which table counts is refused while nothing is wrong", async () => {
  const { call } = await adminStage();
  const reply = await call("POST", "/v1/store/reseed", { body: { from: "served" } });
  expect(reply).toMatchObject({ status: 409, json: { code: "CONFLICT" } });
});

test.each([
  [{}, "/from"],
  [{ from: "disk" }, "/from"],
  [{ from: "served", because: "x" }, "/because"],
])("the body %j is refused at %s", async (body, path) => {
  const { call } = await adminStage();
  const reply = await call("POST", "/v1/store/reseed", { body });
  expect(reply).toMatchObject({ status: 422, json: { errors: [{ path }] } });
});

test("only an admin says which table counts", async () => {
  const { call } = await adminStage({ hasTokens: true });
  const headers = { authorization: "Bearer operator-token-text" };
  const reply = await call("POST", "/v1/store/reseed", { body: { from: "served" }, headers });
  expect(reply.status).toBe(403);
});
