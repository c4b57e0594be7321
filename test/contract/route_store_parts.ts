/** What the claims of the RouteStore suite share: changes and histories to tell apart, and the store they are about. */
import { expect } from "vitest";
import type { Change, IdempotencyMark, RouteStore, StoredTable } from "../../src/store/store.ts";
import type { ManualClock } from "../support/clock.ts";

/** A change that differs from others by its number. */
export function changeTo(number: number, idempotency?: IdempotencyMark): Change {
  const change = {
    document: { backends: {}, routes: [], number },
    actor: "alice",
    action: "apply",
    reason: `because of ${number}`,
    difference: [`number ${number - 1} -> ${number}`],
  };
  return idempotency === undefined ? change : { ...change, idempotency };
}

/** A history with these revisions, in this order, each unlike the others in all it says. */
export function historyOf(...revisions: readonly number[]): StoredTable[] {
  return revisions.map((revision, index) => ({
    ...changeTo(revision),
    actor: `actor ${revision}`,
    action: index === 0 ? "seed" : "shift",
    revision,
    fromRevision: revisions[index - 1] ?? revision - 1,
    atMs: 1_700_000_000_000 + revision,
  }));
}

/** Ends a test that the store has no means for, with the reason. */
export type Skip = (reason: string) => never;

/** What the claims are made with. */
export interface SuiteParts {
  readonly store: () => RouteStore;
  readonly again: (skip: Skip) => Promise<RouteStore>;
  readonly clock: (skip: Skip) => ManualClock;
}

/** A key that was not used before. */
export const MARK: IdempotencyMark = { key: "key-1", fingerprint: "fingerprint-1" };

/** Commits revisions `from` to `to` onto a store whose newest revision is the one before. */
export async function commitMany(store: RouteStore, from: number, to: number): Promise<void> {
  for (let number = from; number <= to; number++) {
    expect(await store.commit(number - 1, changeTo(number))).toEqual({ ok: true, revision: number });
  }
}
