/** What all writes share: conditions, idempotency, waiting for the workers, and what a body may be. */
import { describe, expect, test } from "vitest";
import { Fault } from "../../../src/base/fault.ts";
import { BODY_BYTES_MAX } from "../../../src/admin/input.ts";
import { adminStage, type AdminStage, type Reply } from "../../support/admin_stage.ts";

function shift(
  stage: AdminStage,
  percent: number,
  headers: Record<string, string> = {},
  query = "",
): Promise<Reply> {
  const body = { old: 100 - percent, fresh: percent };
  return stage.call("PUT", `/v1/routes/shop/split${query}`, { body, headers });
}

function rollback(stage: AdminStage, key: string, reason?: string): Promise<Reply> {
  const body = reason === undefined ? {} : { body: { reason } };
  return stage.call("POST", "/v1/routes/shop/rollback", { ...body, headers: { "idempotency-key": key } });
}

describe("If-Match", () => {
  test.each(['"1"', 'W/"1"', "1", ' "1" ', "*"])("%j lets a write to revision 1 through", async (field) => {
    const stage = await adminStage();
    expect((await shift(stage, 10, { "if-match": field })).status).toBe(200);
  });

  test("another revision is 412, and nothing is changed", async () => {
    const stage = await adminStage();
    for (const [method, path, body] of [
      ["PUT", "/v1/routes/shop/split", { old: 1, fresh: 99 }],
      ["POST", "/v1/routes/shop/rollback", undefined],
      ["DELETE", "/v1/routes/shop", undefined],
      ["PUT", "/v1/table", { backends: {}, routes: [] }],
      ["POST", "/v1/history/1/restore", undefined],
    ] as const) {
      const reply = await stage.call(method, path, { body, headers: { "if-match": '"2"' } });
      expect([path, reply.status, reply.json["code"]]).toEqual([path, 412, "REVISION_MISMATCH"]);
    }
    expect((await stage.call("GET", "/v1/table")).json["revision"]).toBe(1);
  });

  test("of two writers with the same revision one wins", async () => {
    const stage = await adminStage();
    const replies = await Promise.all(
      [10, 20].map((percent) => shift(stage, percent, { "if-match": '"1"' })),
    );
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200, 412]));
  });

  test.each(["", "x", '"x"', '"1', '"1", "2"', "-1", '"1.5"', `"${"9".repeat(30)}"`])(
    "%j is malformed",
    async (field) => {
      const stage = await adminStage();
      const reply = await shift(stage, 10, { "if-match": field });
      expect([reply.status, reply.json["code"]]).toEqual([400, "MALFORMED"]);
      expect(reply.json["errors"]).toMatchObject([{ path: "If-Match" }]);
    },
  );

  test("is not looked at on reads", async () => {
    const stage = await adminStage();
    expect((await stage.call("GET", "/v1/table", { headers: { "if-match": "x" } })).status).toBe(200);
  });
});

describe("Idempotency-Key", () => {
  test("the same call again gives the first outcome and commits nothing more", async () => {
    const stage = await adminStage();
    expect((await rollback(stage, "k1")).json["revision"]).toBe(2);
    await shift(stage, 50);
    expect((await rollback(stage, "k1")).json["revision"]).toBe(2);
    expect((await stage.call("GET", "/v1/table")).json["revision"]).toBe(3);
    expect((await rollback(stage, "k2")).json["revision"]).toBe(4);
  });

  test("parameters that do not change what is asked do not matter", async () => {
    const stage = await adminStage();
    await rollback(stage, "k1");
    const again = { headers: { "idempotency-key": "k1" } };
    const reply = await stage.call("POST", "/v1/routes/shop/rollback?wait=applied", again);
    expect(reply.json).toMatchObject({ revision: 2, applied_ms: 12.5 });
  });

  test("the same key for another call is refused", async () => {
    const stage = await adminStage();
    await rollback(stage, "k1");
    const otherBody = await rollback(stage, "k1", "other words");
    expect([otherBody.status, otherBody.json["code"]]).toEqual([422, "KEY_REUSED"]);
    const otherPath = await stage.call("POST", "/v1/history/1/restore", {
      headers: { "idempotency-key": "k1" },
    });
    expect([otherPath.status, otherPath.json["code"]]).toEqual([422, "KEY_REUSED"]);
  });

  test("1 to 128 visible characters are taken", async () => {
    const stage = await adminStage();
    for (const key of ["", "a b", "x".repeat(129), "\u00e9"]) {
      const reply = await rollback(stage, key);
      expect([key, reply.status]).toEqual([key, 400]);
      expect(reply.json["errors"]).toMatchObject([{ path: "Idempotency-Key" }]);
    }
    for (const key of ["!", "x".repeat(128), "~a/b+c=1"])
      expect((await rollback(stage, key)).status).toBe(200);
  });
});

describe("?wait=applied", () => {
  test("answers with the time once every worker has the revision", async () => {
    const stage = await adminStage();
    const asked: [number, number][] = [];
    stage.publisher.waitApplied = (revision, timeoutMs) => {
      asked.push([revision, timeoutMs]);
      stage.clock.advance(3.14159);
      return Promise.resolve({ applied: true, appliedMs: 1 });
    };
    expect((await shift(stage, 10, {}, "?wait=applied&timeout=250ms")).json["applied_ms"]).toBe(3.142);
    await shift(stage, 11, {}, "?wait=applied");
    await shift(stage, 12, {}, "?wait=applied&timeout=60s");
    expect(asked).toEqual([
      [2, 250],
      [3, 5_000],
      [4, 60_000],
    ]);
  });

  test("without it nobody waits", async () => {
    const stage = await adminStage();
    stage.publisher.waitApplied = () => Promise.reject(new Error("nobody asked to wait"));
    expect((await shift(stage, 10, {}, "?timeout=5s")).json).toMatchObject({ revision: 2, changed: true });
  });

  test("a change that changes nothing still waits for the revision that is current", async () => {
    const stage = await adminStage();
    expect((await shift(stage, 5, {}, "?wait=applied")).json).toMatchObject({
      revision: 1,
      changed: false,
      applied_ms: 12.5,
    });
  });

  test("504 names who is missing, and says that the change is committed", async () => {
    const stage = await adminStage();
    const missing = ["worker 1 (pid 7) has revision 1"];
    stage.publisher.waitApplied = () => Promise.resolve({ applied: false, missing });
    const reply = await shift(stage, 10, {}, "?wait=applied");
    expect(reply.status).toBe(504);
    expect(reply.headers.get("etag")).toBe('"2"');
    expect(reply.json).toMatchObject({ code: "NOT_APPLIED", revision: 2, changed: true, missing });
    expect(reply.json["detail"]).toContain("Revision 2 is committed");
    expect(reply.json["detail"]).toContain("worker 1 (pid 7) has revision 1");
    expect((await stage.call("GET", "/v1/table")).json["revision"]).toBe(2);
  });

  test("when too many wait, the answer says that the change is committed too", async () => {
    const stage = await adminStage();
    stage.publisher.waitApplied = () => Promise.reject(new Fault("TOO_MANY_WAITING"));
    const reply = await shift(stage, 10, {}, "?wait=applied");
    expect([reply.status, reply.json["code"], reply.json["revision"]]).toEqual([503, "TOO_MANY_WAITING", 2]);
    expect(reply.json["detail"]).toContain("Revision 2 is committed");
    expect(reply.headers.get("retry-after")).toBe("1");
  });

  test.each([
    ["?wait=aplied", "?wait"],
    ["?wait=", "?wait"],
    ["?wait=applied&timeout=61s", "?timeout"],
    ["?wait=applied&timeout=0s", "?timeout"],
    ["?wait=applied&timeout=5", "?timeout"],
    ["?wait=applied&timeout=-5s", "?timeout"],
    ["?weit=applied", "?weit"],
    ["?dry_run=true", "?dry_run"],
    ["?__proto__=1", "?__proto__"],
  ])("%s is refused and nothing is changed", async (query, path) => {
    const stage = await adminStage();
    const reply = await shift(stage, 10, {}, query);
    expect(reply.status).toBe(422);
    expect(reply.json["errors"]).toMatchObject([{ path }]);
    expect((await stage.call("GET", "/v1/table")).json["revision"]).toBe(1);
  });
});

describe("the body", () => {
  const put = (stage: AdminStage, body: string, type?: string): Promise<Reply> =>
    stage.call("PUT", "/v1/routes/shop/split", {
      body,
      ...(type === undefined ? {} : { headers: { "content-type": type } }),
    });
  const good = '{"old":90,"fresh":10}';

  test("broken JSON is 400 with the place", async () => {
    const reply = await put(await adminStage(), '{"old": 90,\n "fresh": }');
    expect([reply.status, reply.json["code"]]).toEqual([400, "MALFORMED"]);
    expect(reply.json["detail"]).toContain("line 2, column 11");
  });

  test.each(["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])(
    "%s is taken",
    async (type) => {
      expect((await put(await adminStage(), good, type)).status).toBe(200);
    },
  );

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=latin1",
    "application/jsonx",
    "",
  ])("the type %j is refused", async (type) => {
    const reply = await put(await adminStage(), good, type);
    expect(reply.status).toBe(400);
    expect(reply.json["errors"]).toMatchObject([{ path: "Content-Type" }]);
  });

  test("a missing body is refused where one is needed", async () => {
    const stage = await adminStage();
    const reply = await stage.call("PUT", "/v1/routes/shop/split");
    expect([reply.status, reply.json["code"]]).toEqual([400, "MALFORMED"]);
  });

  test("more than a mebibyte is 413", async () => {
    const stage = await adminStage();
    const padded = (length: number): string => good.padEnd(length, " ");
    expect((await put(stage, padded(BODY_BYTES_MAX))).status).toBe(200);
    const reply = await put(stage, padded(BODY_BYTES_MAX + 1));
    expect([reply.status, reply.json["code"]]).toEqual([413, "BODY_REFUSED"]);
  });

  test("bytes that are no UTF-8 are refused", async () => {
    const { app } = await adminStage();
    const response = await app.request("http://127.0.0.1/v1/routes/shop/split", {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: Buffer.from([0x7b, 0xff, 0x7d]),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: "MALFORMED",
      errors: [{ message: expect.stringContaining("UTF-8") }],
    });
  });
});

test("a write is logged with who and what, and without secrets", async () => {
  const stage = await adminStage({ hasTokens: true });
  await stage.call("PUT", "/v1/routes/shop/split", { body: { old: 90, fresh: 10 }, as: "operator" });
  expect(stage.log).toEqual([
    {
      level: "info",
      fields: {
        actor: "the-operator",
        method: "PUT",
        path: "/v1/routes/shop/split",
        revision: 2,
        changed: true,
        dryRun: false,
      },
      message: "admin write",
    },
  ]);
});
