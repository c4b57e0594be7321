/** README.md says of faults, commands and exit codes what the program does. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FAULTS } from "../src/base/fault.ts";
import { readSettings } from "../src/settings.ts";
import { EXIT } from "../src/terminal.ts";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");

function faultTable(): string {
  const rows = Object.entries(FAULTS).map(([code, { status, side, meaning }]) => {
    return `| \`${code}\` | ${status} | ${side} | ${meaning} |`;
  });
  return ["| code | status | caused by | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

describe("README.md", () => {
  it("lists every fault as base/fault.ts has it", () => {
    const between = /<!-- faults:begin -->\n(.*?)\n?<!-- faults:end -->/s.exec(README)?.[1];
    expect(between).toBe(faultTable());
  });

  it("lists every exit code", () => {
    const listed = [...README.matchAll(/^\| (\d+) \| /gm)].map((row) => Number(row[1]));
    expect(listed).toEqual(Object.values(EXIT));
  });

  it("shows a configuration that is accepted", () => {
    const fileText = /```yaml\n(.*?)```/s.exec(README)?.[1] ?? "";
    const read = readSettings({ fileName: "README.md", fileText, env: {}, flags: {} });
    expect(read.ok ? [] : read.problems).toEqual([]);
    expect(read.ok && read.settings.table?.routes).toHaveLength(1);
  });

  it("ends with the changes that are not released yet", () => {
    const headings = [...README.matchAll(/^##+ (.*)$/gm)].map((found) => found[1]);
    expect(headings.slice(-2)).toEqual(["Changes", "Unreleased"]);
  });
});
