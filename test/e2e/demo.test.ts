/** The demo as a newcomer starts it: it keeps its promises, ends by itself, and leaves nothing behind. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findOldNode, processesWith, runProgram, startProgram } from "../support/program.ts";
import { until } from "../support/wait.ts";

/** An older Node where there is one: that is what a fresh machine has. */
const NODE = findOldNode() ?? process.execPath;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "crossfade-test-"));
});

afterEach(() => {
  for (const pid of processesWith(directory)) process.kill(pid, "SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** What is in a directory besides Node's own cache. */
function leftIn(path: string): string[] {
  return readdirSync(path).filter((name) => name !== "node-compile-cache");
}

describe("the demo", () => {
  it(
    "shifts, breaks, is taken back and goes by a plan, and finds its claims true",
    { timeout: 180_000 },
    async () => {
      const { code, out, err } = await runProgram(["demo"], { node: NODE, env: { TMPDIR: directory } });
      expect({ code, err, out: code === 0 ? "" : out }).toEqual({ code: 0, err: "", out: "" });
      for (const title of ["5 %", "25 %", "50 %"]) expect(out).toContain(`\n${title} to the new backend\n`);
      expect(out).toMatch(
        /The new backend breaks[^]*Crossfade rolls back by itself[^]*rolled back for errors/,
      );
      expect(out).toMatch(
        /a plan moves the traffic[^]*gets 10 %[^]*gets 50 %[^]*gets 100 %[^]*promoted since/,
      );
      expect(out).toContain("10 of 10 held");
      expect(out).not.toContain("\u001b");
      expect(out).not.toContain("Ctrl-C");
      expect(leftIn(directory)).toEqual([]);
      expect(processesWith(directory)).toEqual([]);
    },
  );

  it.each(["SIGINT", "SIGTERM"] as const)("cleans up when %s comes in the middle", async (signal) => {
    const { child, said, ended } = startProgram(["demo"], { node: NODE, env: { TMPDIR: directory } });
    await until("the story has begun, or ended", () => {
      return said.out.includes("Before the cutover") || child.exitCode !== null;
    });
    expect(processesWith(directory).length).toBeGreaterThan(3);
    child.kill(signal);
    const { code, out } = await ended;
    expect(code).toBe(130);
    expect(out).toContain("Interrupted");
    expect(leftIn(directory)).toEqual([]);
    expect(processesWith(directory)).toEqual([]);
  });
});
