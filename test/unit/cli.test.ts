/** The command line as such: usage, exit codes, where things are written, address and token, and check. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tokenOf } from "../support/admin_stage.ts";
import { run, serveStage, type ServedStage } from "../support/shell.ts";

let stage: ServedStage;

beforeEach(async () => {
  stage = await serveStage();
});

afterEach(async () => {
  await stage.close();
});

describe("usage", () => {
  it("suggests the command that was probably meant, and exits with 2", async () => {
    const ran = await run(["shft", "shop", "5"]);
    expect(ran).toMatchObject({ code: 2, out: "" });
    expect(ran.err).toContain("unknown command 'shft'");
    expect(ran.err).toContain("Did you mean shift?");
  });

  it.each([
    [["shift", "shop"], "missing required argument 'percent'"],
    [["shift", "shop", "101"], "a number from 0 to 100"],
    [["shift", "shop", "1.2345"], "at most three decimals"],
    [["shift", "shop", "-5"], "-5"],
    [["status", "--jsn"], "--json"],
    [["restore", "0"], "a whole number above zero"],
    [["status", "--url", "localhost:9900"], "http://127.0.0.1:9900"],
    [["status", "--timeout", "5"], "500ms, 5s or 2m"],
    [["explain", "GET", "/", "-H", "no colon"], "'Name: value'"],
    [["fleet", "now"], "too many arguments"],
    [["start"], "--config"],
    [[], "Usage: crossfade"],
  ])("refuses %j with 2 and says why on standard error", async (args, words) => {
    const ran = await run(args);
    expect(ran).toMatchObject({ code: 2, out: "" });
    expect(ran.err).toContain(words);
  });

  it("exits with 0 when help or the version is asked for", async () => {
    const help = await run(["--help"]);
    expect(help).toMatchObject({ code: 0, err: "" });
    expect(help.out).toContain("78 bad configuration");
    expect(await run(["help", "shift"])).toMatchObject({ code: 0, err: "" });
    expect(await run(["--version"])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });

  it("takes global options before and after the command", async () => {
    const before = await run(["--url", stage.url, "--json", "routes"]);
    const after = await run(["routes", "--json", "--url", stage.url]);
    expect(before.code).toBe(0);
    expect(after).toEqual(before);
  });
});

describe("address and token", () => {
  it("prefers the flag to the environment", async () => {
    const env = { CROSSFADE_URL: "http://127.0.0.1:1" };
    expect((await run(["routes"], { env })).code).toBe(69);
    expect((await run(["routes", "--url", stage.url], { env })).code).toBe(0);
  });

  it("refuses an address in the environment that is none", async () => {
    const ran = await run(["routes"], { env: { CROSSFADE_URL: "nonsense" } });
    expect(ran).toMatchObject({ code: 2, err: expect.stringContaining("CROSSFADE_URL") });
  });

  it("sends the token of the flag or the environment", async () => {
    const closed = await serveStage({ hasTokens: true });
    try {
      const without = await closed.run(["routes"]);
      expect(without).toMatchObject({ code: 1, out: "" });
      expect(without.err).toContain("token");
      expect((await closed.run(["routes", "--token", tokenOf("viewer")])).code).toBe(0);
      expect((await closed.run(["routes"], { env: { CROSSFADE_TOKEN: tokenOf("viewer") } })).code).toBe(0);
      const forbidden = await closed.run(["shift", "shop", "6", "--token", tokenOf("viewer")]);
      expect(forbidden).toMatchObject({ code: 1, err: expect.stringContaining("viewer") });
    } finally {
      await closed.close();
    }
  });
});

describe("failures", () => {
  it("exits with 69 when nobody answers", async () => {
    const ran = await run(["status"], { env: { CROSSFADE_URL: "http://127.0.0.1:1" } });
    expect(ran).toMatchObject({ code: 69, out: "" });
    expect(ran.err).toContain("http://127.0.0.1:1");
  });

  it("exits with 1 and the API's own words when it refuses", async () => {
    const ran = await stage.run(["health", "shpo"]);
    expect(ran).toMatchObject({ code: 1, out: "" });
    expect(ran.err).toBe('error: There is no route "shpo"; did you mean "shop"?\n');
  });

  it("is one JSON object on standard error with --json", async () => {
    const ran = await stage.run(["health", "shpo", "--json"]);
    expect(ran).toMatchObject({ code: 1, out: "" });
    expect(JSON.parse(ran.err)).toMatchObject({
      error: { exit: 1, kind: "refused", status: 404, code: "NOT_FOUND", problems: [] },
    });
  });
});

describe("check", () => {
  const GOOD = `listen: [{ address: "127.0.0.1:0" }]
workers: 2
table:
  backends: { legacy: { endpoints: ["http://127.0.0.1:1"] }, new: { endpoints: ["http://127.0.0.1:2"] } }
  routes: [{ id: shop, cutover: { legacy: legacy, candidate: new } }]
`;
  const BAD = GOOD.replace("workers", "worker").replace("candidate: new", "candidate: newer");

  it("says in one line what a good file describes", async () => {
    const ran = await run(["check", "good.yaml"], { files: { "good.yaml": GOOD } });
    expect(ran).toEqual({
      code: 0,
      out: "ok: good.yaml: 1 route, 2 backends, 2 workers on 127.0.0.1:0\n",
      err: "",
    });
  });

  it("lists every problem with file, line and column, says how many, and exits with 78", async () => {
    const ran = await run(["check", "bad.yaml"], { files: { "bad.yaml": BAD } });
    expect(ran.code).toBe(78);
    const lines = ran.out.trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^bad\.yaml:2:1: .*"worker".*did you mean "workers"\?/);
    expect(lines[1]).toMatch(/^bad\.yaml:5:\d+: .*"newer"/);
    expect(ran.err).toBe("2 problems in bad.yaml\n");
  });

  it("gives the same as JSON", async () => {
    const bad = await run(["check", "bad.yaml", "--json"], { files: { "bad.yaml": BAD } });
    expect(bad).toMatchObject({ code: 78, err: "" });
    const answer = JSON.parse(bad.out) as { problems: { line: number }[] };
    expect(answer).toMatchObject({ ok: false, file: "bad.yaml" });
    expect(answer.problems.map(({ line }) => line)).toEqual([2, 5]);
    const good = await run(["check", "good.yaml", "--json"], { files: { "good.yaml": GOOD } });
    expect(JSON.parse(good.out)).toEqual({ ok: true, file: "good.yaml", problems: [] });
  });

  it("exits with 78 when there is no file", async () => {
    const ran = await run(["check", "nowhere.yaml"]);
    expect(ran).toEqual({
      code: 78,
      out: "",
      err: "error: cannot read nowhere.yaml: no such file or directory\n",
    });
  });
});
