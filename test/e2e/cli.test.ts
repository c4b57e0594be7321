/** The program as a process: under an older Node, with signals, in a pipe, and against a Crossfade that runs. */
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startBackend, startCrossfade, type BackendProcess, type Crossfade } from "../support/crossfade.ts";
import { findOldNode, PROGRAM, runProgram, startProgram } from "../support/program.ts";
import { until } from "../support/wait.ts";

const OLD_NODE = findOldNode();

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "crossfade-test-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Writes a configuration without backends that start is content with. */
function configuration(): string {
  const file = join(directory, "crossfade.yaml");
  const settings = {
    listen: [{ address: "127.0.0.1:0" }],
    admin: { address: "127.0.0.1:0" },
    run_dir: join(directory, "run"),
    store: { sqlite: join(directory, "crossfade.db") },
    drain: { grace: "0s", idle: "0s", deadline: "5s" },
    table: { backends: {}, routes: [] },
  };
  writeFileSync(file, JSON.stringify(settings));
  return file;
}

// Without an older Node on the machine there is nothing to hop from.
describe.skipIf(OLD_NODE === null)("under an older Node", () => {
  const node = OLD_NODE ?? "";

  it("runs under the bundled one, with its exit code and its output", async () => {
    expect(await runProgram(["--version"], { node })).toMatchObject({ code: 0, err: "" });
    expect(await runProgram(["shft"], { node })).toMatchObject({ code: 2, out: "" });
  });

  it("passes signals on, and ends as the program ends", async () => {
    const running = startProgram(["start", "--config", configuration()], { node });
    await until("it is ready, or has ended", () => {
      return running.said.err.includes('"msg":"ready"') || running.child.exitCode !== null;
    });
    running.child.kill("SIGTERM");
    expect(await running.ended).toMatchObject({ code: 0, signal: null });
  });

  it("says in one line that it cannot run, with 69, when no Node came along", async () => {
    const program = join(directory, "crossfade.mjs");
    copyFileSync(PROGRAM, program);
    const ended = await runProgram(["--version"], { node, program });
    expect(ended).toMatchObject({ code: 69, out: "" });
    expect(ended.err).toMatch(/^crossfade: needs Node 26, .*\n$/);
  });
});

describe("start", () => {
  it("refuses a bad configuration with every problem and 78", async () => {
    const file = join(directory, "bad.yaml");
    writeFileSync(file, 'listen: [{ address: "nowhere" }]\nworker: 2\n');
    const ended = await runProgram(["start", "--config", file]);
    expect(ended).toMatchObject({ code: 78, out: "" });
    expect(ended.err.trimEnd().split("\n")).toHaveLength(2);
    expect(ended.err).toContain(`${file}:2:1: /worker: `);
  });
});

describe("against a Crossfade that runs", () => {
  const backends: BackendProcess[] = [];
  let crossfade: Crossfade;
  let env: Record<string, string>;

  beforeAll(async () => {
    const [legacy, candidate] = [await startBackend("legacy"), await startBackend("new")];
    backends.push(legacy, candidate);
    crossfade = await startCrossfade({ legacy: legacy.url, new: candidate.url });
    await crossfade.servingWorkers(2);
    env = { CROSSFADE_URL: crossfade.adminUrl };
  });

  afterAll(async () => {
    await crossfade.stop();
    for (const backend of backends) await backend.stop();
  });

  it("a shift is in effect when the command ends, and a rollback too", async () => {
    const shifted = await runProgram(["shift", "shop", "100", "--reason", "all in"], { env });
    expect(shifted).toMatchObject({ code: 0, err: "" });
    expect(shifted.out).toMatch(/^shop: revision \d+, in effect in every worker after [\d.]+ ms\n/);
    const before = await Promise.all(backends.map((backend) => backend.count()));
    for (let request = 0; request < 20; request++) await (await fetch(crossfade.url)).text();
    const after = await Promise.all(backends.map((backend) => backend.count()));
    expect(after.map((count, at) => count - (before[at] ?? 0))).toEqual([0, 20]);
    expect(await runProgram(["rollback", "shop"], { env })).toMatchObject({ code: 0 });
    for (let request = 0; request < 20; request++) await (await fetch(crossfade.url)).text();
    const last = await Promise.all(backends.map((backend) => backend.count()));
    expect(last.map((count, at) => count - (after[at] ?? 0))).toEqual([20, 0]);
  });

  it("status, fleet and explain agree with it", async () => {
    const status = await runProgram(["status", "--json"], { env });
    expect(JSON.parse(status.out)).toMatchObject({ ready: true, workers: { serving: 2, all: 2 } });
    const fleet = await runProgram(["fleet", "--json"], { env });
    const pids = (JSON.parse(fleet.out) as { workers: { pid: number }[] }).workers.map(({ pid }) => pid);
    expect(new Set(pids)).toEqual(new Set(crossfade.workerPids()));
    const explained = await runProgram(["explain", "GET", "/", "-H", "Cookie: uid=1", "--json"], { env });
    expect(JSON.parse(explained.out)).toMatchObject({ route: "shop", key: "cookie:uid" });
  });

  it("ends without a word when the reader of its output has gone", async () => {
    const command = `"$NODE" "$PROGRAM" status --watch --every 50ms | head -n 1`;
    const { stdout, stderr } = await promisify(execFile)("/bin/sh", ["-c", command], {
      env: { ...process.env, ...env, NODE: process.execPath, PROGRAM },
    });
    expect(stdout).toMatch(/^ready .*\n$/);
    expect(stderr).toBe("");
  });
});
