/** The split: exact shares, clients that stay, the same side everywhere, and salts that do not know each other. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SHARES_TOTAL } from "../../src/domain/route.ts";
import { bucketOf, isInCohort } from "../../src/domain/split.ts";

const sharesArbitrary = fc.integer({ min: 0, max: SHARES_TOTAL });
const keyArbitrary = fc.oneof(fc.uuid(), fc.string({ maxLength: 40 }), fc.ipV4());
const saltArbitrary = fc.string({ minLength: 1, maxLength: 20 });

/** Pearson's statistic: the squared distances from what is expected, in units of that. */
function chiSquare(counts: readonly number[], expected: number): number {
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

describe("the split", () => {
  test("of all buckets exactly the candidate's shares are in the cohort, whatever the weight", () => {
    const exact = (shares: number): void => {
      let inside = 0;
      for (let bucket = 0; bucket < SHARES_TOTAL; bucket++) if (isInCohort(bucket, shares)) inside++;
      expect(inside).toBe(shares);
    };
    fc.assert(fc.property(sharesArbitrary, exact), {
      examples: [[0], [1], [5000], [SHARES_TOTAL - 1], [SHARES_TOTAL]],
      numRuns: 200,
    });
  });

  test("every key has a bucket from 0 to 99,999", () => {
    fc.assert(
      fc.property(saltArbitrary, keyArbitrary, (salt, key) => {
        const bucket = bucketOf(salt, key);
        expect(Number.isInteger(bucket) && bucket >= 0 && bucket < SHARES_TOTAL).toBe(true);
      }),
    );
  });

  test("a client on the candidate stays there while the weight grows", () => {
    fc.assert(
      fc.property(saltArbitrary, keyArbitrary, sharesArbitrary, sharesArbitrary, (salt, key, one, other) => {
        const bucket = bucketOf(salt, key);
        if (isInCohort(bucket, Math.min(one, other)))
          expect(isInCohort(bucket, Math.max(one, other))).toBe(true);
      }),
    );
  });

  test("a falling weight sends clients back in the reverse order of their coming", () => {
    const clients = Array.from({ length: 2000 }, (_, i) => ({
      name: `client-${i}`,
      bucket: bucketOf("s", `client-${i}`),
    }));
    const cohort = (shares: number): string[] =>
      clients.filter(({ bucket }) => isInCohort(bucket, shares)).map(({ name }) => name);
    fc.assert(
      fc.property(fc.array(sharesArbitrary, { minLength: 2, maxLength: 8 }), (weights) => {
        const rising = weights.toSorted((a, b) => a - b);
        const coming = rising.map((weight, step) => {
          const before = new Set(cohort(rising[step - 1] ?? 0));
          return cohort(weight).filter((name) => !before.has(name));
        });
        const falling = [...rising.toReversed(), 0];
        const going = falling.slice(1).map((weight, step) => {
          const after = new Set(cohort(weight));
          return cohort(falling[step] ?? 0).filter((name) => !after.has(name));
        });
        expect(going).toEqual(coming.toReversed());
      }),
    );
  });

  // Computed apart, with FNV-1a and murmur3's finalizer written in Python.
  test("buckets are the same in every process and version: these never change", () => {
    const vectors: readonly (readonly [string, string, number])[] = [
      ["", "", 94203],
      ["legacy/new", "1", 25004],
      ["legacy/new", "user-42", 39701],
      ["legacy/newer", "user-42", 96517],
      ["shop", "0198c0de-0000-7000-8000-000000000001", 32498],
      ["shop", "203.0.113.7", 81655],
      ["shop", "2001:db8::1", 80893],
      ["s", "ü", 72592],
      ["s", "日本", 28742],
    ];
    for (const [salt, key, bucket] of vectors)
      expect([salt, key, bucketOf(salt, key)]).toEqual([salt, key, bucket]);
  });

  test("the border between salt and key counts", () => {
    expect(bucketOf("ab", "c")).not.toBe(bucketOf("a", "bc"));
  });

  test("clients spread evenly over the buckets", () => {
    const counts = Array.from({ length: 100 }, () => 0);
    const clients = 100_000;
    for (let i = 0; i < clients; i++) {
      const slot = Math.floor((bucketOf("shop", `user-${i}`) * 100) / SHARES_TOTAL);
      counts[slot] = (counts[slot] ?? 0) + 1;
    }
    // 99 degrees of freedom: 149 is passed by chance once in a thousand; the keys are fixed, so never here.
    expect(chiSquare(counts, clients / 100)).toBeLessThan(149);
  });

  test("a client's side under one salt says nothing about its side under another", () => {
    const clients = 100_000;
    const counts = Array.from({ length: 100 }, () => 0);
    for (let i = 0; i < clients; i++) {
      const row = Math.floor((bucketOf("legacy/new", `user-${i}`) * 10) / SHARES_TOTAL);
      const column = Math.floor((bucketOf("legacy/newer", `user-${i}`) * 10) / SHARES_TOTAL);
      counts[row * 10 + column] = (counts[row * 10 + column] ?? 0) + 1;
    }
    expect(chiSquare(counts, clients / 100)).toBeLessThan(149);
  });
});
