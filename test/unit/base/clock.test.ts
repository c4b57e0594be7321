/** A clock that stands still while what one read brought is handled. */
import { expect, test } from "vitest";
import { StepClock } from "../../../src/base/clock.ts";
import { ManualClock } from "../../support/clock.ts";

const WALL_MS = 1_000_000;

test("within a step there is one time, that of the first look; outside it goes on", () => {
  const time = new ManualClock(WALL_MS);
  const clock = new StepClock(time);
  const seen: number[] = [];
  const look = (): void => {
    seen.push(clock.nowMs(), clock.wallMs());
    time.advance(5);
  };
  look();
  clock.step(
    () => {
      time.advance(1);
      look();
      look();
    },
    0,
    0,
  );
  look();
  clock.step(look, 0, 0);
  expect(seen).toEqual([0, 6, 6, 16, 21].flatMap((ms) => [ms, WALL_MS + ms]));
});

test("a step that fails is over", () => {
  const time = new ManualClock(WALL_MS);
  const clock = new StepClock(time);
  const fail = (): void => {
    clock.nowMs();
    throw new Error("on purpose");
  };
  expect(() => clock.step(fail, 0, 0)).toThrow("on purpose");
  time.advance(7);
  expect(clock.nowMs()).toBe(7);
});
