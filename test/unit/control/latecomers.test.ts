/** Workers of the control process before that have yet to come. */
import { expect, test } from "vitest";
import type { Named } from "../../../src/control/fleet_news.ts";
import { Latecomers } from "../../../src/control/latecomers.ts";

const MOST_MS = 1_000;
const ONE = { worker: 0, pid: 11 };
const OTHER = { worker: 1, pid: 12 };

function setUp(isThere: (pid: number) => boolean): { latecomers: Latecomers; ended: Named[] } {
  const ended: Named[] = [];
  return { latecomers: new Latecomers({ isThere, end: (late) => ended.push(late) }), ended };
}

test("who does not come in time is ended once, and who came or ended is not", () => {
  const { latecomers, ended } = setUp((pid) => pid !== 13);
  latecomers.expect([ONE, OTHER, { worker: 2, pid: 13 }]);
  latecomers.wait(600, MOST_MS);
  latecomers.forget(ONE.pid);
  latecomers.wait(400, MOST_MS);
  expect(latecomers.isEmpty).toBe(false);
  expect(ended).toEqual([]);
  latecomers.wait(1, MOST_MS);
  expect(latecomers.isEmpty).toBe(true);
  latecomers.wait(5_000, MOST_MS);
  expect(ended).toEqual([OTHER]);
});

test("one that ended as its time was over is not ended again", () => {
  const { latecomers, ended } = setUp(() => false);
  latecomers.expect([ONE]);
  latecomers.wait(2_000, MOST_MS);
  expect(latecomers.isEmpty).toBe(true);
  expect(ended).toEqual([]);
});
