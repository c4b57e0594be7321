/** What comparisons of a route are made of, as a short text: counts of different ones are never added up. */
import type { ComparePolicy } from "./compare_words.ts";
import type { BackendId, Cutover, MirrorPolicy } from "./route.ts";
import { hashOf } from "./split.ts";

/** The two backends whose answers are compared: what is known to be right, and what should be the same. */
export interface ComparedPair {
  readonly legacy: BackendId;
  readonly candidate: BackendId;
}

/** What decides over that. */
interface Compared {
  readonly cutover: Cutover;
  readonly mirror: Pick<MirrorPolicy, "to" | "compare"> | null;
}

/**
 * Whose answers are compared where copies of a route go to `to`, or null without a mirror or when it does not compare.
 *
 * Copies that go to legacy are compared with the candidate's answers; all others are what legacy's are compared with.
 */
export function comparedPair({ cutover, mirror }: Compared): ComparedPair | null {
  if (mirror === null || mirror.compare === null) return null;
  const { legacy, candidate } = cutover;
  return { legacy, candidate: mirror.to === legacy ? candidate : mirror.to };
}

/**
 * 16 hex digits that are another text for another pair or another policy; null where nothing is compared.
 *
 * It says nothing of endpoints: a backend that is deployed anew is still the same one.
 */
export function comparisonBasis(route: Compared): string | null {
  const pair = comparedPair(route);
  const policy = route.mirror?.compare ?? null;
  if (pair === null || policy === null) return null;
  const text = JSON.stringify([pair.legacy, pair.candidate, valuesOf(policy)]);
  return ["1", "2"].map((salt) => hashOf(salt, text).toString(16).padStart(8, "0")).join("");
}

/** In an order of their own, so that nobody's order of keys matters. */
function valuesOf(policy: ComparePolicy): readonly unknown[] {
  const names = Object.keys(policy).toSorted() as (keyof ComparePolicy)[];
  return names.map((name) => policy[name]);
}
