/** The values of options and arguments: read from what was typed, or refused with how they are written. */
import { InvalidArgumentError } from "commander";
import { readDuration, readPercent, writePercent } from "./domain/quantity.ts";

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

/** Collects header fields as [name, value]. */
export function aField(text: string, before: readonly [string, string][]): [string, string][] {
  const parts = /^([\w!#$%&'*+.^`|~-]+):[ \t]*(.*)$/.exec(text);
  if (parts !== null) return [...before, [parts[1] as string, parts[2] as string]];
  throw new InvalidArgumentError("It is written like 'Name: value'.");
}
