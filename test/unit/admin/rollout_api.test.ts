/** Endpoints of a route's rollout. */
import { describe, expect, test } from "vitest";
import { adminStage, type AdminStage, type Reply } from "../../support/admin_stage.ts";
import { verdictOn } from "../../support/verdicts.ts";

const PATH = "/v1/routes/shop/rollout";
const PLAN = { steps: [5, 50, 100], bake: "10m", gates: [] as object[] };

/** A stage whose route has a plan, and as many moves behind it. */
async function planned(plan: object = PLAN, ...moves: readonly string[]): Promise<AdminStage> {
  const stage = await adminStage();
  await sure(stage.call("PUT", PATH, { body: plan }));
  for (const move of moves) await sure(stage.call("POST", `${PATH}/${move}`));
  return stage;
}

async function sure(call: Promise<Reply>): Promise<void> {
  const reply = await call;
  if (reply.status !== 200) throw new Error(reply.text);
}

async function phaseOf({ call }: AdminStage): Promise<unknown> {
  return ((await call("GET", PATH)).json["state"] as { phase: unknown }).phase;
}

describe("a plan", () => {
  test("is shown as written, not started, and leaves the weight alone", async () => {
    const { call } = await planned();
    const reply = await call("GET", PATH);
    expect(reply.headers.get("etag")).toBe('"2"');
    expect(reply.json).toMatchObject({
      revision: 2,
      route: "shop",
      plan: { steps: [5, 50, 100], bake: "10m" },
      state: { phase: "pending", run: 0, candidate_shares: 0 },
      frozen_until: null,
    });
    expect(reply.json["lines"]).toEqual([
      expect.stringMatching(/^not started since 2026-01-01T00:00:00Z/),
      "next: a person starts it",
      expect.stringMatching(/^why: /),
    ]);
    expect((await call("GET", "/v1/routes/shop")).json).toMatchObject({ route: { split: { fresh: 5 } } });
  });

  test("can be put again without a change, and what is shown can be put", async () => {
    const { call } = await planned();
    const { plan } = (await call("GET", PATH)).json;
    expect((await call("PUT", PATH, { body: plan })).json).toEqual({
      revision: 2,
      changed: false,
      difference: [],
    });
  });

  test("that is wrong is refused with every problem where it is in the plan", async () => {
    const { call } = await adminStage();
    const reply = await call("PUT", PATH, { body: { steps: [50, 5], baek: "1m" } });
    expect(reply.status).toBe(422);
    expect(reply.json["errors"]).toEqual([
      { path: "/baek", message: 'unknown key "baek"; did you mean "bake"?' },
      { path: "/steps/1", message: expect.stringContaining("must grow") },
    ]);
    expect((await call("PUT", PATH, { body: null })).status).toBe(422);
    expect((await call("GET", "/v1/table")).json["revision"]).toBe(1);
  });

  test("that is not there is 404 with what to do, for reading, removing and moving", async () => {
    const { call } = await adminStage();
    for (const [method, path] of [
      ["GET", PATH],
      ["DELETE", PATH],
      ["POST", `${PATH}/start`],
    ] as const) {
      const reply = await call(method, path);
      const hint = 'Route "shop" has no plan; give it one with `crossfade rollout shop set FILE`';
      expect([path, reply.status, reply.json["detail"]]).toEqual([path, 404, hint]);
    }
    for (const [method, path] of [
      ["GET", "/v1/routes/shpo/rollout"],
      ["PUT", "/v1/routes/shpo/rollout"],
      ["POST", "/v1/routes/shpo/rollout/start"],
    ] as const) {
      const reply = await call(method, path, method === "PUT" ? { body: PLAN } : {});
      expect([reply.status, reply.json["detail"]]).toEqual([
        404,
        'There is no route "shpo"; did you mean "shop"?',
      ]);
    }
  });

  test("is not removed while it is under way, and is afterwards", async () => {
    const stage = await planned(PLAN, "start");
    const refused = await stage.call("DELETE", PATH);
    expect([refused.status, refused.json["code"]]).toEqual([409, "CONFLICT"]);
    expect(refused.json["detail"]).toContain("`crossfade rollout shop abort`");
    await stage.call("POST", `${PATH}/abort`);
    expect((await stage.call("DELETE", `${PATH}?reason=over`)).json).toMatchObject({ changed: true });
    expect((await stage.call("GET", PATH)).status).toBe(404);
    expect((await stage.call("GET", "/v1/audit?limit=1")).json["entries"]).toMatchObject([
      { action: "rollout.delete", reason: "over" },
    ]);
  });

  test("says until when a freeze keeps it", async () => {
    const freeze = [{ from: "2025-12-20T00:00:00Z", to: "2026-01-07T00:00:00Z", why: "holidays" }];
    const { call } = await planned({ ...PLAN, freeze }, "start");
    const { json } = await call("GET", PATH);
    expect(json["frozen_until"]).toBe("2026-01-07T00:00:00.000Z");
    const [first] = json["lines"] as string[];
    expect(first).toContain("frozen until 2026-01-07T00:00:00Z (holidays)");
  });
});

describe("a person", () => {
  test("starts it: all traffic is on legacy until the first step, and the answer says where it is", async () => {
    const { call } = await planned();
    const reply = await call("POST", `${PATH}/start`, { body: { reason: "go" } });
    expect(reply.json).toMatchObject({ revision: 3, changed: true, difference: expect.any(Array) });
    expect(reply.json["lines"]).toEqual([
      expect.stringMatching(/^progressing since /),
      "weight: old has all traffic",
      "next: 5 % for fresh",
      "why: started by a person: go",
    ]);
    expect((await call("GET", "/v1/routes/shop")).json).toMatchObject({ route: { split: { fresh: 0 } } });
    expect((await call("GET", "/v1/audit?limit=1")).json["entries"]).toMatchObject([
      { action: "rollout.start", reason: "go", actor: expect.any(String) },
    ]);
  });

  test.each([
    [["start", "pause"], "paused"],
    [["start", "pause", "resume"], "progressing"],
    [["start", "promote"], "promoted"],
    [["start", "promote", "decommission"], "decommissioned"],
    [["start", "abort"], "aborted"],
    [["start", "abort", "start"], "progressing"],
  ])("leads by %j to %s", async (moves, phase) => {
    expect(await phaseOf(await planned(PLAN, ...moves))).toBe(phase);
  });

  test("ends it with a rollback of the route too", async () => {
    const stage = await planned(PLAN, "start");
    await stage.call("POST", "/v1/routes/shop/rollback", { body: { reason: "no" } });
    expect(await phaseOf(stage)).toBe("rolled_back");
  });

  test("may not do what does not fit, and hears what fits", async () => {
    const { call } = await planned(PLAN, "start");
    const reply = await call("POST", `${PATH}/start`);
    expect([reply.status, reply.json["code"]]).toEqual([409, "CONFLICT"]);
    expect(reply.json["detail"]).toContain("it is under way: pause, promote or abort it");
    const shift = await call("PUT", "/v1/routes/shop/split", { body: { old: 50, fresh: 50 } });
    expect(shift.status).toBe(409);
    expect((await call("GET", "/v1/table")).json["revision"]).toBe(3);
  });

  test("moves it once with one Idempotency-Key, however often it is sent", async () => {
    const { call } = await planned();
    const options = { headers: { "idempotency-key": "one" } };
    const first = await call("POST", `${PATH}/start`, options);
    const again = await call("POST", `${PATH}/start`, options);
    expect(again.json).toEqual(first.json);
    expect((await call("GET", PATH)).json).toMatchObject({ revision: 3, state: { run: 1 } });
    const other = await call("POST", `${PATH}/pause`, options);
    expect([other.status, other.json["code"]]).toEqual([422, "KEY_REUSED"]);
  });

  test("can name the revision, and wait for the workers", async () => {
    const { call } = await planned();
    const stale = await call("POST", `${PATH}/start`, { headers: { "if-match": '"1"' } });
    expect([stale.status, stale.json["code"]]).toEqual([412, "REVISION_MISMATCH"]);
    const reply = await call("POST", `${PATH}/start?wait=applied`, { headers: { "if-match": '"2"' } });
    expect(reply.json).toMatchObject({ revision: 3, applied_ms: 12.5, lines: expect.any(Array) });
  });

  test("is heard of as an event, and an unknown key in the body is refused", async () => {
    const { call, parts } = await planned();
    const events: unknown[] = [];
    parts.journal.subscribe((event) => events.push(event));
    expect((await call("POST", `${PATH}/start`, { body: { raeson: "x" } })).status).toBe(422);
    await call("POST", `${PATH}/start`, { body: { reason: "go" } });
    expect(events).toMatchObject([
      { type: "rollout", data: { route: "shop", phase: "progressing", text: "started by a person: go" } },
    ]);
  });

  test("leaves the gates after an abort to whoever leads: none is taken as asked", async () => {
    const gates = [{ at: "on-rollback", url: "http://127.0.0.1:1/", timeout: "1s", retries: 0 }];
    const { call } = await planned({ ...PLAN, gates }, "start", "abort");
    expect((await call("GET", PATH)).json["state"]).toMatchObject({ phase: "aborted", calls: 0 });
    expect((await call("GET", PATH)).json["state"]).not.toHaveProperty("gates");
  });
});

test("requests count for a step only when they were counted since its weight was set", async () => {
  const stage = await planned(PLAN, "start");
  const { commands, clock } = stage.parts;
  const calm = { action: "none", signal: null, reason: "", proven: false } as const;
  stage.clock.advance(10);
  const stepSinceMs = clock.wallMs();
  const tick = { type: "tick", nowMs: stepSinceMs, verdict: calm, stepSinceMs: 0 } as const;
  const author = { actor: "stage", reason: "" };
  await commands.moveRollout(
    "shop",
    { ...tick, candidateRequests: 0, frozen: null, storeOk: true, differencesProven: false },
    author,
  );
  stage.told.verdicts.set("shop", { verdict: verdictOn(0), stepSinceMs: 0 });
  const waits = async (): Promise<string> => String((await stage.call("GET", PATH)).json["lines"]);
  expect(await waits()).toContain("requests: 0 of at least 50 seen");
  stage.told.verdicts.set("shop", { verdict: verdictOn(0), stepSinceMs });
  expect(await waits()).not.toContain("requests:");
});
