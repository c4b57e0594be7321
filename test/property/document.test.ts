/** Documents keep their meaning through the operator's form, and no input is too strange for an answer. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assert } from "../../src/base/fault.ts";
import {
  decodeDocument,
  decodeRoute,
  decodeWeights,
  encodeDocument,
  encodeRoute,
} from "../../src/domain/document.ts";
import { writePercent } from "../../src/domain/quantity.ts";
import { SHARES_TOTAL } from "../../src/domain/route.ts";
import { compileTable } from "../../src/domain/table.ts";
import { decodeStored, encodeStored, withoutStates } from "../../src/domain/stored.ts";
import { documentArbitrary, startedArbitrary } from "../support/arbitrary.ts";

/** Puts a value somewhere into a plain structure: `choices` pick the way down. */
function replaceWithin(target: unknown, choices: readonly number[], value: unknown): unknown {
  const [choice, ...rest] = choices;
  if (typeof target !== "object" || target === null || choice === undefined) return value;
  const keys = Object.keys(target);
  const key = keys[choice % (keys.length + 1)] ?? "strange";
  const inner: unknown = Reflect.get(target, key);
  const replaced = replaceWithin(inner, rest, value);
  if (!Array.isArray(target)) return { ...target, [key]: replaced };
  return key === "strange"
    ? [...target, replaced]
    : target.map((one, i) => (String(i) === key ? replaced : one));
}

describe("documents", () => {
  test("decoding what was encoded gives the same document", () => {
    fc.assert(
      fc.property(documentArbitrary, (document) => {
        const stored: unknown = JSON.parse(JSON.stringify(encodeDocument(document)));
        expect(decodeDocument(stored)).toStrictEqual({ ok: true, value: document });
      }),
      { numRuns: 300 },
    );
  });

  test("what was stored is read as the same document, and shown without where rollouts are", () => {
    fc.assert(
      fc.property(startedArbitrary, (document) => {
        const stored: unknown = JSON.parse(JSON.stringify(encodeStored(document)));
        expect(decodeStored(stored, 7)).toStrictEqual({ ok: true, value: document });
        expect(withoutStates(stored)).toEqual(JSON.parse(JSON.stringify(encodeDocument(document))));
      }),
      { numRuns: 300 },
    );
  });

  test("a stored table with anything in any place is either refused with a reason or kept as it is", () => {
    const change = fc.tuple(fc.array(fc.nat({ max: 12 }), { maxLength: 6 }), fc.jsonValue());
    fc.assert(
      fc.property(startedArbitrary, fc.array(change, { minLength: 1, maxLength: 3 }), (document, changes) => {
        let input: unknown = encodeStored(document);
        for (const [choices, value] of changes) input = replaceWithin(input, choices, value);
        const result = decodeStored(input, 7);
        if (result.ok) expect(decodeStored(encodeStored(result.value), 8)).toStrictEqual(result);
        else expect(result.problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 300 },
    );
  });

  test("a route alone decodes as it does within its table", () => {
    fc.assert(
      fc.property(documentArbitrary, ({ backends, routes }) => {
        for (const route of routes) {
          expect(decodeRoute(route.id, encodeRoute(route), backends)).toStrictEqual({
            ok: true,
            value: route,
          });
        }
      }),
    );
  });

  test("every table that is accepted can be compiled", () => {
    fc.assert(
      fc.property(documentArbitrary, (document) => {
        expect(compileTable({ ...document, revision: 1 }).routes).toHaveLength(document.routes.length);
      }),
    );
  });

  test("any weight in shares survives the way through percent", () => {
    fc.assert(
      fc.property(documentArbitrary, fc.integer({ min: 0, max: SHARES_TOTAL }), ({ routes }, shares) => {
        for (const route of routes) {
          const weights = {
            [route.cutover.legacy]: writePercent(SHARES_TOTAL - shares),
            [route.cutover.candidate]: writePercent(shares),
          };
          expect(decodeWeights(weights, route)).toStrictEqual({ ok: true, value: shares });
        }
      }),
    );
  });

  test("a table with anything in any place is either refused with a reason or kept as it is", () => {
    const change = fc.tuple(fc.array(fc.nat({ max: 12 }), { maxLength: 6 }), fc.jsonValue());
    fc.assert(
      fc.property(
        documentArbitrary,
        fc.array(change, { minLength: 1, maxLength: 3 }),
        (document, changes) => {
          let input: unknown = encodeDocument(document);
          for (const [choices, value] of changes) input = replaceWithin(input, choices, value);
          const result = decodeDocument(input);
          if (result.ok) {
            expect(decodeDocument(encodeDocument(result.value))).toStrictEqual(result);
          } else {
            expect(result.problems.length).toBeGreaterThan(0);
            for (const { path, message } of result.problems) {
              assert(path === "" || path.startsWith("/"), `${path} is a JSON pointer`);
              expect(message).not.toMatch(/Invalid|Unrecognized|undefined/);
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
