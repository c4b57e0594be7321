/** The embedded store keeps the contract of RouteStore. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { ManualClock } from "../support/clock.ts";
import { describeRouteStore } from "./route_store.ts";

const directory = mkdtempSync(join(tmpdir(), "crossfade-test-"));
const clock = new ManualClock();
const files: string[] = [];

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describeRouteStore(
  "the SQLite store",
  async () => {
    const path = join(directory, `${files.length}.db`);
    files.push(path);
    return openSqliteStore({ path, clock });
  },
  { clock, again: async () => openSqliteStore({ path: files.at(-1) ?? "", clock }) },
);
