/** What is wrong with an input: findings with their places, and the nearest valid name to a wrong one. */
import type { Problem, Result } from "../base/fault.ts";

/** One step into an input: a key of a map or a position in a list. */
export type PathPart = string | number;

/** One thing wrong. `about` tells whether the last key of the path itself is wrong or what stands there. */
export interface Finding {
  readonly path: readonly PathPart[];
  readonly message: string;
  readonly about: "key" | "value";
}

/** More findings than this are only counted: nobody reads them, and hostile input could make millions. */
const FINDINGS_MAX = 1000;

/** No schema here goes deeper. Without a bound, the paths into hostile nesting would fill the memory. */
const DEPTH_MAX = 20;

/** The most typing mistakes that a suggestion may assume. */
const MISTAKES_MAX = 3;

/** Names longer than this get no suggestion, which bounds the work for hostile input. */
const NAME_CHARS_MAX = 100;

/** Everything found wrong with one input, in the order it was found. Keeps FINDINGS_MAX and counts the rest. */
export class Findings {
  readonly #kept: Finding[] = [];
  #count = 0;

  /** How many there are, the ones that were not kept included. */
  get count(): number {
    return this.#count;
  }

  add(path: readonly PathPart[], message: string, about: Finding["about"] = "value"): void {
    this.#count++;
    if (this.#kept.length < FINDINGS_MAX) this.#kept.push({ path, message, about });
  }

  /** The findings that were kept, and a last one that counts those that were not. */
  list(): Finding[] {
    const more = this.#count - this.#kept.length;
    if (more === 0) return [...this.#kept];
    return [...this.#kept, { path: [], message: `and ${more} more problems`, about: "value" }];
  }
}

/** Refuses with every finding as a problem, or gives the value that nothing is wrong with. */
export function resultOf<Value>(value: Value | null, findings: Findings): Result<Value> {
  if (value !== null && findings.count === 0) return { ok: true, value };
  const problems: Problem[] = findings
    .list()
    .map((finding) => ({ path: pointerOf(finding.path), message: finding.message }));
  return { ok: false, problems };
}

/** The JSON pointer of a path. Source: RFC 6901 section 3. */
export function pointerOf(path: readonly PathPart[]): string {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/**
 * Finds keys named `__proto__` anywhere in an input.
 *
 * zod passes over them in silence, and nobody writes one for a good reason.
 */
export function findProtoKeys(input: unknown, findings: Findings): void {
  const waiting: { value: unknown; path: readonly PathPart[] }[] = [{ value: input, path: [] }];
  const seen = new Set<object>();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value, path } = next;
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    for (const [key, inner] of Object.entries(value)) {
      const innerPath = [...path, Array.isArray(value) ? Number(key) : key];
      if (key === "__proto__") findings.add(innerPath, '"__proto__" cannot be used as a name', "key");
      else if (innerPath.length < DEPTH_MAX) waiting.push({ value: inner, path: innerPath });
    }
  }
}

/** Adds a finding for every text that stands in the list before. */
export function refuseRepeats(texts: readonly string[], path: readonly PathPart[], findings: Findings): void {
  for (const [index, value] of texts.entries()) {
    const first = texts.indexOf(value);
    if (first < index) findings.add([...path, index], `the same as entry ${first} of this list`);
  }
}

/** What to say about a key that means nothing here, given the ones that do. */
export function unknownKeyMessage(key: string, allowed: readonly string[]): string {
  const nearest = nearestName(key, allowed);
  if (nearest !== null) return `unknown key "${key}"; did you mean "${nearest}"?`;
  return `unknown key "${key}"; allowed here: ${allowed.join(", ")}`;
}

/** What to say about a backend that is not in the table, given those that are. */
export function unknownBackendMessage(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known);
  if (nearest !== null) return `unknown backend "${name}"; did you mean "${nearest}"?`;
  return `unknown backend "${name}"; add it to the backends of the table first`;
}

/** The candidate with the fewest typing mistakes between it and `name`, or null when none is close. */
export function nearestName(name: string, candidates: readonly string[]): string | null {
  if (name.length > NAME_CHARS_MAX) return null;
  const wanted = name.toLowerCase();
  // A third of the letters: more would suggest words that have nothing to do with what was written.
  let best = Math.min(MISTAKES_MAX, Math.max(1, Math.floor(name.length / 3))) + 1;
  let nearest: string | null = null;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - name.length) >= best) continue;
    const distance = typingDistance(wanted, candidate.toLowerCase(), best);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

/**
 * Letters to insert, drop, replace or swap with their neighbour: the optimal string alignment distance.
 *
 * `limit` stands for itself and more: only cells that can be below it are looked at.
 */
function typingDistance(a: string, b: string, limit: number): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: Math.min(b.length, limit) + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row: number[] = [i];
    let least = i;
    for (let j = Math.max(1, i - limit); j <= Math.min(b.length, i + limit); j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, at(beforeLast, j - 2) + 1);
      row[j] = cost;
      least = Math.min(least, cost);
    }
    // No row gets smaller again, and most names differ in their first letters.
    if (least >= limit) return limit;
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity;
}
