/** Worker processes as the operating system knows them: starting one, asking whether it runs, ending it. */
import { spawn } from "node:child_process";
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { ACTIVATION_VARIABLES } from "./activation.ts";

/**
 * How workers run. Bytes that were read live in buffers outside the heap, which are let go only when the young part of
 * the heap is collected: twice this many MiB may pile up until then. Less than V8's own 16 costs no measurable time.
 */
const WORKER_FLAGS: readonly string[] = ["--max-semi-space-size=8"];

/** The folder of the compile cache, and the variable that Node takes it from. */
const COMPILED = "compiled";
const CACHE = "NODE_COMPILE_CACHE";

/** What a worker process is started with. `descriptors[i]` listens on `listen[i]`. */
export interface WorkerStart {
  /** The worker's entry file. */
  readonly file: string;
  /** The slot it fills. */
  readonly worker: number;
  readonly version: string;
  /** Where the control process is reached. */
  readonly socketPath: string;
  readonly listen: readonly string[];
  readonly descriptors: readonly number[];
}

/** A child process. `ended` gives why it ended, also when it never began; the pid is 0 then. */
export interface StartedWorker {
  readonly pid: number;
  readonly ended: Promise<string>;
}

/** Starts a worker in a session of its own: neither Ctrl-C in a terminal nor the end of this process ends it. */
export function startWorker(start: WorkerStart): StartedWorker {
  const place = ["--socket", start.socketPath, "--worker", String(start.worker), "--version", start.version];
  const listen = start.listen.flatMap((text) => ["--listen", text]);
  const child = spawn(process.execPath, [...WORKER_FLAGS, start.file, ...place, ...listen], {
    detached: true,
    env: environment(start.socketPath),
    stdio: ["ignore", "inherit", "inherit", ...start.descriptors],
  });
  // This process may end before its workers do: they are the next one's then.
  child.unref();
  const ended = Promise.withResolvers<string>();
  child.once("error", (error) => {
    if (child.pid === undefined) ended.resolve(`it could not be started: ${error.message}`);
  });
  child.once("exit", (code, signal) => {
    ended.resolve(signal === null ? `exit code ${code}` : `signal ${signal}`);
  });
  return { pid: child.pid ?? 0, ended: ended.promise };
}

/** The passwords of the store are none of a worker's business, nor is who started the control process. */
const WITHHELD: readonly string[] = [
  "CROSSFADE_REDIS_URL",
  "CROSSFADE_REDIS_PASSWORD",
  "CROSSFADE_TOKEN",
  "NOTIFY_SOCKET",
  ...ACTIVATION_VARIABLES,
];

/**
 * Workers keep what they compile beside the control socket: it halves the time of their start. Not in the usual place,
 * among temporary files: a service manager removes those of a service with its control process, which workers outlive
 * and start others, and Node 26 never gives up making its folder where the one above it was removed.
 */
function environment(socketPath: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !WITHHELD.includes(name));
  const { [CACHE]: chosen = "", ...others } = Object.fromEntries(kept);
  return { ...others, [CACHE]: chosen === "" ? resolve(dirname(socketPath), COMPILED) : chosen };
}

/** Whether a process runs. One that ended but was not collected by its parent does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  return !isZombie(pid);
}

/**
 * Whether a process runs and is a worker of a control socket, by its command line: its number may have been given to
 * another process. Where the system does not tell command lines, whoever runs is taken for it.
 */
export function isWorker(pid: number, socketPath: string): boolean {
  if (!isRunning(pid)) return false;
  if (process.platform !== "linux") return true;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(socketPath);
  } catch (error) {
    // It has just ended.
    if (error instanceof Error && "code" in error) return false;
    throw error;
  }
}

/** The workers of a control socket that run, whoever started them; none where the system does not list processes. */
export function findWorkers(socketPath: string): number[] {
  if (process.platform !== "linux") return [];
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => isWorker(pid, socketPath) && isOfThis(pid, socketPath));
}

/** A path that is relative, as settings may give it, means another place to another process. */
function isOfThis(pid: number, socketPath: string): boolean {
  try {
    return resolve(readlinkSync(`/proc/${pid}/cwd`), socketPath) === resolve(socketPath);
  } catch (error) {
    // It has just ended, or belongs to somebody else.
    if (error instanceof Error && "code" in error) return false;
    throw error;
  }
}

/** Ends a process at once. One that is gone already is none of our concern. */
export function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Where init collects orphans late, a dead worker would otherwise look alive. Source: proc(5), /proc/pid/stat. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return /^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch (error) {
    // Without /proc (macOS) the answer of kill(2) has to do; on Linux the process went away just now.
    return error instanceof Error && process.platform === "linux";
  }
}
