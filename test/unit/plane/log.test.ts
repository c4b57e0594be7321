/** The access log alone: pieces, times, and readers that are too slow. */
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { AccessLog, type AccessRecord } from "../../../src/plane/log.ts";
import { makeDirectory } from "../../support/directory.ts";
import { until } from "../../support/wait.ts";

const RECORD: AccessRecord = {
  atMs: Date.UTC(2026, 0, 1, 12, 0, 0, 7),
  client: "192.0.2.7",
  method: "GET",
  host: "shop.example.com",
  path: "/a",
  minor: 1,
  status: 200,
  route: "shop",
  backend: "legacy",
  endpoint: "127.0.0.1:9001",
  durationMs: 1.5,
  bytes: 2,
  requestId: "id",
  fault: null,
  attempts: 1,
  revision: 1,
};

function logTo(path: string): AccessLog {
  const log = new AccessLog(() => 0);
  expect(log.configure({ format: "json", samplePercent: 100, path })).toBeNull();
  return log;
}

test("every line is in the file once the log is closed, in order and with its own time", () => {
  const path = join(makeDirectory(), "access.log");
  const log = logTo(path);
  const times = Array.from({ length: 3_000 }, (_, at) => RECORD.atMs + at * 7 - (at % 5) * 1_111);
  for (const atMs of times) log.write({ ...RECORD, atMs });
  log.close();
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  const written = lines.map((line) => (JSON.parse(line) as { time: string }).time);
  expect(written).toEqual(times.map((atMs) => new Date(atMs).toISOString()));
  expect(log.dropped).toBe(0);
});

test("a reader that is too slow gets whole lines, and what it does not get is counted", async () => {
  const path = join(makeDirectory(), "pipe");
  execFileSync("mkfifo", [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const log = logTo(path);
  const written = 12_000;
  for (let at = 0; at < written; at++) log.write({ ...RECORD, path: `/${"x".repeat(at % 200)}` });
  let text = "";
  const chunk = Buffer.alloc(64 * 1024);
  const readOn = (): boolean => {
    for (;;) {
      try {
        text += chunk.toString("latin1", 0, readSync(reader, chunk));
      } catch (error) {
        // Nothing is there at the moment.
        if (error instanceof Error && "code" in error && error.code === "EAGAIN") break;
        throw error;
      }
    }
    return text.split("\n").length - 1 + log.dropped >= written;
  };
  await until("every line was read or counted", readOn);
  log.close();
  closeSync(reader);
  const lines = text.trimEnd().split("\n");
  expect(log.dropped).toBeGreaterThan(0);
  expect(lines.length + log.dropped).toBe(written);
  for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow();
});
