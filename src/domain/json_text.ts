/** Bytes to a JSON value: within bounds, without two values for a key, and with big numbers as they were written. */

/** What a body may be, to be compared as JSON: so deep, and of so many values. */
export const JSON_LIMITS = { depth: 64, values: 20_000 } as const;

/** From here on a double can't tell all whole numbers apart. */
const EXACT_BELOW = 2 ** 53;
/** A number with fewer digits and no exponent is below that. */
const DIGITS_EXACT = 16;
/** Longer numbers are compared as they were written. */
const DECIMAL_CHARS_MAX = 1000;

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [ZERO, NINE, UPPER_E, LOWER_E] = [0x30, 0x39, 0x45, 0x65];
const [MAP_START, MAP_END, LIST_START, LIST_END] = [0x7b, 0x7d, 0x5b, 0x5d];

const UTF8 = new TextDecoder("utf-8", { fatal: true });
const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** A number that a double can't hold exactly: 2^53 and beyond. Two with the same text are the same number. */
export class ExactNumber {
  /** The one spelling of the number: sign, digits without zeros at their ends, `e`, exponent. */
  readonly text: string;

  constructor(source: string) {
    this.text = spellingOf(source);
  }
}

/** A value, or why there is none to compare. */
export type JsonReading =
  | { readonly result: "read"; readonly value: unknown }
  | { readonly result: "not JSON" | "duplicate keys" | "too deep" | "too large" };

/**
 * Reads a body as JSON in UTF-8; a byte order mark in front is passed over.
 *
 * A body in which a map has a key twice has no single meaning (RFC 8259 section 4), so it is not read. Takes time in
 * proportion to the body.
 */
export function readJson(body: Uint8Array): JsonReading {
  const text = textOf(body);
  if (text === null) return { result: "not JSON" };
  const { depth, values, keys, hasBigNumber } = measure(text);
  if (depth > JSON_LIMITS.depth) return { result: "too deep" };
  if (values > JSON_LIMITS.values) return { result: "too large" };
  const value = parse(text, hasBigNumber);
  if (value === undefined) return { result: "not JSON" };
  return countKeys(value) === keys ? { result: "read", value } : { result: "duplicate keys" };
}

function textOf(body: Uint8Array): string | null {
  try {
    return UTF8.decode(body);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** The value of a text, or undefined when it is not JSON. */
function parse(text: string, hasBigNumber: boolean): unknown {
  try {
    // A reviver makes reading several times as slow, and few bodies need it.
    return JSON.parse(text, hasBigNumber ? keepExact : undefined) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function keepExact(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const isBig = typeof value === "number" && Math.abs(value) >= EXACT_BELOW;
  return isBig ? new ExactNumber(context?.source ?? String(value)) : value;
}

/** What a text would be as JSON, found without reading it as such: bounds come first. */
interface Measure {
  readonly depth: number;
  /** At least as many as there are. */
  readonly values: number;
  /** Exactly as many as are written, where the text is JSON. */
  readonly keys: number;
  readonly hasBigNumber: boolean;
}

function measure(text: string): Measure {
  let [depth, deepest, values, keys, digits] = [0, 0, 1, 0, 0];
  let hasBigNumber = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code >= ZERO && code <= NINE) {
      digits++;
      hasBigNumber ||= digits >= DIGITS_EXACT;
      continue;
    }
    if (code === LOWER_E || code === UPPER_E) hasBigNumber ||= digits > 0;
    digits = 0;
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === MAP_START || code === LIST_START) {
      values++;
      deepest = Math.max(deepest, ++depth);
    } else if (code === MAP_END || code === LIST_END) depth--;
    else if (code === COMMA) values++;
    else if (code === COLON) keys++;
  }
  return { depth: deepest, values, keys, hasBigNumber };
}

/** Where the string that begins at `start` ends; the end of the text when it does not. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
  }
  return text.length;
}

function countKeys(value: unknown): number {
  const waiting: unknown[] = [value];
  let keys = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next !== "object" || next === null || next instanceof ExactNumber) continue;
    const inner: unknown[] = Object.values(next);
    if (!Array.isArray(next)) keys += inner.length;
    for (const one of inner) waiting.push(one);
  }
  return keys;
}

function spellingOf(source: string): string {
  const parts = source.length > DECIMAL_CHARS_MAX ? null : DECIMAL.exec(source);
  if (parts === null) return source;
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = parts;
  const digits = (whole + fraction).replace(/^0+/, "");
  const kept = digits.replace(/0+$/, "");
  return `${sign}${kept}e${BigInt(exponent) + BigInt(digits.length - kept.length - fraction.length)}`;
}
