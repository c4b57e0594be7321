/** Evidence that something is worse (or good enough), which may be looked at after every tick without cheating. */
import { assert } from "../base/fault.ts";

/** The alternatives a detector of failures bets on: the candidate fails this many times what is tolerated. */
const FAILURE_RATIOS: readonly number[] = [3, 8, 20, 60, 200];
/** The same for the absolute test: this many times the rate that is tolerated. */
const ABSOLUTE_RATIOS: readonly number[] = [2, 4, 8, 16, 40, 120];
/** The alternatives of a proof: the candidate fails this fraction of the margin. */
const PROOF_FRACTIONS: readonly number[] = [0.02, 0.1, 0.2, 0.4, 0.6];
/** A proof is complete when the mean bet has grown to this much: wrong in at most 1 of 20 stages. */
const PROOF_BAR = 20;
/** A proof that needs more requests than this never comes. */
const REQUESTS_MAX = 1e12;
/** No alternative of the absolute test is above this, and no tolerated rate above the other. */
const RATE_MAX = 0.99;
const TOLERATED_RATE_MAX = 0.5;

/** What one stream may spend on false alarms: `falseAlarm` per planned stage, and one in `runLengthSeconds`. */
export interface Budget {
  readonly falseAlarm: number;
  readonly runLengthSeconds: number;
}

/** Events (failures, slow answers) of requests that are alike: of the candidate, of both, and its true share. */
export interface Stratum {
  readonly kNew: number;
  readonly k: number;
  /** The probability that a request goes to the candidate. */
  readonly w: number;
}

/**
 * Hands out the stakes of a stream: g_m = a / (m (m + 1)) + 1 / A, at most one in a whole second.
 *
 * All stakes of a stage add up to at most a + t / A for t seconds, so by Ville's inequality on "R plus what is not
 * spent yet" the chance that R reaches 1 within them without a cause is no larger. A counts seconds, ticks may be
 * shorter: later ticks of a second multiply R and get no stake, so after each second R is exactly what one tick of a
 * second would have made of it, while an alarm may come within the second. A tick longer than a second gets one stake.
 */
export class Spending {
  /** The logarithm of the first stake of a stage: where evidence starts. */
  readonly firstLog: number;
  readonly #budget: Budget;
  #stakes = 0;
  #second = -Infinity;

  constructor(budget: Budget) {
    assert(budget.falseAlarm > 0 && budget.falseAlarm < 1, "a false alarm has a probability");
    assert(budget.runLengthSeconds >= 1, "false alarms are at least a second apart");
    this.#budget = budget;
    this.firstLog = Math.log(budget.falseAlarm / 2 + 1 / budget.runLengthSeconds);
  }

  /** The logarithm of the stake for this second, or null when it has been handed out. */
  next(second: number): number | null {
    if (second <= this.#second) return null;
    this.#second = second;
    const m = ++this.#stakes;
    return Math.log(this.#budget.falseAlarm / (m * (m + 1)) + 1 / this.#budget.runLengthSeconds);
  }

  /** A new planned stage: `falseAlarm` may be spent again. */
  renew(): void {
    this.#stakes = 0;
  }
}

/** Failures and requests of one side. */
export interface Seen {
  readonly failures: number;
  readonly requests: number;
}

/**
 * The e-detector of Shiryaev and Roberts over several alternatives: R_j <- (R_j + g) E_j.
 *
 * Shin, Ramdas, Rinaldo, "E-detectors", NEJSDS 2024 (arXiv 2203.03532). It fires when the mean of R_j reaches 1.
 * Everything is kept as a logarithm, so nothing overflows.
 */
class Detector {
  readonly #spending: Spending;
  readonly #logCeiling: number;
  readonly #logR: Float64Array;
  #logMean = -Infinity;

  constructor(alternatives: number, spending: Spending, logCeiling: number) {
    this.#spending = spending;
    this.#logCeiling = logCeiling;
    this.#logR = new Float64Array(alternatives).fill(-Infinity);
  }

  /** The logarithm of the mean R; it fires at 0. */
  get logMean(): number {
    return this.#logMean;
  }

  /** Takes a tick that says something: ln E of each alternative. */
  take(second: number, logFactors: Float64Array): void {
    const stake = this.#spending.next(second);
    for (let j = 0; j < this.#logR.length; j++) {
      const before = this.#logR[j] as number;
      const staked = stake === null ? before : logAdd(before, stake);
      this.#logR[j] = Math.min(this.#logCeiling, staked + (logFactors[j] as number));
    }
    this.#logMean = logMean(this.#logR);
  }

  forget(): void {
    this.#logR.fill(-Infinity);
    this.#logMean = -Infinity;
  }
}

/**
 * Whether the candidate has more events than legacy, beyond a tolerated ratio of their rates.
 *
 * If both have them equally often, each event lies on the candidate with probability w whatever the rate is, also
 * while it changes. Tolerating a ratio `tolerance` makes that f = tolerance w / (tolerance w + 1 - w), and a tick gives
 * ln E = kNew ln psi - k ln(1 + (psi - 1) f). Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data",
 * NeurIPS 2022 (arXiv 2011.03567).
 */
export class RatioDetector {
  readonly #tolerance: number;
  readonly #ratios: readonly number[];
  readonly #logRatios: readonly number[];
  readonly #factors: Float64Array;
  readonly #detector: Detector;

  /** `ceiling` bounds each R, so that it can come down again; Infinity for none. */
  constructor(tolerance: number, spending: Spending, ratios = FAILURE_RATIOS, ceiling = Infinity) {
    assert(tolerance >= 1 && tolerance < Infinity, "a tolerated ratio is at least 1");
    this.#tolerance = tolerance;
    this.#ratios = ratios;
    this.#logRatios = ratios.map(Math.log);
    this.#factors = new Float64Array(ratios.length);
    this.#detector = new Detector(ratios.length, spending, Math.log(ceiling));
  }

  /** The logarithm of the mean R; it fires at 0. */
  get logMean(): number {
    return this.#detector.logMean;
  }

  /** Takes a tick: its strata, whose ln E add up. Without an event nothing changes. */
  add(second: number, strata: readonly Stratum[]): void {
    let events = 0;
    this.#factors.fill(0);
    for (const { kNew, k, w } of strata) {
      assert(
        kNew >= 0 && k >= kNew && k < Infinity && w >= 0 && w <= 1,
        "events are counts, w a probability",
      );
      events += k;
      if (k > 0) this.#multiply(kNew, k, w);
    }
    if (events > 0) this.#detector.take(second, this.#factors);
  }

  /** Starts anew; what was spent stays spent. */
  forget(): void {
    this.#detector.forget();
  }

  #multiply(kNew: number, k: number, w: number): void {
    const f = (this.#tolerance * w) / (this.#tolerance * w + 1 - w);
    for (let j = 0; j < this.#factors.length; j++) {
      const expected = Math.log1p(((this.#ratios[j] as number) - 1) * f);
      this.#factors[j] = (this.#factors[j] as number) + kNew * (this.#logRatios[j] as number) - k * expected;
    }
  }
}

/** Whether the candidate fails more often than a fixed rate: for when there is no legacy traffic to compare with. */
export class AbsoluteDetector {
  readonly #detector: Detector;
  readonly #factors = new Float64Array(ABSOLUTE_RATIOS.length);
  #tolerated = TOLERATED_RATE_MAX;

  /** `ceiling` as for RatioDetector. */
  constructor(spending: Spending, ceiling = Infinity) {
    this.#detector = new Detector(ABSOLUTE_RATIOS.length, spending, Math.log(ceiling));
  }

  /** The logarithm of the mean R; it fires at 0. */
  get logMean(): number {
    return this.#detector.logMean;
  }

  /** Starts anew against a tolerated rate; above one half it is taken as one half. What was spent stays spent. */
  aim(tolerated: number): void {
    assert(tolerated > 0, "a tolerated rate is above 0");
    this.#tolerated = Math.min(TOLERATED_RATE_MAX, tolerated);
    this.forget();
  }

  /** Takes a tick. Unlike with a ratio, requests that went well count too. */
  add(second: number, { failures, requests }: Seen): void {
    assert(failures >= 0 && requests >= failures && requests < Infinity, "failures are some of the requests");
    if (requests === 0) return;
    const p0 = this.#tolerated;
    for (let j = 0; j < this.#factors.length; j++) {
      const p1 = Math.min(RATE_MAX, p0 * (ABSOLUTE_RATIOS[j] as number));
      this.#factors[j] = logRatio(failures, requests, p1, p0);
    }
    this.#detector.take(second, this.#factors);
  }

  /** Starts anew; what was spent stays spent. */
  forget(): void {
    this.#detector.forget();
  }
}

/**
 * The proof that the candidate fails less often than a margin: a bet that grows while it does.
 *
 * Each alternative is a likelihood ratio against "exactly the margin", and their mean an e-process against every rate
 * from the margin on: it reaches 20 with probability 5 % at most, however often one looks. Once complete it stays.
 */
export class Proof {
  readonly margin: number;
  readonly #logE = new Float64Array(PROOF_FRACTIONS.length);
  #isComplete = false;

  constructor(margin: number) {
    assert(margin > 0 && margin <= TOLERATED_RATE_MAX, "a margin is a rate of at most one half");
    this.margin = margin;
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** The logarithms of the bets as they are now, for `requestsToProof`. */
  get logBets(): readonly number[] {
    return [...this.#logE];
  }

  add({ failures, requests }: Seen): void {
    assert(failures >= 0 && requests >= failures && requests < Infinity, "failures are some of the requests");
    if (requests === 0) return;
    for (let j = 0; j < this.#logE.length; j++) {
      const p1 = this.margin * (PROOF_FRACTIONS[j] as number);
      this.#logE[j] = (this.#logE[j] as number) + logRatio(failures, requests, p1, this.margin);
    }
    this.#isComplete ||= logMean(this.#logE) >= Math.log(PROOF_BAR);
  }
}

/** How many more requests a proof is expected to need while failures keep coming at `rate`; null if it never ends. */
export function requestsToProof(logBets: readonly number[], margin: number, rate: number): number | null {
  const growths = PROOF_FRACTIONS.map((fraction) => {
    const p1 = margin * fraction;
    return rate * Math.log(p1 / margin) + (1 - rate) * Math.log((1 - p1) / (1 - margin));
  });
  const isEnough = (requests: number): boolean =>
    logMean(logBets.map((log, j) => log + requests * (growths[j] as number))) >= Math.log(PROOF_BAR);
  if (isEnough(0)) return 0;
  if (Math.max(...growths) <= 0) return null;
  let high = 1;
  for (; !isEnough(high); high *= 2) if (high > REQUESTS_MAX) return null;
  // The mean of exponentials is convex, so it crosses the bar once.
  for (let low = high / 2; high - low > 1;) {
    const middle = (low + high) / 2;
    if (isEnough(middle)) high = middle;
    else low = middle;
  }
  return Math.ceil(high);
}

/** The logarithm of the likelihood of some failures at rate `p1` over that at `p0`, both between 0 and 1. */
function logRatio(failures: number, requests: number, p1: number, p0: number): number {
  return failures * Math.log(p1 / p0) + (requests - failures) * (Math.log1p(-p1) - Math.log1p(-p0));
}

/**
 * The logarithm of the mean of numbers given as logarithms; -Infinity without any.
 *
 * The mean of several detectors' R is one again, whatever they have to do with each other.
 * Vovk and Wang, "E-values: Calibration, combination and applications", Annals of Statistics 2021.
 */
export function logMean(logs: ArrayLike<number>): number {
  let most = -Infinity;
  for (let i = 0; i < logs.length; i++) most = Math.max(most, logs[i] as number);
  if (most === -Infinity) return most;
  let sum = 0;
  for (let i = 0; i < logs.length; i++) sum += Math.exp((logs[i] as number) - most);
  return most + Math.log(sum / logs.length);
}

/** The logarithm of the sum of two numbers given as logarithms; `b` is finite. */
function logAdd(a: number, b: number): number {
  return a > b ? a + Math.log1p(Math.exp(b - a)) : b + Math.log1p(Math.exp(a - b));
}
