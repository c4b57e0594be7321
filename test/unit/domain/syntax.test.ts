/** Which endpoints can be written, and what is wrong with the others. */
import { describe, expect, test } from "vitest";
import { decodeDocument } from "../../../src/domain/document.ts";
import { problemsOf, valueOf } from "../../support/table.ts";

function endpointProblem(address: unknown): string | undefined {
  const table = { backends: { one: { endpoints: [address] } }, routes: [] };
  const decoded = decodeDocument(table);
  if (decoded.ok) return undefined;
  return problemsOf(decoded).find(({ path }) => path === "/backends/one/endpoints/0")?.message;
}

describe("endpoints", () => {
  test.each([
    ["http://127.0.0.1:9001", "127.0.0.1", 9001],
    ["http://shop_v2.internal", "shop_v2.internal", 80],
    ["http://[::1]:8080", "::1", 8080],
    ["http://Shop:1", "shop", 1],
  ])("%s is one", (address, host, port) => {
    const table = { backends: { one: { endpoints: [address] } }, routes: [] };
    expect(valueOf(decodeDocument(table)).backends[0]?.endpoints).toEqual([{ address, host, port }]);
  });

  test.each([
    "127.0.0.1:9001",
    "http://",
    "http://h/",
    "http://h/path",
    "http://h?q",
    "http://h#f",
    "http://user@h",
    "http://h:",
    "http://h:0x1",
    "http://[::g]",
    "http://::1",
    "http://a b",
    "http://a..b",
    "HTTP://h",
    "",
  ])("%j is none", (address) => {
    expect(endpointProblem(address)).toMatch(/is not an endpoint: write http:\/\/host:port/);
  });

  test("may be Unix sockets on this machine", () => {
    const table = { backends: { one: { endpoints: ["unix:/run/app/web.sock"] } }, routes: [] };
    expect(valueOf(decodeDocument(table)).backends[0]?.endpoints).toEqual([
      { address: "unix:/run/app/web.sock", path: "/run/app/web.sock" },
    ]);
  });

  test.each([
    "unix:",
    "unix:run/x",
    "unix:/",
    "unix:/run/",
    "unix:/run//x",
    "unix:/run/../x",
    'unix:/run/"x',
  ])("%j is no Unix socket", (address) => {
    expect(endpointProblem(address)).toMatch(/is not a socket: write "unix:" and an absolute path/);
  });

  test("that are Unix sockets have paths that every system takes", () => {
    expect(endpointProblem(`unix:/${"x".repeat(102)}`)).toBeUndefined();
    expect(endpointProblem(`unix:/${"x".repeat(103)}`)).toBe(
      "the path of a socket has at most 103 characters",
    );
  });

  test("have ports from 1 to 65535", () => {
    expect(endpointProblem("http://h:0")).toBe("a port is 1 to 65535");
    expect(endpointProblem("http://h:65536")).toBe("a port is 1 to 65535");
  });

  test("are reached without TLS for now", () => {
    expect(endpointProblem("https://h")).toBe("TLS to backends is not supported yet; use http://");
  });

  test("are written so that the same address looks the same", () => {
    expect(endpointProblem("http://0x7f.1:80")).toBe('write the host as "127.0.0.1"');
    expect(endpointProblem("http://[0:0::1]")).toBe('write the host as "[::1]"');
  });

  test("stand once in their backend, however they are written", () => {
    const table = { backends: { one: { endpoints: ["http://a", "http://b", "http://A:80"] } }, routes: [] };
    expect(problemsOf(decodeDocument(table))).toEqual([
      { path: "/backends/one/endpoints/2", message: "the same as entry 0 of this list" },
    ]);
  });

  test("are 1 to 64 per backend", () => {
    const many = Array.from({ length: 65 }, (_, i) => `http://h${i}`);
    const problems = problemsOf(
      decodeDocument({ backends: { no: { endpoints: [] }, many: { endpoints: many } }, routes: [] }),
    );
    expect(problems.map(({ path }) => path)).toEqual(["/backends/no/endpoints", "/backends/many/endpoints"]);
  });
});
