/** The contract of InstanceRegistry, as one suite that every implementation joins. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  INSTANCE_TEXT_MAX,
  INSTANCES_MAX,
  type InstanceRegistry,
  type InstanceWord,
} from "../../src/store/instances.ts";
import { until } from "../support/wait.ts";

/** What the suite has to know of a list. */
export interface InstancesOptions {
  /** Opens one more handle on the list that `open` gave last. */
  readonly again: () => Promise<InstanceRegistry>;
  /** Opens one more handle on it, for which silence counts after a few milliseconds. */
  readonly openHasty: () => Promise<InstanceRegistry>;
  /** Warnings that were logged. */
  readonly warnings: () => readonly string[];
}

function wordOf(appliedRevision: number, totals = ""): InstanceWord {
  return { appliedRevision, status: `{"revision":${appliedRevision},"name":"Zoë 🙂"}`, totals };
}

/** Opens a suite of every claim. `open` gives an empty list each time. */
export function describeInstances(
  name: string,
  open: () => Promise<InstanceRegistry>,
  { again, openHasty, warnings }: InstancesOptions,
): void {
  describe(name, () => {
    let registry: InstanceRegistry;
    const ends: (() => void)[] = [];
    beforeEach(async () => {
      registry = await open();
    });
    afterEach(() => {
      for (const end of ends.splice(0)) end();
    });
    const watch = (watched: InstanceRegistry): string[] => {
      const heard: string[] = [];
      ends.push(watched.watch((id, revision) => heard.push(`${id} ${revision}`)));
      return heard;
    };

    it("an empty list has nobody", async () => {
      expect(await registry.list()).toEqual([]);
    });

    it("everybody is listed with the last word, in the order of ids, whoever asks", async () => {
      const other = await again();
      await registry.announce("b", wordOf(1));
      await other.announce("a.2_x-Y", wordOf(2, "totals"));
      await registry.announce("b", wordOf(3));
      const listed = [
        { id: "a.2_x-Y", ...wordOf(2, "totals") },
        { id: "b", ...wordOf(3) },
      ];
      expect(await registry.list()).toEqual(listed);
      expect(await other.list()).toEqual(listed);
    });

    it("what was applied is known at once, and the rest of the word stays", async () => {
      await registry.announce("a", wordOf(1, "totals"));
      await registry.applied("a", 9);
      expect(await registry.list()).toEqual([{ ...wordOf(1, "totals"), id: "a", appliedRevision: 9 }]);
    });

    it("what somebody applied who never announced itself is not kept", async () => {
      await registry.applied("a", 9);
      expect(await registry.list()).toEqual([]);
    });

    it("whoever leaves is gone at once, and may come back or leave again", async () => {
      await registry.announce("a", wordOf(1));
      await registry.announce("b", wordOf(1));
      await registry.leave("a");
      await registry.leave("a");
      expect((await registry.list()).map(({ id }) => id)).toEqual(["b"]);
      await registry.announce("a", wordOf(2));
      expect((await registry.list()).map(({ id }) => id)).toEqual(["a", "b"]);
    });

    it("whoever is silent is left out, and the others stay", async () => {
      const hasty = await openHasty();
      await registry.announce("steady", wordOf(1));
      await hasty.announce("silent", wordOf(1));
      await until("the silent one is gone", async () => {
        return (await registry.list()).every(({ id }) => id !== "silent");
      });
      expect((await registry.list()).map(({ id }) => id)).toEqual(["steady"]);
      await hasty.applied("silent", 2);
      expect((await registry.list()).map(({ id }) => id)).toEqual(["steady"]);
    });

    it("whoever watches hears what the others apply, and nothing any more after the end", async () => {
      const other = await again();
      const heard = watch(registry);
      const heardElsewhere = watch(other);
      await other.announce("a", wordOf(1));
      await until("both heard", async () => {
        // What is said before the subscription has reached the server is lost; the next word is not.
        await other.applied("a", 2);
        return heard.includes("a 2") && heardElsewhere.includes("a 2");
      });
      for (const end of ends.splice(0)) {
        end();
        end();
      }
      const still = watch(other);
      await until("the new one heard", async () => {
        await other.applied("a", 3);
        return still.includes("a 3");
      });
      expect(heard).not.toContain("a 3");
    });

    it("no more than may be listed are listed, with one warning", async () => {
      const ids = Array.from(
        { length: INSTANCES_MAX + 1 },
        (_, index) => `n${String(index).padStart(4, "0")}`,
      );
      await Promise.all(ids.map((id) => registry.announce(id, wordOf(1))));
      const listed = await registry.list();
      await registry.list();
      expect(listed.map(({ id }) => id)).toEqual(ids.slice(0, INSTANCES_MAX));
      expect(warnings()).toEqual(["more instances live than are listed"]);
    });

    it("the longest word is kept whole; a longer one, and a strange id or revision, are bugs", async () => {
      const longest = "x".repeat(INSTANCE_TEXT_MAX);
      await registry.announce("a", { appliedRevision: 1, status: "{}", totals: longest });
      expect((await registry.list())[0]?.totals.length).toBe(INSTANCE_TEXT_MAX);
      const calls = [
        () => registry.announce("a", { appliedRevision: 1, status: `${longest}x`, totals: "" }),
        () => registry.announce("a", wordOf(-1)),
        () => registry.applied("a", 1.5),
        ...["", "a b", "a:b", "ä", "x".repeat(129)].map((id) => () => registry.announce(id, wordOf(1))),
      ];
      for (const call of calls) await expect(call()).rejects.toThrow("assertion failed");
    });
  });
}
