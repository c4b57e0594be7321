/** Answers as they came: codings and cuts, and when two are the same without looking into them. */
import { brotliCompressSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareCaptured, isSameAnswer } from "../../../src/domain/compare_captured.ts";
import { DEFAULT_COMPARE } from "../../../src/domain/compare_policy.ts";
import type { CapturedAnswer, Comparison } from "../../../src/domain/compare_words.ts";

const JSON_TYPE = ["content-type", "application/json"] as const;

function captured(body: string | Uint8Array | null, parts: Partial<CapturedAnswer> = {}): CapturedAnswer {
  const bytes = body === null ? null : Buffer.from(body);
  return { status: 200, fields: [JSON_TYPE], codings: "", bytes, fault: null, ...parts };
}

function told(left: CapturedAnswer, right: CapturedAnswer, policy = DEFAULT_COMPARE): unknown {
  const comparison: Comparison = compareCaptured(left, right, policy);
  if (comparison.result === "not compared") return comparison.reason;
  return comparison.result === "matched" ? "matched" : comparison.fields.map(({ field }) => field);
}

const TEXT = '{"a":1}';
const ZIPPED = captured(gzipSync(TEXT), { codings: "gzip" });
const BROKEN = captured("no gzip", { codings: "gzip" });
const STRANGE = captured(TEXT, { codings: "lzma" });
const BOMB = captured(gzipSync(Buffer.alloc(1_000_000)), { codings: "gzip" });

describe("two answers", () => {
  test.each<[string, CapturedAnswer, CapturedAnswer, unknown]>([
    ["in different codings", ZIPPED, captured(brotliCompressSync(TEXT), { codings: "br" }), "matched"],
    ["in different codings, of different bodies", ZIPPED, captured('{"a":2}'), ["body /a"]],
    ["the candidate's broken", ZIPPED, BROKEN, ["body"]],
    ["legacy's broken", BROKEN, ZIPPED, "not decoded"],
    ["both broken", BROKEN, BROKEN, "not decoded"],
    ["one in a strange coding", captured(TEXT), STRANGE, "not decoded"],
    ["one in a strange coding and of another status", captured(TEXT, { status: 201 }), STRANGE, ["status"]],
    ["one that grows over the bound", captured(TEXT), BOMB, "body cut"],
    ["one that was not kept", captured(TEXT), captured(null), "body cut"],
    ["one that failed", BROKEN, captured(null, { fault: "UPSTREAM_RESET" }), ["fault"]],
  ])("%s", (_, left, right, due) => {
    expect(told(left, right)).toEqual(due);
  });

  test("whose bodies mean nothing are not decoded", () => {
    const policy = { ...DEFAULT_COMPARE, body: "off" as const };
    expect(told(BROKEN, STRANGE, policy)).toBe("matched");
    expect(told(BROKEN, captured(null, { status: 404 }), policy)).toEqual(["status"]);
  });
});

test("answers are the same only if any policy would say that they match", () => {
  const part = fc.constantFrom<Partial<CapturedAnswer>>(
    {},
    { status: 404 },
    { status: 500 },
    { fields: [] },
    { fields: [["content-type", "text/plain"]] },
    { codings: "gzip" },
    { bytes: null },
    { bytes: Buffer.from("x") },
    { fault: "UPSTREAM_RESET" },
  );
  fc.assert(
    fc.property(part, part, (one, other) => {
      const [left, right] = [captured(TEXT, one), captured(TEXT, other)];
      if (isSameAnswer(left, right)) {
        expect(one).toEqual(other);
        // A coding that is broken in both is the one thing that looking into them would not get past.
        expect(["matched", "not decoded"]).toContain(told(left, right));
      }
      expect(isSameAnswer(left, right)).toBe(isSameAnswer(right, left));
    }),
  );
  expect(isSameAnswer(captured(TEXT), captured(TEXT))).toBe(true);
});
