/** The short simulation plan: the judge keeps its figures on simulated traffic. */
import { expect, test } from "vitest";
import { runPlan, SHORT } from "../../../bench/judge/plan.ts";

test("every figure of the short plan is within its bound", () => {
  const outcomes = runPlan(SHORT, 1, () => {});
  expect(outcomes.length).toBeGreaterThan(30);
  expect(outcomes.filter(({ isOk }) => !isOk)).toEqual([]);
});
