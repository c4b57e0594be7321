/** What a contender is, and how its program is started and ended. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../test/support/fleet_stage.ts";
import { until } from "../../test/support/wait.ts";
import { familyOf } from "./processes.ts";

/** What a contender has to do besides splitting and logging. */
export interface Setup {
  readonly workers: number;
  /** How many of a hundred requests have a copy. */
  readonly mirrorPercent: number;
  /** So many routes, of which one is used: /r137/. With one, it takes everything. */
  readonly routes: number;
  readonly hasLog: boolean;
  /** The weight changes all the time. */
  readonly shifts: boolean;
}

/** One worker, one route, a log and nothing else. */
export const PLAIN_SETUP: Setup = { workers: 1, mirrorPercent: 0, routes: 1, hasLog: true, shifts: false };

/** Of a hundred clients, so many go to the candidate. */
export const CANDIDATE_PERCENT = 25;

/** The names of so many routes. */
export function routeNames(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `r${at}`);
}

/** Where the requests go. */
export interface Ports {
  readonly legacy: number;
  readonly candidate: number;
  readonly shadow: number;
}

/** A contender that runs. */
export interface Running extends AsyncDisposable {
  readonly port: number;
  /** All its processes; none where nothing is between client and backend. */
  pids(): number[];
  /** Those of them that answer requests. */
  servingPids(): number[];
  /** Runs beside a measurement and gives how to stop: for what a setup wants to happen all the time. */
  disturb?(): () => Promise<number>;
}

/** Something that stands between clients and backends. */
export interface Contender {
  readonly name: string;
  /** What it is, with its version; null when it is not installed here. */
  readonly version: string | null;
  takes(setup: Setup): boolean;
  /** The workloads that it takes, by name; all of them unless given. */
  readonly only?: readonly string[];
  start(setup: Setup, ports: Ports): Promise<Running>;
}

/** A program to run: the command, given a directory of its own and the port to listen on. */
export type Command = (directory: string, port: number) => readonly string[];

/** Starts a program and waits until it listens. Its output goes to a file, which is its log. */
export async function startProgram(name: string, command: Command): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), `crossfade-bench-${name}-`));
  const port = await freePort();
  const [program = "", ...args] = command(directory, port);
  const out = openSync(join(directory, "output"), "a");
  const child = spawn(program, args, { stdio: ["ignore", out, out] });
  const killNow = (): boolean => child.kill();
  process.on("exit", killNow);
  const end = async (): Promise<void> => {
    process.off("exit", killNow);
    await endChild(child);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    // An answer, not a connection: whoever accepts it may be started after somebody listens.
    await until(`${name} answers`, () => hasEnded(child) || answers(port));
    if (hasEnded(child)) throw new Error(`${name} ended: ${directory}/output says why`);
  } catch (error) {
    process.off("exit", killNow);
    await endChild(child);
    throw error;
  }
  const pids = familyOf(child.pid ?? 0);
  return { port, pids: () => pids, servingPids: () => pids, [Symbol.asyncDispose]: end };
}

/** The version that a program gives of itself, or null when there is no such program. */
export function versionOf(program: string): string | null {
  const { stdout, stderr } = spawnSync(program, ["-v"], { encoding: "utf8" });
  return /\d+\.\d+\.\d+/.exec(`${stdout ?? ""}${stderr ?? ""}`)?.[0] ?? null;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function endChild(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exit = once(child, "exit");
  child.kill();
  await exit;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const asking = get({ port, host: "127.0.0.1", path: "/r137/small", agent: false }, (response) => {
      response.resume().once("close", () => resolve(true));
    });
    asking.once("error", () => resolve(false));
  });
}
