/** How answers are compared, as operators write it: defaults, every key, and what is refused. */
import { describe, expect, test } from "vitest";
import {
  compareSchema,
  DEFAULT_COMPARE,
  encodeCompare,
  readCompare,
} from "../../../src/domain/compare_policy.ts";
import type { ComparePolicy } from "../../../src/domain/compare_words.ts";
import { Findings, pointerOf } from "../../../src/domain/problems.ts";

const FULL = {
  status: false,
  headers: ["ETag"],
  body: "json",
  max_body: "1MiB",
  ignore: ["/updatedAt", "/items/*/id"],
  unordered: ["/items", ""],
  tolerance: { "/price": 0.01, "/a~1b/m~0n": 2 },
  mask: ["/password"],
  noise: 12.5,
};

/** A policy that must be good. */
function policyOf(input: unknown): ComparePolicy | null {
  const findings = new Findings();
  const policy = readCompare(input, [], findings);
  expect(findings.list()).toEqual([]);
  return policy;
}

/** What is wrong with a policy, by its place. */
function problemsOf(input: unknown): Record<string, string> {
  const findings = new Findings();
  expect(readCompare(input, ["compare"], findings)).toBeNull();
  return Object.fromEntries(findings.list().map(({ path, message }) => [pointerOf(path), message]));
}

describe("a policy", () => {
  test.each([undefined, {}])("that says %j is the default", (input) => {
    expect(policyOf(input)).toEqual(DEFAULT_COMPARE);
    expect(encodeCompare(policyOf(input))).toBeUndefined();
  });

  test.each(["off", false])("that says %j compares nothing", (input) => {
    expect(policyOf(input)).toBeNull();
    expect(encodeCompare(null)).toBe("off");
  });

  test("may say everything there is, and is written as it was read", () => {
    expect(Object.keys(FULL).toSorted()).toEqual(Object.keys(compareSchema.shape).toSorted());
    const policy = policyOf(FULL);
    expect(policy).toEqual({
      status: false,
      headers: ["etag"],
      body: "json",
      bodyBytesMax: 1_048_576,
      ignore: [["updatedAt"], ["items", "*", "id"]],
      unordered: [["items"], []],
      tolerance: [
        { at: ["price"], by: 0.01 },
        { at: ["a/b", "m~n"], by: 2 },
      ],
      mask: [["password"]],
      noisePercent: 12.5,
    });
    expect(encodeCompare(policy)).toEqual({ ...FULL, headers: ["etag"] });
    expect(policyOf(encodeCompare(policy))).toEqual(policy);
  });

  test.each([
    [{ tolerance: 0.01 }, { tolerance: 0.01 }],
    [{ tolerance: {} }, undefined],
    [{ headers: [] }, { headers: [] }],
    [{ max_body: 65_536, noise: 10, tolerance: 0, ignore: [] }, undefined],
    [{ noise: 0 }, { noise: 0 }],
  ])("%j is written as %j", (input, written) => {
    expect(encodeCompare(policyOf(input))).toEqual(written);
  });

  const kind =
    'write "off" or a map; allowed in it: status, headers, body, max_body, ignore, unordered, tolerance, mask, noise';
  const size = 'write a size from 1 to 1MiB, such as "64KiB" or "512"';
  const start = 'a pointer starts with "/", such as "/items/*/id"';
  test.each<[unknown, string, string]>([
    ["on", "", kind],
    [null, "", kind],
    [{ ignor: [] }, "/ignor", 'unknown key "ignor"; did you mean "ignore"?'],
    [{ status: "yes" }, "/status", "write true or false here, not text"],
    [{ headers: ["a b"] }, "/headers/0", '"a b" is not a name of letters, digits and "-"'],
    [{ headers: ["ETag", "etag"] }, "/headers/1", "the same as entry 0 of this list"],
    [{ body: "jsn" }, "/body", 'unknown choice "jsn"; did you mean "json"?'],
    [{ max_body: "2MiB" }, "/max_body", size],
    [{ max_body: 0 }, "/max_body", size],
    [{ ignore: ["updatedAt"] }, "/ignore/0", start],
    [{ ignore: ["/a~2"] }, "/ignore/0", 'write "~0" for "~" and "~1" for "/" inside a key'],
    [{ ignore: [""] }, "/ignore/0", 'to leave out whole bodies write "body: off"'],
    [{ ignore: ["/a", "/a"] }, "/ignore/1", "the same as entry 0 of this list"],
    [{ mask: ["/".repeat(65)] }, "/mask/0", "a pointer has at most 64 steps"],
    [{ mask: [`/${"x".repeat(256)}`] }, "/mask/0", "a pointer has at most 256 characters"],
    [
      { unordered: Array.from({ length: 65 }, (_, i) => `/${i}`) },
      "/unordered",
      "at most 64 entries are allowed",
    ],
    [{ tolerance: -1 }, "/tolerance", "write a number from 0 to 1000000000"],
    [{ tolerance: { "/a": "1" } }, "/tolerance/~1a", "write a number from 0 to 1000000000"],
    [{ tolerance: { price: 1 } }, "/tolerance/price", start],
    [
      { tolerance: "1" },
      "/tolerance",
      "write a number from 0 to 1000000000, or a map of pointers to such numbers",
    ],
    [{ noise: 101 }, "/noise", "write 0 to 100 percent with at most 3 decimals"],
  ])("is refused %j", (input, path, message) => {
    expect(problemsOf(input)).toEqual({ [`/compare${path}`]: message });
  });

  test("is refused with all that is wrong with it", () => {
    const input = { status: 1, ignore: ["a"], tolerance: { b: -1 }, mask: ["c"], noise: -1 };
    expect(Object.keys(problemsOf(input)).toSorted()).toEqual([
      "/compare/ignore/0",
      "/compare/mask/0",
      "/compare/noise",
      "/compare/status",
      "/compare/tolerance/b",
    ]);
  });
});
