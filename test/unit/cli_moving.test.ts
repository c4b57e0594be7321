/** The commands that carry a migration to another store, between two real admin APIs. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LOADED_MAX } from "../../src/store/store.ts";
import { SHOP_TABLE } from "../support/admin_stage.ts";
import { run, serveStage, type ServedStage } from "../support/shell.ts";

let source: ServedStage;
let target: ServedStage;

beforeEach(async () => {
  source = await serveStage();
  target = await serveStage({ isEmpty: true });
  await source.run(["shift", "shop", "25", "--reason", "looks good"]);
});

afterEach(async () => {
  await source.close();
  await target.close();
});

async function exported(): Promise<string> {
  return (await source.run(["export"])).out;
}

describe("export", () => {
  it("prints the document, a revision on each line, with --json too", async () => {
    const ran = await source.run(["export"]);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(ran.out)).toEqual((await source.call("GET", "/v1/export")).json);
    const lines = ran.out.split("\n").filter((line) => line.startsWith('{"revision"'));
    expect(lines).toHaveLength(2);
    expect(JSON.parse((await source.run(["export", "--json"])).out)).toMatchObject({ truncated: false });
  });

  it("writes it into a file, and says what it holds", async () => {
    const files: Record<string, string> = {};
    const onWrite = (fileName: string, text: string): void => {
      files[fileName] = text;
    };
    const ran = await source.run(["export", "--out", "m.json"], { onWrite });
    expect(ran).toEqual({ code: 0, out: "m.json: 2 revisions; revision 2 is the newest\n", err: "" });
    expect(JSON.parse(files["m.json"] ?? "")).toMatchObject({ format: "crossfade.export" });
    const json = await source.run(["export", "--out", "m.json", "--json"], { onWrite });
    expect(JSON.parse(json.out)).toEqual({ file: "m.json", revision: 2, revisions: 2, truncated: false });
  });

  it("says on standard error that older revisions were left out", async () => {
    const change = { document: SHOP_TABLE, actor: "a", action: "apply", reason: "", difference: [] };
    for (let revision = 2; revision <= LOADED_MAX; revision++) await source.store.commit(revision, change);
    const ran = await source.run(["export"]);
    expect(ran).toMatchObject({ code: 0, err: expect.stringMatching(/^only the newest 1,000 revisions: /) });
    expect(JSON.parse(ran.out)).toMatchObject({ truncated: true });
  });

  it("fails for an empty store and for a file that cannot be written", async () => {
    const empty = await target.run(["export"]);
    expect(empty).toMatchObject({ code: 1, out: "", err: expect.stringContaining("nothing to export") });
    const closed = await source.run(["export", "--out", "m.json"]);
    const err = "error: cannot write m.json: permission denied\n";
    expect(closed).toEqual({ code: 1, out: "", err });
  });
});

describe("import", () => {
  it.each([["m.json"], ["-"], []])(
    "takes the document from %j, and says what is current",
    async (...args) => {
      const files = { [args[0] ?? "-"]: await exported() };
      const ran = await target.run(["import", ...args], { files });
      expect(ran).toEqual({
        code: 0,
        out: "imported 2 revisions; revision 2 is current, applied by all workers in 12.5 ms\n",
        err: "",
      });
      expect((await target.run(["audit"])).out).toBe((await source.run(["audit"])).out);
      expect((await target.run(["table"])).out).toBe((await source.run(["table"])).out);
    },
  );

  it("does not wait when told so", async () => {
    target.publisher.waitApplied = () => Promise.reject(new Error("nobody should wait"));
    const ran = await target.run(["import", "--no-wait"], { files: { "-": await exported() } });
    expect(ran.out).toBe("imported 2 revisions; revision 2 is current, on its way to the workers\n");
  });

  it("prints the API's answer with --json", async () => {
    const ran = await target.run(["import", "--json"], { files: { "-": await exported() } });
    expect(JSON.parse(ran.out)).toEqual({ revision: 2, revisions: 2, applied_ms: 12.5 });
  });

  it("is refused with 1 where the store is not empty, and says what to do", async () => {
    const ran = await source.run(["import"], { files: { "-": await exported() } });
    expect(ran).toMatchObject({ code: 1, out: "" });
    expect(ran.err).toMatch(/^error: The store holds revision 2 \(shift by loopback\).*crossfade apply/);
  });

  it("is refused with 1 and every problem when the document cannot be used", async () => {
    const ran = await target.run(["import"], { files: { "-": JSON.stringify(SHOP_TABLE) } });
    expect(ran).toMatchObject({ code: 1, out: "" });
    expect(ran.err).toContain('  /format: "format" is missing\n');
    expect(ran.err).toContain('  /backends: unknown key "backends"');
  });

  it("refuses with 78 what cannot be read, before it calls anybody", async () => {
    const files = { "m.json": '{"format":' };
    const broken = await run(["import", "m.json"], { files });
    expect(broken).toMatchObject({ code: 78, out: "" });
    expect(broken.err).toBe("error: m.json is no export: line 1, column 11: the JSON ends too early\n");
    expect(await run(["import", "nowhere.json"])).toMatchObject({ code: 78, out: "" });
  });
});

describe("help", () => {
  it.each(["export", "import"])("of %s says what does not travel", async (command) => {
    const help = (await run([command, "--help"])).out;
    expect(help).toContain("Idempotency keys do not travel");
    expect(help).toContain("must have no table");
  });
});
