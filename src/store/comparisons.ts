/** What each instance has compared of each route: kept as texts, so that it outlives instances and can be added up. */
import { assert } from "../base/fault.ts";

/** What one instance has compared of one route. The text is JSON that only `control/comparison_word.ts` reads. */
export interface ComparisonEntry {
  readonly instance: string;
  readonly text: string;
}

/** The most entries that a store keeps, over all routes; the ones that were written longest ago are forgotten first. */
export const COMPARISONS_KEPT_MAX = 2_000;
/** The longest text, in UTF-16 units. */
export const COMPARISON_TEXT_MAX = 4_194_304;
/** An entry that nobody has written for so long is forgotten: 90 days. */
export const COMPARISONS_KEPT_MS = 7_776_000_000;

/**
 * The home of comparisons. An instance writes its own entries only, each as a whole, so nothing is ever lost by two
 * that write at once. Every method throws Fault STORE_UNAVAILABLE when the store cannot be reached.
 */
export interface ComparisonStore {
  /** Replaces what an instance has to say of a route. */
  put(route: string, entry: ComparisonEntry): Promise<void>;
  /** What all instances have said of a route, in the order of their names. */
  of(route: string): Promise<ComparisonEntry[]>;
  close(): Promise<void>;
}

/** Names are parts of keys. */
const NAME = /^[A-Za-z0-9._-]{1,128}$/;

/** What `put` takes. */
export function assertEntry(route: string, { instance, text }: ComparisonEntry): void {
  assertName(route);
  assertName(instance);
  assert(text.length <= COMPARISON_TEXT_MAX, "an entry has at most COMPARISON_TEXT_MAX characters");
}

/** The name of a route or an instance. */
export function assertName(name: string): void {
  assert(NAME.test(name), "names have 1 to 128 letters, digits, dots, underlines and hyphens");
}
