/** Reads JSON and says at which line and column it is broken. */
import type { Problem } from "../base/fault.ts";

/** The value of a text, or the place and kind of its first error. */
export type Parsed =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problem: Problem; readonly detail: string };

/** One token: a sign, a string or another scalar. Source: RFC 8259 sections 2 to 7. */
const SIGN = String.raw`[{}[\],:]`;
const STRING = String.raw`"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"`;
const NUMBER = String.raw`-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?`;
const TOKEN = String.raw`(${SIGN})|(${STRING})|((?:${NUMBER}|true|false|null)(?![\w.+-]))`;

/** Parses a text. The place counts lines and columns from 1, columns in UTF-16 units. */
export function parseJson(text: string): Parsed {
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const offset = errorOffset(text);
  const lines = text.slice(0, offset).split("\n").length;
  const place = `line ${lines}, column ${offset - text.lastIndexOf("\n", offset - 1)}`;
  const found =
    offset >= text.length ? "ends too early" : `cannot be read from "${excerpt(text, offset)}" on`;
  return {
    ok: false,
    problem: { path: "", message: `${place}: the JSON ${found}` },
    detail: `The body is not JSON: it ${found}, at ${place}`,
  };
}

/** Enough to recognise the place by. */
const EXCERPT_LENGTH = 12;

function excerpt(text: string, offset: number): string {
  return text.slice(offset, offset + EXCERPT_LENGTH).replace(/[^\x20-\x7e]/g, "?");
}

/** What may come next: a value, a key, or something after a value. "first" is right behind an opening bracket. */
type Expected = "value" | "first value" | "key" | "first key" | "colon" | "after";

/** Where a text stops being JSON. Knows depth as a list, so that no nesting can exhaust the stack. */
function errorOffset(text: string): number {
  const open: ("{" | "[")[] = [];
  const reader = new RegExp(TOKEN, "y");
  let expected: Expected = "value";
  let at = afterSpace(text, 0);
  while (at < text.length) {
    reader.lastIndex = at;
    const token = reader.exec(text);
    const next: Expected | null = token === null ? null : step(expected, token, open);
    if (next === null) return at;
    at = afterSpace(text, reader.lastIndex);
    // The value is complete: whatever follows is the error.
    if (next === "after" && open.length === 0) return at;
    expected = next;
  }
  return at;
}

function afterSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && " \t\n\r".includes(text.charAt(at))) at++;
  return at;
}

function step(expected: Expected, token: RegExpExecArray, open: ("{" | "[")[]): Expected | null {
  const [, sign, string, scalar] = token;
  switch (expected) {
    case "key":
    case "first key":
      if (string !== undefined) return "colon";
      return expected === "first key" && sign === "}" ? closed(open) : null;
    case "colon":
      return sign === ":" ? "value" : null;
    case "value":
    case "first value":
      if (string !== undefined || scalar !== undefined) return "after";
      if (sign === "{" || sign === "[") {
        open.push(sign);
        return sign === "{" ? "first key" : "first value";
      }
      return expected === "first value" && sign === "]" ? closed(open) : null;
    default:
      if (sign === ",") return open.at(-1) === "{" ? "key" : "value";
      return sign === (open.at(-1) === "{" ? "}" : "]") ? closed(open) : null;
  }
}

function closed(open: ("{" | "[")[]): Expected {
  open.pop();
  return "after";
}
