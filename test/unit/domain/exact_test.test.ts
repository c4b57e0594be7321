/** Fisher's exact test, against a count of all ways there are. */
import { expect, test } from "vitest";
import { chanceOfSoMany } from "../../../src/domain/exact_test.ts";

/** All ways to choose k of n, by Pascal's triangle. */
function choose(n: number, k: number): number {
  return k === 0 || k === n ? 1 : k < 0 || k > n ? 0 : choose(n - 1, k - 1) + choose(n - 1, k);
}

test("the chance is the part of all ways to deal out the events in which we have so many or more", () => {
  for (const [ours, theirs] of [
    [8, 5],
    [4, 9],
    [1, 6],
  ] as const) {
    for (let a = 0; a <= ours; a++) {
      for (let b = 0; b <= theirs; b++) {
        const chance = chanceOfSoMany({ events: a, trials: ours }, { events: b, trials: theirs });
        let ways = 0;
        for (let x = a; x <= ours; x++) ways += choose(ours, x) * choose(theirs, a + b - x);
        const isHigher = a * theirs > b * ours;
        expect(chance).toBeCloseTo(isHigher ? ways / choose(ours + theirs, a + b) : 1, 9);
      }
    }
  }
});

test("large counts stay exact: a rate twice as high is no chance, the same rate is", () => {
  expect(
    chanceOfSoMany({ events: 200_000, trials: 1_000_000 }, { events: 10_000, trials: 100_000 }),
  ).toBeLessThan(1e-100);
  const even = chanceOfSoMany({ events: 100_001, trials: 1_000_000 }, { events: 10_000, trials: 100_000 });
  expect(even).toBeGreaterThan(0.4);
  expect(even).toBeLessThan(0.6);
});

test("without trials there is nothing to say", () => {
  expect(chanceOfSoMany({ events: 0, trials: 0 }, { events: 0, trials: 0 })).toBe(1);
  expect(chanceOfSoMany({ events: 3, trials: 3 }, { events: 0, trials: 0 })).toBe(1);
});
