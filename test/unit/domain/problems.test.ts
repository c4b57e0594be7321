/** Suggestions are close or not made at all, and pointers survive any key. */
import { describe, expect, test } from "vitest";
import { Findings, findProtoKeys, nearestName, pointerOf, resultOf } from "../../../src/domain/problems.ts";

const KEYS = ["id", "match", "cutover", "split", "sticky", "pins", "timeouts", "retries", "expose"];

describe("the nearest name", () => {
  test.each([
    ["spilt", "split"],
    ["Split", "split"],
    ["splits", "split"],
    ["plit", "split"],
    ["timeout", "timeouts"],
    ["cutovr", "cutover"],
    ["pin", "pins"],
    ["di", "id"],
  ])("to %s is %s", (name, nearest) => {
    expect(nearestName(name, KEYS)).toBe(nearest);
  });

  test.each(["banana", "x", "", "rollback", "m".repeat(10_000)])("to %s is none", (name) => {
    expect(nearestName(name, KEYS)).toBeNull();
  });

  test("is the one with the fewest mistakes, not the first that is close", () => {
    expect(nearestName("legact", ["legally", "legacy"])).toBe("legacy");
  });
});

describe("findings", () => {
  test("become JSON pointers that escape slashes and tildes", () => {
    expect(pointerOf([])).toBe("");
    expect(pointerOf(["a/b", 0, "m~n", ""])).toBe("/a~1b/0/m~0n/");
  });

  test("refuse a value however good it looks", () => {
    const findings = new Findings();
    expect(resultOf(1, findings)).toEqual({ ok: true, value: 1 });
    findings.add(["a"], "wrong");
    expect(resultOf(1, findings)).toEqual({ ok: false, problems: [{ path: "/a", message: "wrong" }] });
  });

  test("about __proto__ end on inputs that contain themselves", () => {
    const round: Record<string, unknown> = JSON.parse('{"__proto__":{}}');
    round["self"] = round;
    const findings = new Findings();
    findProtoKeys(round, findings);
    expect(findings.list().map(({ path }) => path)).toEqual([["__proto__"]]);
  });
});
