/** The commands about the store, with a real admin API. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { serveStage, type ServedStage } from "../support/shell.ts";

let stage: ServedStage;

beforeEach(async () => {
  stage = await serveStage();
});

afterEach(() => stage.close());

it("shows where the table is kept and that it is in use", async () => {
  const ran = await stage.run(["store"]);
  expect(ran).toMatchObject({ code: 0, err: "" });
  expect(ran.out).toContain("condition: ok");
  expect(ran.out).toContain("served: revision 1");
  expect(JSON.parse((await stage.run(["store", "--json"])).out)).toMatchObject({ condition: "ok" });
});

it("refuses a word that is not needed, with the reason", async () => {
  const ran = await stage.run(["store", "reseed", "--from", "served", "--reason", "x"]);
  expect(ran).toMatchObject({ code: 1, err: expect.stringContaining("needs no word") });
});

it("wants to know which table counts", async () => {
  expect(await stage.run(["store", "reseed"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("--from"),
  });
  const ran = await stage.run(["store", "reseed", "--from", "disk"]);
  expect(ran).toMatchObject({ code: 2, err: expect.stringContaining("served, stored") });
});
