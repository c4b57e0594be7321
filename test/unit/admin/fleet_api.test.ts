/** The fleet as the API shows it: this instance's workers, and all instances of the store. */
import { describe, expect, test } from "vitest";
import { encodeStatus, type MemberStatus } from "../../../src/control/member_word.ts";
import { adminStage, type AdminStage } from "../../support/admin_stage.ts";

const WORKER = {
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
};

const HERE = {
  id: "here",
  self: true,
  version: "0.0.0-test",
  applied_revision: 1,
  lag: 2,
  last_heard_ms_ago: 0,
  state: "serving",
  serving_from: "store",
  store: "ok",
  workers: [WORKER],
  warnings: [],
};

const STATUS: MemberStatus = {
  run: "other-run",
  word: 1,
  version: "9.9.9",
  startedMs: 0,
  pid: 1,
  state: "not ready",
  servingFrom: "disk",
  store: "the server does not answer",
  workers: [],
  warnings: ["look at me"],
};

function put(stage: AdminStage, id: string, appliedRevision: number, status: string): void {
  const word = { appliedRevision, status, totals: "" };
  stage.circle.records.set(id, { word, atMs: stage.clock.nowMs() });
}

describe("GET /v1/fleet", () => {
  test("shows every worker and how far it is behind, and this instance alone without others", async () => {
    const { call } = await adminStage();
    await call("PUT", "/v1/routes/shop/split", { body: { old: 50, fresh: 50 } });
    await call("POST", "/v1/routes/shop/rollback");
    const reply = await call("GET", "/v1/fleet");
    expect(reply.headers.get("etag")).toBe('"3"');
    expect(reply.json).toEqual({
      revision: 3,
      version: "0.0.0-test",
      instance: "here",
      workers: [WORKER],
      instances: [HERE],
    });
  });

  test("shows the other instances in the order of their names", async () => {
    const stage = await adminStage({ isShared: true });
    put(stage, "zebra", 1, encodeStatus(STATUS));
    put(stage, "apple", 0, '{"format":2}');
    await stage.members.start();
    stage.clock.advance(1_500);
    const { json } = await stage.call("GET", "/v1/fleet");
    expect(json["instances"]).toEqual([
      {
        id: "apple",
        self: false,
        version: "",
        applied_revision: 0,
        lag: 1,
        last_heard_ms_ago: 1_500,
        state: "unknown",
        serving_from: null,
        store: "what it says cannot be read here",
        workers: [],
        warnings: [],
      },
      {
        ...HERE,
        lag: 0,
        workers: [{ ...WORKER, lag: 0 }],
        warnings: [expect.stringMatching(/cannot be read here.*: apple$/)],
      },
      {
        id: "zebra",
        self: false,
        version: "9.9.9",
        applied_revision: 1,
        lag: 0,
        last_heard_ms_ago: 1_500,
        state: "not ready",
        serving_from: "disk",
        store: "the server does not answer",
        workers: [],
        warnings: ["look at me"],
      },
    ]);
    await stage.members.stop();
  });

  test("is there while the store is away, with the newest revision that is known", async () => {
    const stage = await adminStage({ isShared: true });
    put(stage, "other", 4, encodeStatus(STATUS));
    await stage.members.start();
    await stage.store.close();
    const { status, json } = await stage.call("GET", "/v1/fleet");
    expect([status, json["revision"]]).toEqual([200, 4]);
    expect(json["workers"]).toEqual([{ ...WORKER, lag: 3 }]);
    await stage.members.stop();
  });
});

test("health says from how many instances its figures are", async () => {
  const stage = await adminStage({ isShared: true });
  expect((await stage.call("GET", "/v1/routes/shop/health")).json["instances"]).toBe(1);
  const totals = '{"format":1,"run":"other-run","word":1,"pairs":[]}';
  const word = { appliedRevision: 1, status: encodeStatus(STATUS), totals };
  stage.circle.records.set("other", { word, atMs: 0 });
  await stage.members.start();
  expect((await stage.call("GET", "/v1/routes/shop/health")).json["instances"]).toBe(2);
  await stage.members.stop();
});
