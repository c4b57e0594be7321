/** A migration as one document: what is written can be read, and what cannot be used is refused with every problem. */
import { describe, expect, it } from "vitest";
import {
  decodeExport,
  EXPORT_BYTES_MAX,
  writeExport,
  type ExportDocument,
} from "../../../src/control/export.ts";
import { LOADED_MAX, type StoredTable } from "../../../src/store/store.ts";
import { historyOf } from "../../contract/route_store.ts";
import { ManualClock } from "../../support/clock.ts";
import { MemoryStore } from "../../support/memory_store.ts";
import { problemsOf, SHOP, tableWith, valueOf } from "../../support/table.ts";

const ABOUT = { version: "1.2.3", wallMs: Date.UTC(2026, 0, 31, 12) };

/** A history whose tables this version can use. */
function usable(...revisions: readonly number[]): StoredTable[] {
  return historyOf(...revisions).map((stored) => ({ ...stored, document: tableWith(SHOP) }));
}

async function storeWith(history: readonly StoredTable[]): Promise<MemoryStore> {
  const store = new MemoryStore(new ManualClock());
  await store.load(history);
  return store;
}

async function written(store: Pick<MemoryStore, "at" | "history">): Promise<ExportDocument> {
  const document = await writeExport(store, ABOUT);
  return document ?? expect.unreachable("the store is not empty");
}

function revisionsOf(document: ExportDocument): number[] {
  return document.revisions.map(({ revision }) => revision);
}

/** An export of revisions 3 and 5 as JSON, changed by `change`. */
async function changed(change: (document: Record<string, unknown>, newest: Record<string, unknown>) => void) {
  const document = structuredClone(await written(await storeWith(usable(3, 5))));
  change(document, document.revisions[1] as Record<string, unknown>);
  return document as unknown;
}

describe("an export", () => {
  it("says what it is, and has the oldest revision first with all that is known of it", async () => {
    const document = await written(await storeWith(usable(3, 5)));
    expect(document).toMatchObject({
      format: "crossfade.export",
      version: 1,
      exported_at: "2026-01-31T12:00:00.000Z",
      crossfade: "1.2.3",
      truncated: false,
    });
    expect(revisionsOf(document)).toEqual([3, 5]);
    expect(document.revisions[1]).toEqual({
      revision: 5,
      from_revision: 3,
      at: "2023-11-14T22:13:20.005Z",
      actor: "actor 5",
      action: "shift",
      reason: "because of 5",
      difference: ["number 4 -> 5"],
      table: tableWith(SHOP),
    });
  });

  it("is read back as the very history it was written from", async () => {
    const history = usable(...Array.from({ length: 250 }, (_, index) => index * 2 + 1));
    const text = JSON.stringify(await written(await storeWith(history)));
    expect(valueOf(decodeExport(JSON.parse(text)))).toEqual(history);
  });

  it("of an empty store there is none", async () => {
    expect(await writeExport(new MemoryStore(new ManualClock()), ABOUT)).toBeNull();
  });

  it("holds what there was when it began, whatever is committed meanwhile", async () => {
    const store = await storeWith(usable(1, 2));
    const [change] = usable(3) as [StoredTable];
    const busy = {
      history: store.history.bind(store),
      at: async (revision: number) => {
        const newest = (await store.history({ limit: 1 }))[0]?.revision ?? 0;
        await store.commit(newest, change);
        return store.at(revision);
      },
    };
    expect(revisionsOf(await written(busy))).toEqual([1, 2]);
    expect(await store.read()).toMatchObject({ revision: 4 });
  });

  it.each([
    [LOADED_MAX, false, 1],
    [LOADED_MAX + 1, true, 2],
  ])("of %i revisions is truncated: %s", async (count, truncated, oldest) => {
    const store = await storeWith(usable(1));
    for (let revision = 1; revision < count; revision++) {
      await store.commit(revision, usable(revision + 1)[0] as StoredTable);
    }
    const document = await written(store);
    expect(document.truncated).toBe(truncated);
    expect(document.revisions).toHaveLength(LOADED_MAX);
    expect(document.revisions[0]?.revision).toBe(oldest);
  });

  it("leaves out what would make it too large, but never the newest revision", async () => {
    const heavy = (revision: number, bytes: number): StoredTable => ({
      ...(usable(revision)[0] as StoredTable),
      document: { filling: "x".repeat(bytes) },
    });
    const half = EXPORT_BYTES_MAX / 2;
    const both = await written(await storeWith([heavy(1, half - 500), heavy(2, half - 500)]));
    expect([revisionsOf(both), both.truncated]).toEqual([[1, 2], false]);
    const newest = await written(await storeWith([heavy(1, half), heavy(2, half)]));
    expect([revisionsOf(newest), newest.truncated]).toEqual([[2], true]);
    const alone = await written(await storeWith([heavy(7, EXPORT_BYTES_MAX)]));
    expect([revisionsOf(alone), alone.truncated]).toEqual([[7], false]);
  });

  it("is truncated where old revisions are forgotten meanwhile", async () => {
    const store = await storeWith(usable(1, 2, 3));
    const at = (revision: number) => (revision === 1 ? Promise.resolve(null) : store.at(revision));
    const document = await written({ history: store.history.bind(store), at });
    expect([revisionsOf(document), document.truncated]).toEqual([[2, 3], true]);
  });
});

describe("a document to import", () => {
  it("may hold old tables in a form that this version cannot read; they are kept as they are", async () => {
    const table = { routes: 7, "later feature": [{ __proto: 1 }] };
    const document = await changed((whole) => {
      (whole["revisions"] as Record<string, unknown>[])[0] = {
        ...(whole["revisions"] as Record<string, unknown>[])[0],
        table,
      };
    });
    expect(valueOf(decodeExport(document))[0]?.document).toEqual(table);
  });

  it("is refused with everything that is wrong, in the document and in its newest table", async () => {
    const document = await changed((whole, newest) => {
      whole["format"] = "tar";
      whole["version"] = 2;
      whole["comment"] = "";
      delete whole["truncated"];
      newest["at"] = "yesterday";
      newest["revision"] = 3;
      newest["from_revision"] = 9;
      newest["table"] = tableWith({ ...SHOP, split: { legacy: 90, new: 20 } }, { ...SHOP, splitt: {} });
    });
    const problems = problemsOf(decodeExport(document)).map(({ path, message }) => `${path}: ${message}`);
    expect(problems.toSorted()).toEqual([
      '/comment: unknown key "comment"; allowed here: format, version, exported_at, crossfade, truncated, revisions',
      '/format: this is no export; its format is "crossfade.export"',
      "/revisions/1/at: write a time in UTC, such as 2026-01-31T12:00:00.000Z",
      "/revisions/1/from_revision: 9 is not below 3, which replaced it",
      "/revisions/1/revision: 3 does not come after 3; the oldest is first",
      expect.stringMatching(/^\/revisions\/1\/table\/routes\/0\/split: .* 110 %/),
      expect.stringMatching(/^\/revisions\/1\/table\/routes\/1\/id: /),
      expect.stringMatching(/^\/revisions\/1\/table\/routes\/1\/splitt: .*"split"/),
      '/truncated: "truncated" is missing',
      "/version: this version of Crossfade reads version 1 of exports only",
    ]);
  });

  it.each<[string, unknown, string]>([
    ["revisions", [], "/revisions"],
    ["revisions", Array.from({ length: LOADED_MAX + 1 }, () => 1), "/revisions"],
    ["revisions", {}, "/revisions"],
    ["revisions", [7], "/revisions/0"],
    ["truncated", "no", "/truncated"],
    ["exported_at", "2026-02-30T00:00:00Z", "/exported_at"],
  ])("with %s %j is refused at %3$s", async (key, value, path) => {
    const document = await changed((whole) => {
      whole[key] = value;
    });
    expect(problemsOf(decodeExport(document)).map((problem) => problem.path)).toContain(path);
  });

  it.each<[string, unknown]>([
    ["revision", 0],
    ["revision", 5.5],
    ["revision", 1e15],
    ["revision", "5"],
    ["from_revision", -1],
    ["actor", ""],
    ["actor", "a".repeat(65)],
    ["reason", "x".repeat(1_001)],
    ["difference", "one line"],
    ["table", null],
    ["table", [tableWith(SHOP)]],
  ])("whose newest revision has %s %j is refused there", async (key, value) => {
    const document = await changed((_, newest) => {
      newest[key] = value;
    });
    const paths = problemsOf(decodeExport(document)).map((problem) => problem.path);
    expect(paths).toContain(`/revisions/1/${key}`);
  });

  it.each([null, 7, "text", [], undefined])("that is %j is refused", (input) => {
    expect(problemsOf(decodeExport(input))).not.toEqual([]);
  });

  it("cannot smuggle in a prototype with its newest table", () => {
    const table = JSON.parse('{"backends":{},"routes":[],"__proto__":{}}') as unknown;
    const document = { revisions: [{ table }] };
    const paths = problemsOf(decodeExport(document)).map((problem) => problem.path);
    expect(paths).toContain("/revisions/0/table/__proto__");
  });
});
