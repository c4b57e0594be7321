/** What is particular to the SQLite store: its file, and files that are none of its own. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import { IDEMPOTENCY_KEPT_MS, type RouteStore } from "../../../src/store/store.ts";
import { changeTo } from "../../contract/route_store.ts";
import { ManualClock } from "../../support/clock.ts";
import { makeDirectory } from "../../support/directory.ts";
import { until } from "../../support/wait.ts";

const clock = new ManualClock();

function openStore(path: string): RouteStore {
  const store = openSqliteStore({ path, clock });
  onTestFinished(() => store.close());
  return store;
}

/** Runs statements on a file as another program would, and closes it. */
function execOn(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

/** Matches a fault that names the file and says this. */
function faultOn(path: string, words: string): Error {
  const message = expect.stringMatching(new RegExp(`${path.replaceAll(/[.\\/]/g, "\\$&")}.*${words}`, "s"));
  return expect.objectContaining({ code: "STORE_UNAVAILABLE", message }) as Error;
}

async function storeWithTwo(): Promise<string> {
  const path = join(makeDirectory(), "store.db");
  const store = openSqliteStore({ path, clock });
  await store.commit(0, changeTo(1));
  await store.commit(1, changeTo(2));
  await store.close();
  return path;
}

describe("the file of the store", () => {
  it("is made with its directories, for the owner alone, with all that stands beside it", async () => {
    const directory = join(makeDirectory(), "a", "b");
    const store = openStore(join(directory, "store.db"));
    await store.commit(0, changeTo(1));
    const names = readdirSync(directory).toSorted();
    expect(names).toEqual(["store.db", "store.db-shm", "store.db-wal"]);
    for (const name of names) expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  it("is closed to others when it was open to them", async () => {
    const path = await storeWithTwo();
    chmodSync(path, 0o644);
    openStore(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("has everything in itself after closing", async () => {
    const path = await storeWithTwo();
    expect(existsSync(`${path}-wal`)).toBe(false);
    const copy = join(makeDirectory(), "copy.db");
    copyFileSync(path, copy);
    expect(await openStore(copy).read()).toMatchObject({ revision: 2 });
  });

  it("keeps a write-ahead log from then on", async () => {
    const path = await storeWithTwo();
    const database = new DatabaseSync(path);
    expect(database.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    database.close();
  });

  it("may have an odd name", async () => {
    const path = join(makeDirectory(), "file:store?mode=memory#1 ü.db");
    await openStore(path).commit(0, changeTo(1));
    expect(statSync(path).size).toBeGreaterThan(0);
  });

  it("that is empty is a new store", async () => {
    const path = join(makeDirectory(), "store.db");
    writeFileSync(path, "");
    expect(await openStore(path).read()).toBeNull();
  });

  it("can be read while another process writes to it, and is written once that has finished", async () => {
    const path = await storeWithTwo();
    const store = openStore(path);
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    expect(await store.read()).toMatchObject({ revision: 2 });
    await expect(store.commit(2, changeTo(3))).rejects.toEqual(
      faultOn(path, "another process holds it locked"),
    );
    other.exec("ROLLBACK");
    other.close();
    expect(await store.commit(2, changeTo(3))).toEqual({ ok: true, revision: 3 });
  });
});

describe("a file that cannot be used is named, with what is wrong:", () => {
  it("text", () => {
    const path = join(makeDirectory(), "store.db");
    writeFileSync(path, "listen:\n  - address: 0.0.0.0:8080\n".repeat(100));
    expect(() => openStore(path)).toThrow(faultOn(path, "not a database of Crossfade"));
    expect(readFileSync(path, "utf8")).toContain("listen:");
  });

  it("a directory", () => {
    const path = makeDirectory();
    expect(() => openStore(path)).toThrow(faultOn(path, "unable to open"));
  });

  it("a file below a file", () => {
    const file = join(makeDirectory(), "file");
    writeFileSync(file, "");
    expect(() => openStore(join(file, "store.db"))).toThrow(
      faultOn(join(file, "store.db"), "file already exists"),
    );
  });

  it("a database of another program, which is left as it was", () => {
    const path = join(makeDirectory(), "store.db");
    execOn(path, "CREATE TABLE revision (mine TEXT)");
    const before = readFileSync(path);
    expect(() => openStore(path)).toThrow(faultOn(path, "another program"));
    expect(readFileSync(path)).toEqual(before);
  });

  it("a store of a later version, which is left as it was", async () => {
    const path = await storeWithTwo();
    execOn(path, "PRAGMA user_version = 2");
    expect(() => openStore(path)).toThrow(faultOn(path, "later version of Crossfade \\(layout 2"));
    execOn(path, "PRAGMA user_version = 1");
    expect(await openStore(path).read()).toMatchObject({ revision: 2 });
  });

  it("a store without its tables", async () => {
    const path = await storeWithTwo();
    execOn(path, "DROP TABLE idempotency");
    expect(() => openStore(path)).toThrow(faultOn(path, "no such table: idempotency"));
  });

  it("damage in the schema and in the revisions", async () => {
    const path = await storeWithTwo();
    const whole = readFileSync(path);
    for (const page of [0, 1]) {
      const damaged = Buffer.from(whole);
      // The first 100 bytes are the header, which tells a database from other files.
      damaged.fill(0xa5, page * 4096 + (page === 0 ? 100 : 0), (page + 1) * 4096);
      writeFileSync(path, damaged);
      const use = async (): Promise<unknown> => openStore(path).read();
      await expect(use()).rejects.toEqual(faultOn(path, "damaged"));
    }
  });

  it("a file that was cut short", async () => {
    const path = await storeWithTwo();
    writeFileSync(path, readFileSync(path).subarray(0, 5000));
    const use = async (): Promise<unknown> => openStore(path).read();
    await expect(use()).rejects.toEqual(faultOn(path, "damaged"));
  });

  it("a revision that is no JSON, named by its number", async () => {
    const path = await storeWithTwo();
    execOn(path, "UPDATE revision SET document = '{' WHERE revision = 2");
    const store = openStore(path);
    await expect(store.read()).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: `revision 2 in the file ${path} is damaged: its document is no JSON`,
    });
    expect(await store.at(1)).toMatchObject({ revision: 1 });
  });

  it.each([
    ["deleted or moved away", (path: string) => renameSync(path, `${path}.old`)],
    [
      "replaced by a copy",
      (path: string) => {
        copyFileSync(path, `${path}.new`);
        renameSync(`${path}.new`, path);
      },
    ],
  ])("one that was %s while in use takes no commits, which nobody would find again", async (_, move) => {
    const path = await storeWithTwo();
    const store = openStore(path);
    move(path);
    await expect(store.commit(2, changeTo(3))).rejects.toEqual(faultOn(path, "moved, deleted or replaced"));
    await expect(store.remember({ key: "k", fingerprint: "f" }, 2)).rejects.toEqual(
      faultOn(path, "replaced"),
    );
  });
});

describe("the rows of the file", () => {
  it("hold no key whose time is over, once another one is used", async () => {
    const path = join(makeDirectory(), "store.db");
    const store = openStore(path);
    for (const key of ["a", "b"]) await store.remember({ key, fingerprint: "f" }, 1);
    clock.advance(IDEMPOTENCY_KEPT_MS);
    await store.remember({ key: "c", fingerprint: "f" }, 1);
    const database = new DatabaseSync(path);
    expect(database.prepare("SELECT key FROM idempotency").all()).toEqual([{ key: "c" }]);
    database.close();
  });

  it("are as before after a commit that failed half way, and the next commit is carried out", async () => {
    const path = await storeWithTwo();
    execOn(
      path,
      `CREATE TRIGGER planted AFTER INSERT ON idempotency WHEN new.key = 'planted'
       BEGIN SELECT RAISE(FAIL, 'planted'); END`,
    );
    const store = openStore(path);
    const failing = store.commit(2, changeTo(3, { key: "planted", fingerprint: "f" }));
    await expect(failing).rejects.toEqual(faultOn(path, "planted"));
    expect(await store.read()).toMatchObject({ revision: 2 });
    expect(await store.commit(2, changeTo(3))).toEqual({ ok: true, revision: 3 });
  });
});

describe("watching the file", () => {
  it("tells of a revision once, though it is met twice: when it is committed and when it is looked", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const path = join(makeDirectory(), "store.db");
    const [store, other] = [openStore(path), openStore(path)];
    const told: number[] = [];
    const end = store.watch((revision) => told.push(revision));
    await other.commit(0, changeTo(1));
    await store.commit(1, changeTo(2));
    await until("revision 2", () => told.length > 0);
    vi.advanceTimersByTime(1_000);
    await other.commit(2, changeTo(3));
    vi.advanceTimersByTime(1_000);
    expect(told).toEqual([2, 3]);
    end();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("goes on after a look that failed", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const path = await storeWithTwo();
    const store = openStore(path);
    const told: number[] = [];
    store.watch((revision) => told.push(revision));
    execOn(path, "ALTER TABLE revision RENAME TO away");
    vi.advanceTimersByTime(1_000);
    await expect(store.read()).rejects.toEqual(faultOn(path, "no such table"));
    execOn(path, "ALTER TABLE away RENAME TO revision");
    await openStore(path).commit(2, changeTo(3));
    vi.advanceTimersByTime(1_000);
    expect(told).toEqual([3]);
  });

  it("tells the log of a watcher that throws", async () => {
    const lines: unknown[] = [];
    const log = { error: (fields: object, message: string) => lines.push({ ...fields, message }) };
    const store = openSqliteStore({ path: join(makeDirectory(), "store.db"), clock, log });
    onTestFinished(() => store.close());
    const planted = new Error("planted");
    store.watch(() => {
      throw planted;
    });
    await store.commit(0, changeTo(1));
    await until("a line in the log", () => lines.length > 0);
    expect(lines).toEqual([{ err: planted, revision: 1, message: "a watcher of the store failed" }]);
  });
});
