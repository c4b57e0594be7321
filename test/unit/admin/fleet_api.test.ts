/** The fleet as the API shows it: this instance's workers, and all instances of the store. */
import { describe, expect, test } from "vitest";
import { encodeStatus, type MemberStatus } from "../../../src/control/member_word.ts";
import { assert } from "../../../src/base/fault.ts";
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
      pid: 4000,
      listen: ["127.0.0.1:8080"],
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

describe("POST /v1/fleet/recycle", () => {
  test("names the workers that will go, and tells the fleet who wants it and why", async () => {
    const { call, told, log } = await adminStage({ hasTokens: true });
    const reply = await call("POST", "/v1/fleet/recycle", { as: "operator", body: { reason: "new libc" } });
    expect(reply.json).toEqual({ workers: [{ worker: 0, pid: 4242 }] });
    await call("POST", "/v1/fleet/recycle", { as: "operator" });
    expect(told.causes).toEqual(["the-operator: new libc", "the-operator wants it"]);
    expect(log.map(({ fields }) => fields["actor"])).toEqual(["the-operator", "the-operator"]);
  });

  test("refuses what is no reason, and replaces nobody", async () => {
    const { call, told } = await adminStage();
    const reply = await call("POST", "/v1/fleet/recycle", { body: { reson: "x" } });
    expect([reply.status, told.causes]).toEqual([422, []]);
  });

  test("shows in the fleet why a worker goes", async () => {
    const { call, told, parts } = await adminStage();
    const [worker] = parts.fleet.status();
    assert(worker !== undefined, "the stage has a worker");
    told.worker = { ...worker, replacedBecause: "it is older than 60 s" };
    const { json } = await call("GET", "/v1/fleet");
    expect(json["workers"]).toEqual([{ ...WORKER, lag: 0, replaced_because: "it is older than 60 s" }]);
  });
});

describe("POST /v1/upgrade", () => {
  test("answers with who takes over", async () => {
    const { call, told } = await adminStage();
    const reply = await call("POST", "/v1/upgrade", { body: { reason: "1.2" } });
    expect(reply.json).toEqual({ pid: 4000, version: "0.0.1-test", after_ms: 1200 });
    expect(told.causes).toEqual(["loopback: 1.2"]);
  });

  test.each([
    ["UPGRADE_FAILED", 500],
    ["CONFLICT", 409],
  ] as const)("says why it failed: %s", async (code, status) => {
    const { call, told } = await adminStage();
    told.upgrade = { ok: false, code, detail: "the settings have problems" };
    const reply = await call("POST", "/v1/upgrade");
    expect([reply.status, reply.json["code"], reply.json["detail"]]).toEqual([
      status,
      code,
      "the settings have problems",
    ]);
  });
});
