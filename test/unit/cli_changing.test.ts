/** The commands that change the table, against a real admin API with a publisher that does as told. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SHOP_TABLE } from "../support/admin_stage.ts";
import { serveStage, type ServedStage } from "../support/shell.ts";

let stage: ServedStage;

beforeEach(async () => {
  stage = await serveStage();
});

afterEach(async () => {
  await stage.close();
});

async function splitNow(): Promise<unknown> {
  return (await stage.call("GET", "/v1/routes/shop")).json["route"];
}

describe("shift", () => {
  it("gives the candidate its percent and legacy the rest, and says when every worker had it", async () => {
    const ran = await stage.run(["shift", "shop", "25", "--reason", "looks good"]);
    expect(ran.err).toBe("");
    expect(ran).toMatchObject({
      code: 0,
      out: "shop: revision 2, in effect in every worker after 12.5 ms\n  route shop: fresh 5 % -> 25 %\n",
    });
    expect(await splitNow()).toMatchObject({ split: { old: 75, fresh: 25 } });
    expect((await stage.store.history({ limit: 1 }))[0]).toMatchObject({
      action: "shift",
      reason: "looks good",
    });
  });

  it("takes three decimals and a percent sign without rounding errors", async () => {
    expect((await stage.run(["shift", "shop", "0.1%"])).code).toBe(0);
    expect(await splitNow()).toMatchObject({ split: { old: 99.9, fresh: 0.1 } });
    expect((await stage.run(["shift", "shop", "33.333"])).code).toBe(0);
    expect(await splitNow()).toMatchObject({ split: { old: 66.667, fresh: 33.333 } });
  });

  it("does not wait when told so", async () => {
    stage.publisher.waitApplied = () => Promise.reject(new Error("nobody should wait"));
    const ran = await stage.run(["shift", "shop", "25", "--no-wait"]);
    expect(ran).toMatchObject({ code: 0, out: expect.stringContaining("stored, on its way to the workers") });
  });

  it("fails with who is missing when a worker does not get it in time, and waits as long as told", async () => {
    const waits: number[] = [];
    stage.publisher.waitApplied = (_, timeoutMs) => {
      waits.push(timeoutMs);
      return Promise.resolve({ applied: false, missing: ["worker 1 (pid 7)"] });
    };
    const ran = await stage.run(["shift", "shop", "25", "--timeout", "2s"]);
    expect(ran).toMatchObject({ code: 1, out: "", err: expect.stringContaining("worker 1 (pid 7)") });
    await stage.run(["shift", "shop", "26", "--timeout", "5m"]);
    expect(waits).toEqual([2_000, 60_000]);
  });

  it("says so when there is nothing to change", async () => {
    const ran = await stage.run(["shift", "shop", "5"]);
    expect(ran).toMatchObject({ code: 0, out: "shop: nothing to change; revision 1 stays\n" });
  });

  it("changes nothing when the table is at another revision", async () => {
    const ran = await stage.run(["shift", "shop", "25", "--if-match", "9"]);
    expect(ran).toMatchObject({ code: 1, out: "", err: expect.stringContaining("revision 1, not 9") });
    expect(await splitNow()).toMatchObject({ split: { old: 95, fresh: 5 } });
    expect((await stage.run(["shift", "shop", "25", "--if-match", "1"])).code).toBe(0);
  });

  it("prints the API's answer with --json", async () => {
    const ran = await stage.run(["shift", "shop", "25", "--json"]);
    expect(JSON.parse(ran.out)).toEqual({
      revision: 2,
      changed: true,
      difference: ["route shop: fresh 5 % -> 25 %"],
      applied_ms: 12.5,
    });
  });
});

describe("rollback and restore", () => {
  it("take everybody back to legacy, and to a past table", async () => {
    expect((await stage.run(["rollback", "shop", "--reason", "it fails"])).code).toBe(0);
    expect(await splitNow()).toMatchObject({ split: { old: 100, fresh: 0 } });
    const ran = await stage.run(["restore", "1"]);
    expect(ran).toMatchObject({ code: 0, out: expect.stringContaining("revision 3") });
    expect(await splitNow()).toMatchObject({ split: { old: 95, fresh: 5 } });
    const entries = await stage.store.history({ limit: 2 });
    expect(entries.map(({ action, reason }) => [action, reason])).toEqual([
      ["restore", ""],
      ["rollback", "it fails"],
    ]);
  });

  it("fail for what is not there", async () => {
    expect(await stage.run(["rollback", "shpo"])).toMatchObject({ code: 1, out: "" });
    expect(await stage.run(["restore", "99"])).toMatchObject({ code: 1, out: "" });
  });
});

describe("apply", () => {
  const CHANGED = { ...SHOP_TABLE, routes: [{ ...SHOP_TABLE.routes[0], split: { old: 50, fresh: 50 } }] };
  const files = {
    "table.json": JSON.stringify(CHANGED),
    "settings.json": JSON.stringify({ listen: [], table: CHANGED }),
    "-": JSON.stringify(CHANGED),
  };

  it.each(["table.json", "settings.json", "-"])("takes the table out of %s", async (fileName) => {
    const ran = await stage.run(["apply", fileName, "--reason", "half"], { files });
    expect(ran).toMatchObject({ code: 0, out: expect.stringContaining("  route shop: fresh 5 % -> 50 %\n") });
    expect(await splitNow()).toMatchObject({ split: { old: 50, fresh: 50 } });
  });

  it("only shows the difference on a dry run", async () => {
    stage.publisher.waitApplied = () => Promise.reject(new Error("nobody should wait"));
    const ran = await stage.run(["apply", "table.json", "--dry-run"], { files });
    expect(ran).toMatchObject({
      code: 0,
      out: "table: this would change (nothing did)\n  route shop: fresh 5 % -> 50 %\n",
    });
    expect(await splitNow()).toMatchObject({ split: { old: 95, fresh: 5 } });
  });

  it("lists every problem with its place in the file, and exits with 78", async () => {
    const text = [
      "listen: []",
      "table:",
      "  backends:",
      "    old: { endpoint: [] }",
      "  routes:",
      "    - id: shop",
      "      cutover: { legacy: old, candidate: old/new }",
    ].join("\n");
    const ran = await stage.run(["apply", "bad.yaml"], { files: { "bad.yaml": text } });
    expect(ran).toMatchObject({ code: 78, out: "" });
    expect(ran.err).toMatch(/^error: bad\.yaml has \d problems; nothing was changed\n/);
    expect(ran.err).toContain('  bad.yaml:4:12: /table/backends/old/endpoint: unknown key "endpoint"');
    expect(ran.err).toMatch(/ {2}bad\.yaml:7:42: \/table\/routes\/0\/cutover\/candidate: /);
  });

  it("refuses a file that is no YAML, or has no table, before it calls anybody", async () => {
    const broken = await stage.run(["apply", "x.yaml"], { files: { "x.yaml": "a: [" } });
    expect(broken).toMatchObject({ code: 78, err: expect.stringContaining("x.yaml:1:5") });
    const empty = await stage.run(["apply", "x.yaml"], { files: { "x.yaml": "listen: []" } });
    expect(empty).toMatchObject({ code: 78, err: expect.stringContaining("no table") });
    expect(await stage.run(["apply", "nowhere.yaml"])).toMatchObject({ code: 78, out: "" });
  });
});

describe("route", () => {
  const ROUTE = { match: { path: "/cart" }, cutover: { legacy: "old", candidate: "fresh" } };

  it("is written from a file, shown, and deleted", async () => {
    const put = await stage.run(["route", "put", "cart", "-"], { files: { "-": JSON.stringify(ROUTE) } });
    expect(put).toMatchObject({ code: 0, out: expect.stringContaining("cart: revision 2") });
    const shown = await stage.run(["route", "show", "cart"]);
    expect(JSON.parse(shown.out)).toMatchObject({ id: "cart", match: { path: "/cart" } });
    const again = await stage.run(["route", "put", "cart", "r.json"], { files: { "r.json": shown.out } });
    expect(again.out).toContain("nothing to change");
    expect(await stage.run(["route", "delete", "cart"])).toMatchObject({ code: 0 });
    expect(await stage.run(["route", "show", "cart"])).toMatchObject({ code: 1 });
  });

  it("is refused with the place of every problem", async () => {
    const text = "cutover: { legacy: old, candidate: fresh }\nsplit: { old: 90, fresh: 20 }\n";
    const ran = await stage.run(["route", "put", "cart", "-"], { files: { "-": text } });
    expect(ran).toMatchObject({ code: 78, out: "" });
    expect(ran.err).toContain("  standard input:2:8: /split: ");
  });
});
