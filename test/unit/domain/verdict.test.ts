/** What people are told: figures worked out from facts, and the line of them. */
import { describe, expect, test } from "vitest";
import { Proof } from "../../../src/domain/evidence.ts";
import { rateInterval } from "../../../src/domain/rate.ts";
import { explainHealth, Judged, type Facts, type ScoreLogs } from "../../../src/domain/verdict.ts";

const NAMES = { legacy: "old", candidate: "new" };
const NO_EVIDENCE: ScoreLogs = { firstLog: -8, all: -Infinity, errors: -Infinity, latency: -Infinity };
const NOTHING: Facts = {
  stage: 0,
  candidateShare: 0.05,
  legacy: { failures: 0, requests: 0 },
  candidate: { failures: 0, requests: 0 },
  recent: { legacy: { failures: 0, requests: 0 }, candidate: { failures: 0, requests: 0 } },
  rollback: NO_EVIDENCE,
  hold: NO_EVIDENCE,
  slow: [],
  thresholds: [],
  margin: 0.01,
  isAboveMargin: false,
  isProven: false,
  logBets: new Proof(0.01).logBets,
  candidatePerSecond: 0,
};

function judged(facts: Partial<Facts>): Judged {
  return new Judged("none", null, { ...NOTHING, ...facts });
}

describe("figures", () => {
  test("have rates, what rates are possible, and scores from the first stake to the bar", () => {
    const { figures } = judged({
      candidate: { failures: 9, requests: 2133 },
      rollback: { firstLog: -8, all: -6, errors: -10, latency: 3 },
      slow: [1, 100, 2, 10],
      thresholds: [0, null],
    });
    expect(figures.candidate.rate).toBeCloseTo(9 / 2133, 12);
    expect(figures.candidate.interval).toEqual(rateInterval(9, 2133));
    expect(figures.legacy).toMatchObject({ rate: null, interval: { low: 0, high: 1 } });
    expect(figures.rollback).toEqual({ all: 2.5, errors: 0, latency: 10 });
    expect(figures.hold).toEqual({ all: 0, errors: 0, latency: 0 });
    expect(figures.slow.map(({ thresholdMs }) => thresholdMs)).toEqual([0.1, null, null, null]);
    expect(figures.slow[0]).toMatchObject({
      legacy: { slow: 1, answers: 100 },
      candidate: { slow: 2, answers: 10 },
    });
  });

  test("a proof counts only while nothing holds the candidate", () => {
    const facts = { ...NOTHING, isProven: true };
    expect(new Judged("none", null, facts).proven).toBe(true);
    expect(new Judged("hold", "errors", facts).proven).toBe(false);
    expect(judged({ isProven: true }).figures.requestsToProof).toBe(0);
  });
});

describe("the line", () => {
  const sides = { legacy: { failures: 40, requests: 40_127 }, candidate: { failures: 9, requests: 2133 } };
  const start = "new 0.42 % [0.087-1.2] of 2,133, old 0.10 % of 40,127; ";

  test("says rates, evidence and what a proof still needs", () => {
    const rollback = { ...NO_EVIDENCE, all: -5.5 };
    const needed = judged({ ...sides }).figures.requestsToProof ?? NaN;
    expect(needed).toBeGreaterThan(600);
    const verdict = judged({ ...sides, rollback, candidatePerSecond: needed / 360 });
    expect(explainHealth(NAMES, verdict)).toBe(
      `${start}evidence 3 of 10 needed to roll back; about 6 min to proof at this rate`,
    );
  });

  test("says of a verdict what happened in the last minute, however well the stage went before", () => {
    const recent = { legacy: { failures: 1, requests: 4000 }, candidate: { failures: 20, requests: 400 } };
    const long = { ...NOTHING, ...sides, candidate: { failures: 29, requests: 90_000 }, recent };
    expect(explainHealth(NAMES, new Judged("rollback", "errors", long))).toMatch(
      /^new 5\.00 % \[[\d.-]+\] of 400, old 0\.03 % of 4,000, in the last minute; rolled back for errors$/,
    );
    const short = { ...long, candidate: recent.candidate };
    expect(explainHealth(NAMES, new Judged("hold", "errors", short))).not.toContain("in the last minute");
    expect(explainHealth(NAMES, judged(long))).toContain("of 90,000");
  });

  test("concludes nothing about a candidate without traffic", () => {
    expect(explainHealth(NAMES, judged({ ...sides, candidateShare: 0 }))).toBe(
      `${start}not judged: it has no traffic`,
    );
  });

  test("rounds evidence down: ten is said of what has fired only", () => {
    const rollback = { ...NO_EVIDENCE, all: -0.001 };
    expect(explainHealth(NAMES, judged({ rollback }))).toContain("evidence 9 of 10 needed");
  });

  test("says what it can when there is little", () => {
    const least =
      "new no requests, old no requests; evidence 0 of 10 needed to roll back; 370 requests to proof";
    expect(explainHealth(NAMES, judged({}))).toBe(least);
    expect(explainHealth(NAMES, judged({ candidatePerSecond: 10 }))).toContain("about 37 s to proof");
    expect(explainHealth(NAMES, judged({ candidatePerSecond: 0.01 }))).toContain("about 10 h to proof");
  });

  test("says what was proven, and what can't be", () => {
    expect(explainHealth(NAMES, judged({ isProven: true }))).toMatch(/; proven below 1 %$/);
    const bad = judged({ candidate: { failures: 50, requests: 100 } });
    expect(explainHealth(NAMES, bad)).toMatch(
      /^new 50\.00 % \[3\d-6\d\] of 100, .*; no proof of less than 1 % at this rate$/,
    );
  });

  test("says what was done and why", () => {
    const facts = { ...NOTHING, rollback: { ...NO_EVIDENCE, all: -4 } };
    expect(explainHealth(NAMES, new Judged("hold", "errors", facts))).toContain(
      "; held for errors, evidence 5 of 10 needed to roll back; ",
    );
    expect(explainHealth(NAMES, new Judged("hold", "errors", { ...facts, isProven: true }))).toContain(
      "but held",
    );
    const alike = { ...facts, isAboveMargin: true };
    expect(explainHealth(NAMES, new Judged("hold", "errors", alike))).toContain(
      "; held for errors: above 1 %, and not shown to be worse than old; evidence 5 of 10 needed to roll back; ",
    );
    const worse = { ...alike, hold: { ...NO_EVIDENCE, all: 0 } };
    expect(explainHealth(NAMES, new Judged("hold", "errors", worse))).toContain(
      "; held for errors, evidence",
    );
    expect(explainHealth(NAMES, new Judged("rollback", "latency", facts))).toMatch(
      /; rolled back for latency$/,
    );
  });
});
