/** What differs between two runs: Crossfade to nginx in each, since only ratios of one run can be compared. */
import { median } from "../store/figures.ts";
import { roundsOf, workloadsOf, type Results, type Round } from "./results.ts";
import { ratiosOf } from "./statistics.ts";
import { table } from "./table.ts";

/** One contender under one workload, in both runs. */
export interface Change {
  readonly workload: string;
  readonly contender: string;
  /** Processor time per request in microseconds. */
  readonly beforeUs: number;
  readonly afterUs: number;
  /** The same to nginx, round by round; empty where nginx did not take part. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** `unclear` while the rounds of the two runs overlap. */
  readonly verdict: "less" | "more" | "unclear";
}

const NGINX = "nginx";

/** Every contender and workload that both runs have, nginx itself apart. */
export function changesOf(before: Results, after: Results): Change[] {
  return after.cells.flatMap(({ workload, contender, rounds }) => {
    const former = roundsOf(before, workload, contender);
    const used = [...rounds, ...former].some(({ processorUs }) => processorUs > 0);
    if (former.length === 0 || contender === NGINX || !used) return [];
    return [changeOf(workload, contender, [before, former], [after, rounds])];
  });
}

function changeOf(
  workload: string,
  contender: string,
  [before, former]: readonly [Results, readonly Round[]],
  [after, rounds]: readonly [Results, readonly Round[]],
): Change {
  const toNginx = (results: Results, list: readonly Round[]): number[] =>
    ratiosOf(list, roundsOf(results, workload, NGINX), perAnswer);
  const was = toNginx(before, former);
  const is = toNginx(after, rounds);
  return {
    workload,
    contender,
    beforeUs: median(former.map(perAnswer)),
    afterUs: median(rounds.map(perAnswer)),
    before: was,
    after: is,
    verdict: verdictOf(was, is),
  };
}

function verdictOf(before: readonly number[], after: readonly number[]): Change["verdict"] {
  if (before.length === 0 || after.length === 0) return "unclear";
  if (Math.max(...after) < Math.min(...before)) return "less";
  return Math.min(...after) > Math.max(...before) ? "more" : "unclear";
}

/** The changes as a table for people. */
export function changeTable(changes: readonly Change[]): string[] {
  const ratio = (list: readonly number[]): string => (list.length === 0 ? "" : median(list).toFixed(2));
  return table(
    ["workload", "contender", "µs before", "µs after", "to nginx before", "after", ""],
    changes.map(({ workload, contender, beforeUs, afterUs, before, after, verdict }) => [
      workload,
      contender,
      beforeUs.toFixed(1),
      afterUs.toFixed(1),
      ratio(before),
      ratio(after),
      verdict,
    ]),
  );
}

/** Workloads that only one of the runs has. */
export function missingOf(before: Results, after: Results): string[] {
  const [one, other] = [new Set(workloadsOf(before)), new Set(workloadsOf(after))];
  return [...one.symmetricDifference(other)];
}

function perAnswer({ processorUs }: Round): number {
  return processorUs;
}
