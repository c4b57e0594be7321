/** When a replay shows two backends to be equal: strictly, because few requests prove no rate. */
import { describe, expect, test } from "vitest";
import { ComparisonJudge, type FieldReport } from "../../src/domain/comparison.ts";
import { judgeEquality, type EqualityCase } from "../../src/verify_equal.ts";
import { totalsOf } from "../support/answers.ts";

type Fields = Parameters<typeof totalsOf>[2];

/** What a replay of `pairs` requests has found, `noise` of them sent to legacy twice. */
function found(pairs: number, noise: number, fields: Fields, more: Partial<EqualityCase> = {}): EqualityCase {
  const judge = new ComparisonJudge();
  judge.tick(0, totalsOf(pairs, noise, fields));
  const { summary } = judge;
  return { summary, fields: judge.fields, sent: pairs, isComplete: true, uncomparedPercentMax: 0, ...more };
}

describe("equal", () => {
  test("is what differs in nothing", () => {
    const { isEqual, text, reasons } = judgeEquality(found(1000, 100, []));
    expect([isEqual, text, reasons]).toEqual([true, "equal: 1,000 compared, 0 differ", []]);
  });

  test("is what differs as legacy differs from itself", () => {
    const equality = judgeEquality(found(100, 50, [["body /id", 100, 50]]));
    expect(equality).toMatchObject({
      isEqual: true,
      text: "equal: 100 compared, 100 differ as legacy differs from itself",
    });
    expect(judgeEquality(found(100, 50, [["body /ad", 23, 9]])).isEqual).toBe(true);
  });

  test("may leave as much without a comparison as is allowed", () => {
    const { summary } = found(98, 0, []);
    const notCompared = { ...summary.notCompared, "body cut": 2 };
    const one = { ...found(98, 0, [], { sent: 100 }), summary: { ...summary, notCompared } };
    expect(judgeEquality({ ...one, uncomparedPercentMax: 2 })).toMatchObject({
      isEqual: true,
      text: "equal: 98 compared, 0 differ, 2 not compared, as allowed",
    });
    expect(judgeEquality(one)).toMatchObject({
      isEqual: false,
      reasons: ["2 of 100 were not compared (body cut: 2)"],
    });
    expect(judgeEquality({ ...one, uncomparedPercentMax: 1 }).reasons).toEqual([
      "2 of 100 were not compared, more than the 1 % that may be (body cut: 2)",
    ]);
  });
});

describe("not equal", () => {
  test.each<[string, EqualityCase, string]>([
    [
      "differs once, where legacy never differed from itself",
      found(1000, 100, [["body /price", 1, 0]]),
      "body /price differs in 1 of 1,000, and in none of 100 between two answers of legacy",
    ],
    [
      "differs once, where legacy's noise was not measured",
      found(10, 0, [["status", 1, 0]]),
      "status differs in 1 of 10, and legacy's own noise was not measured; --noise measures it",
    ],
    [
      "differs more often than legacy from itself, though few requests were sent",
      found(20, 20, [["body /list", 20, 10]]),
      "body /list differs in 20 of 20, clearly more often than in 10 of 20 between two answers of legacy",
    ],
    ["was not compared", found(0, 0, []), "nothing was compared"],
    [
      "was interrupted",
      found(10, 0, [], { sent: 12, isComplete: false, uncomparedPercentMax: 50 }),
      "it was interrupted, so not everything was replayed",
    ],
    [
      "was given up before all answers came",
      found(10, 0, [], { sent: 12 }),
      "2 of 12 were not compared (given up: 2)",
    ],
  ])("is what %s", (_, one, reason) => {
    const equality = judgeEquality(one);
    expect(equality).toMatchObject({ isEqual: false, reasons: [reason] });
    expect(equality.text).toMatch(/^not equal: /);
  });

  test("is a candidate that failed, by the faults that came instead", () => {
    const one = found(100, 100, [["fault", 1, 1]]);
    const sample = { atMs: 0, kind: "added", left: null, right: "RESPONSE_TIMEOUT" } as const;
    const fields = one.fields.map((field) => ({ ...field, samples: [sample] }));
    // Not even where legacy failed as often when it was asked twice.
    const equality = judgeEquality({ ...one, fields, summary: { ...one.summary, failures: 1 } });
    expect(equality.reasons).toEqual(["the candidate failed once where legacy answered (RESPONSE_TIMEOUT)"]);
  });

  test("is what the evidence on the way calls a real difference", () => {
    const [field] = found(100, 100, [["body /a", 10, 10]]).fields as [FieldReport];
    const one = found(100, 100, [], { fields: [{ ...field, verdict: "real difference" }] });
    expect(judgeEquality(one).reasons).toHaveLength(1);
  });

  test("names the first fields, and counts the others", () => {
    const fields = Array.from({ length: 9 }, (_, at) => [`body /${at}`, 1, 0] as const);
    const { reasons } = judgeEquality(found(100, 0, fields));
    expect(reasons).toHaveLength(6);
    expect(reasons.at(-1)).toBe("and 4 more fields");
  });
});
