/** Differences of JSON values: their places and kinds, what makes no difference, and the bounds. */
import { describe, expect, test } from "vitest";
import { assert } from "../../../src/base/fault.ts";
import type { JsonRules } from "../../../src/domain/compare_words.ts";
import { DIFFERENCE_LIMITS, differencesOf } from "../../../src/domain/json_difference.ts";
import { readJson } from "../../../src/domain/json_text.ts";
import { readPointer } from "../../../src/domain/pointer.ts";

interface Rules {
  readonly ignore?: readonly string[];
  readonly unordered?: readonly string[];
  readonly mask?: readonly string[];
  readonly tolerance?: number | Readonly<Record<string, number>>;
}

function rulesOf({ ignore = [], unordered = [], mask = [], tolerance = 0 }: Rules): JsonRules {
  const places = typeof tolerance === "number" ? [] : Object.entries(tolerance);
  return {
    ignore: ignore.map(readPointer),
    unordered: unordered.map(readPointer),
    mask: mask.map(readPointer),
    tolerance:
      typeof tolerance === "number" ? tolerance : places.map(([at, by]) => ({ at: readPointer(at), by })),
  };
}

function read(text: string): unknown {
  const reading = readJson(new TextEncoder().encode(text));
  assert(reading.result === "read", `${text} is JSON`);
  return reading.value;
}

/** Lines such as `/a value 1 2`, or why there are none. */
function lines(left: string, right: string, rules: Rules = {}): readonly string[] | string {
  const report = differencesOf(read(left), read(right), rulesOf(rules));
  if (report.result !== "compared") return report.result;
  return report.differences.map((one) => `${one.pointer} ${one.kind} ${one.left ?? "-"} ${one.right ?? "-"}`);
}

describe("two values", () => {
  test.each([
    ['{"a":1,"b":[2]}', '{"b":[2],"a":1}'],
    ["1", "1.0"],
    ["100", "1e2"],
    ["0", "-0"],
    ['"\\u0061"', '"a"'],
    ["9007199254740993", "9007199254740993.0"],
    ["10000000000000000000", "1e19"],
  ])("%s and %s are the same", (left, right) => {
    expect(lines(left, right)).toEqual([]);
  });

  test.each<[string, string, readonly string[]]>([
    ["1", "2", [" value 1 2"]],
    ["9007199254740993", "9007199254740992", [" value 9007199254740993e0 9007199254740992e0"]],
    ["1e400", "1e401", [" value 1e400 1e401"]],
    ["9007199254740992", "1", [" value 9007199254740992e0 1"]],
    ['{"a":1}', "{}", ["/a missing 1 -"]],
    ["{}", '{"a":{"b":1}}', ["/a added - a map of 1"]],
    ['{"a":null}', '{"a":0}', ["/a type null 0"]],
    ['{"a":[]}', '{"a":{}}', ["/a type a list of 0 a map of 0"]],
    ['{"a":true,"b":"x"}', '{"a":false,"b":"y"}', ["/a value true false", '/b value "x" "y"']],
    ['[{"p":1},{"p":2}]', '[{"p":1},{"p":3}]', ["/*/p value 2 3"]],
    ['[{"p":1},{"p":2}]', '[{"p":5},{"p":6}]', ["/*/p value 1 5"]],
    ["[1,2]", "[1,2,3]", [" length a list of 2 a list of 3"]],
    ["[1,2]", "[1,3,4]", [" length a list of 2 a list of 3", "/* value 2 3"]],
    ["[[1],[2]]", "[[2],[1]]", [" order a list of 2 a list of 2"]],
    ['{"__proto__":1}', "{}", ["/__proto__ missing 1 -"]],
    ['{"toString":1}', "{}", ["/toString missing 1 -"]],
    ['{"a/b~":1}', "{}", ["/a~1b~0 missing 1 -"]],
    ['{"\\u001b[1m":1}', "{}", ["/\\u001b[1m missing 1 -"]],
  ])("%s and %s differ", (left, right, expected) => {
    expect(lines(left, right)).toEqual(expected);
  });
});

describe("a rule", () => {
  test.each<[string, string, Rules, readonly string[]]>([
    ['{"a":{"b":1},"c":1}', '{"a":{"b":2},"c":2}', { ignore: ["/a"] }, ["/c value 1 2"]],
    ['[{"id":1,"x":1}]', '[{"id":2,"x":1}]', { ignore: ["/*/id"] }, []],
    ["[1,2]", "[3,4]", { ignore: ["/1"] }, ["/* value 1 3"]],
    ['{"a":1}', '{"b":1}', { ignore: ["/a", "/b"] }, []],
    ['{"x":{"a":1},"y":{"a":1}}', '{"x":{"a":2},"y":{"a":2}}', { ignore: ["/*/a"] }, []],
    ['{"a":{}}', '{"a":{"b":1}}', { ignore: ["/a/b/c"] }, ["/a/b added - 1"]],
  ])("leaves out what is ignored: %s and %s by %j", (left, right, rules, expected) => {
    expect(lines(left, right, rules)).toEqual(expected);
  });

  test.each<[string, string, Rules, readonly string[]]>([
    ["[1,2,2]", "[2,1,2]", { unordered: [""] }, []],
    ["[1,2,2]", "[1,1,2]", { unordered: [""] }, ["/* value 2 1"]],
    ["[1,2]", "[2]", { unordered: [""] }, [" length a list of 2 a list of 1"]],
    ['{"a":[[1,2],[3]]}', '{"a":[[3],[2,1]]}', { unordered: ["/a", "/a/*"] }, []],
    [
      '[{"id":1,"p":5},{"id":2,"p":6}]',
      '[{"p":7,"id":2},{"p":5,"id":1}]',
      { unordered: [""] },
      ["/*/p value 6 7"],
    ],
    [
      '[{"id":1,"p":5},{"id":2,"p":6}]',
      '[{"id":8,"p":6},{"id":9,"p":5}]',
      { unordered: [""], ignore: ["/*/id"] },
      [],
    ],
    ['[{"x":1},{}]', "[{},{}]", { unordered: [""], ignore: ["/*/x"] }, []],
    ["[9.999,10.5]", "[10.501,10.001]", { unordered: [""], tolerance: 0.01 }, []],
    ["[9.9,10.5]", "[10.51,20]", { unordered: [""], tolerance: { "/*": 0.1 } }, ["/* value 9.9 20"]],
  ])("compares lists without order: %s and %s by %j", (left, right, rules, expected) => {
    expect(lines(left, right, rules)).toEqual(expected);
  });

  test.each<[string, string, Rules, readonly string[]]>([
    ['{"p":1.00}', '{"p":1.01}', { tolerance: 0.01 }, []],
    ['{"p":1.00}', '{"p":1.02}', { tolerance: 0.01 }, ["/p value 1 1.02"]],
    ['{"p":1,"q":1}', '{"p":2,"q":2}', { tolerance: { "/p": 1 } }, ["/q value 1 2"]],
    ['{"p":1}', '{"p":2}', { tolerance: { "/*": 0.1, "/p": 1 } }, []],
    [
      '{"p":9007199254740993}',
      '{"p":9007199254740994}',
      { tolerance: 10 },
      ["/p value 9007199254740993e0 9007199254740994e0"],
    ],
    ['{"p":"1"}', '{"p":"2"}', { tolerance: 10 }, ['/p value "1" "2"']],
  ])("tolerates: %s and %s by %j", (left, right, rules, expected) => {
    expect(lines(left, right, rules)).toEqual(expected);
  });

  test.each<[string, string, Rules, readonly string[]]>([
    ['{"pin":1234}', '{"pin":5678}', {}, ["/pin value (masked) (masked)"]],
    ['{"tokens":{"abc":1}}', '{"tokens":{"xyz":1}}', {}, ["/tokens/* missing (masked) -"]],
    ['{"a":{"b":{"c":"x"}}}', '{"a":{"b":{"c":"y"}}}', { mask: ["/a"] }, ["/a/*/* value (masked) (masked)"]],
    ['["x"]', '["y"]', { mask: ["/*"] }, ["/* value (masked) (masked)"]],
    ['{"a":"x"}', '{"b":"y"}', { mask: [""] }, ["/* missing (masked) -"]],
    ['{"a":[1]}', '{"a":[1,2]}', { mask: ["/a"] }, ["/a length (masked) (masked)"]],
  ])("masks: %s and %s by %j", (left, right, rules, expected) => {
    expect(lines(left, right, rules)).toEqual(expected);
  });
});

describe("the bounds", () => {
  const list = (length: number, from = 0): string =>
    JSON.stringify(Array.from({ length }, (_, i) => from + i));

  test("a list without order is compared up to 1,000 elements", () => {
    const most = DIFFERENCE_LIMITS.unordered;
    const backwards = JSON.stringify((JSON.parse(list(most)) as number[]).toReversed());
    expect(lines(list(most), backwards, { unordered: [""] })).toEqual([]);
    expect(lines(list(most + 1), list(most + 1, 1), { unordered: [""] })).toBe("too large");
    expect(lines(list(most + 1), list(most + 1, 1))).toEqual(["/* value 0 1"]);
  });

  test("too much work ends it, whichever side comes first", () => {
    const block = (seed: number): unknown =>
      Array.from({ length: 31 }, (_, i) => [...Array(499).keys(), seed * 100 + i]);
    const [one, other] = [JSON.stringify(block(1)), JSON.stringify(block(2))];
    const rules = { unordered: [""], tolerance: 0.5 };
    expect(lines(one, other, rules)).toBe("too large");
    expect(lines(other, one, rules)).toBe("too large");
  });

  test("order is told at any depth, beside values", () => {
    let [one, other]: unknown[] = [
      [1, 2],
      [2, 1],
    ];
    for (let depth = 0; depth < 40; depth++) {
      const rest = Array.from({ length: 400 }, (_, i) => i);
      [one, other] = [
        [one, ...rest],
        [other, ...rest],
      ];
    }
    expect(lines(JSON.stringify(one), JSON.stringify(other))).toEqual([
      `${"/*".repeat(40)} order a list of 2 a list of 2`,
    ]);
    [one, other] = [
      [one, [3]],
      [other, [4]],
    ];
    expect(lines(JSON.stringify(one), JSON.stringify(other))).toHaveLength(2);
  });

  test("no more than 200 places are looked for", () => {
    const map = (value: number): string =>
      JSON.stringify(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, value])));
    expect(lines(map(1), map(2))).toHaveLength(DIFFERENCE_LIMITS.found);
    expect(lines(map(1), "{}")).toHaveLength(DIFFERENCE_LIMITS.found);
  });

  test("a long pointer is cut", () => {
    const [first] = lines(JSON.stringify({ ["x".repeat(200)]: 1 }), "{}");
    expect(first).toBe(`/${"x".repeat(196)}... missing 1 -`);
  });
});
