/** The judge of one route: what happened since the last tick goes in, whether to hold or roll back comes out. */
import { assert } from "../base/fault.ts";
import { AbsoluteDetector, Proof, Spending, type Budget, type Seen } from "./evidence.ts";
import { LATENCY_BUCKETS } from "./latency.ts";
import { rateInterval } from "./rate.ts";
import { ROLLBACK_SIGNALS } from "./route.ts";
import { ShareWindow } from "./share.ts";
import { countAbove, SLOW_EVENTS, SlowThresholds } from "./slowness.ts";
import { Tier, type Signal, type SlowCounts } from "./tier.ts";
import { Judged, SLOW_COLUMNS, type Action, type Facts, type ScoreLogs, type Verdict } from "./verdict.ts";
import type { Counts } from "./window.ts";

/** What one backend added since the tick before. Failures are some of the requests, one per client and second. */
export interface Side {
  readonly requests: number;
  readonly failures: number;
  /** [bucket of domain/latency, answers], each bucket once. */
  readonly latency: Counts;
}

/** What happened on a route since the tick before. Ticks may be of any length, and counts may come late. */
export interface Tick {
  /** From a clock that never goes back. */
  readonly nowMs: number;
  /** The weight of the candidate as configured, 0 to 1. */
  readonly candidateShare: number;
  readonly legacy: Side;
  readonly candidate: Side;
}

/** How a route is judged. */
export interface JudgePolicy {
  /** The signals that may hold and roll back; the others are only shown. */
  readonly on: readonly Signal[];
  /** The candidate may fail this many times as often as legacy before it is rolled back. */
  readonly tolerance: number;
  /** Probability of a rollback without a cause, per planned stage. */
  readonly falseAlarm: number;
  /** Where legacy has almost no errors: below this failure rate the candidate is held, not rolled back. 0 for none. */
  readonly floor: number;
  /** The failure rate that a proof excludes, for stages that name none. */
  readonly margin: number;
}

/** The policy of a route that says nothing. */
export const JUDGE_DEFAULTS: JudgePolicy = Object.freeze({
  on: ROLLBACK_SIGNALS,
  tolerance: 1.5,
  falseAlarm: 0.001,
  floor: 0.005,
  margin: 0.01,
});

/** One rollback without a cause in 30 days is tolerated besides. */
const ROLLBACK_SECONDS = 2_592_000;
/** A hold needs no more than "worse at all", and may be wrong more often: it costs time, not traffic. */
const HOLD_TOLERANCE = 1;
const HOLD_BUDGET: Budget = { falseAlarm: 0.01, runLengthSeconds: 604_800 };
/** Evidence for a hold grows no further than this, so that it can come down again, and ends at a tenth of the bar. */
const HOLD_CEILING = 1000;
const HOLD_END_LOG = Math.log(0.1);
/** Legacy has almost no errors below this fraction of the floor. */
const QUIET_FRACTION = 0.2;
/** At 100 % this many times legacy's highest possible rate is tolerated, and never less than the least. */
const ABSOLUTE_FACTOR = 3;
const ABSOLUTE_LEAST = 0.005;
/** A stage with fewer requests of legacy does not replace what an earlier one with more has shown. */
const LEGACY_REQUESTS = 1000;
/** More than this in one tick is taken as this. */
const COUNT_MAX = 1e9;

const NOTHING: Seen = Object.freeze({ failures: 0, requests: 0 });
const NO_SLOW: readonly number[] = SLOW_EVENTS.flatMap(() => [0, 0, 0, 0]);
const NOT_COMPARED: readonly null[] = SLOW_EVENTS.map(() => null);

/** A sum that grows. */
interface Sum {
  failures: number;
  requests: number;
}

/**
 * Judges one route, tick by tick.
 *
 * **Tiers.** Two tiers look at the same counts: rollback (tolerance 1.5, rarely wrong) and hold (tolerance 1, earlier).
 * The share w in both is the larger of the weight and the share of the last minute, which errs towards no alarm while
 * a weight changes and where clients differ in how much they ask.
 *
 * **Between 0 and 100 %** the two backends are compared. **At 100 %** the candidate's failure rate is judged against
 * the larger of 0.5 % and three times the upper bound of legacy's in the last stage that had legacy traffic. **At 0 %**
 * nothing is judged, evidence is forgotten, and what still comes from the candidate is ignored.
 *
 * **A stage** that was planned brings a fresh budget for false alarms, fresh evidence and a fresh proof. Any other
 * change of the weight keeps all of it, so that many small edits can't add up to many false alarms.
 *
 * **A rollback** stays the verdict until the weight is 0 or a stage begins. Where legacy has almost no errors any
 * failure is "many times as often". So where legacy was shown to fail less than a fifth of the floor, a rollback for
 * errors also needs the candidate to be shown above the floor, by a detector of its own, and is a hold until then.
 *
 * **A hold** begins when its evidence reaches 1: that the candidate is worse than legacy, or that it fails more often
 * than the margin, however legacy does, so that nothing goes on where both fail alike. It ends when that is down to
 * 0.1; or, as without any failures it can't come down, when since it began the candidate was proven below the margin
 * and failed no more often than legacy. What was proven before a hold no longer counts.
 *
 * Few requests need no rule of their own: a failure multiplies evidence by less than 200, so one alone never fires, and
 * without traffic nothing changes. Memory: 35 KiB at most, nearly all of it legacy's latency. A tick takes the same
 * time whatever came before, but for the thresholds every 10 s.
 */
export class RouteJudge {
  readonly #policy: JudgePolicy;
  readonly #rollback: Tier;
  readonly #hold: Tier;
  /** Whether the candidate fails more often than the floor. */
  readonly #floorSpending = new Spending(HOLD_BUDGET);
  readonly #aboveFloor = new AbsoluteDetector(this.#floorSpending, HOLD_CEILING);
  /** Whether the candidate fails more often than the margin, however legacy does. */
  readonly #marginSpending = new Spending(HOLD_BUDGET);
  readonly #aboveMargin = new AbsoluteDetector(this.#marginSpending, HOLD_CEILING);
  readonly #share = new ShareWindow();
  readonly #thresholds = new SlowThresholds();
  readonly #seen = { legacy: newSum(), candidate: newSum() };
  readonly #sinceHold = { legacy: newSum(), candidate: newSum() };
  /** Slow answers since the stage began, as Facts has them; replaced, never changed. */
  #slow = NO_SLOW;
  #proof: Proof;
  /** While holding: requests of the candidate before which a complete proof does not count. */
  #proofRequestsMin = 0;
  #stage = 0;
  #second = 0;
  #candidateShare = 0;
  /** Legacy in the last stage in which it had traffic. */
  #legacyBefore: Seen = newSum();
  #action: Action = "none";
  #signal: Signal | null = null;

  constructor(policy: JudgePolicy) {
    assert(policy.floor >= 0 && policy.floor <= 1, "a floor is a rate");
    const { on, tolerance, falseAlarm } = policy;
    const rollback = { falseAlarm, runLengthSeconds: ROLLBACK_SECONDS };
    this.#policy = policy;
    this.#rollback = new Tier({ on, tolerance, budget: rollback, ceiling: Infinity });
    this.#hold = new Tier({ on, tolerance: HOLD_TOLERANCE, budget: HOLD_BUDGET, ceiling: HOLD_CEILING });
    this.#proof = new Proof(policy.margin);
    this.#aboveMargin.aim(policy.margin);
    if (policy.floor > 0) this.#aboveFloor.aim(policy.floor);
  }

  /**
   * A planned stage begins. Stages of a route are counted up for as long as it lives: a number that is not above the
   * last one changes nothing, so that a stage can't be begun twice. The judge starts in stage 0.
   */
  beginStage(plannedStage: number, margin: number = this.#policy.margin): void {
    assert(Number.isSafeInteger(plannedStage), "stages are counted");
    if (plannedStage <= this.#stage) return;
    this.#stage = plannedStage;
    this.#rememberLegacy();
    this.#rollback.renew();
    this.#hold.renew();
    this.#floorSpending.renew();
    this.#marginSpending.renew();
    this.#aboveFloor.forget();
    this.#beginFigures(margin);
    if (this.#candidateShare === 1) this.#aim();
  }

  /** Takes what happened since the tick before. Counts that can't be are taken as the nearest that can. */
  tick(tick: Tick): Verdict {
    const { nowMs, candidateShare } = tick;
    assert(nowMs >= 0 && nowMs < Infinity, "time is a number");
    assert(candidateShare >= 0 && candidateShare <= 1, "a share is between 0 and 1");
    this.#second = Math.max(this.#second, Math.floor(nowMs / 1000));
    const [legacy, candidate] = [cleanSide(tick.legacy), cleanSide(tick.candidate)];
    this.#follow(candidateShare);
    if (candidateShare === 0) this.#share.add(this.#second, NOTHING, legacy);
    else this.#judge(legacy, candidate);
    this.#thresholds.add(this.#second, legacy.latency);
    return new Judged(this.#action, this.#signal, this.#facts());
  }

  #judge(legacy: Side, candidate: Side): void {
    this.#share.add(this.#second, candidate, legacy);
    if (this.#candidateShare === 1) {
      this.#rollback.alone(this.#second, candidate);
      this.#hold.alone(this.#second, candidate);
    } else {
      const w = Math.max(this.#candidateShare, this.#share.candidateShare);
      const slow = this.#countSlow(legacy, candidate);
      this.#rollback.compare(this.#second, w, candidate, legacy, slow);
      this.#hold.compare(this.#second, w, candidate, legacy, slow);
      this.#aboveFloor.add(this.#second, candidate);
      this.#aboveMargin.add(this.#second, candidate);
    }
    this.#proof.add(candidate);
    for (const sums of [this.#seen, this.#sinceHold]) {
      addTo(sums.legacy, legacy);
      addTo(sums.candidate, candidate);
    }
    this.#decide();
  }

  /** Follows the weight from one tick to the next. */
  #follow(candidateShare: number): void {
    const before = this.#candidateShare;
    this.#candidateShare = candidateShare;
    if (candidateShare === 0 && before > 0) {
      this.#rollback.forget();
      this.#hold.forget();
      this.#aboveFloor.forget();
      this.#aboveMargin.forget();
      this.#act("none", null);
    }
    if (candidateShare > 0 && before === 0) this.#restart();
    if (candidateShare === 1 && before < 1) this.#aim();
  }

  /** The candidate gets traffic again: what was counted before is history, what was spent stays spent. */
  #restart(): void {
    this.#rememberLegacy();
    this.#beginFigures(this.#proof.margin);
  }

  #beginFigures(margin: number): void {
    this.#proof = new Proof(margin);
    this.#aboveMargin.aim(margin);
    for (const sum of [this.#seen.legacy, this.#seen.candidate]) clear(sum);
    this.#slow = NO_SLOW;
    this.#act("none", null);
  }

  /** Keeps what legacy did in this stage, unless that is less than what is known and too little to judge by. */
  #rememberLegacy(): void {
    const { legacy } = this.#seen;
    const isEnough = legacy.requests >= Math.min(LEGACY_REQUESTS, this.#legacyBefore.requests);
    if (isEnough && legacy.requests > 0) this.#legacyBefore = { ...legacy };
  }

  #aim(): void {
    this.#rememberLegacy();
    const { failures, requests } = this.#legacyBefore;
    const highest = requests === 0 ? 0 : rateInterval(failures, requests).high;
    const tolerated = Math.max(ABSOLUTE_LEAST, ABSOLUTE_FACTOR * highest);
    this.#rollback.aim(tolerated);
    this.#hold.aim(tolerated);
    this.#aboveMargin.forget();
  }

  #countSlow(legacy: Side, candidate: Side): readonly (SlowCounts | null)[] {
    const thresholds = this.#thresholds.at(this.#second);
    if (thresholds.every((threshold) => threshold === null)) return NOT_COMPARED;
    const slow = [...this.#slow];
    const add = (column: number, count: number): void => {
      slow[column] = (slow[column] as number) + count;
    };
    const answers = [countAbove(legacy.latency, -1), countAbove(candidate.latency, -1)] as const;
    const counted = thresholds.map((threshold, i) => {
      if (threshold === null) return null;
      const slowOnLegacy = countAbove(legacy.latency, threshold);
      const kNew = countAbove(candidate.latency, threshold);
      [slowOnLegacy, answers[0], kNew, answers[1]].forEach((count, column) =>
        add(SLOW_COLUMNS * i + column, count),
      );
      return { kNew, k: kNew + slowOnLegacy };
    });
    this.#slow = slow;
    return counted;
  }

  #decide(): void {
    if (this.#action === "rollback") return;
    // Without a failure of the candidate errors say nothing, whatever the stakes have added up to.
    const silent = this.#seen.candidate.failures === 0 ? "errors" : null;
    const isFiring = this.#rollback.logMean(silent) >= 0;
    const without = isFiring && this.#isBelowFloor() ? "errors" : silent;
    if (isFiring && this.#rollback.logMean(without) >= 0) {
      this.#act("rollback", without === null ? this.#rollback.strongest() : "latency");
    } else if (this.#action === "none") {
      if (this.#hold.logMean(silent) >= 0) this.#beginHold(this.#hold.strongest());
      else if (isFiring || this.#aboveMarginLog >= 0) this.#beginHold("errors");
    } else if (this.#hasHoldEnded()) this.#act("none", null);
  }

  /** The evidence that the candidate fails more often than the margin, where errors count. */
  get #aboveMarginLog(): number {
    return this.#policy.on.includes("errors") ? this.#aboveMargin.logMean : -Infinity;
  }

  /** Whether legacy was shown to have almost no errors, and the candidate was not shown to have more than a few. */
  #isBelowFloor(): boolean {
    const { floor } = this.#policy;
    if (this.#candidateShare === 1 || floor === 0 || this.#aboveFloor.logMean >= 0) return false;
    const { failures, requests } = this.#seen.legacy;
    return rateInterval(failures, requests).high < QUIET_FRACTION * floor;
  }

  #beginHold(signal: Signal): void {
    this.#beginProof(0);
    this.#act("hold", signal);
  }

  #beginProof(requestsMin: number): void {
    this.#proof = new Proof(this.#proof.margin);
    this.#proofRequestsMin = requestsMin;
    for (const sum of [this.#sinceHold.legacy, this.#sinceHold.candidate]) clear(sum);
  }

  #hasHoldEnded(): boolean {
    if (this.#holdLog() <= HOLD_END_LOG) return true;
    const { legacy, candidate } = this.#sinceHold;
    const isEarly = !this.#proof.isComplete || candidate.requests < this.#proofRequestsMin;
    if (this.#signal !== "errors" || isEarly) return false;
    const isNoWorse = candidate.failures * legacy.requests <= legacy.failures * candidate.requests;
    if (!isNoWorse) {
      // A burst that is over would count for ever where nothing fails any more. Twice as long, so that whoever goes on
      // failing is not let go by chance.
      this.#beginProof(2 * candidate.requests);
      return false;
    }
    this.#hold.forget("errors");
    this.#rollback.forget("errors");
    this.#aboveMargin.forget();
    return this.#hold.logMean() <= HOLD_END_LOG;
  }

  /** The most evidence there is for a hold. */
  #holdLog(): number {
    return Math.max(this.#hold.logMean(), this.#rollback.logMean(), this.#aboveMarginLog);
  }

  #act(action: Action, signal: Signal | null): void {
    this.#action = action;
    this.#signal = signal;
  }

  #facts(): Facts {
    return {
      stage: this.#stage,
      candidateShare: this.#candidateShare,
      legacy: { ...this.#seen.legacy },
      candidate: { ...this.#seen.candidate },
      recent: this.#share.recent,
      rollback: scoreLogsOf(this.#rollback),
      hold: scoreLogsOf(this.#hold),
      slow: this.#slow,
      thresholds: this.#thresholds.at(this.#second),
      margin: this.#proof.margin,
      isAboveMargin: this.#aboveMarginLog > HOLD_END_LOG,
      isProven: this.#proof.isComplete,
      logBets: this.#proof.logBets,
      candidatePerSecond: this.#share.candidatePerSecond,
    };
  }
}

function scoreLogsOf(tier: Tier): ScoreLogs {
  return {
    firstLog: tier.firstLog,
    all: tier.logMean(),
    errors: tier.scoreLog("errors"),
    latency: tier.scoreLog("latency"),
  };
}

function newSum(): Sum {
  return { failures: 0, requests: 0 };
}

function clear(sum: Sum): void {
  sum.failures = 0;
  sum.requests = 0;
}

function addTo(sum: Sum, { failures, requests }: Seen): void {
  sum.failures += failures;
  sum.requests += requests;
}

/** Counts as they can be. They come from other processes and instances: a broken one must not decide anything. */
function cleanSide({ requests, failures, latency }: Side): Side {
  const clean = cleanCount(requests);
  return {
    requests: clean,
    failures: Math.min(clean, cleanCount(failures)),
    latency: latency.length === 0 ? latency : cleanCounts(latency),
  };
}

function cleanCounts(latency: Counts): Counts {
  return latency
    .map(([bucket, count]) => [bucket, cleanCount(count)] as const)
    .filter(([bucket]) => Number.isInteger(bucket) && bucket >= 0 && bucket < LATENCY_BUCKETS);
}

function cleanCount(count: number): number {
  return count > 0 ? Math.min(COUNT_MAX, Math.floor(count)) : 0;
}
