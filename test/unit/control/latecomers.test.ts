/** Workers of the control process before that have yet to come. */
import { expect, test } from "vitest";
import { Latecomers } from "../../../src/control/latecomers.ts";

const MOST_MS = 1_000;
const ONE = { worker: 0, pid: 11 };
const OTHER = { worker: 1, pid: 12 };

test("who does not come in time is given once, and who came or ended is not", () => {
  const latecomers = new Latecomers();
  latecomers.expect([ONE, OTHER, { worker: 2, pid: 13 }]);
  const isThere = (pid: number): boolean => pid !== 13;
  expect(latecomers.wait(600, MOST_MS, isThere)).toEqual([]);
  latecomers.forget(ONE.pid);
  expect(latecomers.wait(400, MOST_MS, isThere)).toEqual([]);
  expect(latecomers.isEmpty).toBe(false);
  expect(latecomers.wait(1, MOST_MS, isThere)).toEqual([OTHER]);
  expect(latecomers.isEmpty).toBe(true);
  expect(latecomers.wait(5_000, MOST_MS, isThere)).toEqual([]);
});

test("one that ended as its time was over is not given", () => {
  const latecomers = new Latecomers();
  latecomers.expect([ONE]);
  expect(latecomers.wait(2_000, MOST_MS, () => false)).toEqual([]);
  expect(latecomers.isEmpty).toBe(true);
});
