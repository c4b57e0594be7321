/** Results as tables for people. */
import { median, spread } from "../store/figures.ts";
import { goalsOf, type Goal } from "./goals.ts";
import { contendersOf, roundsOf, workloadsOf, type Results, type Round } from "./results.ts";
import { pairedRatio } from "./statistics.ts";

/** Without processes there is no processor time. */
const NO_PROXY = "no proxy";

/** Processor time per request, with what Crossfade and the floors take to what nginx does. */
export function processorTable(results: Results): string[] {
  const contenders = contendersOf(results).filter((name) => name !== NO_PROXY);
  const ratio = (workload: string, name: string): string => {
    const [one, nginx] = [roundsOf(results, workload, name), roundsOf(results, workload, "nginx")];
    const figure = pairedRatio(one, nginx, ({ processorUs }) => processorUs);
    return Number.isNaN(figure) ? "" : figure.toFixed(2);
  };
  return table(
    ["µs of processor per request", ...contenders, "Crossfade to nginx", "floor to nginx", "with heads"],
    workloadsOf(results).map((workload) => [
      workload,
      ...contenders.map((name) => cell(roundsOf(results, workload, name), (round) => round.processorUs)),
      ratio(workload, "Crossfade"),
      ratio(workload, "floor in Node"),
      ratio(workload, "floor with heads"),
    ]),
  );
}

/** Requests a second. */
export function rateTable(results: Results): string[] {
  const contenders = contendersOf(results);
  return table(
    ["requests/s", ...contenders],
    workloadsOf(results).map((workload) => [
      workload,
      ...contenders.map((name) => {
        const rounds = roundsOf(results, workload, name);
        return rounds.length === 0 ? "" : median(rounds.map(perSecond)).toFixed(0);
      }),
    ]),
  );
}

/** How full one processor was of a contender: one that is not full has time to be asked more often. */
export function busyTable(results: Results): string[] {
  const contenders = contendersOf(results).filter((name) => name !== NO_PROXY);
  return table(
    ["processors in use", ...contenders],
    workloadsOf(results).map((workload) => [
      workload,
      ...contenders.map((name) => {
        const rounds = roundsOf(results, workload, name);
        const used = rounds.map((round) => (round.processorUs * perSecond(round)) / 1e6);
        return rounds.length === 0 ? "" : median(used).toFixed(2);
      }),
    ]),
  );
}

/** Latencies of the workloads at a fixed rate. */
export function latencyTable(results: Results): string[] {
  const rows = results.cells
    .filter(({ rounds }) => rounds.some(({ latency }) => latency !== null))
    .map(({ workload, contender, rounds }) => [
      workload,
      contender,
      median(rounds.map(perSecond)).toFixed(0),
      ...(["p50", "p99", "p999"] as const).map((key) =>
        spread(
          rounds.map(({ latency }) => latency?.[key] ?? Number.NaN),
          2,
        ),
      ),
    ]);
  return table(["at a fixed rate", "contender", "requests/s", "p50 ms", "p99 ms", "p99.9 ms"], rows);
}

/** Memory. */
export function memoryTable(results: Results): string[] {
  return table(
    ["memory", "resident, MB", "per idle connection, KB", "idle connections"],
    results.memory.map(({ contender, residentBytes, idleConnectionBytes, connections }) => [
      contender,
      (residentBytes / 1024 / 1024).toFixed(0),
      (idleConnectionBytes / 1024).toFixed(1),
      String(connections),
    ]),
  );
}

/** The goals. */
export function goalTable(results: Results): string[] {
  return table(
    ["goal", "figure", "wanted", ""],
    goalsOf(results).map((goal) => [goal.name, figureOf(goal), boundOf(goal), goal.verdict]),
  );
}

function figureOf({ figure, unit }: Goal): string {
  return Number.isNaN(figure) ? "not measured" : `${figure.toFixed(2)} ${unit}`.trim();
}

function boundOf({ bound, unit, isLeast }: Goal): string {
  return `${isLeast ? "at least" : "at most"} ${bound} ${unit}`.trim();
}

function perSecond({ answers, seconds }: Round): number {
  return answers / seconds;
}

function cell(rounds: readonly Round[], figure: (round: Round) => number): string {
  return rounds.length === 0 ? "" : spread(rounds.map(figure), 1);
}

/** A table in Markdown, with its columns under each other. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((name, column) =>
    Math.max(3, ...[name, ...rows.map((row) => row[column] ?? "")].map((text) => text.length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? "").padEnd(width)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)];
}
