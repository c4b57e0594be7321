/** Counting: what each exchange adds to its cell, and what a report of a cell takes. */
import { test } from "vitest";
import { CounterBook } from "../../src/shared/counters.ts";

const DURATION_US = 1_234;

test("counters", async ({ bench }) => {
  const book = new CounterBook();
  const cell = book.cell("shop", "legacy");
  await bench("finish", () => cell.finish(200, DURATION_US)).run();
  await bench("judge", () => cell.judge(false, DURATION_US)).run();
  await bench("report", () => book.report(true)).run();
});
