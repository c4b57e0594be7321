/** Lines that are no requests: each is told apart, with a reason for those that can't be used. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { AccessLog, type AccessRecord } from "../../src/plane/log.ts";
import { readLine } from "../../src/verify_input.ts";
import { makeDirectory } from "../support/directory.ts";
import { until } from "../support/wait.ts";

const LOG = "10.0.0.1 - - [21/Aug/2026:14:03:11 +0000]";

describe("a line", () => {
  test.each(["", "   ", "# a list of URLs", "\t# indented"])("of nothing is passed over: %j", (text) => {
    expect(readLine(text)).toEqual({ kind: "nothing" });
  });

  test.each([
    "POST /cart",
    "options /",
    `${LOG} "DELETE /a HTTP/1.1" 204 0`,
    '{"method":"POST","path":"/cart","host":"shop.example"}',
    // Also where there is nothing else to be understood: OPTIONS * has no path.
    `${LOG} "OPTIONS * HTTP/1.1" 200 0`,
  ])("with another method is one: %s", (text) => {
    expect(readLine(text)).toEqual({ kind: "other method" });
  });

  test.each([
    ["<html>", "it is no URL, no path and no line of an access log"],
    ["ftp://shop.example/a", "it is no URL, no path and no line of an access log"],
    ["\u001f\u008b\u0008", "it is no URL, no path and no line of an access log"],
    ['{"method":"GET"', "it is broken JSON"],
    ['{"level":30,"msg":"ready"}', "it has no method and path"],
    [`${LOG} "" 400 0 "-" "-"`, "its request line is none"],
    [`${LOG} "\\x16\\x03\\x01" 400 157 "-" "-"`, "its request line is none"],
    [`${LOG} "-" 408 0 "-" "-"`, "its request line is none"],
    [`${LOG} "GET /caf\u00e9 HTTP/1.1" 200 1`, "its path can't be sent as it is"],
    [`${LOG} "GET /\\xC3\\xA9 HTTP/1.1" 200 1`, "its path can't be sent as it is"],
    ["/100%", "its path can't be sent as it is"],
    ["/a|b", "its path can't be sent as it is"],
    ["http://user:secret@shop.example/", "its host can't be sent"],
    ["http:///a", "its host can't be sent"],
    [`/${"a".repeat(8000)}`, "its path is too long"],
  ])("that can't be used says why: %j", (text, why) => {
    expect(readLine(text)).toEqual({ kind: "unusable", why });
  });

  test("with a URL without a path asks for the root", () => {
    expect(readLine("https://shop.example?a=1")).toMatchObject({
      request: { host: "shop.example", target: "/?a=1" },
    });
    expect(readLine("https://shop.example")).toMatchObject({ request: { target: "/" } });
  });

  test("of Crossfade's log without a host or a route leaves them open", () => {
    expect(readLine('{"method":"HEAD","path":"/a","host":"-","route":""}')).toMatchObject({
      request: { method: "HEAD", host: null, route: null },
    });
  });
});

test("what Crossfade's own access log says is read back, in both of its formats", async () => {
  const path = join(makeDirectory(), "access.log");
  const record: AccessRecord = {
    atMs: 0,
    client: "10.0.0.1",
    method: "GET",
    host: "shop.example:8080",
    path: "/a/%C3%A4",
    minor: 1,
    status: 200,
    route: "shop",
    backend: "old",
    endpoint: "10.0.0.2:80",
    durationMs: 1,
    bytes: 2,
    requestId: "id",
    fault: null,
    attempts: 1,
    revision: 1,
  };
  const log = new AccessLog(() => 0);
  for (const format of ["json", "combined"] as const) {
    expect(log.configure({ format, samplePercent: 100, path })).toBeNull();
    log.write(record);
  }
  log.close();
  const request = { method: "GET", target: "/a/%C3%A4" };
  const lines = await until("both lines are written", () => {
    const written = readFileSync(path, "utf8").split("\n");
    return written.length === 3 ? written.slice(0, 2) : null;
  });
  expect(lines.map(readLine)).toEqual([
    { kind: "request", request: { ...request, host: "shop.example:8080", route: "shop", isQueryLost: true } },
    { kind: "request", request: { ...request, host: null, route: null, isQueryLost: false } },
  ]);
});
