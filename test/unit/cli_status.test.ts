/** The commands that show traffic: what counts as ready, and the figures of each backend. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeStatus } from "../../src/control/member_word.ts";
import { CounterBook } from "../../src/shared/counters.ts";
import { serveStage, type ServedStage } from "../support/shell.ts";
import { IDLE_WORKER } from "../support/snapshots.ts";
import { verdictOn } from "../support/verdicts.ts";

let stage: ServedStage;

beforeEach(async () => {
  stage = await serveStage();
  const book = new CounterBook();
  const { sampler } = stage.parts;
  sampler.report("0.1", IDLE_WORKER, book.report(true));
  for (let request = 0; request < 10; request++) {
    const cell = book.cell("shop", request < 9 ? "old" : "fresh");
    cell.started++;
    cell.finish(request < 9 ? 200 : 500, 12_000);
    if (request === 9) cell.failures++;
  }
  sampler.report("0.1", IDLE_WORKER, book.report(true));
  stage.clock.advance(1_000);
  sampler.tick();
});

afterEach(async () => {
  await stage.close();
});

function cells(line: string | undefined): string[] {
  return (line ?? "").trim().split(/ {2,}/);
}

describe("status", () => {
  it("shows readiness, and each backend of each route with its figures", async () => {
    const ran = await stage.run(["status"]);
    expect(ran).toMatchObject({ code: 0, err: "" });
    const [first, blank, titles, old, fresh, note] = ran.out.split("\n");
    expect(first).toBe(`ready  revision 1  1 of 1 workers serving  crossfade 0.0.0-test at ${stage.url}`);
    expect(blank).toBe("");
    expect(cells(titles)).toEqual([
      "ROUTE",
      "BACKEND",
      "WEIGHT",
      "SHARE",
      "REQUESTS",
      "FAILED",
      "P50",
      "P99",
    ]);
    expect(cells(old)).toEqual(["shop", "old", "95 %", "90.0 %", "9", "0", "12.0 ms", "12.0 ms"]);
    expect(cells(fresh)).toEqual(["fresh", "5 %", "10.0 %", "1", "1", "12.0 ms", "12.0 ms"]);
    expect(note).toContain("last 10 s");
  });

  it("counts the workers of all instances that it knows of", async () => {
    const shared = await serveStage({ isShared: true });
    const facts = { run: "b", word: 1, version: "1", startedMs: 0, pid: 1, warnings: [] };
    const how = { state: "serving", servingFrom: "store", store: null } as const;
    const status = encodeStatus({ ...facts, ...how, workers: shared.parts.fleet.status() });
    shared.circle.records.set("other", { word: { appliedRevision: 1, status, totals: "" }, atMs: 0 });
    await shared.members.start();
    const ran = await shared.run(["status"]);
    expect(ran.out).toContain("  2 of 2 workers serving in 2 instances  ");
    await shared.members.stop();
    await shared.close();
  });

  it("draws weights and paints failures on a terminal", async () => {
    const ran = await stage.run(["status"], { look: { colour: true, columns: 120 } });
    expect(ran.out).toContain("\u2588");
    expect(ran.out).toMatch(/\u001b\[31m1\u001b/);
  });

  it("shows where a rollout is, and a doubt about the candidate", async () => {
    await stage.call("PUT", "/v1/routes/shop/rollout", { body: { steps: [5, 100] } });
    await stage.call("POST", "/v1/routes/shop/rollout/start");
    stage.told.verdicts.set("shop", { verdict: verdictOn(6), stepSinceMs: 0 });
    const states = async (): Promise<(string | undefined)[]> => {
      const { out } = await stage.run(["status"]);
      return out
        .split("\n")
        .slice(2, 5)
        .map((line) => cells(line).at(-1));
    };
    expect(await states()).toEqual([
      "STATE",
      "progressing, before step 1 of 2",
      "in doubt: errors, evidence 6.0 of 10 to roll back",
    ]);
    stage.told.braked.add("shop");
    await stage.call("POST", "/v1/routes/shop/rollout/abort");
    const braked = "braked: kept on legacy here until the table can be changed";
    expect(await states()).toEqual(["STATE", "rolled back", braked]);
    const { out } = await stage.run(["status", "--json"]);
    expect(JSON.parse(out)).toMatchObject({
      routes: [{ route: "shop", braked: true, judgement: { action: "hold" }, rollout: { phase: "aborted" } }],
    });
  });

  it("exits with 3 and the reason when Crossfade is not ready", async () => {
    stage.publisher.readiness = () => ({
      ready: false,
      reason: "it is draining",
      warnings: ["the disk is full"],
    });
    const ran = await stage.run(["status"]);
    expect(ran.code).toBe(3);
    expect(ran.out).toContain("not ready: it is draining");
    expect(ran.out).toContain("warning: the disk is full");
    const json = await stage.run(["status", "--json"]);
    expect(json.code).toBe(3);
    expect(JSON.parse(json.out)).toMatchObject({ ready: false, reason: "it is draining" });
  });

  it("looks again and again with --watch, until nobody answers", async () => {
    let looks = 0;
    const ran = await stage.run(["status", "--watch", "--every", "1ms", "--json"], {
      onOut: () => {
        looks++;
        if (looks === 3) void stage.close();
      },
    });
    expect(ran.code).toBe(69);
    const lines = ran.out.trimEnd().split("\n");
    expect(lines.length).toBeGreaterThanOrEqual(3);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ ready: true, revision: 1 });
  });
});

describe("health", () => {
  it("shows both windows of both backends", async () => {
    const { out } = await stage.run(["health", "shop"]);
    const lines = out.trimEnd().split("\n").map(cells);
    expect(lines.slice(5)).toEqual([[""], ["nothing to judge yet"]]);
    expect(lines[1]).toEqual(["old", "legacy", "95 %", "10s", "9", "0", "12.0 ms", "12.0 ms", "12.0 ms"]);
    expect(lines[4]).toEqual(["10.0 %", "60s", "1", "1", "12.0 ms", "12.0 ms", "12.0 ms"]);
  });

  it("shows what the judge says, the evidence by signal, and the rollout", async () => {
    await stage.call("PUT", "/v1/routes/shop/rollout", { body: { steps: [5, 100] } });
    stage.told.verdicts.set("shop", { verdict: verdictOn(6), stepSinceMs: 0 });
    stage.told.braked.add("shop");
    const { out } = await stage.run(["health", "shop"]);
    const [, , , , , , braked, , summary, , titles, all, errors, latency, , rollout, first] = out.split("\n");
    expect(braked).toMatch(/^braked: /);
    expect(summary).toMatch(/^fresh 3\.00 % .*; held for errors, evidence 6 of 10 needed to roll back; /);
    expect(cells(titles)).toEqual(["EVIDENCE", "TO HOLD", "TO ROLL BACK"]);
    expect(cells(all)).toEqual(["all", "10.0 of 10", "6.0 of 10"]);
    expect(cells(errors)).toEqual(["errors", "10.0 of 10", "6.0 of 10"]);
    expect(cells(latency)).toEqual(["latency", "0.0 of 10", "0.0 of 10"]);
    expect([rollout, first]).toEqual(["rollout:", expect.stringMatching(/^ {2}not started since /)]);
  });

  it("is the API's answer with --json", async () => {
    const { out } = await stage.run(["health", "shop", "--json"]);
    expect(JSON.parse(out)).toMatchObject({
      route: "shop",
      backends: [{ backend: "old" }, { backend: "fresh" }],
    });
  });
});
