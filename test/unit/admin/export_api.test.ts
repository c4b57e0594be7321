/** Endpoints that move a migration: what is exported here can be imported there, once, and only where nothing is. */
import { describe, expect, test } from "vitest";
import { IMPORT_BYTES_MAX } from "../../../src/admin/export_api.ts";
import { BODY_BYTES_MAX } from "../../../src/admin/input.ts";
import { adminStage, SHOP_TABLE, type AdminStage, type Reply } from "../../support/admin_stage.ts";

type Json = Reply["json"];

/** What a stage with revisions 1 and 2 exports. */
async function exported(): Promise<Json> {
  const stage = await adminStage();
  stage.clock.advance(60_000);
  await stage.call("PUT", "/v1/routes/shop/split", { body: { old: 75, fresh: 25, reason: "looks good" } });
  return (await stage.call("GET", "/v1/export")).json;
}

/** A call to import whose body ends when `end` is called. */
function slowImport({ app }: AdminStage): { readonly status: Promise<number>; readonly end: () => void } {
  let end = (): void => {};
  const body = new ReadableStream({
    start(controller) {
      end = () => controller.close();
    },
  });
  const headers = { host: "127.0.0.1:9900", "content-type": "application/json" };
  const init = { method: "POST", headers, body, duplex: "half" as const };
  const response = app.request(new Request("http://127.0.0.1:9900/v1/import", init));
  return { status: Promise.resolve(response).then(({ status }) => status), end: () => end() };
}

describe("GET /v1/export", () => {
  test("gives table, history and audit log as one document, with the newest revision as ETag", async () => {
    const stage = await adminStage();
    await stage.call("POST", "/v1/routes/shop/rollback", { body: { reason: "it fails" } });
    const reply = await stage.call("GET", "/v1/export");
    expect(reply.headers.get("etag")).toBe('"2"');
    expect(reply.json).toMatchObject({
      format: "crossfade.export",
      version: 1,
      crossfade: "0.0.0-test",
      exported_at: "2026-01-01T00:00:00.000Z",
      truncated: false,
      revisions: [
        { revision: 1, action: "apply", table: SHOP_TABLE },
        { revision: 2, from_revision: 1, actor: "loopback", action: "rollback", reason: "it fails" },
      ],
    });
  });

  test("is 404 while the store is empty", async () => {
    const { call } = await adminStage({ isEmpty: true });
    const reply = await call("GET", "/v1/export");
    expect([reply.status, reply.json["code"]]).toEqual([404, "NOT_FOUND"]);
    expect(reply.json["detail"]).toContain("nothing to export");
  });
});

describe("POST /v1/import", () => {
  test("fills an empty store, so that it exports the same again", async () => {
    const document = await exported();
    const stage = await adminStage({ isEmpty: true });
    const reply = await stage.call("POST", "/v1/import", { body: document });
    expect(reply.status).toBe(200);
    expect(reply.headers.get("etag")).toBe('"2"');
    expect(reply.json).toEqual({ revision: 2, revisions: 2 });
    expect((await stage.call("GET", "/v1/export")).json["revisions"]).toEqual(document["revisions"]);
    expect((await stage.call("GET", "/v1/history/1")).json["table"]).toEqual(SHOP_TABLE);
    expect(stage.log.at(-1)).toMatchObject({
      fields: { actor: "loopback", path: "/v1/import", revision: 2, revisions: 2 },
      message: "admin write",
    });
  });

  test("waits for the workers when asked to, and names who is missing", async () => {
    const document = await exported();
    const quick = await adminStage({ isEmpty: true });
    const reply = await quick.call("POST", "/v1/import?wait=applied", { body: document });
    expect(reply.json).toEqual({ revision: 2, revisions: 2, applied_ms: 12.5 });
    const slow = await adminStage({ isEmpty: true });
    slow.publisher.waitApplied = () => Promise.resolve({ applied: false, missing: ["worker 1 (pid 7)"] });
    const late = await slow.call("POST", "/v1/import?wait=applied&timeout=1s", { body: document });
    expect(late.status).toBe(504);
    expect(late.json).toMatchObject({ code: "NOT_APPLIED", revision: 2, revisions: 2 });
  });

  test("is 409 where anything is stored, and leaves it alone", async () => {
    const document = await exported();
    const { call } = await adminStage();
    const reply = await call("POST", "/v1/import", { body: document });
    expect([reply.status, reply.json["code"]]).toEqual([409, "CONFLICT"]);
    expect(reply.json["detail"]).toMatch(/revision 1 \(apply by stage\).*empty store/);
    expect((await call("GET", "/v1/history")).json["entries"]).toHaveLength(1);
  });

  test("is 422 with every problem at its place, before anything is stored", async () => {
    const document = structuredClone(await exported()) as Record<string, unknown> & {
      revisions: Record<string, unknown>[];
    };
    document["version"] = 2;
    document.revisions[1] = { ...document.revisions[1], revision: 1, table: { backends: {}, routes: 7 } };
    const { call } = await adminStage({ isEmpty: true });
    const reply = await call("POST", "/v1/import", { body: document });
    expect([reply.status, reply.json["code"]]).toEqual([422, "INVALID"]);
    const paths = (reply.json["errors"] as { path: string }[]).map(({ path }) => path);
    expect(paths.toSorted()).toEqual([
      "/revisions/1/from_revision",
      "/revisions/1/revision",
      "/revisions/1/table/routes",
      "/version",
    ]);
    expect((await call("GET", "/v1/history")).json["entries"]).toEqual([]);
  });

  test("honours If-Match and Idempotency-Key", async () => {
    const document = await exported();
    const { call } = await adminStage({ isEmpty: true });
    const send = (headers: Record<string, string>, body: unknown = document) =>
      call("POST", "/v1/import", { body, headers });
    expect((await send({ "if-match": '"2"' })).status).toBe(412);
    expect((await send({ "if-match": '"0"', "idempotency-key": "k1" })).json["revision"]).toBe(2);
    await call("POST", "/v1/routes/shop/rollback");
    expect((await send({ "idempotency-key": "k1" })).json).toEqual({ revision: 2, revisions: 2 });
    const other = await send({ "idempotency-key": "k1" }, { ...document, crossfade: "9.9.9" });
    expect(other.json["code"]).toBe("KEY_REUSED");
  });

  test("needs an admin, while viewers may export", async () => {
    const document = await exported();
    const stage = await adminStage({ hasTokens: true });
    expect((await stage.call("GET", "/v1/export", { as: "viewer" })).status).toBe(200);
    expect((await stage.call("GET", "/v1/export")).status).toBe(401);
    expect((await stage.call("POST", "/v1/import", { as: "operator", body: document })).status).toBe(403);
    expect((await stage.call("POST", "/v1/import", { as: "admin", body: document })).status).toBe(409);
  });
});

describe("a large body", () => {
  const pad = (text: string, bytes: number): string => text.padEnd(bytes);

  test("is taken by an import, up to its own bound, and by nothing else", async () => {
    const { call } = await adminStage({ isEmpty: true });
    const text = JSON.stringify(await exported());
    const tooLarge = await call("POST", "/v1/import", { body: pad(text, IMPORT_BYTES_MAX + 1) });
    expect([tooLarge.status, tooLarge.json["code"]]).toEqual([413, "BODY_REFUSED"]);
    expect(tooLarge.json["detail"]).toContain(String(IMPORT_BYTES_MAX));
    const table = await call("PUT", "/v1/table", {
      body: pad(JSON.stringify(SHOP_TABLE), BODY_BYTES_MAX + 1),
    });
    expect(table.status).toBe(413);
    expect(table.json["detail"]).toContain(String(BODY_BYTES_MAX));
    const largest = await call("POST", "/v1/import", { body: pad(text, IMPORT_BYTES_MAX) });
    expect([largest.status, largest.json["revisions"]]).toEqual([200, 2]);
  });

  test("is held for two calls at a time: a third is refused, until one of them is done", async () => {
    const stage = await adminStage({ isEmpty: true });
    const body = await exported();
    const first = slowImport(stage);
    const second = slowImport(stage);
    const third = await stage.call("POST", "/v1/import", { body });
    expect([third.status, third.json["code"]]).toEqual([503, "TOO_MANY_WAITING"]);
    first.end();
    expect(await first.status).toBe(400);
    expect((await stage.call("POST", "/v1/import", { body })).status).toBe(200);
    second.end();
    expect(await second.status).toBe(400);
  });
});
