/** JSON, and the place where it is broken. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseJson } from "../../../src/admin/json.ts";

function placeOf(text: string): string {
  const parsed = parseJson(text);
  return parsed.ok ? "no error" : parsed.problem.message.replace(/:.*/s, "");
}

test("JSON is read as it is", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 2, "\t"), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      expect(parseJson(text)).toEqual({ ok: true, value: JSON.parse(text) });
    }),
  );
});

describe("the place of an error", () => {
  test.each([
    ['{"a":1,}', "line 1, column 8"],
    ["[1,x]", "line 1, column 4"],
    ['{"a" 1}', "line 1, column 6"],
    ["[1 2]", "line 1, column 4"],
    ["[1,]", "line 1, column 4"],
    ["{a:1}", "line 1, column 2"],
    ['{"a":\n  tru}', "line 2, column 3"],
    ['{"legacy": 75,\n "new": 25%}', "line 2, column 11"],
    ["", "line 1, column 1"],
    ["[1,2", "line 1, column 5"],
    ['{"a":1} x', "line 1, column 9"],
    ['{"a":1}}', "line 1, column 8"],
    ["[}", "line 1, column 2"],
    ['"\\x"', "line 1, column 1"],
    ["01", "line 1, column 1"],
    ["\u00a0", "line 1, column 1"],
  ])("of %j is %s", (text, place) => {
    expect(placeOf(text)).toBe(place);
  });

  test("is found however deep the nesting", () => {
    expect(placeOf("[".repeat(500_000))).toBe("line 1, column 500001");
    expect(placeOf(`${"[".repeat(500_000)}}`)).toBe("line 1, column 500001");
  });

  test("is never before the first character that was broken", () => {
    const tree = fc.object({ maxDepth: 3 }).map((value) => JSON.stringify(value));
    fc.assert(
      fc.property(tree, fc.nat(), (text, seed) => {
        const at = seed % (text.length + 1);
        // A control character is allowed nowhere in JSON, so this is the error or is inside the broken string.
        const broken = `${text.slice(0, at)}\u0001${text.slice(at)}`;
        const column = Number(placeOf(broken).replace(/\D*1, column /, ""));
        const start = text.lastIndexOf('"', at - 1);
        expect(column).toBeLessThanOrEqual(at + 1);
        expect(column === at + 1 || (start >= 0 && column <= at)).toBe(true);
      }),
    );
  });
});
