/** Retries: which attempts may be repeated, how many at a time, and how they spread out. */
import { describe, expect, test } from "vitest";
import {
  RetryBudget,
  RetryPlace,
  backoffMs,
  idleMsMax,
  isRepeatable,
  type FailedAttempt,
} from "../../../src/plane/retry.ts";

const RESET: FailedAttempt = {
  code: "UPSTREAM_RESET",
  method: "GET",
  hasResponseBytes: false,
  isBodyHeld: true,
};

describe("a request of which something was written", () => {
  test("may be written again when its connection went away unanswered", () => {
    for (const method of ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]) {
      expect(isRepeatable({ ...RESET, method })).toBe(true);
    }
  });

  test.each<[string, Partial<FailedAttempt>]>([
    ["it may have an effect each time", { method: "POST" }],
    ["it may have an effect each time", { method: "PATCH" }],
    ["nobody knows the method", { method: "get" }],
    ["an answer had begun", { hasResponseBytes: true }],
    ["its body is not held any more", { isBodyHeld: false }],
    ["it was too slow, not gone", { code: "RESPONSE_TIMEOUT" }],
    ["the answer was malformed", { code: "BAD_RESPONSE" }],
  ])("may not when %s", (_, change) => {
    expect(isRepeatable({ ...RESET, ...change })).toBe(false);
  });
});

describe("a budget", () => {
  test("has three places, or a fifth of the active requests, and gets them back", () => {
    const budget = new RetryBudget();
    for (let i = 0; i < 10; i++) budget.begin();
    expect([1, 2, 3, 4].map(() => budget.take())).toEqual([true, true, true, false]);
    for (let i = 0; i < 10; i++) budget.begin();
    expect([budget.take(), budget.take()]).toEqual([true, false]);
    budget.end(true);
    expect(budget.take()).toBe(true);
  });

  test("gives a request one place, for all of its retries and until it ends", () => {
    const budget = new RetryBudget();
    const places = [1, 2, 3, 4].map(() => new RetryPlace(budget));
    const [first, , , last] = places;
    for (let retry = 0; retry < 2; retry++)
      expect(places.map((place) => place.take())).toEqual([true, true, true, false]);
    first?.end();
    expect(last?.take()).toBe(true);
    const next = new RetryPlace(budget);
    expect(next.take()).toBe(false);
    next.end();
    expect(new RetryPlace(budget).take()).toBe(false);
  });
});

test("the first retry goes at once, later ones wait up to a bound that doubles and ends", () => {
  const largest = (below: number): number => below;
  expect([1, 2, 3, 4, 5, 9].map((attempts) => backoffMs(attempts, largest))).toEqual([
    0, 50, 100, 200, 250, 250,
  ]);
});

test("only a request that can be repeated trusts a connection that was idle for long", () => {
  expect(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].map(idleMsMax)).toEqual(Array(5).fill(Infinity));
  expect(["POST", "PATCH", "LOCK"].map(idleMsMax)).toEqual([1000, 1000, 1000]);
});
