/** The values of options and arguments: read from what was typed, or refused with how they are written. */
import { InvalidArgumentError } from "commander";
import { readDuration, readPercent, writePercent } from "./domain/quantity.ts";

/** What a replay may do to two backends at most. */
const RATE_MAX = 10_000;
const CONCURRENCY_MAX = 1_000;
/** What frames messages, and what marks copies. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "crossfade-shadow",
  "expect",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Whether a text is an http or https address. */
export function isAddress(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}

/** An http or https address. */
export function anAddress(text: string): string {
  if (isAddress(text)) return text;
  throw new InvalidArgumentError("It is written like http://127.0.0.1:9900.");
}

/** A duration above zero, in milliseconds. */
export function aDuration(text: string): number {
  const ms = readDuration(text);
  if (ms !== null && ms > 0) return ms;
  throw new InvalidArgumentError("It is written like 500ms, 5s or 2m.");
}

/** A percentage as it is written, whole shares of 0.001 %. */
export function aPercent(text: string): number {
  const shares = /^\d{1,3}(?:\.\d{1,9})?%?$/.test(text) ? readPercent(Number(text.replace("%", ""))) : null;
  if (shares !== null) return writePercent(shares);
  throw new InvalidArgumentError("It is a number from 0 to 100 with at most three decimals.");
}

/** A whole number above zero. */
export function aCount(text: string): number {
  const count = Number(text);
  if (/^\d{1,15}$/.test(text) && count > 0) return count;
  throw new InvalidArgumentError("It is a whole number above zero.");
}

/** Requests a second. */
export function aRate(text: string): number {
  return atMost(aCount(text), RATE_MAX);
}

/** Requests under way at once. */
export function aConcurrency(text: string): number {
  return atMost(aCount(text), CONCURRENCY_MAX);
}

function atMost(count: number, most: number): number {
  if (count <= most) return count;
  throw new InvalidArgumentError(`It is at most ${most}.`);
}

/** Collects header fields that are sent as they are. */
export function aSentField(text: string, before: readonly [string, string][]): [string, string][] {
  const fields = aField(text, before);
  const [name, value] = fields.at(-1) as [string, string];
  if (OWN_FIELDS.has(name.toLowerCase()))
    throw new InvalidArgumentError(`${name} is for Crossfade itself to send.`);
  if (/[^\t\u0020-\u007e\u0080-\u00ff]/.test(value))
    throw new InvalidArgumentError("Its value can't be sent.");
  return fields;
}

/** Collects header fields as [name, value]. */
export function aField(text: string, before: readonly [string, string][]): [string, string][] {
  const parts = /^([\w!#$%&'*+.^`|~-]+):[ \t]*(.*)$/.exec(text);
  if (parts !== null) return [...before, [parts[1] as string, parts[2] as string]];
  throw new InvalidArgumentError("It is written like 'Name: value'.");
}
