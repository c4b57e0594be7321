/** Ratios, goals and comparisons of runs, by example. */
import { describe, expect, test } from "vitest";
import { changesOf, missingOf } from "../../bench/proxies/changes.ts";
import { goalsOf, type Goal } from "../../bench/proxies/goals.ts";
import { NAMES, PLAIN_CROSSFADE, type Cell, type Results, type Round } from "../../bench/proxies/results.ts";
import { geometricMean, pairedDifference, pairedRatio } from "../../bench/proxies/statistics.ts";
import { processorTable } from "../../bench/proxies/table.ts";

function rounds(...each: readonly number[]): Round[] {
  return each.map((processorUs) => ({
    answers: 1000,
    failed: 0,
    seconds: 1,
    processorUs,
    servingUs: processorUs / 2,
    copies: 0,
    changes: 0,
    latency: null,
  }));
}

function cell(workload: string, contender: string, list: readonly Round[]): Cell {
  return { workload, contender, rounds: list };
}

function results(...cells: readonly Cell[]): Results {
  return {
    at: "2026-01-01T00:00:00.000Z",
    machine: "",
    processors: 2,
    versions: {},
    commit: "",
    tookSeconds: 1,
    cells,
    memory: [],
  };
}

function goal(all: Results, name: RegExp): Goal | undefined {
  return goalsOf(all).find((one) => name.test(one.name));
}

describe("ratios", () => {
  test("are taken round by round, and their median counts", () => {
    expect(pairedRatio(rounds(10, 40, 90), rounds(10, 20, 30), (round) => round.processorUs)).toBe(2);
    expect(pairedDifference(rounds(10, 40, 90), rounds(10, 20, 30), (round) => round.processorUs)).toBe(20);
  });

  test("of nothing are no number", () => {
    expect(pairedRatio([], rounds(1), (round) => round.processorUs)).toBeNaN();
    expect(geometricMean([])).toBeNaN();
  });

  test("have a geometric mean", () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1);
    expect(geometricMean([1, 4, 16])).toBeCloseTo(4);
  });
});

describe("goals", () => {
  test("compare with nginx of the same rounds", () => {
    const at = (us: number): Results =>
      results(cell(NAMES.small, "Crossfade", rounds(us)), cell(NAMES.small, "nginx", rounds(20)));
    expect(goal(at(23), /^small GET, to nginx/)).toMatchObject({ figure: 1.15, verdict: "met" });
    expect(goal(at(24), /^small GET, to nginx/)).toMatchObject({ figure: 1.2, verdict: "missed" });
  });

  test("that were not measured are neither met nor missed", () => {
    expect(goalsOf(results()).map(({ verdict }) => verdict)).toEqual(Array(12).fill("unknown"));
  });

  test("a mirror that made no copies is no mirror", () => {
    const at = (copies: number): Results =>
      results(
        cell(
          NAMES.mirrorAll,
          "Crossfade",
          rounds(10).map((round) => ({ ...round, copies })),
        ),
        cell(NAMES.mirrorAll, "nginx", rounds(40)),
      );
    expect(goal(at(1), /^mirror/)).toMatchObject({ figure: 0.25, verdict: "met" });
    expect(goal(at(0.5), /^mirror/)?.verdict).toBe("unknown");
  });

  test("the mean is over the workloads that both took, the half load apart", () => {
    const all = results(
      cell("a", "Crossfade", rounds(10)),
      cell("a", "nginx", rounds(20)),
      cell("b", "Crossfade", rounds(40)),
      cell("b", "nginx", rounds(20)),
      cell("c", "Crossfade", rounds(1000)),
      cell(NAMES.halfLoad, "Crossfade", rounds(1000)),
      cell(NAMES.halfLoad, "nginx", rounds(1)),
    );
    const mean = goal(all, /^geometric mean of 2 workloads/);
    expect(mean?.figure).toBeCloseTo(1);
  });

  test("weight changes count in the workers only", () => {
    const all = results(
      cell(
        NAMES.shifts,
        "Crossfade",
        rounds(50).map((round) => ({ ...round, servingUs: 20 })),
      ),
      cell(NAMES.shifts, PLAIN_CROSSFADE, rounds(40)),
    );
    expect(goal(all, /^weight changes/)).toMatchObject({ figure: 1, verdict: "met" });
  });

  test("two workers are judged only where they have a processor each", () => {
    const both = [
      cell(
        NAMES.twoWorkers,
        "Crossfade",
        rounds(10).map((round) => ({ ...round, answers: 1900 })),
      ),
      cell(NAMES.twoWorkers, PLAIN_CROSSFADE, rounds(10)),
    ];
    expect(goal(results(...both), /two workers/)?.verdict).toBe("unknown");
    expect(goal({ ...results(...both), processors: 4 }, /two workers/)).toMatchObject({
      figure: 1.9,
      verdict: "met",
    });
  });
});

describe("two runs", () => {
  const before = results(cell("a", "Crossfade", rounds(30, 31)), cell("a", "nginx", rounds(20, 20)));
  const after = results(cell("a", "Crossfade", rounds(24, 25)), cell("a", "nginx", rounds(20, 20)));

  test("differ where their rounds do not overlap", () => {
    expect(changesOf(before, after)).toMatchObject([
      { workload: "a", contender: "Crossfade", beforeUs: 30.5, afterUs: 24.5, verdict: "less" },
    ]);
    expect(changesOf(after, before)).toMatchObject([{ verdict: "more" }]);
    expect(changesOf(before, before)).toMatchObject([{ verdict: "unclear" }]);
  });

  test("of other workloads say so", () => {
    expect(missingOf(before, results(cell("b", "nginx", rounds(1))))).toEqual(["a", "b"]);
  });
});

test("the table has a row for each workload and the ratio to nginx", () => {
  const [, , row] = processorTable(
    results(cell("a", "Crossfade", rounds(30, 33, 36)), cell("a", "nginx", rounds(20, 22, 24))),
  );
  expect(row?.replace(/ +/g, " ")).toBe("| a | 33.0 (30.0 to 36.0) | 22.0 (20.0 to 24.0) | 1.50 | | |");
});
