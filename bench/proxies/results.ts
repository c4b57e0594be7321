/** What a run has measured, as it is written to a file and read again. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** One measurement of one contender under one workload. */
export interface Round {
  readonly answers: number;
  /** Requests without an answer, or with a wrong one. */
  readonly failed: number;
  readonly seconds: number;
  /** Processor time of all the contender's processes for each answer, user and system together. */
  readonly processorUs: number;
  /** The part of it in the processes that answer requests. */
  readonly servingUs: number;
  /** Requests that reached the mirror's backend, for each answer. */
  readonly copies: number;
  /** Changes of the weight meanwhile. */
  readonly changes: number;
  /** From when a request should have been sent to its answer; null without a fixed rate. */
  readonly latency: LatencyMs | null;
}

/** Quantiles in milliseconds. */
export interface LatencyMs {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** All rounds of one contender under one workload; the same place in two lists is the same time. */
export interface Cell {
  readonly workload: string;
  readonly contender: string;
  readonly rounds: readonly Round[];
}

/** Memory of one contender after the workloads that all take. */
export interface MemoryFigures {
  readonly contender: string;
  readonly residentBytes: number;
  /** What each more idle connection of a client adds. */
  readonly idleConnectionBytes: number;
  readonly connections: number;
}

/** Everything that a run has measured. */
export interface Results {
  readonly at: string;
  readonly machine: string;
  readonly processors: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly commit: string;
  readonly tookSeconds: number;
  readonly cells: readonly Cell[];
  readonly memory: readonly MemoryFigures[];
}

/** Workloads whose names other parts ask for. */
export const NAMES = {
  small: "small GET",
  connects: "new connection each",
  medium: "64 KB response",
  large: "1 MB response",
  mirrorAll: "mirror 100 %",
  routes: "200 routes",
  shifts: "weight changes",
  twoWorkers: "2 workers",
  halfLoad: "small GET at half load",
} as const;

/** What Crossfade is called when it is set up otherwise than the workload wants, to be compared with. */
export const PLAIN_CROSSFADE = "Crossfade, plain";

/** The rounds of a contender under a workload; none when it did not take it. */
export function roundsOf(results: Results, workload: string, contender: string): readonly Round[] {
  const cell = results.cells.find((one) => one.workload === workload && one.contender === contender);
  return cell?.rounds ?? [];
}

/** The workloads in the order in which they were measured. */
export function workloadsOf(results: Results): string[] {
  return [...new Set(results.cells.map(({ workload }) => workload))];
}

/** The contenders, those that took most workloads first where they were measured first. */
export function contendersOf(results: Results): string[] {
  return [...new Set(results.cells.map(({ contender }) => contender))];
}

/** More digits than that mean nothing. */
const DIGITS = 6;

/** Writes results as JSON; the directory is made. */
export function writeResults(path: string, results: Results): void {
  mkdirSync(dirname(path), { recursive: true });
  const rounded = (_: string, value: unknown): unknown =>
    typeof value === "number" ? Number(value.toPrecision(DIGITS)) : value;
  writeFileSync(path, `${JSON.stringify(results, rounded, 2)}\n`);
}

/** Reads what `writeResults` wrote. Throws when the file holds anything else. */
export function readResults(path: string): Results {
  const value = JSON.parse(readFileSync(path, "utf8")) as Partial<Results> | null;
  if (!Array.isArray(value?.cells) || !Array.isArray(value.memory))
    throw new Error(`${path} holds no results`);
  return value as Results;
}
