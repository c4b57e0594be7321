/** Endpoints for machines. */
import { describe, expect, test } from "vitest";
import { adminStage } from "../../support/admin_stage.ts";

describe("probes", () => {
  test("livez is 200 while the process answers", async () => {
    const { call } = await adminStage();
    expect((await call("GET", "/livez")).json).toEqual({ live: true });
  });

  test("readyz is 200 with the warnings there are", async () => {
    const { call, publisher } = await adminStage();
    publisher.readiness = () => ({ ready: true, reason: "", warnings: ["the store cannot be read"] });
    expect((await call("GET", "/readyz")).json).toEqual({
      ready: true,
      warnings: ["the store cannot be read"],
    });
  });

  test("readyz warns of another Crossfade under the same instance name", async () => {
    const { call, members, circle } = await adminStage({ isShared: true });
    await members.start();
    circle.records.set("here", { word: { appliedRevision: 1, status: "{}", totals: "" }, atMs: 0 });
    await members.beat();
    const warning = "another Crossfade uses the instance name here; give each its own `instance`";
    expect((await call("GET", "/readyz")).json).toEqual({ ready: true, warnings: [warning] });
    await members.stop();
  });

  test("readyz warns of routes that are not judged or are braked", async () => {
    const { call, told } = await adminStage();
    told.warnings.push('route "shop" is kept on legacy');
    expect((await call("GET", "/readyz")).json["warnings"]).toEqual(['route "shop" is kept on legacy']);
  });

  test("readyz is 503 with the reason", async () => {
    const { call, publisher } = await adminStage();
    publisher.readiness = () => ({ ready: false, reason: "no worker serves yet", warnings: [] });
    const reply = await call("GET", "/readyz");
    expect([reply.status, reply.json["code"], reply.json["detail"]]).toEqual([
      503,
      "NOT_READY",
      "no worker serves yet",
    ]);
    expect(reply.headers.get("retry-after")).toBe("1");
  });

  test("readyz does not ask the store", async () => {
    const { call, store } = await adminStage();
    await store.close();
    expect((await call("GET", "/readyz")).status).toBe(200);
    expect((await call("GET", "/livez")).status).toBe(200);
  });

  test.each(["verbose", "verbose=true"])("readyz?%s shows how far each worker is", async (query) => {
    const { call } = await adminStage();
    const { json } = await call("GET", `/readyz?${query}`);
    expect(json["workers"]).toEqual([{ worker: 0, state: "serving", applied_revision: 1 }]);
    expect((await call("GET", "/readyz?verbose=false")).json["workers"]).toBeUndefined();
  });

  test("metrics are Prometheus text", async () => {
    const { call } = await adminStage();
    const reply = await call("GET", "/metrics");
    expect(reply.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(reply.text).toContain("\ncrossfade_table_revision 1\n");
  });
});
