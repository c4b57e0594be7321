/** Reading bodies as JSON: bounds, keys that stand twice, big numbers, and what is no JSON at all. */
import { describe, expect, test } from "vitest";
import { ExactNumber, JSON_LIMITS, readJson } from "../../../src/domain/json_text.ts";

const encoder = new TextEncoder();

function read(text: string): unknown {
  const reading = readJson(encoder.encode(text));
  return reading.result === "read" ? reading.value : reading.result;
}

describe("a body", () => {
  test.each(["", "{", "nul", '{"a":1}x', '"\u0001"', "'a'"])("%j is no JSON", (text) => {
    expect(read(text)).toBe("not JSON");
  });

  test("that is not UTF-8 is no JSON, and a byte order mark is passed over", () => {
    expect(readJson(new Uint8Array([0x22, 0xff, 0x22])).result).toBe("not JSON");
    expect(read("\ufeff[1]")).toEqual([1]);
  });

  test.each(['{"a":1,"a":1}', '[{"x":{"a":1,"\\u0061":2}}]'])("%s has no single meaning", (text) => {
    expect(read(text)).toBe("duplicate keys");
  });

  test.each(['{"a":{"a":1},"b":[{"a":2}]}', '{"a:b":"c:d,e","f\\"":"{\\"g\\":1}"}', '{"__proto__":1}'])(
    "%s has every key once",
    (text) => {
      expect(JSON.stringify(read(text))).toBe(JSON.stringify(JSON.parse(text)));
    },
  );

  test("is read up to its bounds", () => {
    const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
    expect(read(nested(JSON_LIMITS.depth))).toBeInstanceOf(Array);
    expect(read(nested(JSON_LIMITS.depth + 1))).toBe("too deep");
    expect(read(nested(100_000))).toBe("too deep");
    expect(read(JSON.stringify(Array(JSON_LIMITS.values - 2).fill(0)))).toBeInstanceOf(Array);
    expect(read(JSON.stringify(Array(JSON_LIMITS.values + 1).fill(0)))).toBe("too large");
  });
});

describe("a number", () => {
  test.each([
    ["9007199254740993", "9007199254740993e0"],
    ["9007199254740993.0", "9007199254740993e0"],
    ["1e400", "1e400"],
    ["-12.50E+20", "-125e19"],
    ["9007199254740992", "9007199254740992e0"],
  ])("%s is kept as %s", (source, text) => {
    expect(read(source)).toEqual(new ExactNumber(source));
    expect(new ExactNumber(source).text).toBe(text);
  });

  test.each(["9007199254740991", "0.12345678901234567890", "1e15", "0e999", "-0"])(
    "%s is a double",
    (source) => {
      expect(read(source)).toBe(Number(source));
    },
  );

  test("of a thousand digits and more is kept as it is written", () => {
    const source = `1${"0".repeat(1000)}`;
    expect(new ExactNumber(source).text).toBe(source);
  });
});
