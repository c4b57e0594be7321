/** The workers in the settings: a number, or a map with what makes one be replaced. */
import { describe, expect, test } from "vitest";
import { assert } from "../../src/base/fault.ts";
import { readSettings, restartNeeded, type Settings } from "../../src/settings.ts";
import { problemLine } from "../../src/settings_file.ts";

const LISTEN = "listen: [{ address: 127.0.0.1:8080 }]\n";

function read(fileText: string, flags: Record<string, string> = {}) {
  return readSettings({ fileName: "c.yaml", fileText: LISTEN + fileText, env: {}, flags });
}

function settingsOf(fileText: string, outside: { readonly flags?: Record<string, string> } = {}): Settings {
  const result = read(fileText, outside.flags);
  assert(result.ok, JSON.stringify(result));
  return result.settings;
}

describe("workers", () => {
  test("are a number, or a map with what makes one be replaced", () => {
    const limits = "max_memory: 512MiB, max_age: 12h, heartbeat_timeout: 30s";
    const settings = settingsOf(`workers: { count: 3, ${limits} }\n`);
    expect(settings.workers).toBe(3);
    expect(settings.workerLimits).toEqual({
      memoryBytesMax: 512 * 1024 * 1024,
      ageMsMax: 12 * 3_600_000,
      heartbeatMs: 30_000,
    });
    expect(settingsOf(`workers: { ${limits} }\n`, { flags: { workers: "2" } }).workers).toBe(2);
  });

  test("change their limits without a restart", () => {
    const before = settingsOf("workers: { count: 2, max_age: 1h }\n");
    const after = settingsOf("workers: { count: 2, max_age: off }\n");
    expect(restartNeeded(before, after)).toEqual([]);
    expect(after.workerLimits.ageMsMax).toBeNull();
  });

  test.each([
    ["workers: { count: 0 }", "c.yaml:2:19: /workers/count: write auto or a whole number from 1 to 256"],
    ["workers: { max_memory: 64MiB }", /^c\.yaml:2:24: \/workers\/max_memory: write a size from 128MiB on/],
    ["workers: { max_age: 1s }", /^c\.yaml:2:21: \/workers\/max_age: write a duration from 1m to 24h/],
    ["workers: { heartbeat_timeout: off }", /heartbeat_timeout: write a duration from 1s to 10m/],
    ["workers: { max_mem: 1 }", /unknown key "max_mem"; allowed here: count, max_memory/],
  ])("are refused when wrong: %s", (text, line) => {
    const result = read(text);
    const lines = result.ok ? [] : result.problems.map(problemLine);
    expect(lines).toEqual([typeof line === "string" ? line : expect.stringMatching(line)]);
  });
});
