/** A difference has lines exactly when two tables mean something else, whatever they are. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DIFFERENCE_LINES_MAX, differenceOf } from "../../src/domain/difference.ts";
import { encodeStored } from "../../src/domain/stored.ts";
import { pendingRollout } from "../../src/domain/rollout_state.ts";
import type { RolloutState } from "../../src/domain/rollout_words.ts";
import type { Document, Route } from "../../src/domain/route.ts";
import { documentArbitrary, startedArbitrary } from "../support/arbitrary.ts";

/** Oracle: the stored form, with the backends in the order of their names, because theirs means nothing. */
function meaningOf(document: Document): string {
  const backends = document.backends.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return JSON.stringify(encodeStored({ ...document, backends }));
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
    const routes = [{ ...first, ...Object.fromEntries(parts) }, ...rest];
    const rollouts = routes
      .filter(({ rollout }) => rollout !== null)
      .map(({ id }) => ({ route: id, state: pendingRollout(0) }));
    return [document, { ...document, routes, rollouts }];
  });

/** One table with its rollouts in two states. */
const startedPairArbitrary = startedArbitrary.chain((document) =>
  fc.tuple(...document.rollouts.map(({ state }) => stateLikeArbitrary(state))).map((states) => {
    const rollouts = document.rollouts.map((one, index) => ({ ...one, state: states[index] ?? one.state }));
    return [document, { ...document, rollouts }] as const;
  }),
);

/** The same state, or one that differs in a little. */
function stateLikeArbitrary(state: RolloutState): fc.Arbitrary<RolloutState> {
  return fc.constantFrom(
    state,
    { ...state, calls: state.calls + 1 },
    { ...state, bakeSinceMs: state.bakeSinceMs + 1 },
    { ...state, runId: state.runId + 1 },
    { ...state, by: state.by === "person" ? "machine" : "person" },
    { ...state, gates: null },
    { ...state, stage: "leaving" },
  );
}

describe("differenceOf", () => {
  it("gives lines exactly when the encoded documents differ", () => {
    const pairs = fc.oneof(
      pairArbitrary,
      fc.tuple(documentArbitrary, documentArbitrary),
      startedArbitrary.map((one) => [one, structuredClone(one)] as const),
      startedPairArbitrary,
      documentArbitrary.map(
        (one) =>
          [one, { ...one, routes: one.routes.toReversed(), rollouts: one.rollouts.toReversed() }] as const,
      ),
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
