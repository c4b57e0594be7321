/** The contract of ComparisonStore, as one suite that every implementation joins. */
import { beforeEach, describe, expect, it } from "vitest";
import {
  COMPARISONS_KEPT_MAX,
  COMPARISON_TEXT_MAX,
  type ComparisonStore,
} from "../../src/store/comparisons.ts";

/** Opens a suite of every claim. `open` gives an empty store each time, `again` one more handle on that one. */
export function describeComparisons(
  name: string,
  open: () => Promise<ComparisonStore>,
  again: () => Promise<ComparisonStore>,
): void {
  describe(name, () => {
    let store: ComparisonStore;
    beforeEach(async () => {
      store = await open();
    });

    it("an empty one has nothing to say", async () => {
      expect(await store.of("shop")).toEqual([]);
    });

    it("everybody's entry is kept by its route, the last one of each, whoever asks", async () => {
      const other = await again();
      await store.put("shop", { instance: "b", text: "1" });
      await other.put("shop", { instance: "a.2_x-Y", text: 'Zoë "🙂"' });
      await store.put("shop", { instance: "b", text: "2" });
      await store.put("sho", { instance: "p", text: "another route" });
      const kept = [
        { instance: "a.2_x-Y", text: 'Zoë "🙂"' },
        { instance: "b", text: "2" },
      ];
      expect(await store.of("shop")).toEqual(kept);
      expect(await other.of("shop")).toEqual(kept);
      expect(await other.of("sho")).toEqual([{ instance: "p", text: "another route" }]);
    });

    it("beyond the bound those that were written longest ago are forgotten", async () => {
      for (let i = 0; i < COMPARISONS_KEPT_MAX + 5; i++) {
        await store.put(`r${i % 7}`, { instance: `i${i}`, text: "x" });
        // Written again, so that it stays.
        if (i % 100 === 0) await store.put("r0", { instance: "i0", text: "y" });
      }
      const kept = await Promise.all(Array.from({ length: 7 }, (_, i) => store.of(`r${i}`)));
      const names = kept.flat().map(({ instance }) => instance);
      expect(names).toHaveLength(COMPARISONS_KEPT_MAX);
      expect(names).toContain("i0");
      expect(names).not.toContain("i1");
      expect(names).toContain(`i${COMPARISONS_KEPT_MAX + 4}`);
    }, 60_000);

    it("the longest text is kept whole; a longer one and strange names are bugs", async () => {
      const longest = "x".repeat(COMPARISON_TEXT_MAX);
      await store.put("shop", { instance: "a", text: longest });
      expect((await store.of("shop"))[0]?.text.length).toBe(COMPARISON_TEXT_MAX);
      const calls = [
        () => store.put("shop", { instance: "a", text: `${longest}x` }),
        ...["", "a b", "a:b", "ä", "x".repeat(129)].flatMap((strange) => [
          () => store.put(strange, { instance: "a", text: "" }),
          () => store.put("shop", { instance: strange, text: "" }),
          () => store.of(strange),
        ]),
      ];
      for (const call of calls) await expect(call()).rejects.toThrow("assertion failed");
    });
  });
}
