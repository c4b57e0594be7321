/** Comparing two answers: failures first, then status, headers and bodies, each by the policy. */
import { describe, expect, test } from "vitest";
import { compare } from "../../../src/domain/compare.ts";
import { DEFAULT_COMPARE } from "../../../src/domain/compare_policy.ts";
import type { AnswerSummary, ComparePolicy } from "../../../src/domain/compare_words.ts";
import { answerWith, jsonAnswer, noAnswer } from "../../support/answers.ts";

/** One word for what came of it: the reason, or the fields. */
function told(left: AnswerSummary, right: AnswerSummary, policy: Partial<ComparePolicy> = {}): unknown {
  const comparison = compare(left, right, { ...DEFAULT_COMPARE, ...policy });
  if (comparison.result === "matched") return "matched";
  if (comparison.result === "not compared") return comparison.reason;
  const fields = comparison.fields.map(
    ({ field, left: l, right: r }) => `${field}: ${l ?? "-"}, ${r ?? "-"}`,
  );
  return comparison.isFailure ? ["failure", ...fields] : fields;
}

const typed = (...types: string[]): Partial<AnswerSummary> => ({
  fields: types.map((type) => ["Content-Type", type]),
});
const CUT = { isBodyWhole: false, body: null };
const GOOD = answerWith("x");

describe("failures", () => {
  const bad = answerWith("oh", { status: 503 });
  const gone = noAnswer("RESPONSE_TIMEOUT");

  test("of the candidate alone are the worst mismatch, and all that is said", () => {
    expect(told(GOOD, bad)).toEqual(["failure", "status: 200, 503"]);
    expect(told(GOOD, gone)).toEqual(["failure", "fault: -, RESPONSE_TIMEOUT"]);
    expect(told(GOOD, bad, { status: false, body: "off", headers: [] })).toEqual([
      "failure",
      "status: 200, 503",
    ]);
  });

  test("of legacy leave nothing to compare with", () => {
    expect(told(bad, GOOD)).toBe("legacy failed");
    expect(told(gone, GOOD)).toBe("legacy failed");
    expect(told(gone, bad)).toBe("both failed");
    expect(told(bad, bad)).toBe("both failed");
  });
});

describe("status and headers", () => {
  test("another status is all that is said", () => {
    expect(told(GOOD, answerWith("y", { status: 404 }))).toEqual(["status: 200, 404"]);
    expect(told(GOOD, answerWith("x", { status: 404 }), { status: false })).toBe("matched");
  });

  test.each([
    ["Application/JSON;charset=UTF-8", 'application/json; charset="utf-8"'],
    ["a/b; x=1; y=2", "a/b;y=2;x=1"],
  ])("the content types %s and %s are the same", (one, other) => {
    expect(told(answerWith("x", typed(one)), answerWith("x", typed(other)))).toBe("matched");
  });

  test("headers differ in their values, in their order, and in being there", () => {
    const fields = (...values: string[]): AnswerSummary =>
      answerWith("x", { fields: values.map((value) => ["X-A", value]) });
    const policy = { headers: ["x-a"] };
    expect(told(fields("1", "2"), fields("1, 2"), policy)).toBe("matched");
    expect(told(fields("1", "2"), fields("2", "1"), policy)).toEqual(["header x-a: 1, 2, 2, 1"]);
    expect(told(fields("1"), fields(), policy)).toEqual(["header x-a: 1, -"]);
    expect(told(fields(), fields("1"), policy)).toEqual(["header x-a: -, 1"]);
    expect(told(fields("1"), fields("2"))).toBe("matched");
  });
});

describe("bodies", () => {
  test("are compared as JSON where both say so", () => {
    expect(told(jsonAnswer({ a: 1 }), jsonAnswer({ a: 2 }))).toEqual(["body /a: 1, 2"]);
    expect(told(jsonAnswer(1), jsonAnswer(2))).toEqual(["body: 1, 2"]);
    const problem = typed("application/problem+json; charset=utf-8");
    expect(told(jsonAnswer({ a: 1 }, problem), answerWith('{ "a":1.0 }', problem))).toBe("matched");
  });

  test("are compared as bytes elsewhere, and their samples tell nothing of them", () => {
    expect(told(GOOD, answerWith("y"))).toEqual(["body: 1 bytes, 1 bytes"]);
    const long = (mark: string): AnswerSummary => answerWith(mark.repeat(32));
    expect(told(long("x"), long("y"))).toEqual([
      expect.stringMatching(/^body: 32 bytes, hash [0-9a-f]{8}, 32 bytes, hash/),
    ]);
    const [json, text] = [jsonAnswer({ a: 1 }), answerWith('{"a": 1}')];
    expect(told(json, text, { headers: [] })).toEqual(["body: 7 bytes, 8 bytes"]);
    expect(told(json, text, { headers: [], body: "json" })).toBe("matched");
    expect(told(json, answerWith('{"a": 1}', typed("application/json")), { body: "bytes" })).toEqual([
      "body: 7 bytes, 8 bytes",
    ]);
  });

  test("that say they are JSON and are not differ from those that are", () => {
    const json = typed("application/json");
    expect(told(jsonAnswer({}), answerWith("<p>", json))).toEqual(["body: JSON, not JSON"]);
    expect(told(jsonAnswer({}), answerWith('{"a":1,"a":1}', json))).toEqual(["body: JSON, duplicate keys"]);
    expect(told(answerWith("<a>", json), answerWith("<b>", json))).toEqual(["body: 3 bytes, 3 bytes"]);
    expect(told(answerWith("{}", json), answerWith("", json))).toEqual(["body: JSON, not JSON"]);
  });

  test("that can't be compared are said so, unless something else differs", () => {
    const json = typed("application/json");
    const twice = answerWith('{"a":1,"a":1}', json);
    const deep = answerWith("[".repeat(65) + "]".repeat(65), json);
    const large = answerWith(`[${"1,".repeat(20_000)}1]`, json);
    const reasons: [AnswerSummary, AnswerSummary, string][] = [
      [GOOD, answerWith("x", { ...CUT, bodyLength: 9 }), "body cut"],
      [GOOD, answerWith("x", { body: null }), "body cut"],
      [answerWith("x".repeat(65_537)), GOOD, "body cut"],
      [twice, answerWith('{"a":2,"a":1}', json), "duplicate keys"],
      [jsonAnswer({}), deep, "too deep"],
      [large, jsonAnswer({}), "too large"],
    ];
    for (const [left, right, reason] of reasons) {
      expect(told(left, right)).toBe(reason);
      expect(told(left, right, { body: "off" })).toBe("matched");
      const moved = { ...right, fields: [...right.fields, ["location", "/x"] as const] };
      expect(told(left, moved)).toEqual(["header location: -, /x"]);
    }
  });

  test("that are not there are the same as empty ones", () => {
    expect(told(answerWith("", { body: null }), answerWith(""))).toBe("matched");
  });

  test("with more than 50 differences have the rest put together", () => {
    const many = (value: number): AnswerSummary =>
      jsonAnswer(Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`f${i}`, value])));
    const fields = told(many(1), many(2)) as string[];
    expect(fields).toHaveLength(50);
    expect(fields.at(-1)).toBe("other: more fields, more fields");
  });
});
