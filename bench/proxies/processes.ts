/** The processes of a contender: who they are, where they may run, and what memory they hold. */
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { cpus } from "node:os";

/** A process and all that descend from it, as they are now. */
export function familyOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const parent = /^\d+$/.test(name) ? parentOf(Number(name)) : null;
    if (parent !== null) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const family = [pid];
  for (const one of family) family.push(...(children.get(one) ?? []));
  return family;
}

/** What processes have used of the processors so far, user and system together, in microseconds. */
export function processorUs(pids: readonly number[]): number {
  let ns = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      // The first number is the time on a processor. Source: Documentation/scheduler/sched-stats.rst of Linux.
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0]);
    }
  }
  return ns / 1000;
}

/** Resident memory of processes together, in bytes. What they share counts for each of them. */
export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    return sum + Number(kib ?? 0) * 1024;
  }, 0);
}

/** Which processors the load and the contenders have to themselves; null when there is only one for both. */
export interface Places {
  readonly load: string;
  readonly contenders: string;
  /** Processors that contenders have. */
  readonly count: number;
}

/** The load gets the first processor, and the contenders as many others as their workers need. */
export function placesFor(workers: number, processors: number = cpus().length): Places | null {
  if (processors < 2) return null;
  const count = Math.min(workers, processors - 1);
  return { load: "0", contenders: count === 1 ? "1" : `1-${count}`, count };
}

/** Keeps processes, with all their threads, to these processors. */
export function pin(pids: readonly number[], processors: string): void {
  for (const pid of pids) {
    const { status, error, stderr } = spawnSync("taskset", ["-a", "-c", "-p", processors, String(pid)], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`taskset: ${error?.message ?? stderr}`);
  }
}

function parentOf(pid: number): number | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name of the program is in brackets and may hold anything; state and parent follow. Source: proc_pid_stat(5).
    return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[1]);
  } catch (error) {
    // It ended since it was listed.
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH"))
      return null;
    throw error;
  }
}
