/** The command that replays: what it refuses, and how it looks on a terminal. Replays themselves are in test/e2e. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { run, serveStage, type ServedStage } from "../support/shell.ts";

describe("options", () => {
  test.each([
    [["--from", "urls.txt", "--rate", "10001"], "It is at most 10000."],
    [["--from", "urls.txt", "--concurrency", "1001"], "It is at most 1000."],
    [["--from", "urls.txt", "--limit", "0"], "It is a whole number above zero."],
    [["--from", "urls.txt", "--noise", "101"], "It is a number from 0 to 100"],
    [["--from", "urls.txt", "--allow-uncompared", "-1"], "It is a number from 0 to 100"],
    [["--from", "urls.txt", "-H", "Cookie"], "It is written like 'Name: value'."],
    [
      ["--from", "urls.txt", "-H", "Transfer-Encoding: chunked"],
      "Transfer-Encoding is for Crossfade itself to send.",
    ],
    [["--from", "urls.txt", "-H", "A: \u2603"], "Its value can't be sent."],
    [[], "required option '--from <file>' not specified"],
  ])("out of range are refused before anything is asked: %j", async (options, words) => {
    const ran = await run(["verify", "shop", ...options], { env: { CROSSFADE_URL: "http://127.0.0.1:1" } });
    expect(ran).toMatchObject({ code: 2, out: "" });
    expect(ran.err).toContain(words);
  });

  test("are explained, with the formats and with what equal means", async () => {
    const ran = await run(["help", "verify"]);
    expect(ran.code).toBe(0);
    for (const words of ["--allow-uncompared", "nginx and Apache", "equal: every request was compared"]) {
      expect(ran.out).toContain(words);
    }
  });

  test("of a Crossfade that nobody answers at give 69", async () => {
    const around = { env: { CROSSFADE_URL: "http://127.0.0.1:1" }, files: { "-": "/" } };
    expect(await run(["verify", "shop", "--from", "-"], around)).toMatchObject({ code: 69, out: "" });
  });
});

describe("a replay", () => {
  const server = createServer((request, response) => response.end(request.url));
  let stage: ServedStage;

  beforeEach(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const endpoints = [`http://127.0.0.1:${(server.address() as AddressInfo).port}`];
    stage = await serveStage();
    const cutover = { legacy: "old", candidate: "fresh" };
    await stage.call("PUT", "/v1/table", {
      body: {
        backends: { old: { endpoints }, fresh: { endpoints } },
        routes: [{ id: "shop", match: { path: "/" }, cutover }],
      },
    });
  });

  afterEach(async () => {
    await stage.close();
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });

  test("of standard input ends at the limit, and its last line is the verdict", async () => {
    const files = { "-": "/a\n/b\n/c\n/d\n" };
    const ran = await stage.run(["verify", "shop", "--from", "-", "--limit", "3", "--rate", "1000"], {
      files,
    });
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toMatch(/3 of 3 lines in \S+ m?s; ended at the limit\n/);
    expect(ran.out).toMatch(/\nequal: 3 compared, 0 differ\n$/);
  });

  test("on a terminal shows how far it is, clears that line, and paints the verdict", async () => {
    const args = ["verify", "shop", "--from", "-", "--rate", "1000"];
    const ran = await stage.run(args, { files: { "-": "/a" }, look: { colour: true, columns: 80 } });
    expect(ran.code).toBe(0);
    expect(ran.err).toContain("1 replayed, 1 compared, 0 differ");
    expect(ran.err.endsWith("\r\u001b[2K")).toBe(true);
    expect(ran.out).toMatch(/\u001b\[32mequal: 1 compared, 0 differ\u001b\[39m\n$/);
  });

  test("tells of a log without queries and of lines that can't be used, the first few by number", async () => {
    const lines = [
      '{"method":"GET","path":"/a","host":"a","route":"shop"}',
      ...Array.from({ length: 8 }, () => "?"),
    ];
    const ran = await stage.run(["verify", "shop", "--from", "-"], { files: { "-": lines.join("\n") } });
    expect(ran.code).toBe(0);
    expect(ran.out).toContain("without queries, which Crossfade does not log: 1 line\n");
    expect(ran.out).toContain("line 6 can't be used:");
    expect(ran.out).not.toContain("line 7 can't be used:");
    expect(ran.out).toContain("and 3 more lines that can't be used\n");
  });
});
