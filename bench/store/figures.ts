/** Figures of repeated measurements: medians, spreads, quantiles, and the processor time of processes. */
import { readFileSync } from "node:fs";

/** The kernel's unit of processor time in /proc, in milliseconds. Source: proc_pid_stat(5); 100 a second everywhere. */
const TICK_MS = 10;
/** Where utime is among the fields behind the name of the program; stime comes after it. Source: proc_pid_stat(5). */
const UTIME = 11;

/** The value below which this part of an ascending list is. NaN for an empty one. */
export function quantile(ascending: readonly number[], part: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(part * ascending.length))] ?? Number.NaN;
}

/** The middle of a list; of an even number the mean of the two. */
export function median(values: readonly number[]): number {
  const ascending = values.toSorted((a, b) => a - b);
  const low = ascending[Math.floor((ascending.length - 1) / 2)] ?? Number.NaN;
  const high = ascending[Math.floor(ascending.length / 2)] ?? Number.NaN;
  return (low + high) / 2;
}

/** `median (least to most)`. */
export function spread(values: readonly number[], digits: number): string {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits));
  return `${median(values).toFixed(digits)} (${least} to ${most})`;
}

/** What processes have used of the processors so far, together, in milliseconds. */
export function processorMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name of the program is in brackets and may hold anything.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return sum + (Number(fields[UTIME]) + Number(fields[UTIME + 1])) * TICK_MS;
  }, 0);
}
