/** The access log of a real data plane: one line a request, refused ones included, sampled, without secrets. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AccessLogOptions } from "../../src/shared/messages.ts";
import { GET, OK, PlaneStage } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { answering } from "../support/wire.ts";

let stage: PlaneStage;
let directory: string;
beforeEach(() => {
  stage = new PlaneStage();
  directory = mkdtempSync(join(tmpdir(), "crossfade-log-"));
});
afterEach(async () => {
  await stage.close();
  rmSync(directory, { recursive: true, force: true });
});

async function logging(options: Partial<AccessLogOptions>) {
  const path = join(directory, "access.log");
  const legacy = await stage.backend(answering(OK));
  const accessLog: AccessLogOptions = { format: "json", samplePercent: 100, path, ...options };
  const started = await stage.plane({ legacy: [legacy.port] }, {}, { accessLog });
  // One write per line here, so a file that ends in a line feed is whole.
  const text = (): string => readFileSync(path, "utf8");
  const lines = (): string[] => (text().endsWith("\n") ? text().trimEnd().split("\n") : []);
  return { started, lines };
}

test("a request is one JSON line, without its query", async () => {
  const { started, lines } = await logging({});
  const one = stage.client(started.port);
  one.send("GET /a?token=secret HTTP/1.1\r\nHost: H:80\r\n\r\n");
  await one.sees(/ok$/);
  await until("the line is written", () => lines().length > 0);
  expect(lines()).toHaveLength(1);
  expect(JSON.parse(lines()[0] ?? "")).toMatchObject({
    time: "2026-01-01T00:00:00.000Z",
    client: "127.0.0.1",
    method: "GET",
    host: "h",
    path: "/a",
    status: 200,
    route: "all",
    backend: "legacy",
    bytes: 2,
    revision: 1,
  });
  expect(lines()[0]).not.toContain("secret");
});

test("a request that is not understood is logged with how it began, escaped", async () => {
  const { started, lines } = await logging({});
  const one = stage.client(started.port);
  one.send(`GET /\x01"\\ HTTP/1.1\r\nHost: h\r\nX: ${"y".repeat(400)}\r\n\r\n`);
  await one.seesEnd();
  await until("the line is written", () => lines().length > 0);
  const line = JSON.parse(lines()[0] ?? "") as { status: number; fault: string; excerpt: string };
  expect(line).toMatchObject({ status: 400, fault: "BAD_FIELD", method: "-", route: "-" });
  expect(line.excerpt).toMatch(/^GET \/\x01"\\ HTTP\/1.1\r\nHost: h\r\nX: y+$/);
  expect(line.excerpt).toHaveLength(256);
});

test("the combined format has the usual shape", async () => {
  const { started, lines } = await logging({ format: "combined" });
  const one = stage.client(started.port);
  one.send(GET);
  await one.sees(/ok$/);
  await until("the line is written", () => lines().length > 0);
  expect(lines()).toEqual(['127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /a HTTP/1.1" 200 2 "-" "-"']);
});

test("a sample leaves out what went well and keeps what failed", async () => {
  const { started, lines } = await logging({ samplePercent: 0 });
  const one = stage.client(started.port);
  one.send(GET);
  await one.sees(/ok$/);
  started.serve({ timeouts: { connectMs: 3000, responseMs: 1, idleMs: 1 } }, { legacy: [1] });
  one.received = "";
  one.send(GET);
  await one.sees(/^HTTP\/1.1 502 /);
  await until("the line is written", () => lines().length > 0);
  expect(lines().map((line) => (JSON.parse(line) as { status: number }).status)).toEqual([502]);
});

test("a file that cannot be opened loses lines, and nothing else", async () => {
  const { started } = await logging({});
  const accessLog = {
    format: "json",
    samplePercent: 100,
    path: join(directory, "access.log", "below-a-file"),
  } as const;
  expect(started.plane.log.configure(accessLog)).toMatch(
    /^the access log cannot be opened: .*below-a-file|EEXIST|ENOTDIR/,
  );
  const one = stage.client(started.port);
  one.send(GET);
  await one.sees(/ok$/);
  expect(started.plane.log.dropped).toBe(1);
});
