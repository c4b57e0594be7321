/** How a route is doing: figures of its backends, the judge's word, the rollout. */
import { describe, expect, test } from "vitest";
import { NO_SAMPLE } from "../../../src/domain/window.ts";
import { adminStage } from "../../support/admin_stage.ts";
import { IDLE_WORKER } from "../../support/snapshots.ts";
import { verdictOn } from "../../support/verdicts.ts";

describe("GET /v1/routes/{id}/health", () => {
  test("shows windows and shares per backend", async () => {
    const { call, parts } = await adminStage();
    parts.sampler.report("0.1", IDLE_WORKER, []);
    const cell = {
      ...NO_SAMPLE,
      route: "shop",
      backend: "old",
      started: 3,
      finished: 3,
      latency: [[20, 3]] as const,
    };
    parts.sampler.report("0.1", IDLE_WORKER, [
      cell,
      { ...cell, backend: "fresh", finished: 1, failures: 1, latency: [] },
    ]);
    const reply = await call("GET", "/v1/routes/shop/health");
    expect(reply.headers.get("etag")).toBe('"1"');
    expect(reply.json).toMatchObject({
      revision: 1,
      route: "shop",
      backends: [
        { backend: "old", role: "legacy", share_configured_percent: 95, share_observed_percent: 75 },
        {
          backend: "fresh",
          role: "candidate",
          share_configured_percent: 5,
          share_observed_percent: 25,
          windows: {
            "10s": { requests: 1, failures: 1, aborted: 0, p50_ms: null, p90_ms: null, p99_ms: null },
          },
        },
      ],
      judgement: null,
      braked: false,
      rollout: null,
      mirror: null,
    });
  });

  test("shows the evidence with its figures, and one line of it with the names of the backends", async () => {
    const { call, told } = await adminStage();
    told.verdicts.set("shop", { verdict: verdictOn(6), stepSinceMs: 0 });
    const { judgement } = (await call("GET", "/v1/routes/shop/health")).json;
    expect(judgement).toMatchObject({
      action: "hold",
      signal: "errors",
      proven: false,
      summary: expect.stringMatching(
        /^fresh 3\.00 % .* of 200, old 0\.25 % of 4,000; held for errors, evidence 6/,
      ),
      legacy: { requests: 4000, failures: 10, rate_percent: 0.25 },
      candidate: { requests: 200, failures: 6, rate_percent: 3 },
      evidence: { rollback: { latency: 0 }, hold: { all: 10, errors: 10, latency: 0 } },
      margin_percent: 1,
      requests_to_proof: null,
      candidate_per_second: 200,
    });
    const shown = judgement as { evidence: { rollback: { all: number } }; slow: { threshold_ms: unknown }[] };
    expect(Math.floor(shown.evidence.rollback.all)).toBe(6);
    expect(shown.slow.map(({ threshold_ms }) => threshold_ms)).toEqual([null, null, null, null]);
  });

  test("shows what became of the copies of a route with a mirror", async () => {
    const { call, parts } = await adminStage();
    const { route } = (await call("GET", "/v1/routes/shop")).json;
    await call("PUT", "/v1/routes/shop", {
      body: { ...(route as object), mirror: { to: "fresh", percent: 12.5 } },
    });
    const mirror = { to: "fresh", percent: 12.5, sampled: 0, answered: 0, in_flight: 0, dropped: {} };
    expect((await call("GET", "/v1/routes/shop/health")).json).toMatchObject({ mirror });
    parts.sampler.report(
      "0.1",
      IDLE_WORKER,
      [],
      [
        ["shop", "sampled", 9],
        ["shop", "answered", 5],
        ["shop", "body_too_large", 3],
      ],
    );
    expect((await call("GET", "/v1/routes/shop/health")).json["mirror"]).toEqual({
      ...mirror,
      sampled: 9,
      answered: 5,
      in_flight: 1,
      dropped: { body_too_large: 3 },
    });
  });

  test("says that a route is braked here", async () => {
    const { call, told } = await adminStage();
    told.braked.add("shop");
    expect((await call("GET", "/v1/routes/shop/health")).json["braked"]).toBe(true);
  });

  test("shows where the rollout is in short", async () => {
    const { call } = await adminStage();
    await call("PUT", "/v1/routes/shop/rollout", { body: { steps: [5, 50, 100] } });
    const rollout = { phase: "pending", step: 0, steps: 3 };
    expect((await call("GET", "/v1/routes/shop/health")).json).toMatchObject({ rollout });
    await call("POST", "/v1/routes/shop/rollout/start");
    await call("POST", "/v1/routes/shop/rollout/promote");
    expect((await call("GET", "/v1/routes/shop/health")).json).toMatchObject({
      rollout: {
        phase: "promoted",
        step: 3,
        lines: expect.arrayContaining([expect.stringMatching(/^weight: fresh has 100 % since /)]),
      },
    });
  });

  test("a route that is not there is 404 with the nearest name", async () => {
    const { call } = await adminStage();
    const reply = await call("GET", "/v1/routes/shpo/health");
    expect([reply.status, reply.json["detail"]]).toEqual([
      404,
      'There is no route "shpo"; did you mean "shop"?',
    ]);
  });
});
