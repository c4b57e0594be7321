/** What the judge says of a route, with the figures that people are told, and one line of them. */
import { requestsToProof, type Seen } from "./evidence.ts";
import { rateInterval, type RateInterval } from "./rate.ts";
import { SLOW_EVENTS, thresholdMs } from "./slowness.ts";
import type { Signal } from "./tier.ts";

/** What should happen: nothing, no further step, or all traffic back to legacy. */
export type Action = "none" | "hold" | "rollback";

/** What the judge says after a tick. */
export interface Verdict {
  readonly action: Action;
  /** What speaks against the candidate; null when the action is none. */
  readonly signal: Signal | null;
  /** The candidate was shown to fail less than the margin in this stage, and nothing holds it. */
  readonly proven: boolean;
  /** Worked out when they are read, from what was known at this tick. */
  readonly figures: Figures;
}

/** One side since the stage began. */
export interface SideFigures {
  readonly requests: number;
  readonly failures: number;
  /** Failures per request, 0 to 1; null without requests. */
  readonly rate: number | null;
  /** The rates that are still possible, see rateInterval. */
  readonly interval: RateInterval;
}

/**
 * Evidence from 0 to 10. 10 fires.
 *
 * 10 (1 - ln R / ln g_1), from 0 to 10, with g_1 the first stake of a stage: 0 is where evidence starts or below, and
 * each point is the same factor. `all` is the mean over the signals that are on; those of single signals reach 10 where
 * that signal fires without help from the other.
 */
export interface Scores {
  readonly all: number;
  readonly errors: number;
  readonly latency: number;
}

/** One event of slow answers since the stage began. */
export interface SlowFigures {
  /** A name of SLOW_EVENTS. */
  readonly event: string;
  /** Slower than this counts now; null while legacy has too few answers to say. */
  readonly thresholdMs: number | null;
  /** Slow answers, and all that were compared. */
  readonly legacy: { readonly slow: number; readonly answers: number };
  readonly candidate: { readonly slow: number; readonly answers: number };
}

/** Everything people are told. */
export interface Figures {
  readonly stage: number;
  readonly candidateShare: number;
  readonly legacy: SideFigures;
  readonly candidate: SideFigures;
  /** Both sides in the last minute. */
  readonly recent: { readonly legacy: SideFigures; readonly candidate: SideFigures };
  readonly rollback: Scores;
  readonly hold: Scores;
  readonly slow: readonly SlowFigures[];
  /** The failure rate that a proof has to exclude. */
  readonly margin: number;
  /** What is held because the candidate fails more often than the margin, although legacy may do so too. */
  readonly isAboveMargin: boolean;
  /** Requests of the candidate that the proof is expected to need, 0 when complete; null if it won't come. */
  readonly requestsToProof: number | null;
  /** Requests per second of the candidate in the last minute. */
  readonly candidatePerSecond: number;
}

/** Evidence of one tier as logarithms, and where it starts. */
export interface ScoreLogs {
  readonly firstLog: number;
  readonly all: number;
  readonly errors: number;
  readonly latency: number;
}

/** Numbers that are kept for each event of slow answers. */
export const SLOW_COLUMNS = 4;

/** What figures are worked out from. */
export interface Facts {
  readonly stage: number;
  readonly candidateShare: number;
  readonly legacy: Seen;
  readonly candidate: Seen;
  readonly recent: { readonly legacy: Seen; readonly candidate: Seen };
  readonly rollback: ScoreLogs;
  readonly hold: ScoreLogs;
  /** Since the stage began, SLOW_COLUMNS for each event: legacy slow, legacy answers, candidate slow, answers. */
  readonly slow: readonly number[];
  /** The threshold bucket of each event, null for none. */
  readonly thresholds: readonly (number | null)[];
  readonly margin: number;
  /** The candidate is shown to fail more often than the margin, or was and has not shown the contrary. */
  readonly isAboveMargin: boolean;
  readonly isProven: boolean;
  readonly logBets: readonly number[];
  readonly candidatePerSecond: number;
}

/** A verdict whose figures wait to be read: a route ticks four times a second, and people look now and then. */
export class Judged implements Verdict {
  readonly action: Action;
  readonly signal: Signal | null;
  readonly proven: boolean;
  readonly #facts: Facts;

  constructor(action: Action, signal: Signal | null, facts: Facts) {
    this.action = action;
    this.signal = signal;
    this.proven = facts.isProven && action === "none";
    this.#facts = facts;
  }

  get figures(): Figures {
    return figuresOf(this.#facts);
  }
}

function figuresOf(facts: Facts): Figures {
  const { candidate, margin } = facts;
  const rate = candidate.requests === 0 ? 0 : candidate.failures / candidate.requests;
  return {
    stage: facts.stage,
    candidateShare: facts.candidateShare,
    legacy: sideOf(facts.legacy),
    candidate: sideOf(candidate),
    recent: { legacy: sideOf(facts.recent.legacy), candidate: sideOf(facts.recent.candidate) },
    rollback: scoresOf(facts.rollback),
    hold: scoresOf(facts.hold),
    slow: slowOf(facts),
    margin,
    isAboveMargin: facts.isAboveMargin,
    requestsToProof: facts.isProven ? 0 : requestsToProof(facts.logBets, margin, rate),
    candidatePerSecond: facts.candidatePerSecond,
  };
}

function sideOf({ failures, requests }: Seen): SideFigures {
  const rate = requests === 0 ? null : failures / requests;
  return { requests, failures, rate, interval: rateInterval(failures, requests) };
}

function slowOf({ slow, thresholds }: Facts): readonly SlowFigures[] {
  return SLOW_EVENTS.map(({ name }, i) => {
    const at = (column: number): number => slow[SLOW_COLUMNS * i + column] ?? 0;
    const threshold = thresholds[i] ?? null;
    return {
      event: name,
      thresholdMs: threshold === null ? null : thresholdMs(threshold),
      legacy: { slow: at(0), answers: at(1) },
      candidate: { slow: at(2), answers: at(3) },
    };
  });
}

/** The score of what has fired. */
const FIRED = 10;

function scoresOf({ firstLog, all, errors, latency }: ScoreLogs): Scores {
  const score = (log: number): number => FIRED * Math.min(1, Math.max(0, 1 - log / firstLog));
  return { all: score(all), errors: score(errors), latency: score(latency) };
}

/**
 * One plain line about a route, with the names that people gave its backends:
 *
 * ```text
 *    new 0.42 % [0.087-1.2] of 2,133, legacy 0.10 % of 40,127; evidence 3 of 10 needed to roll back;
 *    about 6 min to proof at this rate
 * ```
 */
export function explainHealth(names: { legacy: string; candidate: string }, verdict: Verdict): string {
  const { action, figures } = verdict;
  // A stage may have gone well for days: what a verdict is about happened just now.
  const isLong = figures.candidate.requests > figures.recent.candidate.requests;
  const { legacy, candidate } = action !== "none" && isLong ? figures.recent : figures;
  const both = `${sideText(names.candidate, candidate, true)}, ${sideText(names.legacy, legacy, false)}`;
  return [
    candidate === figures.candidate ? both : `${both}, in the last minute`,
    ...(figures.candidateShare === 0
      ? ["not judged: it has no traffic"]
      : conclusions(verdict, names.legacy)),
  ].join("; ");
}

function conclusions(verdict: Verdict, legacy: string): string[] {
  return verdict.action === "rollback"
    ? [evidenceText(verdict, legacy)]
    : [evidenceText(verdict, legacy), proofText(verdict)];
}

function sideText(name: string, { requests, rate, interval }: SideFigures, hasInterval: boolean): string {
  if (rate === null) return `${name} no requests`;
  const range = hasInterval ? ` [${twoDigits(interval.low)}-${twoDigits(interval.high)}]` : "";
  return `${name} ${(100 * rate).toFixed(2)} %${range} of ${grouped(requests)}`;
}

function evidenceText({ action, signal, figures }: Verdict, legacy: string): string {
  if (action === "rollback") return `rolled back for ${signal}`;
  // Rounded down: 10 is said of what has fired, and of nothing else.
  const evidence = `evidence ${Math.floor(figures.rollback.all)} of 10 needed to roll back`;
  if (action !== "hold") return evidence;
  const isAlike = figures.isAboveMargin && figures.hold.all < FIRED;
  return isAlike
    ? `held for ${signal}: above ${marginText(figures)}, and not shown to be worse than ${legacy}; ${evidence}`
    : `held for ${signal}, ${evidence}`;
}

function marginText({ margin }: Figures): string {
  return `${Number((100 * margin).toPrecision(2))} %`;
}

function proofText({ proven, figures }: Verdict): string {
  const margin = marginText(figures);
  if (proven) return `proven below ${margin}`;
  const missing = figures.requestsToProof;
  if (missing === null) return `no proof of less than ${margin} at this rate`;
  if (missing === 0) return `below ${margin}, but held`;
  if (figures.candidatePerSecond <= 0) return `${grouped(missing)} requests to proof`;
  return `about ${durationText(missing / figures.candidatePerSecond)} to proof at this rate`;
}

function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** A rate in percent with two digits that count, so that 0.021 and 41 are both readable. */
function twoDigits(rate: number): string {
  const percent = 100 * rate;
  return percent >= 10 ? percent.toFixed(0) : String(Number(percent.toPrecision(2)));
}

function grouped(count: number): string {
  return count.toLocaleString("en");
}
