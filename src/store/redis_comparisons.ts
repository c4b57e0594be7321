/** ComparisonStore in Redis, for instances that share their counts. */
import {
  COMPARISONS_KEPT_MAX,
  COMPARISONS_KEPT_MS,
  assertEntry,
  assertName,
  type ComparisonEntry,
  type ComparisonStore,
} from "./comparisons.ts";
import { COMPARISONS_OF, PUT_COMPARISON } from "./redis_comparison_scripts.ts";
import type { RedisLink } from "./redis_link.ts";

/**
 * Opens it behind a link, which stays the caller's to close.
 *
 * Its keys, of which PREFIX comes from the settings: `{PREFIX}:comparison:ROUTE:INSTANCE`, a hash with a text, which
 * expires when nobody writes it; `{PREFIX}:comparisons`, a sorted set of them by the time of their last write.
 */
export function openRedisComparisons(link: RedisLink): ComparisonStore {
  const prefix = `{${link.settings.prefix}}:`;
  const index = `${prefix}comparisons`;
  const before = `${prefix}comparison:`;
  return {
    async put(route: string, entry: ComparisonEntry): Promise<void> {
      assertEntry(route, entry);
      const member = `${route}:${entry.instance}`;
      const args = [member, entry.text, COMPARISONS_KEPT_MS, COMPARISONS_KEPT_MAX, before];
      await link.call((client) => client.run(PUT_COMPARISON, [before + member, index], args));
    },
    async of(route: string): Promise<ComparisonEntry[]> {
      assertName(route);
      const answer = await link.call((client) => client.run(COMPARISONS_OF, [index], [`${route}:`, before]));
      const entries = (answer as readonly (readonly [string, string])[]).map(([instance, text]) => ({
        instance,
        text,
      }));
      return entries.toSorted((a, b) => (a.instance < b.instance ? -1 : 1));
    },
    async close() {},
  };
}
