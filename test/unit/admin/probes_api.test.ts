/** Endpoints for machines, and the fleet. */
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

describe("GET /v1/fleet", () => {
  test("shows every worker and how far it is behind", async () => {
    const { call } = await adminStage();
    await call("PUT", "/v1/routes/shop/split", { body: { old: 50, fresh: 50 } });
    await call("POST", "/v1/routes/shop/rollback");
    const reply = await call("GET", "/v1/fleet");
    expect(reply.headers.get("etag")).toBe('"3"');
    expect(reply.json).toEqual({
      revision: 3,
      version: "0.0.0-test",
      workers: [
        {
          worker: 0,
          pid: 4242,
          version: "0.0.0-test",
          state: "serving",
          adopted: false,
          applied_revision: 1,
          lag: 2,
          connections_open: 3,
          restarts: 0,
          rss_bytes: 50_000_000,
          loop_utilization: 0.25,
        },
      ],
    });
  });
});
