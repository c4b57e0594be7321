/** A difference has lines exactly when two tables mean something else, whatever they are. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DIFFERENCE_LINES_MAX, differenceOf } from "../../src/domain/difference.ts";
import { encodeDocument } from "../../src/domain/document.ts";
import type { Document, Route } from "../../src/domain/route.ts";
import { documentArbitrary } from "../support/arbitrary.ts";

/** Oracle: the encoded form, with the backends in the order of their names, because theirs means nothing. */
function meaningOf(document: Document): string {
  const backends = document.backends.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return JSON.stringify(encodeDocument({ ...document, backends }));
}

const usedArbitrary = documentArbitrary.filter((document) => document.routes.length > 0);

/** A document and one like it in which the first route has some parts of another document's. */
const pairArbitrary: fc.Arbitrary<readonly [Document, Document]> = fc
  .tuple(usedArbitrary, usedArbitrary, fc.infiniteStream(fc.boolean()))
  .map(([document, other, choices]) => {
    const [first, ...rest] = document.routes as [Route, ...Route[]];
    const parts = Object.entries(other.routes[0] as Route).filter(
      ([key]) => key !== "id" && choices.next().value === true,
    );
    return [document, { ...document, routes: [{ ...first, ...Object.fromEntries(parts) }, ...rest] }];
  });

describe("differenceOf", () => {
  it("gives lines exactly when the encoded documents differ", () => {
    const pairs = fc.oneof(
      pairArbitrary,
      fc.tuple(documentArbitrary, documentArbitrary),
      documentArbitrary.map((one) => [one, structuredClone(one)] as const),
      documentArbitrary.map((one) => [one, { ...one, routes: one.routes.toReversed() }] as const),
      documentArbitrary.map((one) => [one, { ...one, backends: one.backends.toReversed() }] as const),
    );
    fc.assert(
      fc.property(pairs, ([before, after]) => {
        const lines = differenceOf(before, after);
        expect(lines.length > 0).toBe(meaningOf(before) !== meaningOf(after));
        expect(lines.length).toBeLessThanOrEqual(DIFFERENCE_LINES_MAX);
        expect(differenceOf(before, after)).toEqual(lines);
      }),
      { numRuns: 1_000 },
    );
  });

  it("every first table is a difference", () => {
    fc.assert(fc.property(documentArbitrary, (document) => differenceOf(null, document).length > 0));
  });
});
