/** The program as a person runs it: bin/crossfade.mjs as a process, under this Node or an older one. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The program's path. */
export const PROGRAM: string = new URL("../../bin/crossfade.mjs", import.meta.url).pathname;

/** What a program left behind. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** A program that runs. `said` grows while it does. */
export interface Running {
  readonly child: ChildProcess;
  readonly said: { out: string; err: string };
  readonly ended: Promise<Ended>;
}

/** How to run it. */
export interface ProgramOptions {
  /** The Node to run it with; this one unless told otherwise. */
  readonly node?: string;
  readonly program?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the program with its output in pipes. */
export function startProgram(args: readonly string[], options: ProgramOptions = {}): Running {
  const child = spawn(options.node ?? process.execPath, [options.program ?? PROGRAM, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "", FORCE_COLOR: undefined, ...options.env },
  });
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said.out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said.err += text));
  const ended = once(child, "close").then(([code, signal]): Ended => ({ code, signal, ...said }));
  return { child, said, ended };
}

/** Runs the program to its end. */
export function runProgram(args: readonly string[], options: ProgramOptions = {}): Promise<Ended> {
  return startProgram(args, options).ended;
}

/** A Node on this machine that is too old for Crossfade, or null. */
export function findOldNode(): string | null {
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(directory, "node");
    if (!existsSync(path)) continue;
    const major = Number(/^v(\d+)/.exec(execFileSync(path, ["--version"], { encoding: "utf8" }))?.[1]);
    if (major >= 14 && major < 26) return path;
  }
  return null;
}

/** Running processes with this word on their command line or in their environment. */
export function processesWith(word: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && textOf(pid).includes(word));
}

function textOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1") + readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch (error) {
    // It ended since it was listed, or belongs to somebody else.
    if (error instanceof Error && "code" in error) return "";
    throw error;
  }
}
