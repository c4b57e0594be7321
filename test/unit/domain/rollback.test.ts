/** The rollback policy of a route: what it says when it says nothing, what it may say, and what is a failure by it. */
import { describe, expect, test } from "vitest";
import { encodeRoute } from "../../../src/domain/document.ts";
import { DEFAULT_ROLLBACK, isFailure } from "../../../src/domain/failure.ts";
import type { FailureStatus } from "../../../src/domain/route.ts";
import { SHOP, shopProblems, shopWith } from "../../support/table.ts";

const SPLIT = { legacy: 100, new: 0 };

describe("a route", () => {
  test("that says nothing goes back by itself when the candidate fails", () => {
    const policy = { on: ["errors"], tolerance: 1.5, falseAlarm: 0.001, statuses: ["5xx"] };
    expect(shopWith({}).rollback).toEqual(policy);
    expect(shopWith({ rollback: {} }).rollback).toEqual(policy);
    expect(encodeRoute(shopWith({ rollback: { on: ["errors"], statuses: ["5xx"] } }))).toEqual({
      ...SHOP,
      split: SPLIT,
    });
  });

  test.each(["off", false])("that says %j is left to people", (rollback) => {
    const route = shopWith({ rollback });
    expect(route.rollback).toBeNull();
    expect(encodeRoute(route)).toEqual({ ...SHOP, split: SPLIT, rollback: "off" });
  });

  test("that says a part has the defaults for the others", () => {
    const rollback = { tolerance: 2, statuses: [503, "4xx"] };
    const route = shopWith({ rollback });
    expect(route.rollback).toEqual({ ...DEFAULT_ROLLBACK, ...rollback });
    expect(encodeRoute(route)).toEqual({ ...SHOP, split: SPLIT, rollback });
  });

  test.each([
    [{ tolerance: 1, false_alarm: 0.000001 }],
    [{ tolerance: 10, false_alarm: 0.05, on: ["latency", "errors"] }],
    [{ statuses: [400, 599] }],
    [{ statuses: Array.from({ length: 32 }, (_, i) => 400 + i) }],
  ])("may say %j", (rollback) => {
    expect(encodeRoute(shopWith({ rollback }))).toMatchObject({ rollback });
  });

  const kind = 'write "off" or a map; allowed in it: on, tolerance, false_alarm, statuses';
  const status = 'write "5xx", "4xx" or a status from 400 to 599, such as 503';
  test.each<[unknown, string, string]>([
    ["on", "rollback", kind],
    [true, "rollback", kind],
    [null, "rollback", kind],
    [[], "rollback", kind],
    [{ toleranc: 2 }, "rollback/toleranc", 'unknown key "toleranc"; did you mean "tolerance"?'],
    [{ on: [] }, "rollback/on", "write 1 to 2 entries"],
    [{ on: ["error"] }, "rollback/on/0", 'unknown choice "error"; did you mean "errors"?'],
    [{ on: ["cost"] }, "rollback/on/0", 'unknown choice "cost"; write one of errors, latency'],
    [{ on: ["errors", "errors"] }, "rollback/on/1", "the same as entry 0 of this list"],
    [{ tolerance: 0.99 }, "rollback/tolerance", "write a number from 1 to 10"],
    [{ tolerance: "2" }, "rollback/tolerance", "write a number from 1 to 10"],
    [{ false_alarm: 0 }, "rollback/false_alarm", "write a number from 0.000001 to 0.05"],
    [{ false_alarm: 0.051 }, "rollback/false_alarm", "write a number from 0.000001 to 0.05"],
    [{ statuses: [] }, "rollback/statuses", "write 1 to 32 entries"],
    [{ statuses: Array(33).fill("5xx") }, "rollback/statuses", "write 1 to 32 entries"],
    [{ statuses: ["6xx"] }, "rollback/statuses/0", status],
    [{ statuses: [399] }, "rollback/statuses/0", status],
    [{ statuses: ["503"] }, "rollback/statuses/0", status],
    [{ statuses: [404, 404] }, "rollback/statuses/1", "the same as entry 0 of this list"],
    [{ statuses: [503, "5xx"] }, "rollback/statuses/0", '"5xx" in this list includes it already'],
  ])("is refused %j", (rollback, path, message) => {
    expect(shopProblems({ rollback })).toEqual({ [path]: message });
  });
});

describe("a failure", () => {
  test.each<[FailureStatus[], number[], number[]]>([
    [["5xx"], [500, 599, 600, 999], [200, 304, 399, 400, 499]],
    [["4xx"], [400, 499], [200, 399, 500, 503]],
    [
      [503, 429],
      [429, 503],
      [400, 430, 500, 502, 504],
    ],
    [
      ["4xx", 503],
      [404, 503],
      [302, 500],
    ],
  ])("by %j is one of these statuses alone", (statuses, failures, others) => {
    const policy = { ...DEFAULT_ROLLBACK, statuses };
    expect([...failures, ...others].filter((status) => isFailure(policy, status))).toEqual(failures);
  });

  test("where nothing rolls back is what it is by default", () => {
    expect([200, 404, 500].map((status) => isFailure(null, status))).toEqual([false, false, true]);
  });
});
