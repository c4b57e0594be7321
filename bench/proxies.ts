/** Measures Crossfade beside other proxies: `node bench/proxies.ts [--contender NAME]... [--workload NAME]... ...`. */
import { spawnSync } from "node:child_process";
import { cpus, release } from "node:os";
import { parseArgs } from "node:util";
import { killNow } from "../src/control/process.ts";
import { CONTENDERS, allGroups, chosen, workloadNames } from "./proxies/groups.ts";
import { familyOf, pin, placesFor } from "./proxies/processes.ts";
import { writeResults, type Cell, type MemoryFigures, type Results } from "./proxies/results.ts";
import { measureGroup, type Pace } from "./proxies/rounds.ts";
import {
  busyTable,
  goalTable,
  latencyTable,
  memoryTable,
  processorTable,
  rateTable,
} from "./proxies/table.ts";

const EXIT_USAGE = 2;
const EXIT_UNAVAILABLE = 69;
const EXIT_INTERRUPTED = 130;

const { values } = parseArgs({
  options: {
    contender: { type: "string", multiple: true, default: [] },
    workload: { type: "string", multiple: true, default: [] },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "1.5" },
    idle: { type: "string", default: "5000" },
    out: { type: "string" },
  },
});

function usage(text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(EXIT_USAGE);
}

function numberOf(name: "rounds" | "seconds" | "idle", isWhole: boolean): number {
  const value = Number(values[name]);
  if (!(value > 0) || (isWhole && !Number.isSafeInteger(value)))
    usage(`--${name} takes a ${isWhole ? "whole " : ""}number above 0, not ${values[name]}`);
  return value;
}

function checkNames(kind: string, names: readonly string[], known: readonly string[]): void {
  for (const name of names) {
    if (!known.includes(name)) usage(`there is no ${kind} ${JSON.stringify(name)}: ${known.join(", ")}`);
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const seconds = numberOf("seconds", false);
const pace: Pace = {
  rounds: numberOf("rounds", true),
  roundMs: seconds * 1000,
  leadMs: Math.min(300, seconds * 200),
  warmUpMs: Math.min(1_000, seconds * 1000),
  breakInMs: Math.min(5_000, seconds * 4_000),
  idleConnections: numberOf("idle", true),
};
checkNames(
  "contender",
  values.contender,
  CONTENDERS.map(({ name }) => name),
);
checkNames("workload", values.workload, workloadNames());
if (process.platform !== "linux") {
  process.stderr.write("nothing can be measured: processor time is read from Linux's /proc\n");
  process.exit(EXIT_UNAVAILABLE);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    // Parents before their children, which they would start again.
    for (const pid of familyOf(process.pid).slice(1)) killNow(pid);
    process.exit(EXIT_INTERRUPTED);
  });
}

const startedMs = performance.now();
const commit = commitOf();
const processors = cpus();
const places = placesFor(1);
if (places !== null) pin([process.pid], places.load);
const machine = `${processors.length} processors, ${processors[0]?.model ?? "unknown"}, Linux ${release()}`;
const versions = Object.fromEntries(
  CONTENDERS.map(({ name, version }) => [name, version ?? "not installed"]),
);
say(`${machine}; ${CONTENDERS.map(({ name }) => `${name}: ${versions[name]}`).join("; ")}`);

const cells: Cell[] = [];
const memory: MemoryFigures[] = [];
for (const group of chosen(allGroups(), { contenders: values.contender, workloads: values.workload })) {
  const figures = await measureGroup(group, pace, (text) => {
    say(`[${((performance.now() - startedMs) / 1000).toFixed(0)} s] ${text}`);
  });
  cells.push(...figures.cells);
  memory.push(...figures.memory);
}

const results: Results = {
  at: new Date(Date.now()).toISOString(),
  machine,
  processors: processors.length,
  versions,
  commit,
  tookSeconds: Math.round((performance.now() - startedMs) / 1000),
  cells,
  memory,
};
const path =
  values.out ?? `bench/results/${results.at.slice(0, 19).replaceAll(":", "")}-${results.commit}.json`;
writeResults(path, results);
for (const table of [processorTable, rateTable, busyTable, latencyTable, memoryTable, goalTable]) {
  say(`\n${table(results).join("\n")}`);
}
say(`\n${path}, ${results.tookSeconds} s`);
const failed = cells.flatMap(({ rounds }) => rounds).reduce((sum, round) => sum + round.failed, 0);
if (failed > 0) say(`${failed} requests FAILED: their workloads are not comparable`);
process.exitCode = failed > 0 ? 1 : 0;

function commitOf(): string {
  const git = (...args: string[]): string =>
    spawnSync("git", args, { encoding: "utf8" }).stdout?.trim() ?? "";
  const changed = git("status", "--porcelain", "--", "src") === "" ? "" : "-changed";
  return `${git("rev-parse", "--short", "HEAD") || "unknown"}${changed}`;
}
