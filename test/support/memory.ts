/** How much memory a process really holds, read when it has come to rest. */
import { readFileSync } from "node:fs";
import { until } from "./wait.ts";

const KIB = 1024;
/** Less is noise. */
const FALL_BYTES = 512 * KIB;
/** Looks in a row that find no lower value: a few seconds, in which the collector has its turn. */
const LOOKS = 250;

/** The resident set of a process in bytes. */
function residentBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kib === undefined) throw new Error(`process ${pid} has no memory`);
  return Number(kib) * KIB;
}

/** The least that a process holds once it holds no less than before. */
export async function settledBytes(pid: number): Promise<number> {
  let least = residentBytes(pid);
  let looks = 0;
  await until("the memory settles", () => {
    const now = residentBytes(pid);
    if (now < least - FALL_BYTES) looks = 0;
    least = Math.min(least, now);
    return ++looks > LOOKS;
  });
  return least;
}

/** The most that a process holds until something is done. */
export async function peakBytes(pid: number, work: Promise<unknown>): Promise<number> {
  let peak = residentBytes(pid);
  let isDone = false;
  const ending = work.finally(() => (isDone = true));
  await until(
    "the work is done",
    () => {
      peak = Math.max(peak, residentBytes(pid));
      return isDone;
    },
    60_000,
  );
  await ending;
  return peak;
}
