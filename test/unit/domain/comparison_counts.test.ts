/** Totals of comparisons: how they are counted, bounded, and added up in any order. */
import { describe, expect, test } from "vitest";
import type { Comparison, Mismatch } from "../../../src/domain/compare_words.ts";
import {
  comparedOf,
  ComparisonTally,
  FIELDS_MAX,
  NO_COMPARISONS,
  sumOfComparisons,
  type ComparisonCounts,
} from "../../../src/domain/comparison_counts.ts";

function mismatched(...fields: readonly string[]): Comparison {
  const list = fields.map((field): Mismatch => ({ field, kind: "value", left: `${field} 1`, right: "2" }));
  return { result: "mismatched", fields: list, isFailure: false };
}

function tallied(
  ...comparisons: readonly (readonly [comparison: Comparison, nowMs: number])[]
): ComparisonCounts {
  const tally = new ComparisonTally();
  for (const [comparison, nowMs] of comparisons) tally.add(comparison, nowMs);
  return tally.counts;
}

/** Fields by name: the order of the list means nothing. */
function byName({ fields, ...rest }: ComparisonCounts): unknown {
  return { ...rest, fields: Object.fromEntries(fields) };
}

describe("a tally", () => {
  test("counts what came of both kinds of pairs apart", () => {
    const tally = new ComparisonTally();
    tally.add({ result: "matched" }, 1);
    tally.add({ ...mismatched("status"), isFailure: true } as Comparison, 2);
    tally.add({ result: "not compared", reason: "body cut" }, 3);
    tally.addNoise(mismatched("status", "body"), 4);
    const { pairs, noise, fields } = tally.counts;
    expect(pairs).toMatchObject({
      matched: 1,
      mismatched: 1,
      failures: 1,
      notCompared: { "body cut": 1, "too deep": 0 },
    });
    expect(noise).toMatchObject({ matched: 0, mismatched: 1, failures: 0 });
    expect([comparedOf(pairs), comparedOf(noise)]).toEqual([2, 1]);
    expect(fields).toEqual([
      [
        "status",
        {
          pairs: 1,
          noise: 1,
          firstSeenMs: 2,
          lastSeenMs: 4,
          samples: [{ atMs: 2, kind: "value", left: "status 1", right: "2" }],
        },
      ],
      ["body", { pairs: 0, noise: 1, firstSeenMs: 4, lastSeenMs: 4, samples: [] }],
    ]);
  });

  test("keeps the first and the newest sample of a field", () => {
    const counts = tallied(...[5, 6, 7].map((nowMs) => [mismatched("a"), nowMs] as const));
    expect(counts.fields[0]?.[1].samples.map(({ atMs }) => atMs)).toEqual([5, 7]);
  });

  test("counts fields beyond 500 together, a pair once", () => {
    const tally = new ComparisonTally();
    for (let i = 0; i < FIELDS_MAX; i++) tally.add(mismatched(`f${i}`), i);
    tally.add(mismatched("x", "y", "f0"), 1000);
    tally.add(mismatched("z"), 1001);
    const fields = new Map(tally.counts.fields);
    expect(fields.size).toBe(FIELDS_MAX + 1);
    expect(fields.get("other")).toMatchObject({ pairs: 2, firstSeenMs: 1000, lastSeenMs: 1001 });
    expect(fields.get("f0")?.pairs).toBe(2);
  });

  test("has room for 500 names besides what came as other already", () => {
    const tally = new ComparisonTally();
    tally.add(mismatched("other"), 0);
    for (let i = 0; i < FIELDS_MAX; i++) tally.add(mismatched(`f${i}`), i);
    expect(new Map(tally.counts.fields).get("other")?.pairs).toBe(1);
  });
});

describe("a sum", () => {
  const a = tallied([mismatched("x", "y"), 1], [{ result: "matched" }, 2]);
  const b = tallied(
    [mismatched("y"), 3],
    [mismatched("z"), 4],
    [{ result: "not compared", reason: "too large" }, 5],
  );

  test("is what one tally would have counted, in any order", () => {
    const all = tallied(
      [mismatched("x", "y"), 1],
      [{ result: "matched" }, 2],
      [mismatched("y"), 3],
      [mismatched("z"), 4],
      [{ result: "not compared", reason: "too large" }, 5],
    );
    expect(byName(sumOfComparisons(a, b))).toEqual(byName(all));
    expect(byName(sumOfComparisons(b, a))).toEqual(byName(all));
    expect(sumOfComparisons(NO_COMPARISONS, a)).toEqual(a);
  });

  test("keeps the 500 names that were seen first, whoever comes first", () => {
    const many = (name: string, from: number): ComparisonCounts =>
      tallied(...Array.from({ length: 400 }, (_, i) => [mismatched(`${name}${i}`), from + i] as const));
    const sum = sumOfComparisons(many("a", 1000), many("b", 0));
    expect(byName(sumOfComparisons(many("b", 0), many("a", 1000)))).toEqual(byName(sum));
    const fields = new Map(sum.fields);
    expect(fields.size).toBe(FIELDS_MAX + 1);
    expect([fields.has("b399"), fields.has("a99"), fields.has("a100")]).toEqual([true, true, false]);
    expect(fields.get("other")?.pairs).toBe(300);
    const twice = new Map(sumOfComparisons(sum, sum).fields);
    expect(twice.get("other")?.pairs).toBe(600);
  });
});
