/** Pointers into JSON with `*` for any key or index: what is wrong with a text, and what a pointer meets. */
import { assert } from "../base/fault.ts";
import type { Pointer } from "./compare_words.ts";

/** The longest pointer, in characters and in steps. No body that is compared goes deeper. */
const POINTER_CHARS_MAX = 256;
const STEPS_MAX = 64;

/** The step that stands for any key and any index. */
export const ANY = "*";

/** Why a text is no pointer, or null when it is one. The empty text is one: the whole body. */
export function pointerFault(text: string): string | null {
  if (text === "") return null;
  if (!text.startsWith("/")) return 'a pointer starts with "/", such as "/items/*/id"';
  if (text.length > POINTER_CHARS_MAX) return `a pointer has at most ${POINTER_CHARS_MAX} characters`;
  if (text.split("/").length - 1 > STEPS_MAX) return `a pointer has at most ${STEPS_MAX} steps`;
  return /~(?![01])/.test(text) ? 'write "~0" for "~" and "~1" for "/" inside a key' : null;
}

/** The steps of a pointer that was checked before. Source: RFC 6901 section 4. */
export function readPointer(text: string): Pointer {
  assert(pointerFault(text) === null, "only pointers get past their schema");
  const steps = text.split("/").slice(1);
  return steps.map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/**
 * The pointers that still go on after one more step.
 *
 * `depth` counts the steps before it. A step of ANY, an element of a list without order, is met by `*` alone.
 */
export function goingOn(pointers: readonly Pointer[], depth: number, step: string): readonly Pointer[] {
  if (pointers.length === 0) return pointers;
  return pointers.filter((one) => one.length > depth && (one[depth] === ANY || one[depth] === step));
}

/** Whether one of the pointers that got here ends here. */
export function isMet(pointers: readonly Pointer[], depth: number): boolean {
  return pointers.some((one) => one.length === depth);
}
