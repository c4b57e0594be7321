/** Properties of comparing answers: what is the same, what makes no difference, and what never leaks. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compare } from "../../src/domain/compare.ts";
import { DEFAULT_COMPARE, encodeCompare, readCompare } from "../../src/domain/compare_policy.ts";
import {
  BODY_MODES,
  type AnswerSummary,
  type Comparison,
  type ComparePolicy,
} from "../../src/domain/compare_words.ts";
import { readPointer } from "../../src/domain/pointer.ts";
import { Findings } from "../../src/domain/problems.ts";
import { answerWith, jsonAnswer } from "../support/answers.ts";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const key = fc.oneof(
  fc.constantFrom("a", "b", "c/d", "~", "id", "items", "__proto__", ""),
  fc.string({ unit: "binary", maxLength: 8 }),
);
const scalar: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(null, true, false, 0, -0, 1, 1e300, 2 ** 60),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.string({ maxLength: 100 }),
);
const { json } = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4 },
    scalar,
    fc.array(tie("json"), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie("json")), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
}));

const pointerText = fc
  .array(fc.oneof(fc.constantFrom("*", "a", "b", "id", "items", "0", "c~1d"), fc.string({ maxLength: 4 })), {
    minLength: 1,
    maxLength: 3,
  })
  .map((steps) => steps.map((step) => `/${step.replace(/~(?![01])/g, "~0").replaceAll("/", "~1")}`).join(""));
const pointers = fc.uniqueArray(pointerText, { maxLength: 3 });
const policyInput = fc.record(
  {
    status: fc.boolean(),
    headers: fc.constantFrom(["etag"], [], ["content-type", "x-a"]),
    body: fc.constantFrom(...BODY_MODES),
    max_body: fc.constantFrom("1KiB", 70_000, "1MiB"),
    ignore: pointers,
    unordered: pointers,
    tolerance: fc.oneof(
      fc.constantFrom(0, 0.01, 5),
      fc.dictionary(pointerText, fc.constantFrom(0, 0.5, 10), { maxKeys: 3, noNullPrototype: true }),
    ),
    mask: pointers,
    noise: fc.constantFrom(0, 0.5, 10, 100),
  },
  { requiredKeys: [] },
);

function policyOf(input: unknown): ComparePolicy {
  const findings = new Findings();
  const policy = readCompare(input, [], findings);
  expect(findings.list()).toEqual([]);
  return policy ?? DEFAULT_COMPARE;
}

const header = fc.tuple(
  fc.constantFrom("ETag", "X-A", "content-type", "location"),
  fc.constantFrom("a", "b", "application/json", "/x?token=1"),
);
const answer: fc.Arbitrary<AnswerSummary> = fc
  .record({
    value: json,
    text: fc.boolean(),
    status: fc.constantFrom(200, 200, 200, 404, 503),
    extra: fc.array(header, { maxLength: 2 }),
    isCut: fc.nat({ max: 20 }),
  })
  .map(({ value, text, status, extra, isCut }) => {
    const base = text ? answerWith(JSON.stringify(value)) : jsonAnswer(value);
    const parts = { status, fields: [...base.fields, ...extra] };
    return { ...base, ...parts, ...(isCut === 0 ? { body: null, isBodyWhole: false } : {}) };
  });

/** What the other way round gives: left and right change places. */
const MIRRORED = { missing: "added", added: "missing" } as const;
function mirrored(comparison: Comparison): Comparison {
  if (comparison.result !== "mismatched") return comparison;
  const fields = comparison.fields.map(({ field, kind, left, right }) => ({
    field,
    kind: kind === "missing" || kind === "added" ? MIRRORED[kind] : kind,
    left: right,
    right: left,
  }));
  return { ...comparison, fields };
}

/** The same value with the keys of its maps the other way round; with its lists too if told so. */
function turned(value: Json, hasLists: boolean): Json {
  if (Array.isArray(value)) {
    const list = value.map((one: Json) => turned(one, hasLists));
    return hasLists ? list.toReversed() : list;
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, one]) => [name, turned(one, hasLists)] as const);
  return Object.fromEntries(entries.toReversed());
}

/** The fields that differ in two JSON bodies, of which every difference is told. */
function fieldsOf(left: Json, right: Json, policy: Partial<ComparePolicy> = {}): readonly string[] {
  const comparison = compare(jsonAnswer(left), jsonAnswer(right), { ...DEFAULT_COMPARE, ...policy });
  expect(comparison.result).not.toBe("not compared");
  return comparison.result === "mismatched" ? comparison.fields.map(({ field }) => field) : [];
}

/** Every scalar replaced, or left as it is, by choice; no value is one that was there. */
function changed(value: Json, choose: () => boolean, next: () => string): Json {
  if (Array.isArray(value)) return value.map((one: Json) => changed(one, choose, next));
  if (typeof value !== "object" || value === null) return choose() ? next() : value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, changed(one, choose, next)]));
}

const changedPair = fc.tuple(json, fc.infiniteStream(fc.boolean())).map(([value, choices]) => {
  let count = 0;
  const right = changed(
    value,
    () => choices.next().value === true,
    () => `changed ${count++}`,
  );
  return [value, right] as const;
});

describe("comparing two answers", () => {
  it("finds that each is the same as itself, unless it failed or was cut", () => {
    fc.assert(
      fc.property(answer, policyInput, (one, input) => {
        const { result } = compare(one, { ...one, body: one.body?.slice() ?? null }, policyOf(input));
        const isWhole = one.isBodyWhole || input.body === "off";
        expect(result).toBe(
          one.status < 500 && isWhole && result !== "not compared" ? "matched" : "not compared",
        );
        if (one.status < 500 && isWhole && one.bodyLength <= 1024) expect(result).toBe("matched");
      }),
      { numRuns: 500 },
    );
  });

  it("says the same the other way round, where neither failed", () => {
    const good = answer.filter(({ status }) => status < 500);
    fc.assert(
      fc.property(good, good, policyInput, (one, other, input) => {
        const policy = policyOf(input);
        const back = compare(other, one, policy);
        const forth = compare(one, other, policy);
        expect(back.result).toBe(forth.result);
        if (forth.result === "mismatched") expect(back).toEqual(mirrored(forth));
      }),
      { numRuns: 500 },
    );
  });

  it("does not mind the order of keys", () => {
    fc.assert(
      fc.property(json, json, (one, other) => {
        expect(fieldsOf(one, turned(one, false))).toEqual([]);
        expect(fieldsOf(turned(one, false), other)).toEqual(fieldsOf(one, turned(other, false)));
      }),
    );
  });

  it("does not mind the order of lists that have none", () => {
    const unordered = Array.from({ length: 6 }, (_, depth) => readPointer("/*".repeat(depth)));
    fc.assert(
      fc.property(json, (value) => {
        expect(fieldsOf(value, turned(value, true), { unordered })).toEqual([]);
      }),
    );
  });
});

describe("a rule", () => {
  it("that ignores a pointer removes exactly its mismatches", () => {
    fc.assert(
      fc.property(changedPair, fc.nat(), ([left, right], choice) => {
        const fields = fieldsOf(left, right);
        if (fields.length === 0 || fields.length >= 50) return;
        const field = fields[choice % fields.length] as string;
        const pointer = field.slice("body ".length);
        // A key that can't be printed as it is, or is long, has no pointer of its own in the list.
        if (pointer === "" || /\\u|\.\.\./.test(field)) return;
        const ignore = [readPointer(pointer)];
        const gone = (one: string): boolean => one === field || one.startsWith(`${field}/`);
        const remaining = fieldsOf(left, right, { ignore });
        // A star is any key too, so more may go than the one index that it stands for.
        expect(fields.filter((one) => !gone(one))).toEqual(expect.arrayContaining([...remaining]));
        expect(remaining.some(gone)).toBe(false);
        if (!pointer.includes("*")) expect(remaining).toEqual(fields.filter((one) => !gone(one)));
      }),
      { numRuns: 500 },
    );
  });

  it("that masks, or a name that sounds secret, never lets a value or a key below it out", () => {
    const secret = fc.nat().map((number) => `s3cr3t${number}`);
    const hidden = fc.letrec<{ hidden: unknown }>((tie) => ({
      hidden: fc.oneof(
        { maxDepth: 3 },
        secret,
        fc.array(tie("hidden"), { maxLength: 3 }),
        fc.dictionary(secret, tie("hidden"), { maxKeys: 3 }),
      ),
    })).hidden;
    const place = fc.constantFrom("masked", "password", "apiKey", "session_id");
    fc.assert(
      fc.property(hidden, hidden, place, json, policyInput, (one, other, name, rest, input) => {
        const mask = [readPointer("/deep/*/masked")];
        const wrapped = (value: unknown): AnswerSummary => jsonAnswer({ deep: [{ [name]: value, rest }] });
        const policy = { ...policyOf({ ...input, body: "auto" }), mask };
        for (const [left, right] of [
          [wrapped(one), wrapped(other)],
          [wrapped(one), jsonAnswer({ deep: [{}] })],
        ] as const) {
          expect(JSON.stringify(compare(left, right, policy))).not.toContain("s3cr3t");
        }
      }),
      { numRuns: 500 },
    );
  });

  it("is written as it was read", () => {
    fc.assert(
      fc.property(policyInput, (input) => {
        const policy = policyOf(input);
        expect(policyOf(encodeCompare(policy))).toEqual(policy);
      }),
    );
  });
});
