/** What many comparisons say together: which fields really differ, which are noise, and how often answers mismatch. */
import { assert } from "../base/fault.ts";
import { OTHER_FIELD, type NotComparedReason } from "./compare_words.ts";
import {
  comparedOf,
  FIELDS_MAX,
  NO_COMPARISONS,
  type ComparisonCounts,
  type FieldCounts,
  type FieldSample,
} from "./comparison_counts.ts";
import { AbsoluteDetector, logMean, RatioDetector, Spending, type Budget } from "./evidence.ts";

/** The probability of any false report, over all fields and both tests, in so many seconds of mirroring. */
const FALSE_REPORT = 1e-3;
const RUN_SECONDS = 2_592_000;
const TESTS = 2;
/** Half of each test's part is for the beginning of a field, half for all the time that follows. */
const PART = FALSE_REPORT / (TESTS * FIELDS_MAX * 2);
const BUDGET: Budget = Object.freeze({ falseAlarm: PART, runLengthSeconds: RUN_SECONDS / PART });

/** So much more often than legacy differs from itself a field may differ: the copies aren't sent in one instant. */
const TOLERANCE = 1.2;
/** The alternatives beyond that. Fields may be noisy in half of all pairs, so large ratios alone won't do. */
const DIFFERENCE_RATIOS: readonly number[] = [1.3, 2, 5, 20, 100];
/** With fewer pairs of legacy and legacy, its noise is not known. */
const NOISE_PAIRS_LEAST = 20;
/** The rate at which a field may differ where noise is not measured. */
const UNMEASURED_RATE = 0.001;
/** Evidence below this, of 10, says nothing against a field that is noisy. */
const QUIET_SCORE = 1;

/** The confidence of statements about the mismatch rate, and the alternatives of their proofs. */
export const CONFIDENCE = 0.99;
const PROOF_BAR_LOG = -Math.log(1 - CONFIDENCE);
const PROOF_FRACTIONS: readonly number[] = [0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99];
/** Halvings of an interval of length 1: more than a double can show. */
const HALVINGS = 60;

/** What is known of a field. */
export type FieldVerdict =
  | "real difference"
  | "difference, noise not measured"
  | "known noise"
  | "not decided yet";

/** The order in which people see them. */
const VERDICT_ORDER: readonly FieldVerdict[] = [
  "real difference",
  "difference, noise not measured",
  "not decided yet",
  "known noise",
];

/** Pairs that differed, of those that were compared. */
export interface Differing {
  readonly differing: number;
  readonly compared: number;
}

/** Everything people are told about a field. */
export interface FieldReport {
  readonly field: string;
  readonly verdict: FieldVerdict;
  /** From 0 to 10, where a difference is real; each point is the same factor. */
  readonly evidence: number;
  /** Legacy and the candidate. */
  readonly pairs: Differing;
  /** Legacy and legacy. */
  readonly noise: Differing;
  /** Unix milliseconds. */
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
  readonly samples: readonly FieldSample[];
}

/** What came of all comparisons of legacy and the candidate. */
export interface ComparisonSummary {
  readonly compared: number;
  readonly matched: number;
  readonly mismatched: number;
  /** Mismatches in which the candidate failed. */
  readonly failures: number;
  readonly notCompared: Readonly<Record<NotComparedReason, number>>;
  /** Mismatches per comparison, 0 to 1; null without any. */
  readonly rate: number | null;
  /** The rate is below this with 99 % confidence, however often one looks; 1 while nothing is known. */
  readonly rateBelow: number;
  /** Legacy and legacy. */
  readonly noise: Differing;
}

/** The two tests of one field, and what they have taken. */
interface Field {
  readonly ratio: RatioDetector;
  readonly absolute: AbsoluteDetector;
  readonly firstLog: number;
  isReal: boolean;
  isConstant: boolean;
  /** Pairs that differed, when the last tick was taken. */
  pairsAtTick: number;
  /** The same of both kinds, when noise was last looked at. */
  pairsAtBatch: number;
  noiseAtBatch: number;
}

/**
 * Judges the fields of one route, tick by tick, from totals.
 *
 * **A real difference** is one that pairs of legacy and the candidate have more often than pairs of legacy and legacy,
 * beyond a ratio of 1.2. If both have it equally often, each differing pair is one with the candidate with
 * probability w, the share of such pairs among all; RatioDetector bets against that. Evidence is taken whenever there
 * are new pairs of both kinds, with the w of exactly those: so a field that always differs never looks like a
 * difference, and while no noise is measured nothing is concluded from its absence. A difference stays real for as
 * long as the judge lives.
 *
 * **Without noise pairs**, fewer than 20 of them, a field that differs in clearly more than 0.1 % of the pairs is
 * called a "difference, noise not measured". The tick in which a field first differs is no evidence for that: the
 * field is only looked at because it did.
 *
 * **False reports**: of all fields together, by either test, with probability 1e-3 at most in 30 days of mirroring,
 * and half as much again in each 30 days more. Each of 500 fields and 2 tests gets 1e-6: half at its beginning and half
 * spread over the time. This holds if copies for noise are chosen by chance before it is known how a request goes, and
 * are sent when those for the candidate are.
 *
 * **Totals** may come late and in any portions. Where one got smaller, a worker's totals were lost: that tick is no
 * evidence, and the next one goes on from there. Whoever adds up keeps the last totals of those who are gone: totals
 * that come back would count twice. OTHER_FIELD is only counted: it is many fields at once. Memory: 2 KiB a field.
 */
export class ComparisonJudge {
  readonly #fields = new Map<string, Field>();
  #counts: ComparisonCounts = NO_COMPARISONS;
  #pairsAtBatch = 0;
  #noiseAtBatch = 0;
  #second = 0;

  /** Takes totals: those of the tick before, and what was added since. `nowMs` never goes back. */
  tick(nowMs: number, counts: ComparisonCounts): void {
    assert(nowMs >= 0 && nowMs < Infinity, "time is a number");
    this.#second = Math.max(this.#second, Math.floor(nowMs / 1000));
    const before = this.#counts;
    this.#counts = counts;
    const totals = new Map(counts.fields);
    if (hasShrunk(before, counts, totals)) this.#rebase(totals);
    else this.#take(comparedOf(counts.pairs) - comparedOf(before.pairs), totals);
  }

  /** The fields that ever differed: the real differences first, and then by how often they differ. */
  get fields(): readonly FieldReport[] {
    const reports = this.#counts.fields.map(([name, counts]) => this.#reportOf(name, counts));
    const place = ({ verdict }: FieldReport): number => VERDICT_ORDER.indexOf(verdict);
    return reports.toSorted(
      (a, b) => place(a) - place(b) || b.pairs.differing - a.pairs.differing || (a.field < b.field ? -1 : 1),
    );
  }

  get summary(): ComparisonSummary {
    const { pairs, noise } = this.#counts;
    const compared = comparedOf(pairs);
    return {
      compared,
      ...pairs,
      rate: compared === 0 ? null : pairs.mismatched / compared,
      rateBelow: upperRate(pairs.mismatched, compared),
      noise: { differing: noise.mismatched, compared: comparedOf(noise) },
    };
  }

  /** Whether the mismatch rate was shown to be below `rate` (above 0, below 1), with 99 % confidence. */
  isProvenBelow(rate: number): boolean {
    const { pairs } = this.#counts;
    return proofLog(pairs.mismatched, comparedOf(pairs), rate) >= PROOF_BAR_LOG;
  }

  get #isNoiseMeasured(): boolean {
    return comparedOf(this.#counts.noise) >= NOISE_PAIRS_LEAST;
  }

  /** Takes what was added, with `compared` the new pairs of legacy and the candidate. */
  #take(compared: number, totals: ReadonlyMap<string, FieldCounts>): void {
    for (const [name, field] of this.#fields) {
      const total = totals.get(name);
      if (total === undefined) continue;
      if (!this.#isNoiseMeasured) this.#takeAlone(field, compared, total);
      field.pairsAtTick = total.pairs;
    }
    for (const [name, total] of totals) {
      if (name === OTHER_FIELD || this.#fields.has(name) || this.#fields.size >= FIELDS_MAX) continue;
      this.#fields.set(name, newField(total.pairs));
    }
    this.#takeBatch(totals);
  }

  #takeAlone(field: Field, compared: number, { pairs }: FieldCounts): void {
    const failures = Math.min(compared, pairs - field.pairsAtTick);
    field.absolute.add(this.#second, { failures, requests: compared });
    field.isConstant ||= field.absolute.logMean >= 0;
  }

  /** Takes everything since noise was last looked at, if there are new pairs of both kinds. */
  #takeBatch(totals: ReadonlyMap<string, FieldCounts>): void {
    const [compared, noise] = [comparedOf(this.#counts.pairs), comparedOf(this.#counts.noise)];
    const [newPairs, newNoise] = [compared - this.#pairsAtBatch, noise - this.#noiseAtBatch];
    if (newPairs === 0 || newNoise === 0) return;
    const w = newPairs / (newPairs + newNoise);
    for (const [name, field] of this.#fields) {
      const total = totals.get(name);
      if (total === undefined) continue;
      const kNew = Math.min(newPairs, total.pairs - field.pairsAtBatch);
      const k = kNew + Math.min(newNoise, total.noise - field.noiseAtBatch);
      if (k > 0) field.ratio.add(this.#second, [{ kNew, k, w }]);
      field.isReal ||= field.ratio.logMean >= 0;
      field.pairsAtBatch = total.pairs;
      field.noiseAtBatch = total.noise;
    }
    this.#pairsAtBatch = compared;
    this.#noiseAtBatch = noise;
  }

  /** Goes on from these totals, without evidence. */
  #rebase(totals: ReadonlyMap<string, FieldCounts>): void {
    this.#pairsAtBatch = comparedOf(this.#counts.pairs);
    this.#noiseAtBatch = comparedOf(this.#counts.noise);
    for (const [name, field] of this.#fields) {
      const { pairs, noise } = totals.get(name) ?? { pairs: 0, noise: 0 };
      field.pairsAtTick = pairs;
      field.pairsAtBatch = pairs;
      field.noiseAtBatch = noise;
    }
  }

  #reportOf(name: string, counts: FieldCounts): FieldReport {
    const field = this.#fields.get(name);
    const { firstSeenMs, lastSeenMs, samples } = counts;
    return {
      field: name,
      ...this.#verdictOf(field, counts),
      pairs: { differing: counts.pairs, compared: comparedOf(this.#counts.pairs) },
      noise: { differing: counts.noise, compared: comparedOf(this.#counts.noise) },
      firstSeenMs,
      lastSeenMs,
      samples,
    };
  }

  #verdictOf(
    field: Field | undefined,
    { noise }: FieldCounts,
  ): { readonly verdict: FieldVerdict; readonly evidence: number } {
    if (field === undefined) return { verdict: "not decided yet", evidence: 0 };
    if (field.isReal) return { verdict: "real difference", evidence: 10 };
    if (this.#isNoiseMeasured) {
      const evidence = scoreOf(field.ratio.logMean, field.firstLog);
      const isNoise = noise > 0 && evidence < QUIET_SCORE;
      return { verdict: isNoise ? "known noise" : "not decided yet", evidence };
    }
    if (field.isConstant) return { verdict: "difference, noise not measured", evidence: 10 };
    return { verdict: "not decided yet", evidence: scoreOf(field.absolute.logMean, field.firstLog) };
  }
}

/** The summary in one line: `412,007 compared, mismatch rate below 0.02 % with 99 % confidence`. */
export function explainComparison({ compared, rateBelow, noise }: ComparisonSummary): string {
  if (compared === 0) return "nothing compared yet";
  const count = compared.toLocaleString("en");
  const bound = `mismatch rate below ${percentAbove(rateBelow)} % with ${100 * CONFIDENCE} % confidence`;
  const line = `${count} compared, ${bound}`;
  if (noise.compared === 0) return `${line}; legacy's own noise not measured`;
  if (noise.differing === 0) return line;
  const share = Number(((100 * noise.differing) / noise.compared).toPrecision(2));
  return `${line}; legacy differed from itself in ${share} % of ${noise.compared.toLocaleString("en")}`;
}

function newField(pairs: number): Field {
  const spending = new Spending(BUDGET);
  const absolute = new AbsoluteDetector(new Spending(BUDGET));
  absolute.aim(UNMEASURED_RATE);
  const ratio = new RatioDetector(TOLERANCE, spending, DIFFERENCE_RATIOS);
  const { firstLog } = spending;
  return {
    ratio,
    absolute,
    firstLog,
    isReal: false,
    isConstant: false,
    pairsAtTick: pairs,
    pairsAtBatch: 0,
    noiseAtBatch: 0,
  };
}

/** Whether a total is smaller than before, in which case what was added since can't be told. */
function hasShrunk(
  before: ComparisonCounts,
  now: ComparisonCounts,
  totals: ReadonlyMap<string, FieldCounts>,
): boolean {
  if (comparedOf(now.pairs) < comparedOf(before.pairs)) return true;
  if (comparedOf(now.noise) < comparedOf(before.noise)) return true;
  return before.fields.some(([name, { pairs, noise }]) => {
    const total = totals.get(name);
    return total === undefined || total.pairs < pairs || total.noise < noise;
  });
}

/** Evidence from 0, where it starts or below, to 10, where it fires. */
function scoreOf(log: number, firstLog: number): number {
  return 10 * Math.min(1, Math.max(0, 1 - log / firstLog));
}

/** The least rate that is excluded; 1 if none is. */
function upperRate(events: number, compared: number): number {
  let inside = compared === 0 ? 1 : events / compared;
  let outside = 1;
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (inside + outside) / 2;
    if (middle < 1 && proofLog(events, compared, middle) >= PROOF_BAR_LOG) outside = middle;
    else inside = middle;
  }
  return outside;
}

/**
 * The logarithm of a bet on "less often than `rate`": the mean over alternatives of likelihood ratios.
 *
 * It reaches 100 with probability 1 % at most if events are as likely as `rate` or more, whenever one looks (Ville's
 * inequality). For rates above events / compared it grows with the rate.
 */
function proofLog(events: number, compared: number, rate: number): number {
  assert(rate > 0 && rate < 1, "a rate to be excluded is between 0 and 1");
  const others = compared - events;
  const logs = PROOF_FRACTIONS.map((fraction) => {
    const lessOften = Math.log1p(-rate * fraction) - Math.log1p(-rate);
    return events * Math.log(fraction) + others * lessOften;
  });
  return logMean(logs);
}

/** A rate in percent with two digits that count, never below it. */
function percentAbove(rate: number): string {
  const percent = 100 * rate;
  const unit = 10 ** (Math.floor(Math.log10(percent)) - 1);
  return String(Number((Math.ceil(percent / unit - 1e-9) * unit).toPrecision(3)));
}
