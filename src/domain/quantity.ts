/** Durations, sizes and percentages: as operators write them, and as the program counts them. */
import { assert } from "../base/fault.ts";
import { SHARES_TOTAL } from "./route.ts";

/** The longest duration there is: 24 hours. */
export const DURATION_MS_MAX = 86_400_000;

/** Shares in one percent. */
const PERCENT_SHARES = SHARES_TOTAL / 100;

const DURATION_UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
]);

const SIZE_UNITS_BYTES: ReadonlyMap<string, number> = new Map([
  ["MiB", 1_048_576],
  ["KiB", 1024],
]);

/** Milliseconds of a duration such as `250ms`, `5s`, `2m` or `1h`, or null when it is not one or over 24 hours. */
export function readDuration(text: string): number | null {
  const parts = /^(\d{1,8})(ms|s|m|h)$/.exec(text);
  if (parts === null) return null;
  const ms = Number(parts[1]) * (DURATION_UNITS_MS.get(parts[2] ?? "") ?? NaN);
  return ms <= DURATION_MS_MAX ? ms : null;
}

/** Milliseconds of a duration that was checked before. */
export function durationMs(text: string): number {
  const ms = readDuration(text);
  assert(ms !== null, "only durations get past their schema");
  return ms;
}

/** Milliseconds of a time limit: a duration from 1 ms on, or 0 for `off`. Null when it is neither. */
export function readLimit(text: string): number | null {
  if (text === "off") return 0;
  const ms = readDuration(text);
  return ms === 0 ? null : ms;
}

/** Milliseconds of a time limit that was checked before. */
export function limitMs(text: string): number {
  const ms = readLimit(text);
  assert(ms !== null, "only time limits get past their schema");
  return ms;
}

/** A time limit as it is written; readLimit gives the same milliseconds again. */
export function writeLimit(ms: number): string {
  return ms === 0 ? "off" : writeDuration(ms);
}

/** A duration in its largest whole unit; readDuration gives the same milliseconds again. */
export function writeDuration(ms: number): string {
  for (const [unit, unitMs] of DURATION_UNITS_MS) {
    if (ms > 0 && ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  }
  return `${ms}ms`;
}

/** Bytes of a size such as `64KiB`, `1MiB` or `512`, or null when it is not one. */
export function readSize(size: string | number): number | null {
  const parts = /^(\d{1,8})(KiB|MiB)?$/.exec(String(size));
  if (parts === null) return null;
  return Number(parts[1]) * (SIZE_UNITS_BYTES.get(parts[2] ?? "") ?? 1);
}

/** Bytes of a size that was checked before. */
export function sizeBytes(size: string | number): number {
  const bytes = readSize(size);
  assert(bytes !== null, "only sizes get past their schema");
  return bytes;
}

/** A size in its largest whole unit; readSize gives the same bytes again. */
export function writeSize(bytes: number): string {
  for (const [unit, unitBytes] of SIZE_UNITS_BYTES) {
    if (bytes > 0 && bytes % unitBytes === 0) return `${bytes / unitBytes}${unit}`;
  }
  return String(bytes);
}

/** Shares of a percentage from 0 to 100 with at most 3 decimals, or null for any other number. */
export function readPercent(percent: number): number | null {
  const exact = percent * PERCENT_SHARES;
  const shares = Math.round(exact);
  // Far above the rounding error of a double at 100,000 and far below a tenth of a share.
  const isWhole = Math.abs(exact - shares) < 1e-9;
  return isWhole && shares >= 0 && shares <= SHARES_TOTAL ? shares : null;
}

/** The percentage of some shares; readPercent gives the same shares again. */
export function writePercent(shares: number): number {
  return shares / PERCENT_SHARES;
}
