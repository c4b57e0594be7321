/** Comparisons in memory: the plainest thing that keeps the contract, which can be lost and found again. */
import { Fault } from "../../src/base/fault.ts";
import {
  COMPARISONS_KEPT_MAX,
  assertEntry,
  assertName,
  type ComparisonEntry,
  type ComparisonStore,
} from "../../src/store/comparisons.ts";

/** A store that tests can take away. */
export class MemoryComparisons implements ComparisonStore {
  /** Whether it can be reached. */
  isAway = false;
  /** How often something was written. */
  puts = 0;
  /** `ROUTE:INSTANCE` to the text, the oldest first. */
  readonly #entries = new Map<string, string>();

  async put(route: string, entry: ComparisonEntry): Promise<void> {
    assertEntry(route, entry);
    this.#reach();
    this.puts++;
    const key = `${route}:${entry.instance}`;
    this.#entries.delete(key);
    this.#entries.set(key, entry.text);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= COMPARISONS_KEPT_MAX) return;
      this.#entries.delete(oldest);
    }
  }

  async of(route: string): Promise<ComparisonEntry[]> {
    assertName(route);
    this.#reach();
    const start = `${route}:`;
    const found = [...this.#entries].filter(([key]) => key.startsWith(start));
    const entries = found.map(([key, text]) => ({ instance: key.slice(start.length), text }));
    return entries.toSorted((a, b) => (a.instance < b.instance ? -1 : 1));
  }

  async close(): Promise<void> {}

  #reach(): void {
    if (this.isAway) throw new Fault("STORE_UNAVAILABLE", "the store of comparisons is away");
  }
}
