/** The brakes: routes on legacy whatever the table says. */
import { mkdir, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Brakes, specOf } from "../../../src/control/brakes.ts";
import { decodeDocument } from "../../../src/domain/document.ts";
import type { Document } from "../../../src/domain/route.ts";
import { SHOP_TABLE } from "../../support/admin_stage.ts";
import { makeDirectory } from "../../support/directory.ts";
import { keepLog } from "../../support/fleet_stage.ts";

const BRAKE = { route: "shop", reason: "errors", revision: 1, atMs: 5 };

function shopAt(percent: number): Document {
  const [shop] = SHOP_TABLE.routes;
  const split = { old: 100 - percent, fresh: percent };
  const decoded = decodeDocument({ ...SHOP_TABLE, routes: [{ ...shop, split }] });
  if (!decoded.ok) throw new Error("the test's table is refused");
  return decoded.value;
}

function stage(path = `${makeDirectory()}/brakes.json`) {
  const kept = keepLog();
  return { path, kept, brakes: new Brakes(path, kept.log) };
}

test("workers get no candidate where a brake is on, and the table's weights elsewhere", () => {
  const { brakes } = stage();
  const document = shopAt(25);
  expect(specOf(document, 7, brakes).routes[0]?.candidateShares).toBe(25_000);
  brakes.put(BRAKE);
  const spec = specOf(document, 7, brakes);
  expect(spec.revision).toBe(7);
  expect(spec.routes[0]).toMatchObject({ id: "shop", candidateShares: 0 });
});

test("workers hear of no plan and of no state", () => {
  const spec = specOf(shopAt(25), 1, stage().brakes);
  expect(Object.keys(spec).toSorted()).toEqual(["backends", "revision", "routes"]);
  expect(spec.routes[0]?.rollout).toBeNull();
});

test("a brake outlives a restart, with its first reason", () => {
  const { path, brakes } = stage();
  expect(brakes.put(BRAKE)).toBe(true);
  expect(brakes.put({ ...BRAKE, reason: "another" })).toBe(false);
  expect(stage(path).brakes.list()).toEqual([BRAKE]);
});

test("a table that gives the candidate something keeps the brake; one that gives nothing releases it for good", () => {
  const { path, brakes } = stage();
  brakes.put(BRAKE);
  expect(brakes.settle(shopAt(5))).toEqual([]);
  expect(brakes.has("shop")).toBe(true);
  expect(brakes.settle(shopAt(0))).toEqual([BRAKE]);
  expect(brakes.list()).toEqual([]);
  expect(stage(path).brakes.list()).toEqual([]);
});

test("a route that is gone needs no brake", () => {
  const { brakes } = stage();
  brakes.put(BRAKE);
  expect(brakes.settle({ ...shopAt(5), routes: [] })).toEqual([BRAKE]);
});

test.each(["", "{}", '[{"route":5}]', '[{"route":"shop"}]'])(
  "a damaged file %j brakes nothing",
  async (text) => {
    const path = `${makeDirectory()}/brakes.json`;
    await writeFile(path, text);
    expect(stage(path).brakes.list()).toEqual([]);
  },
);

test("a disk that takes no file leaves the brake on, and the log says so", async () => {
  const { path, kept, brakes } = stage();
  await mkdir(`${path}.new`);
  brakes.put(BRAKE);
  expect(brakes.has("shop")).toBe(true);
  expect(kept.lines.map(({ message }) => message)).toEqual(["the brakes cannot be written"]);
});
