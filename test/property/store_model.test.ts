/** The SQLite store against the sequential model: whatever is called in whatever order, both answer alike. */
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { IDEMPOTENCY_KEPT_MS, type IdempotencyMark, type RouteStore } from "../../src/store/store.ts";
import { changeTo, historyOf } from "../contract/route_store.ts";
import { ManualClock } from "../support/clock.ts";
import { makeDirectory } from "../support/directory.ts";
import { MemoryData, MemoryStore } from "../support/memory_store.ts";

const HANDLES = 2;
const RUNS = 150;

/** One call. `handle`: through which handle on the store. `ago`: how many revisions the caller is behind. */
type Step =
  | {
      readonly kind: "commit";
      readonly handle: number;
      readonly ago: number;
      readonly mark?: IdempotencyMark;
    }
  | { readonly kind: "remember"; readonly handle: number; readonly mark: IdempotencyMark }
  | { readonly kind: "recall"; readonly handle: number; readonly mark: IdempotencyMark }
  | { readonly kind: "read" | "at" | "history"; readonly handle: number; readonly ago: number }
  | { readonly kind: "load"; readonly handle: number; readonly revisions: readonly number[] }
  | { readonly kind: "reopen"; readonly handle: number }
  | { readonly kind: "advance"; readonly ms: number };

const handleArbitrary = fc.nat(HANDLES - 1);
const agoArbitrary = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: -2, max: 3 }));
// Few keys, so that they meet again.
const markArbitrary = fc
  .tuple(fc.nat(3), fc.nat(1))
  .map(([key, fingerprint]) => ({ key: `key-${key}`, fingerprint: `fingerprint-${fingerprint}` }));

const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(handleArbitrary, agoArbitrary, fc.option(markArbitrary, { nil: null }))
      .map(([handle, ago, mark]): Step => {
        const step = { kind: "commit" as const, handle, ago };
        return mark === null ? step : { ...step, mark };
      }),
  },
  fc
    .tuple(fc.constantFrom("remember" as const, "recall" as const), handleArbitrary, markArbitrary)
    .map(([kind, handle, mark]): Step => ({ kind, handle, mark })),
  fc
    .tuple(fc.constantFrom("read" as const, "at" as const, "history" as const), handleArbitrary, agoArbitrary)
    .map(([kind, handle, ago]): Step => ({ kind, handle, ago })),
  fc
    .tuple(handleArbitrary, fc.uniqueArray(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 }))
    .map(([handle, numbers]): Step => {
      return { kind: "load", handle, revisions: numbers.toSorted((a, b) => a - b) };
    }),
  handleArbitrary.map((handle): Step => ({ kind: "reopen", handle })),
  fc
    .constantFrom(0, 1, 1_000, IDEMPOTENCY_KEPT_MS - 1, IDEMPOTENCY_KEPT_MS)
    .map((ms): Step => ({ kind: "advance", ms })),
);

/** Stores on one set of data, and the way to one more. */
interface Subject {
  readonly handles: RouteStore[];
  readonly open: () => RouteStore;
}

function openAll(open: () => RouteStore): Subject {
  return { handles: Array.from({ length: HANDLES }, open), open };
}

/** Carries out one step. `newest`: the revision that is current; `number`: what a commit writes. */
async function run(step: Step, subject: Subject, newest: number, number: number): Promise<unknown> {
  if (step.kind === "advance") return null;
  const store = subject.handles[step.handle] as RouteStore;
  switch (step.kind) {
    case "commit":
      return store.commit(Math.max(0, newest - step.ago), changeTo(number, step.mark));
    case "remember":
      return store.remember(step.mark, Math.max(1, newest));
    case "recall":
      return store.recall(step.mark.key);
    case "read":
      return store.read();
    case "at":
      return store.at(Math.max(1, newest - step.ago));
    case "history":
      return store.history({ limit: 3, before: Math.max(1, newest - step.ago) });
    case "load":
      return store.load(historyOf(...step.revisions));
    case "reopen":
      await store.close();
      subject.handles[step.handle] = subject.open();
      return null;
  }
}

async function closeAll(subject: Subject): Promise<void> {
  for (const handle of subject.handles) await handle.close();
}

describe("the SQLite store and the model", () => {
  it("answer every sequence of calls alike", async () => {
    const directory = makeDirectory();
    let files = 0;
    const property = fc.asyncProperty(
      fc.array(stepArbitrary, { minLength: 1, maxLength: 40 }),
      async (steps) => {
        const clock = new ManualClock();
        const path = join(directory, `${files++}.db`);
        const data = new MemoryData();
        const real = openAll(() => openSqliteStore({ path, clock }));
        const model = openAll(() => new MemoryStore(clock, data));
        try {
          for (const [index, step] of steps.entries()) {
            if (step.kind === "advance") clock.advance(step.ms);
            const newest = data.revisions.at(-1)?.revision ?? 0;
            const expected = await run(step, model, newest, index);
            expect(await run(step, real, newest, index)).toEqual(expected);
          }
        } finally {
          await closeAll(real);
          await closeAll(model);
        }
      },
    );
    await fc.assert(property, { numRuns: RUNS });
  });

  it("carry out exactly one of the commits that are made on one revision at once, and lose no update", async () => {
    const directory = makeDirectory();
    let files = 0;
    // Each round: which handles commit at once, on what they have just read.
    const rounds = fc.array(fc.array(handleArbitrary, { minLength: 1, maxLength: 5 }), {
      minLength: 1,
      maxLength: 10,
    });
    const property = fc.asyncProperty(rounds, async (choices) => {
      const clock = new ManualClock();
      const path = join(directory, `${files++}.db`);
      const { handles, open } = openAll(() => openSqliteStore({ path, clock }));
      try {
        const winners: number[] = [];
        for (const [round, chosen] of choices.entries()) {
          const attempts = chosen.map(async (handle, index) => {
            const store = handles[handle] as RouteStore;
            const revision = (await store.read())?.revision ?? 0;
            const number = round * 10 + index;
            return (await store.commit(revision, changeTo(number))).ok ? [number] : [];
          });
          const won = (await Promise.all(attempts)).flat();
          expect(won).toHaveLength(1);
          winners.push(...won);
        }
        const numbers = winners.map(async (_, index) => (await handles[0]?.at(index + 1))?.document);
        expect(await Promise.all(numbers)).toMatchObject(winners.map((number) => ({ number })));
        expect(await handles[1]?.read()).toMatchObject({ revision: choices.length });
      } finally {
        await closeAll({ handles, open });
      }
    });
    await fc.assert(property, { numRuns: RUNS });
  });
});
