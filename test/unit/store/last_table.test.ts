/** The last good table on disk. */
import { mkdir, readdir, readFile, rmdir, stat, writeFile } from "node:fs/promises";
import { beforeEach, expect, test } from "vitest";
import { LastTable } from "../../../src/store/last_table.ts";
import type { LineageTable } from "../../../src/store/lineage.ts";
import { makeDirectory } from "../../support/directory.ts";
import { keepLog } from "../../support/fleet_stage.ts";
import { until } from "../../support/wait.ts";

let directory: string;
let kept: ReturnType<typeof keepLog>;

beforeEach(() => {
  directory = makeDirectory();
  kept = keepLog();
});

function lastTable(storeName = "redis at home"): LastTable {
  return new LastTable({ path: `${directory}/run/last-table.json`, storeName, log: kept.log });
}

function table(revision: number): LineageTable {
  const facts = { actor: "alice", action: "shift", reason: "why", difference: ["a line"], atMs: 5 };
  return { revision, fromRevision: revision - 1, lineage: "L", document: { revision }, ...facts };
}

test("what was written is read by the next start, whole", () => {
  const last = lastTable();
  last.write(table(3));
  last.flush();
  expect(lastTable().read()).toEqual(table(3));
  expect(last.warnings()).toEqual([]);
});

test("of a burst only the newest is written, by itself and for its owner alone", async () => {
  const last = lastTable();
  for (let revision = 1; revision <= 50; revision++) last.write(table(revision));
  expect(last.read()).toBeNull();
  await until("it is written", () => lastTable().read()?.revision === 50);
  expect((await stat(`${directory}/run/last-table.json`)).mode & 0o777).toBe(0o600);
  expect(await readdir(`${directory}/run`)).toEqual(["last-table.json"]);
});

test("no file is no table, and nothing to complain about", () => {
  expect(lastTable().read()).toBeNull();
  expect(kept.lines).toEqual([]);
});

test("a table of another store is left alone", () => {
  const last = lastTable();
  last.write(table(1));
  last.flush();
  expect(lastTable("redis elsewhere").read()).toBeNull();
  expect(JSON.stringify(kept.lines)).toContain("another store");
});

test.each([
  ["cut short", (text: string) => text.slice(0, -5)],
  ["emptied", () => ""],
  ["of a later version", (text: string) => text.replace("last-table.1", "last-table.2")],
  ["without its lineage", (text: string) => text.replace('"lineage"', '"linage"')],
  ["of another kind", () => "[]"],
])("a file that was %s is no table, and the log says why", async (_, damage) => {
  const last = lastTable();
  last.write(table(1));
  last.flush();
  const path = `${directory}/run/last-table.json`;
  await writeFile(path, damage(await readFile(path, "utf8")));
  expect(lastTable().read()).toBeNull();
  expect(JSON.stringify(kept.lines)).toContain("cannot be used");
});

test("a directory that takes no file is a warning until one can be written", async () => {
  await mkdir(`${directory}/run/last-table.json.new`, { recursive: true });
  const last = lastTable();
  for (const revision of [1, 2]) {
    last.write(table(revision));
    last.flush();
  }
  expect(last.warnings()).toEqual([expect.stringContaining("cannot be kept")]);
  expect(kept.lines.filter(({ message }) => message.includes("cannot be written"))).toHaveLength(1);
  await rmdir(`${directory}/run/last-table.json.new`);
  last.write(table(3));
  last.flush();
  expect(last.warnings()).toEqual([]);
  expect(last.read()).toEqual(table(3));
});
