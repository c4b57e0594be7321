/** The lock of a directory: one holder at a time, and none after its death. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { assert } from "../../../src/base/fault.ts";
import { acquireLock, type Lock } from "../../../src/store/lock.ts";
import { makeDirectory } from "../../support/directory.ts";
import { until } from "../../support/wait.ts";

const HOLDER = new URL("../../support/lock_holder.ts", import.meta.url).pathname;

function heldLock(path: string): Lock {
  const lock = acquireLock(path);
  assert(lock !== null, "nobody else has the lock");
  return lock;
}

describe("acquireLock", () => {
  it("gives the lock to one at a time, in one process too", () => {
    const path = join(makeDirectory(), "lock");
    const lock = heldLock(path);
    expect(acquireLock(path)).toBeNull();
    expect(acquireLock(path)).toBeNull();
    lock.release();
    heldLock(path).release();
  });

  it("is released once: a second release does not take it from the next holder", () => {
    const path = join(makeDirectory(), "lock");
    const first = heldLock(path);
    first.release();
    const second = heldLock(path);
    first.release();
    expect(acquireLock(path)).toBeNull();
    second.release();
  });

  it("keeps others out until its process is killed", async () => {
    const path = join(makeDirectory(), "lock");
    const holder = spawn(process.execPath, [HOLDER, path], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = once(holder, "exit");
    try {
      await once(holder.stdout, "data");
      expect(acquireLock(path)).toBeNull();
    } finally {
      holder.kill("SIGKILL");
    }
    expect(await ended).toEqual([null, "SIGKILL"]);
    const lock = await until("the lock of a dead process", () => acquireLock(path));
    lock.release();
  });

  it("makes the directory and an empty file for the owner alone, and nothing beside it", () => {
    const directory = join(makeDirectory(), "a", "b");
    const path = join(directory, "lock");
    const lock = heldLock(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(path).size).toBe(0);
    expect(readdirSync(directory)).toEqual(["lock"]);
    lock.release();
    expect(existsSync(path)).toBe(true);
  });

  it("two files are two locks", () => {
    const directory = makeDirectory();
    const locks = [heldLock(join(directory, "a")), heldLock(join(directory, "b"))];
    for (const lock of locks) lock.release();
    expect(locks).toHaveLength(2);
  });

  it.each([
    ["a directory", (path: string) => mkdirSync(path)],
    ["a file of something else", (path: string) => writeFileSync(path, "something else\n".repeat(100))],
  ])("is no lock in %s, and the fault names it", (_, make) => {
    const path = join(makeDirectory(), "lock");
    make(path);
    expect(() => acquireLock(path)).toThrow(
      expect.objectContaining({ code: "STORE_UNAVAILABLE", message: expect.stringContaining(path) }),
    );
  });
});
