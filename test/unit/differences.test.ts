/** How what came of comparing looks: one sentence, the counts, each field, within 80 columns. */
import { describe, expect, test } from "vitest";
import { differencesText, hasDifference } from "../../src/differences.ts";
import type { ComparisonSays, FieldSays } from "../../src/domain/comparison_report.ts";
import { localTime, PLAIN, widthOf } from "../../src/render.ts";

const FIRST = "2026-08-21T12:00:00.000Z";
const LAST = "2026-08-21T13:00:00.000Z";

function field(name: string, more: Partial<FieldSays> = {}): FieldSays {
  return {
    field: name,
    verdict: "real difference",
    evidence: 10,
    pairs: { differing: 1234, compared: 412_007 },
    noise: { differing: 0, compared: 41_200 },
    first_seen: FIRST,
    last_seen: LAST,
    samples: [
      { at: FIRST, kind: "value", left: "12.99", right: "12.98" },
      { at: LAST, kind: "missing", left: '"12.99"', right: null },
    ],
    ...more,
  };
}

function report(
  fields: readonly FieldSays[],
  summary: Partial<ComparisonSays["summary"]> = {},
): ComparisonSays {
  return {
    legacy: "old",
    candidate: "fresh",
    basis: "b",
    since: FIRST,
    summary: {
      text: "412,007 compared, mismatch rate below 0.32 % with 99 % confidence",
      compared: 412_007,
      matched: 410_773,
      mismatched: 1234,
      failures: 2,
      rate: 0.003,
      rate_below: 0.0032,
      confidence: 0.99,
      not_compared: { "body cut": 100, "both failed": 23 },
      noise: { differing: 0, compared: 41_200 },
      ...summary,
    },
    fields,
  };
}

describe("a report", () => {
  test("is a sentence, the counts, and each field with how often, noise, evidence, times and samples", () => {
    expect(differencesText(report([field("body /price")]), PLAIN)).toBe(
      `412,007 compared, mismatch rate below 0.32 % with 99 % confidence

matched       410,773
mismatched    1,234, the candidate failed in 2 of them
not compared  123 (body cut: 100, both failed: 23)

body /price: real difference
  differs  in 1,234 of 412,007 (0.3 %); evidence 10.0 of 10
  noise    in 0 of 41,200 between two answers of legacy
  seen     ${localTime(FIRST)} to ${localTime(LAST)}
  first    value, at ${localTime(FIRST)}
           old    12.99
           fresh  12.98
  newest   missing, at ${localTime(LAST)}
           old    "12.99"
           fresh  (nothing)`,
    );
  });

  test("says so where no field differed and where noise was not measured", () => {
    const none = report([], { not_compared: {}, failures: 0, mismatched: 0 });
    expect(differencesText(none, PLAIN)).toMatch(/mismatched    0\nnot compared  0\n\nno field differed$/);
    const unmeasured = field("status", { noise: { differing: 0, compared: 0 } });
    expect(differencesText(report([unmeasured]), PLAIN)).toContain("  noise    not measured\n");
    expect(differencesText(report([], { compared: 0 }), PLAIN)).not.toContain("no field differed");
  });

  test("shows twenty fields and counts the others", () => {
    const fields = Array.from({ length: 23 }, (_, at) => field(`body /${at}`));
    const text = differencesText(report(fields), PLAIN);
    expect(text).toContain("body /19: ");
    expect(text).not.toContain("body /20: ");
    expect(text).toMatch(/\n\nand 3 more fields; --json has all of them$/);
  });

  test("fits a terminal of 80 columns, whatever the names and the values", () => {
    const long = "x".repeat(64);
    const wide = field("body /items/*/price", {
      pairs: { differing: 999_999_999, compared: 1_000_000_000 },
      samples: [{ at: FIRST, kind: "length", left: long, right: long }],
    });
    const named = { ...report([wide]), legacy: "n".repeat(63), candidate: "m".repeat(63) };
    const text =
      "1,000,000,000 compared, mismatch rate below 100 % with 99 % confidence; legacy differed from itself in 100 %";
    const shown = differencesText(
      { ...named, summary: { ...named.summary, text } },
      { colour: true, columns: 80 },
    );
    const lines = shown.split("\n");
    expect(lines.filter((line) => widthOf(line) > 80)).toEqual([]);
    expect(lines.slice(0, 2).join(" ")).toBe(text);
    expect(shown).toContain("(> 99 %)");
    expect(shown).toMatch(/\u001b\[31mreal difference/);
  });

  test("does not let values command the terminal", () => {
    const sample = { at: FIRST, kind: "value", left: "\u001b[2J", right: "\n" } as const;
    const text = differencesText(report([field("body /\u0007", { samples: [sample] })]), PLAIN);
    expect(text).toContain("body /\\u{7}: ");
    expect(text).toContain("old    \\u{1b}[2J\n");
    expect(text).toContain("fresh  \\u{a}");
  });
});

test("real differences and those of unmeasured noise are differences; what is noise or undecided is none", () => {
  const has = (verdict: FieldSays["verdict"]): boolean =>
    hasDifference(report([field("status", { verdict })]));
  expect(has("real difference")).toBe(true);
  expect(has("difference, noise not measured")).toBe(true);
  expect(has("known noise")).toBe(false);
  expect(has("not decided yet")).toBe(false);
  expect(hasDifference(report([]))).toBe(false);
});
