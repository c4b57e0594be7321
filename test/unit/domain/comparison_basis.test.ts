/** Whose answers are compared, and which counts belong together. */
import { describe, expect, test } from "vitest";
import { comparedPair, comparisonBasis } from "../../../src/domain/comparison_basis.ts";
import { shopWith } from "../../support/table.ts";

function mirroring(mirror: object): ReturnType<typeof shopWith> {
  return shopWith({ mirror: { to: "new", percent: 10, ...mirror } });
}

describe("a route", () => {
  test("without a mirror, or with one that compares nothing, has no basis", () => {
    for (const route of [shopWith({}), mirroring({ compare: "off" })]) {
      expect(comparedPair(route)).toBeNull();
      expect(comparisonBasis(route)).toBeNull();
    }
  });

  test.each([
    ["new", "new"],
    ["legacy", "new"],
    ["other", "other"],
  ])("whose copies go to %s compares legacy with %s", (to, candidate) => {
    expect(comparedPair(mirroring({ to }))).toEqual({ legacy: "legacy", candidate });
  });

  test("keeps its basis whichever way copies go, and however many", () => {
    const basis = comparisonBasis(mirroring({}));
    expect(basis).toMatch(/^[0-9a-f]{16}$/);
    for (const change of [{ to: "legacy" }, { percent: 100 }, { methods: ["GET"] }, { compare: {} }]) {
      expect(comparisonBasis(mirroring(change))).toBe(basis);
    }
  });

  test("has another one for another pair and for every other policy", () => {
    const changes = [
      {},
      { to: "other" },
      { compare: { ignore: ["/a"] } },
      { compare: { ignore: ["/b"] } },
      { compare: { mask: ["/a"] } },
      { compare: { noise: 11 } },
    ];
    expect(new Set(changes.map((change) => comparisonBasis(mirroring(change)))).size).toBe(changes.length);
  });
});
