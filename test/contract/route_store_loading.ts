/** The claims of the RouteStore suite about loading a history. */
import { expect, it } from "vitest";
import { HISTORY_PAGE_MAX, LOADED_MAX } from "../../src/store/store.ts";
import { until } from "../support/wait.ts";
import { changeTo, commitMany, historyOf, MARK, type SuiteParts } from "./route_store_parts.ts";

/** A history is loaded whole, into an empty store only, and keeps everything. */
export function describeLoading({ store, again }: SuiteParts): void {
  it("a history comes with its numbers, gaps, times, actors, reasons, differences and documents", async () => {
    const history = historyOf(3, 4, 9);
    expect(await store().load(history)).toBe(true);
    expect(await store().read()).toEqual(history.at(-1));
    for (const stored of history) expect(await store().at(stored.revision)).toEqual(stored);
    for (const gap of [1, 2, 5, 8, 10]) expect(await store().at(gap)).toBeNull();
    const entries = history.map(({ document: _, ...entry }) => entry).toReversed();
    expect(await store().history({ limit: 10 })).toEqual(entries);
    expect(await store().history({ limit: 1, before: 9 })).toEqual(entries.slice(1, 2));
  });

  it("the next commit goes on from the newest revision, and from no other", async () => {
    await store().load(historyOf(7, 40));
    expect(await store().commit(0, changeTo(99))).toEqual({ ok: false, currentRevision: 40 });
    expect(await store().commit(40, changeTo(41, MARK))).toEqual({ ok: true, revision: 41 });
    expect(await store().read()).toMatchObject({ revision: 41, fromRevision: 40, document: { number: 41 } });
    expect(await store().recall(MARK.key)).toEqual({ ...MARK, revision: 41, changed: true });
    expect((await store().history({ limit: 9 })).map(({ revision }) => revision)).toEqual([41, 40, 7]);
  });

  it("as many revisions as may be loaded are loaded, and read in pages", async () => {
    const revisions = Array.from({ length: LOADED_MAX }, (_, index) => index + 1);
    expect(await store().load(historyOf(...revisions))).toBe(true);
    const newer = await store().history({ limit: HISTORY_PAGE_MAX });
    const older = await store().history({
      limit: HISTORY_PAGE_MAX,
      before: LOADED_MAX - HISTORY_PAGE_MAX + 1,
    });
    const read = [...newer, ...older].map(({ revision }) => revision);
    expect(read).toEqual(revisions.toReversed());
  });

  it("a store that holds anything is left as it is", async () => {
    await commitMany(store(), 1, 1);
    expect(await store().load(historyOf(1, 2))).toBe(false);
    expect(await store().load(historyOf(2))).toBe(false);
    expect(await store().history({ limit: 10 })).toHaveLength(1);
    expect(await store().read()).toMatchObject({ revision: 1, actor: "alice", document: { number: 1 } });
    await commitMany(store(), 2, 2);
  });

  it("what was loaded is not loaded again", async () => {
    await store().load(historyOf(1, 2));
    expect(await store().load(historyOf(1, 2, 3))).toBe(false);
    expect(await store().read()).toMatchObject({ revision: 2 });
  });

  it("what was handed in can be changed without changing the store", async () => {
    const list = [1];
    await store().load(historyOf(1).map((stored) => ({ ...stored, document: { list } })));
    list.push(2);
    expect((await store().read())?.document).toEqual({ list: [1] });
  });

  it("every watcher, of other handles too, hears of the newest revision", async ({ skip }) => {
    const other = await again(skip);
    const told: number[] = [];
    const toldElsewhere: number[] = [];
    store().watch((revision) => told.push(revision));
    other.watch((revision) => toldElsewhere.push(revision));
    await store().load(historyOf(5, 6, 8));
    await until("revision 8", () => told.includes(8) && toldElsewhere.includes(8));
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    await store().commit(8, changeTo(9));
    await until("revision 9", () => told.includes(9) && toldElsewhere.includes(9));
  });

  it.each(["load", "commit"])(
    "of a load and a commit at once, the %s first, exactly one wins",
    async (first) => {
      const load = (): Promise<boolean> => store().load(historyOf(4, 5));
      const commit = async (): Promise<boolean> => (await store().commit(0, changeTo(1))).ok;
      const calls = first === "load" ? [load, commit] : [commit, load];
      const [one, two] = await Promise.all(calls.map((call) => call()));
      expect([one, two].filter((won) => won)).toHaveLength(1);
      const hasLoaded = (first === "load") === one;
      const entries = await store().history({ limit: 10 });
      expect(entries.map(({ revision }) => revision)).toEqual(hasLoaded ? [5, 4] : [1]);
    },
  );

  it("of two handles that load at once exactly one wins, with all of its history", async ({ skip }) => {
    const handles = [store(), await again(skip)];
    const outcomes = await Promise.all(
      handles.map((handle, index) => handle.load(historyOf(10 + index, 20 + index))),
    );
    expect(outcomes.filter((won) => won)).toHaveLength(1);
    const winner = outcomes.indexOf(true);
    const entries = await store().history({ limit: 10 });
    expect(entries.map(({ revision }) => revision)).toEqual([20 + winner, 10 + winner]);
  });

  it("no revision, too many, one below 1 and ones that do not ascend are bugs of the caller", async () => {
    const many = Array.from({ length: LOADED_MAX + 1 }, (_, index) => index + 1);
    for (const revisions of [[], many, [0], [1.5], [2, 1], [1, 1]]) {
      await expect(store().load(historyOf(...revisions))).rejects.toThrow("assertion failed");
    }
    expect(await store().read()).toBeNull();
  });
}
