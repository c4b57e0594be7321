/** How two JSON values differ: a short list of places, with indexes as `*` and samples that may be shown. */
import { assert } from "../base/fault.ts";
import type { JsonRules, MismatchKind, Pointer, Tolerance } from "./compare_words.ts";
import { ExactNumber } from "./json_text.ts";
import { MASKED, printable, sampleOf, soundsSecret } from "./mask.ts";
import { ANY, goingOn, isMet } from "./pointer.ts";

/** The bounds of one comparison. */
export const DIFFERENCE_LIMITS = {
  /** Looks at a value, in all that is done. Several times what two bodies can hold. */
  visits: 100_000,
  /** Places that differ; after so many no more are looked for. */
  found: 200,
  /** Elements of a list without order. */
  unordered: 1000,
  /** Elements without an equal on the other side, up to which those within a tolerance are looked for. */
  nearby: 32,
  /** Characters of a pointer; the end of a longer one is cut. */
  pointer: 200,
} as const;
/** A long text counts as many looks. */
const CHARS_PER_VISIT = 64;

/** Two sums of cents that are a cent apart are a little more than 0.01 apart as doubles. */
const ROUNDING = 2 * Number.EPSILON;

/** One place where two values differ. */
export interface JsonDifference {
  /** RFC 6901, with `*` for an index and for keys below a masked place. */
  readonly pointer: string;
  readonly kind: MismatchKind;
  readonly left: string | null;
  readonly right: string | null;
}

/** All that differs, in the order of the pointers, each pointer once; or that it was too much work. */
export type JsonDifferences =
  | { readonly result: "compared"; readonly differences: readonly JsonDifference[] }
  | { readonly result: "too large" };

/**
 * Compares two values that readJson gave.
 *
 * The order of keys means nothing; 1 and 1.0, 0 and -0 are the same; numbers from 2^53 on are the same when they are
 * written so, and no tolerance reaches them. Lists are compared element by element; where both have the same elements
 * in another order, that is one difference, `order`. If one is longer, that is `length`, and its last elements count no
 * further.
 *
 * Elements of a list without order are matched by their canonical form. What is left over is matched within the
 * tolerance, up to 32 of them, and then one by one in the order of that form. Longer lists than 1,000 are too large.
 *
 * Bounded work: values that take more than 100,000 looks are too large, whatever was found. As many more may be spent
 * on telling `order` from other values. After about 200 places no more are looked for.
 */
export function differencesOf(left: unknown, right: unknown, rules: JsonRules): JsonDifferences {
  const walk = new Walk();
  walk.compare(left, right, rootOf(rules));
  if (walk.isTooLarge) return { result: "too large" };
  const differences = walk.found.toSorted((a, b) => (a.pointer < b.pointer ? -1 : 1));
  return { result: "compared", differences };
}

/** A place in both values, with the rules that may still meet something there or below. */
interface Place {
  readonly parent: Place | null;
  readonly step: string;
  readonly isIndex: boolean;
  readonly depth: number;
  readonly ignore: readonly Pointer[];
  readonly unordered: readonly Pointer[];
  readonly mask: readonly Pointer[];
  /** By how much all numbers may differ. */
  readonly everywhere: number;
  readonly tolerance: readonly Tolerance[];
  /** Worked out when something differs there or below. */
  name: PlaceName | null;
}

/** The pointer of a place, and whether its value is masked: by a rule, or as a key on the way sounds secret. */
interface PlaceName {
  readonly pointer: string;
  readonly isMasked: boolean;
}

function rootOf({ ignore, unordered, mask, tolerance }: JsonRules): Place {
  const [everywhere, list] = typeof tolerance === "number" ? [tolerance, []] : [0, tolerance];
  const root = { parent: null, step: "", isIndex: false, depth: 0, ignore, unordered, mask };
  return { ...root, everywhere, tolerance: list, name: null };
}

function below(place: Place, step: string, isIndex: boolean): Place {
  const { depth, tolerance } = place;
  const isGoingOn = ({ at }: Tolerance): boolean => at[depth] === ANY || at[depth] === step;
  return {
    parent: place,
    step,
    isIndex,
    depth: depth + 1,
    ignore: goingOn(place.ignore, depth, step),
    unordered: goingOn(place.unordered, depth, step),
    mask: goingOn(place.mask, depth, step),
    everywhere: place.everywhere,
    tolerance: tolerance.length === 0 ? tolerance : tolerance.filter(isGoingOn),
    name: null,
  };
}

type Json = Readonly<Record<string, unknown>>;
/** The first difference of each pointer, by the pointer. */
type Found = Map<string, JsonDifference>;

class Walk {
  #found: Found = new Map();
  #visits = 0;
  /** Looks that only say how a list differs: without them it differs all the same. */
  #orderVisits = 0;
  /** As many differences are enough. */
  #enough: number = DIFFERENCE_LIMITS.found;

  get found(): JsonDifference[] {
    return [...this.#found.values()];
  }

  get isTooLarge(): boolean {
    return this.#visits > DIFFERENCE_LIMITS.visits;
  }

  compare(left: unknown, right: unknown, place: Place): void {
    this.#visits++;
    if (this.isTooLarge || this.#found.size >= this.#enough) return;
    if (left === right || isMet(place.ignore, place.depth)) return;
    const type = typeOf(left);
    if (type !== typeOf(right)) this.#add(place, "type", left, right);
    else if (type === "list") this.#compareLists(left as unknown[], right as unknown[], place);
    else if (type === "map") this.#compareMaps(left as Json, right as Json, place);
    else if (!isSameScalar(left, right, place)) this.#add(place, "value", left, right);
  }

  /** In one order for both sides: of places that share a pointer the first is kept. */
  #compareMaps(left: Json, right: Json, place: Place): void {
    const isSame = (key: string): boolean => Object.hasOwn(right, key) && left[key] === right[key];
    const keys = Object.keys(left).filter((key) => !isSame(key));
    this.#visits += Object.keys(left).length - keys.length;
    for (const key of Object.keys(right)) if (!Object.hasOwn(left, key)) keys.push(key);
    for (const key of keys.toSorted(compareText)) {
      if (!Object.hasOwn(right, key)) this.#addOneSided(place, key, "missing", left[key]);
      else if (!Object.hasOwn(left, key)) this.#addOneSided(place, key, "added", right[key]);
      else this.compare(left[key], right[key], below(place, key, false));
    }
  }

  #compareLists(left: readonly unknown[], right: readonly unknown[], place: Place): void {
    if (isMet(place.unordered, place.depth)) {
      this.#compareUnordered(left, right, place);
      return;
    }
    if (left.length !== right.length) this.#addLengths(left, right, place);
    const inner = this.#apart(() => {
      for (let i = 0; i < Math.min(left.length, right.length); i++) {
        if (left[i] === right[i]) this.#visits++;
        else this.compare(left[i], right[i], below(place, String(i), true));
      }
    });
    if (inner.size > 0 && this.#isReordered(left, right, place)) this.#add(place, "order", left, right);
    else for (const one of inner.values()) this.#keep(one);
  }

  /** What is found meanwhile, apart from all else. */
  #apart(search: () => void): Found {
    const outer = this.#found;
    this.#found = new Map();
    search();
    const inner = this.#found;
    this.#found = outer;
    return inner;
  }

  #isReordered(left: readonly unknown[], right: readonly unknown[], place: Place): boolean {
    if (left.length !== right.length || left.length > DIFFERENCE_LIMITS.unordered) return false;
    if (this.#orderVisits > DIFFERENCE_LIMITS.visits) return false;
    const before = this.#visits;
    const isLikely = this.#isElsewhere(left, right, place);
    const [ours, theirs] = isLikely ? this.#leftOver(left, right, place) : [left, right];
    const isWhole = !this.isTooLarge;
    this.#orderVisits += this.#visits - before;
    this.#visits = before;
    return isWhole && ours.length === 0 && theirs.length === 0;
  }

  /** Whether the first elements that differ are on the other side too: far less work than looking at all. */
  #isElsewhere(left: readonly unknown[], right: readonly unknown[], place: Place): boolean {
    const inside = below(place, ANY, true);
    const at = left.findIndex((one, i) => !this.#isSame(one, right[i], inside));
    const isIn = (list: readonly unknown[], value: unknown): boolean =>
      list.some((one) => this.#isSame(one, value, inside));
    const [isLeftIn, isRightIn] = [isIn(right, left[at]), isIn(left, right[at])];
    return isLeftIn && isRightIn;
  }

  #isSame(left: unknown, right: unknown, place: Place): boolean {
    const before = this.#enough;
    this.#enough = 1;
    const found = this.#apart(() => this.compare(left, right, place));
    this.#enough = before;
    return found.size === 0;
  }

  #compareUnordered(left: readonly unknown[], right: readonly unknown[], place: Place): void {
    if (Math.max(left.length, right.length) > DIFFERENCE_LIMITS.unordered) {
      this.#visits = Infinity;
      return;
    }
    if (left.length !== right.length) this.#addLengths(left, right, place);
    let [ours, theirs] = this.#leftOver(left, right, place);
    const inside = below(place, ANY, true);
    if (inside.everywhere > 0 || inside.tolerance.length > 0) {
      [ours, theirs] = this.#withoutNearby(ours, theirs, inside);
    }
    for (const [i, mine] of ours.slice(0, theirs.length).entries()) {
      this.compare(mine.value, theirs[i]?.value, inside);
    }
  }

  /** The elements of each side that have no equal on the other, in the order of their canonical form. */
  #leftOver(left: readonly unknown[], right: readonly unknown[], place: Place): [Element[], Element[]] {
    const inside = below(place, ANY, true);
    const elements = (list: readonly unknown[]): Element[] =>
      list
        .map((value) => ({ form: this.#formOf(value, inside), value }))
        .toSorted((a, b) => compareText(a.form, b.form));
    const [ours, theirs] = [elements(left), elements(right)];
    return [without(ours, theirs), without(theirs, ours)];
  }

  /** Without pairs that are the same within the tolerance. The same pairs whichever side comes first. */
  #withoutNearby(ours: Element[], theirs: Element[], place: Place): [Element[], Element[]] {
    const isFew = Math.max(ours.length, theirs.length) <= DIFFERENCE_LIMITS.nearby;
    if (!isFew || ours.length === 0 || theirs.length === 0) return [ours, theirs];
    const isSwapped = compareText((theirs[0] as Element).form, (ours[0] as Element).form) < 0;
    const [firsts, seconds] = isSwapped ? [theirs, [...ours]] : [ours, [...theirs]];
    const alone = firsts.filter(({ value }) => {
      const at = seconds.findIndex((other) => this.#isSame(value, other.value, place));
      if (at !== -1) seconds.splice(at, 1);
      return at === -1;
    });
    return isSwapped ? [seconds, alone] : [alone, seconds];
  }

  /** The one text for all values that are the same by the rules, tolerances left aside. */
  #formOf(value: unknown, place: Place): string {
    this.#visits++;
    if (this.isTooLarge || isMet(place.ignore, place.depth)) return "";
    if (Array.isArray(value)) {
      const isOrdered = !isMet(place.unordered, place.depth);
      const forms = value.map((one, i) => this.#formOf(one, below(place, isOrdered ? String(i) : ANY, true)));
      return `[${(isOrdered ? forms : forms.toSorted(compareText)).join()}]`;
    }
    if (value instanceof ExactNumber) return value.text;
    if (typeof value === "object" && value !== null) {
      const map = value as Json;
      const keys = Object.keys(map).toSorted(compareText);
      const forms = keys.map((key) => [key, this.#formOf(map[key], below(place, key, false))] as const);
      const members = forms.filter(([, form]) => form !== "");
      return `{${members.map(([key, form]) => `${JSON.stringify(key)}:${form}`).join()}}`;
    }
    const text = JSON.stringify(value);
    this.#visits += Math.floor(text.length / CHARS_PER_VISIT);
    return text;
  }

  #addOneSided(place: Place, key: string, kind: "missing" | "added", value: unknown): void {
    this.#visits++;
    const at = below(place, key, false);
    if (this.#found.size >= this.#enough || isMet(at.ignore, at.depth)) return;
    const { pointer, isMasked } = nameOf(at);
    const sample = isMasked ? MASKED : sampleOf(value);
    const [left, right] = kind === "missing" ? [sample, null] : [null, sample];
    this.#keep({ pointer, kind, left, right });
  }

  #addLengths(left: readonly unknown[], right: readonly unknown[], place: Place): void {
    this.#add(place, "length", left, right);
  }

  #add(place: Place, kind: MismatchKind, left: unknown, right: unknown): void {
    const { pointer, isMasked } = nameOf(place);
    if (this.#found.has(pointer)) return;
    const [ours, theirs] = isMasked ? [MASKED, MASKED] : [sampleOf(left), sampleOf(right)];
    this.#keep({ pointer, kind, left: ours, right: theirs });
  }

  #keep(difference: JsonDifference): void {
    if (!this.#found.has(difference.pointer)) this.#found.set(difference.pointer, difference);
  }
}

/** An element of a list, by its canonical form. */
interface Element {
  readonly form: string;
  readonly value: unknown;
}

/** The elements that are left when each of the others took away one of the same form. */
function without(elements: readonly Element[], others: readonly Element[]): Element[] {
  const counts = new Map<string, number>();
  for (const { form } of others) counts.set(form, (counts.get(form) ?? 0) + 1);
  return elements.filter(({ form }) => {
    const count = counts.get(form) ?? 0;
    if (count > 0) counts.set(form, count - 1);
    return count === 0;
  });
}

function nameOf(place: Place): PlaceName {
  if (place.name !== null) return place.name;
  const { parent, isIndex, step, mask, depth } = place;
  const above = parent === null ? { pointer: "", isMasked: false } : nameOf(parent);
  const shown = isIndex || above.isMasked ? ANY : writeStep(step);
  const isMasked = above.isMasked || isMet(mask, depth) || (!isIndex && soundsSecret(step));
  place.name = { pointer: parent === null ? "" : cutPointer(`${above.pointer}/${shown}`), isMasked };
  return place.name;
}

function cutPointer(pointer: string): string {
  const isCut = pointer.length > DIFFERENCE_LIMITS.pointer;
  return isCut ? `${pointer.slice(0, DIFFERENCE_LIMITS.pointer - 3)}...` : pointer;
}

/** Only the part of a key that can be shown. Source: RFC 6901 section 3. */
function writeStep(step: string): string {
  const shown = printable(step.slice(0, DIFFERENCE_LIMITS.pointer));
  return shown.replaceAll("~", "~0").replaceAll("/", "~1");
}

function typeOf(value: unknown): "null" | "boolean" | "number" | "text" | "list" | "map" {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  if (value instanceof ExactNumber || typeof value === "number") return "number";
  if (typeof value === "string") return "text";
  if (typeof value === "boolean") return "boolean";
  assert(typeof value === "object", "readJson gives nothing else");
  return "map";
}

/** Whether two scalars of one type are the same within the tolerance of their place. */
function isSameScalar(left: unknown, right: unknown, place: Place): boolean {
  if (left instanceof ExactNumber || right instanceof ExactNumber) {
    return left instanceof ExactNumber && right instanceof ExactNumber && left.text === right.text;
  }
  if (typeof left !== "number" || typeof right !== "number") return left === right;
  const tolerances = place.tolerance.filter(({ at }) => at.length === place.depth).map(({ by }) => by);
  const by = Math.max(place.everywhere, ...tolerances);
  const rounding = by === 0 ? 0 : ROUNDING * Math.max(Math.abs(left), Math.abs(right));
  return Math.abs(left - right) <= by + rounding;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
