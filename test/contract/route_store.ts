/** The contract of RouteStore, as one suite that every implementation joins. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Fault } from "../../src/base/fault.ts";
import {
  HISTORY_KEPT_MAX,
  HISTORY_PAGE_MAX,
  IDEMPOTENCY_KEPT_MAX,
  IDEMPOTENCY_KEPT_MS,
  type IdempotencyMark,
  type RouteStore,
} from "../../src/store/store.ts";
import type { ManualClock } from "../support/clock.ts";
import { until } from "../support/wait.ts";
import { describeLoading } from "./route_store_loading.ts";
import { changeTo, commitMany, historyOf, MARK, type SuiteParts } from "./route_store_parts.ts";

export { changeTo, historyOf } from "./route_store_parts.ts";

/** What the suite has to know of a store. Where a reason stands instead, the claims that need it are skipped. */
export interface RouteStoreOptions {
  /** What the stores tell the time by. */
  readonly clock: ManualClock | string;
  /** Opens one more handle on what `open` gave last. */
  readonly again: (() => Promise<RouteStore>) | string;
}

/** Revisions that one test commits beyond the most that are kept. */
const BEYOND = 5;

/** Opens a suite of every claim. `open` gives an empty store each time; the suite closes it. */
export function describeRouteStore(
  name: string,
  open: () => Promise<RouteStore>,
  options: RouteStoreOptions,
): void {
  describe(name, () => {
    const opened: RouteStore[] = [];
    let store: RouteStore;
    const track = (handle: RouteStore): RouteStore => {
      opened.push(handle);
      return handle;
    };
    beforeEach(async () => {
      store = track(await open());
    });
    afterEach(async () => {
      for (const handle of opened.splice(0)) await handle.close();
    });
    const parts: SuiteParts = {
      store: () => store,
      again: async (skip) => {
        if (typeof options.again === "string") return skip(options.again);
        return track(await options.again());
      },
      clock: (skip) => (typeof options.clock === "string" ? skip(options.clock) : options.clock),
    };
    describe("commits", () => {
      describeCommits(parts);
    });
    describe("documents", () => {
      describeDocuments(parts);
    });
    describe("history", () => {
      describeHistory(parts);
    });
    describe("idempotency keys", () => {
      describeKeys(parts);
    });
    describe("loading", () => {
      describeLoading(parts);
    });
    describe("watching", () => {
      describeWatching(parts);
    });
    describe("handles", () => {
      describeHandles(parts);
    });
  });
}

function describeCommits({ store, clock }: SuiteParts): void {
  it("an empty store has no table, no past and no keys", async () => {
    expect(await store().read()).toBeNull();
    expect(await store().at(1)).toBeNull();
    expect(await store().history({ limit: 10 })).toEqual([]);
    expect(await store().recall("key-1")).toBeNull();
  });

  it("the first commit makes revision 1 from revision 0", async ({ skip }) => {
    const atMs = clock(skip).wallMs();
    expect(await store().commit(0, changeTo(1))).toEqual({ ok: true, revision: 1 });
    expect(await store().read()).toEqual({ ...changeTo(1), revision: 1, fromRevision: 0, atMs });
  });

  it("revisions grow by one and name the one they replaced", async () => {
    await commitMany(store(), 1, 3);
    const entries = await store().history({ limit: 10 });
    expect(entries.map(({ revision, fromRevision }) => [revision, fromRevision])).toEqual([
      [3, 2],
      [2, 1],
      [1, 0],
    ]);
  });

  it.each([0, 1, 3, 99])(
    "a commit on revision %i when 2 is current changes nothing and names 2",
    async (expected) => {
      await commitMany(store(), 1, 2);
      expect(await store().commit(expected, changeTo(77))).toEqual({ ok: false, currentRevision: 2 });
      expect((await store().read())?.document).toEqual(changeTo(2).document);
      expect(await store().history({ limit: 10 })).toHaveLength(2);
    },
  );

  it("of ten commits on one revision at the same time exactly one is carried out", async () => {
    await commitMany(store(), 1, 1);
    const numbers = Array.from({ length: 10 }, (_, index) => 100 + index);
    const outcomes = await Promise.all(numbers.map((number) => store().commit(1, changeTo(number))));
    const winners = numbers.filter((_, index) => outcomes[index]?.ok);
    expect(winners).toHaveLength(1);
    expect(await store().read()).toMatchObject({ revision: 2, document: { number: winners[0] } });
    for (const outcome of outcomes)
      if (!outcome.ok) expect(outcome).toEqual({ ok: false, currentRevision: 2 });
  });

  it.each([-1, 0.5, NaN, Infinity])("a commit on revision %d is a bug of the caller", async (revision) => {
    await expect(store().commit(revision, changeTo(1))).rejects.toThrow("assertion failed");
  });
}

function describeDocuments({ store }: SuiteParts): void {
  it("a document comes back as it was, whatever JSON it is", async () => {
    const document = {
      "ключ 🔑": [0, -1.5, 1e21, true, null, "", '"\\\u0000\u2028\n'],
      nested: { list: [[], {}] },
    };
    await store().commit(0, {
      ...changeTo(1),
      document,
      reason: "naïve “quotes” and\nlines 🙂",
      difference: [],
    });
    const stored = await store().read();
    expect(stored?.document).toEqual(document);
    expect(stored?.reason).toBe("naïve “quotes” and\nlines 🙂");
    expect(stored?.difference).toEqual([]);
  });

  it("what was handed in or out can be changed without changing the store", async () => {
    const document = { list: [1] };
    await store().commit(0, { ...changeTo(1), document });
    document.list.push(2);
    const given = (await store().read())?.document as { list: number[] };
    given.list.push(3);
    expect((await store().read())?.document).toEqual({ list: [1] });
  });
}

function describeHistory({ store }: SuiteParts): void {
  it("every past revision can be read with its document", async () => {
    await commitMany(store(), 1, 3);
    for (const number of [1, 2, 3]) {
      expect(await store().at(number)).toMatchObject({ ...changeTo(number), revision: number });
    }
    expect(await store().at(4)).toBeNull();
  });

  it("history comes newest first in pages, without documents", async () => {
    await commitMany(store(), 1, 7);
    const first = await store().history({ limit: 3 });
    const second = await store().history({ limit: 3, before: 5 });
    const last = await store().history({ limit: 3, before: 2 });
    const beyond = await store().history({ limit: 3, before: 1 });
    const revisions = [first, second, last, beyond].map((page) => page.map((entry) => entry.revision));
    expect(revisions).toEqual([[7, 6, 5], [4, 3, 2], [1], []]);
    expect(first[0]).not.toHaveProperty("document");
    expect(first[0]).toMatchObject({ actor: "alice", action: "apply", reason: "because of 7" });
    expect(first[0]?.difference).toEqual(["number 6 -> 7"]);
  });

  it("a revision below 1 and a page out of bounds are bugs of the caller", async () => {
    const wrong = [
      () => store().at(0),
      () => store().at(1.5),
      () => store().history({ limit: 0 }),
      () => store().history({ limit: HISTORY_PAGE_MAX + 1 }),
      () => store().history({ limit: 1.5 }),
      () => store().history({ limit: 1, before: 0 }),
    ];
    for (const call of wrong) await expect(call()).rejects.toThrow("assertion failed");
  });

  it("the oldest revisions and keys are forgotten first, and only beyond the most that are kept", async () => {
    expect(HISTORY_KEPT_MAX).toBe(IDEMPOTENCY_KEPT_MAX);
    const markOf = (number: number): IdempotencyMark => ({ key: `key-${number}`, fingerprint: "same" });
    const newest = HISTORY_KEPT_MAX + BEYOND;
    for (let number = 1; number <= newest; number++) {
      await store().commit(number - 1, changeTo(number, markOf(number)));
      if (number !== HISTORY_KEPT_MAX) continue;
      expect(await store().at(1)).not.toBeNull();
      expect(await store().recall("key-1")).not.toBeNull();
    }
    expect(await store().at(BEYOND)).toBeNull();
    expect(await store().recall(`key-${BEYOND}`)).toBeNull();
    expect(await store().at(BEYOND + 1)).toMatchObject({ revision: BEYOND + 1 });
    expect(await store().recall(`key-${BEYOND + 1}`)).toMatchObject({ revision: BEYOND + 1 });
    expect(await store().history({ limit: 5, before: BEYOND + 3 })).toHaveLength(2);
    expect(await store().read()).toMatchObject({ revision: newest });
  });
}

function describeKeys({ store, clock }: SuiteParts): void {
  it("a commit makes its key known with the revision it made", async () => {
    await store().commit(0, changeTo(1, MARK));
    expect(await store().recall(MARK.key)).toEqual({ ...MARK, revision: 1, changed: true });
  });

  it("a commit with a known key is a conflict, even on the current revision", async () => {
    await store().commit(0, changeTo(1, MARK));
    const repeated = changeTo(2, { key: MARK.key, fingerprint: "another" });
    expect(await store().commit(1, repeated)).toEqual({ ok: false, currentRevision: 1 });
    expect(await store().recall(MARK.key)).toEqual({ ...MARK, revision: 1, changed: true });
  });

  it("a commit that met a conflict leaves its key unknown", async () => {
    await store().commit(0, changeTo(1));
    await store().commit(0, changeTo(2, MARK));
    expect(await store().recall(MARK.key)).toBeNull();
  });

  it("of ten commits with one key at the same time exactly one is carried out", async () => {
    // Each expects what the one before would make, so only the key can stop them.
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, index) => store().commit(index, changeTo(index + 1, MARK))),
    );
    expect(outcomes.filter((outcome) => outcome.ok)).toHaveLength(1);
    expect(await store().read()).toMatchObject({ revision: 1 });
  });

  it("a key can be remembered for a revision that it did not make", async () => {
    await commitMany(store(), 1, 2);
    expect(await store().remember(MARK, 2)).toBe(true);
    expect(await store().recall(MARK.key)).toEqual({ ...MARK, revision: 2, changed: false });
    expect(await store().commit(2, changeTo(3, MARK))).toEqual({ ok: false, currentRevision: 2 });
    expect(await store().read()).toMatchObject({ revision: 2 });
  });

  it("a key that is known is not remembered once more", async () => {
    await store().commit(0, changeTo(1, MARK));
    await commitMany(store(), 2, 2);
    expect(await store().remember({ key: MARK.key, fingerprint: "another" }, 2)).toBe(false);
    expect(await store().recall(MARK.key)).toEqual({ ...MARK, revision: 1, changed: true });
  });

  it("a key is known for its time and can be used anew afterwards", async ({ skip }) => {
    const time = clock(skip);
    await store().commit(0, changeTo(1, MARK));
    time.advance(IDEMPOTENCY_KEPT_MS - 1);
    expect(await store().recall(MARK.key)).not.toBeNull();
    expect(await store().remember(MARK, 1)).toBe(false);
    time.advance(1);
    expect(await store().recall(MARK.key)).toBeNull();
    expect(await store().commit(1, changeTo(2, MARK))).toEqual({ ok: true, revision: 2 });
    expect(await store().recall(MARK.key)).toEqual({ ...MARK, revision: 2, changed: true });
  });
}

function describeWatching({ store, again }: SuiteParts): void {
  it("every watcher is told of each commit, once, in order", async () => {
    const told: string[] = [];
    store().watch((revision) => told.push(`a${revision}`));
    store().watch((revision) => told.push(`b${revision}`));
    await commitMany(store(), 1, 2);
    await until("four calls", () => told.length >= 4);
    expect(told).toEqual(["a1", "b1", "a2", "b2"]);
  });

  it("what is known already and what was refused is not told", async () => {
    await commitMany(store(), 1, 2);
    const told: number[] = [];
    store().watch((revision) => told.push(revision));
    await store().commit(0, changeTo(9));
    await commitMany(store(), 3, 3);
    await until("a call", () => told.length > 0);
    expect(told).toEqual([3]);
  });

  it("whoever ended watching is told nothing more", async () => {
    const ended: number[] = [];
    const told: number[] = [];
    const end = store().watch((revision) => ended.push(revision));
    store().watch((revision) => told.push(revision));
    await commitMany(store(), 1, 1);
    await until("revision 1", () => told.includes(1));
    end();
    end();
    await commitMany(store(), 2, 2);
    await until("revision 2", () => told.includes(2));
    expect(ended).toEqual([1]);
  });

  it("a watcher that throws breaks neither the commit nor the other watchers", async () => {
    const told: number[] = [];
    store().watch(() => {
      throw new Error("planted");
    });
    store().watch((revision) => told.push(revision));
    await commitMany(store(), 1, 2);
    await until("both revisions", () => told.length >= 2);
    expect(told).toEqual([1, 2]);
  });

  it("commits through another handle are told too, at least the newest", async ({ skip }) => {
    const other = await again(skip);
    const told: number[] = [];
    store().watch((revision) => told.push(revision));
    await commitMany(other, 1, 3);
    await until("revision 3", () => told.includes(3));
    expect(told).toEqual(told.toSorted((a, b) => a - b));
  });
}

function describeHandles({ store, again }: SuiteParts): void {
  it("handles on one store see each other's commits", async ({ skip }) => {
    const other = await again(skip);
    expect(await other.read()).toBeNull();
    await store().commit(0, changeTo(1, MARK));
    expect(await other.read()).toMatchObject({ revision: 1, document: { number: 1 } });
    expect(await other.recall(MARK.key)).toMatchObject({ revision: 1 });
    expect(await other.commit(0, changeTo(9))).toEqual({ ok: false, currentRevision: 1 });
    expect(await other.commit(1, changeTo(2))).toEqual({ ok: true, revision: 2 });
    expect(await store().read()).toMatchObject({ revision: 2 });
  });

  it("of two handles that commit on one revision exactly one wins, every time", async ({ skip }) => {
    const handles = [store(), await again(skip)];
    for (let revision = 0; revision < 25; revision++) {
      const outcomes = await Promise.all(
        handles.map((handle, index) => handle.commit(revision, changeTo(revision * 2 + index))),
      );
      expect(outcomes.filter((outcome) => outcome.ok)).toHaveLength(1);
    }
    expect(await store().read()).toMatchObject({ revision: 25 });
  });

  it("everything survives closing and opening again", async ({ skip }) => {
    await store().commit(0, changeTo(1, MARK));
    const before = await store().read();
    await store().close();
    const other = await again(skip);
    expect(await other.read()).toEqual(before);
    expect(await other.recall(MARK.key)).toEqual({ ...MARK, revision: 1, changed: true });
    await commitMany(other, 2, 2);
  });

  it("a closed store refuses everything with STORE_UNAVAILABLE and can be closed again", async () => {
    await store().close();
    await store().close();
    const calls: (() => Promise<unknown>)[] = [
      () => store().read(),
      () => store().at(1),
      () => store().history({ limit: 1 }),
      () => store().recall("key-1"),
      () => store().remember(MARK, 1),
      () => store().commit(0, changeTo(1)),
      () => store().load(historyOf(1)),
      async () => store().watch(() => undefined),
    ];
    for (const call of calls)
      await expect(call()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" } satisfies Partial<Fault>);
  });
}
