/** The commands that show traffic: what counts as ready, and the figures of each backend. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CounterBook } from "../../src/shared/counters.ts";
import { serveStage, type ServedStage } from "../support/shell.ts";
import { IDLE_WORKER } from "../support/snapshots.ts";

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

  it("draws weights and paints failures on a terminal", async () => {
    const ran = await stage.run(["status"], { look: { colour: true, columns: 120 } });
    expect(ran.out).toContain("\u2588");
    expect(ran.out).toMatch(/\u001b\[31m1\u001b/);
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
    expect(lines).toHaveLength(5);
    expect(lines[1]).toEqual(["old", "legacy", "95 %", "10s", "9", "0", "12.0 ms", "12.0 ms", "12.0 ms"]);
    expect(lines[4]).toEqual(["10.0 %", "60s", "1", "1", "12.0 ms", "12.0 ms", "12.0 ms"]);
  });

  it("is the API's answer with --json", async () => {
    const { out } = await stage.run(["health", "shop", "--json"]);
    expect(JSON.parse(out)).toMatchObject({
      route: "shop",
      backends: [{ backend: "old" }, { backend: "fresh" }],
    });
  });
});
