/** The judge of fields: its verdicts, its bounds on the mismatch rate, and totals that get lost. */
import { describe, expect, test } from "vitest";
import { ComparisonJudge, explainComparison, type FieldReport } from "../../../src/domain/comparison.ts";
import { FIELDS_MAX, NO_COMPARISONS } from "../../../src/domain/comparison_counts.ts";
import { pairsOf, totalsOf } from "../../support/answers.ts";

type Fields = readonly (readonly [string, number, number])[];

/** A judge after so many ticks in which each of the totals grew by as much. */
function judged(ticks: number, pairs: number, noise: number, fields: Fields): ComparisonJudge {
  const judge = new ComparisonJudge();
  for (let tick = 1; tick <= ticks; tick++) {
    const grown = fields.map(([name, d, d0]) => [name, tick * d, tick * d0] as const);
    judge.tick(1000 * tick, totalsOf(tick * pairs, tick * noise, grown));
  }
  return judge;
}

function verdicts({ fields }: ComparisonJudge): Record<string, string> {
  return Object.fromEntries(fields.map(({ field, verdict }) => [field, verdict]));
}

describe("a field", () => {
  test("that the candidate has and legacy's noise has not is a real difference", () => {
    const judge = judged(50, 50, 5, [
      ["status", 5, 0],
      ["body /id", 50, 5],
      ["body /at", 10, 1],
      ["header etag", 0, 1],
    ]);
    expect(verdicts(judge)).toEqual({
      status: "real difference",
      "body /id": "known noise",
      "body /at": "known noise",
      "header etag": "known noise",
    });
    const [first] = judge.fields as [FieldReport];
    expect(first).toMatchObject({
      field: "status",
      evidence: 10,
      pairs: { differing: 250, compared: 2500 },
      noise: { differing: 0, compared: 250 },
    });
  });

  test("is not decided by a few pairs", () => {
    const judge = judged(30, 50, 5, [["status", 0, 0]]);
    judge.tick(31_000, totalsOf(1550, 155, [["status", 2, 0]]));
    const [report] = judge.fields as [FieldReport];
    expect(report.verdict).toBe("not decided yet");
    expect(report.evidence).toBeLessThan(2);
  });

  test("that always differs is noise if legacy always differs from itself, however few pairs tell so", () => {
    const judge = new ComparisonJudge();
    for (let tick = 1; tick <= 500; tick++) {
      const noise = tick < 100 || tick > 400 ? tick : 100;
      judge.tick(1000 * tick, totalsOf(1000 * tick, noise, [["body /at", 1000 * tick, noise]]));
      expect(judge.fields[0]?.verdict).not.toBe("real difference");
    }
    expect(verdicts(judge)).toEqual({ "body /at": "known noise" });
  });

  test("stays a real difference", () => {
    const judge = judged(50, 50, 5, [["status", 5, 0]]);
    for (let tick = 51; tick < 500; tick++)
      judge.tick(1000 * tick, totalsOf(tick * 50, tick * 5, [["status", 250, 0]]));
    expect(verdicts(judge)).toEqual({ status: "real difference" });
  });

  test("that differs without any noise pairs is found, and said to be without them", () => {
    const alone = judged(20, 50, 0, [
      ["body /a", 50, 0],
      ["body /b", 1, 0],
    ]);
    expect(verdicts(alone)).toMatchObject({ "body /a": "difference, noise not measured" });
    const rare = judged(100, 1000, 0, [["body /a", 1, 0]]);
    expect(verdicts(rare)).toEqual({ "body /a": "not decided yet" });
    expect(verdicts(judged(1, 1000, 0, [["body /a", 500, 0]]))).toEqual({ "body /a": "not decided yet" });
  });

  test("that was found without noise is judged by it as soon as there is enough", () => {
    const judge = judged(20, 50, 0, [["body /at", 50, 0]]);
    judge.tick(21_000, totalsOf(1050, 19, [["body /at", 1050, 19]]));
    expect(verdicts(judge)).toEqual({ "body /at": "difference, noise not measured" });
    judge.tick(22_000, totalsOf(1100, 20, [["body /at", 1100, 20]]));
    expect(verdicts(judge)).toEqual({ "body /at": "known noise" });
  });

  test("beyond 500 is only counted, like those that came as other", () => {
    const names = Array.from({ length: FIELDS_MAX }, (_, i) => `f${i}`);
    const judge = judged(30, 50, 5, [
      ...names.map((name) => [name, 1, 1] as const),
      ["other", 50, 0],
      ["late", 50, 0],
    ]);
    expect(verdicts(judge)).toMatchObject({ other: "not decided yet", late: "not decided yet" });
    expect(judge.fields.find(({ field }) => field === "other")?.pairs.differing).toBe(1500);
  });
});

describe("totals", () => {
  test("in one portion say as much of what is real as many do", () => {
    expect(
      verdicts(
        judged(1, 5000, 500, [
          ["a", 250, 0],
          ["b", 5000, 500],
        ]),
      ),
    ).toEqual({
      a: "real difference",
      b: "known noise",
    });
  });

  test("that get smaller are no evidence, and the next ones go on from there", () => {
    const judge = judged(30, 500, 50, [
      ["body /at", 250, 25],
      ["body /b", 1, 0],
    ]);
    const before = judge.fields.map(({ evidence }) => evidence);
    // Half of all is lost with a worker, and of one field nothing is left of the noise.
    judge.tick(40_000, totalsOf(15_100, 800, [["body /at", 4000, 0]]));
    expect(verdicts(judge)).toEqual({ "body /at": "not decided yet" });
    judge.tick(
      41_000,
      totalsOf(15_600, 850, [
        ["body /at", 4250, 25],
        ["body /b", 31, 0],
      ]),
    );
    expect(verdicts(judge)).toEqual({ "body /at": "known noise", "body /b": "not decided yet" });
    expect(judge.fields.every(({ evidence }, i) => evidence <= (before[i] ?? 0) + 2)).toBe(true);
    judge.tick(42_000, NO_COMPARISONS);
    expect(judge.summary).toMatchObject({ compared: 0, rate: null, rateBelow: 1 });
  });
});

describe("the mismatch rate", () => {
  const summaryOf = (compared: number, mismatched: number, noise = pairsOf(0, 0)): ComparisonJudge => {
    const judge = new ComparisonJudge();
    judge.tick(0, { pairs: pairsOf(compared, mismatched), noise, fields: [] });
    return judge;
  };

  test.each([
    [412_007, 50, pairsOf(40_000, 0), "412,007 compared, mismatch rate below 0.02 % with 99 % confidence"],
    [
      100_000,
      0,
      pairsOf(9000, 45),
      "100,000 compared, mismatch rate below 0.0064 % with 99 % confidence; " +
        "legacy differed from itself in 0.5 % of 9,000",
    ],
    [1, 1, pairsOf(1, 0), "1 compared, mismatch rate below 100 % with 99 % confidence"],
    [
      500,
      5,
      pairsOf(0, 0),
      "500 compared, mismatch rate below 3.5 % with 99 % confidence; legacy's own noise not measured",
    ],
    [0, 0, pairsOf(0, 0), "nothing compared yet"],
  ])("of %i with %i is told in one line", (compared, mismatched, noise, line) => {
    expect(explainComparison(summaryOf(compared, mismatched, noise).summary)).toBe(line);
  });

  test.each([
    [100_000, 0],
    [412_007, 50],
    [5000, 2500],
    [10, 9],
  ])("of %i with %i is proven below its bound and no less", (compared, mismatched) => {
    const judge = summaryOf(compared, mismatched);
    const { rate, rateBelow } = judge.summary;
    expect(rateBelow).toBeGreaterThan(rate ?? 1);
    if (rateBelow < 1) expect(judge.isProvenBelow(rateBelow)).toBe(true);
    expect(judge.isProvenBelow(rateBelow * 0.999)).toBe(false);
  });

  test("is proven of nothing by nothing", () => {
    expect(summaryOf(0, 0).isProvenBelow(0.99)).toBe(false);
    expect(() => summaryOf(0, 0).isProvenBelow(0)).toThrow("between 0 and 1");
  });

  test("of many comparisons is bounded closely", () => {
    expect(summaryOf(1e6, 10_000).summary.rateBelow).toBeLessThan(0.0105);
    expect(summaryOf(1e6, 100).summary.rateBelow).toBeLessThan(0.00015);
  });
});
