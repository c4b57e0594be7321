/** The words of rollouts: their plans, their freezes and their states. */

/** Days of the week in the order of ISO 8601, Monday first. */
export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

/** A day of the week. */
export type Day = (typeof DAYS)[number];

/**
 * A window of every week.
 *
 * Each of `days` begins a window of its own, which ends on the next day when `toMinute` is not after `fromMinute`.
 * So `fri, sat` from 16:00 to 08:00 leaves Saturday from 08:00 to 16:00 open.
 *
 * Times are those of the clocks in `zone`. When the clocks change, a freeze is rather too long than too short: a time
 * that occurs twice counts as the first for a beginning and as the second for an end; a time that does not occur
 * counts as one before the gap for a beginning, and after it for an end, by the length of the gap.
 */
export interface WeeklyFreeze {
  readonly days: readonly Day[];
  /** Minutes since midnight, 0 to 1439. */
  readonly fromMinute: number;
  /** 0 to 1440, which is the next midnight. */
  readonly toMinute: number;
  /** An IANA time zone. */
  readonly zone: string;
  readonly why: string | null;
}

/** A window that comes once, between two moments in Unix milliseconds; the second is no longer part of it. */
export interface SingleFreeze {
  readonly fromMs: number;
  readonly toMs: number;
  readonly why: string | null;
}

/** When no rollout may go on. */
export type FreezeWindow = WeeklyFreeze | SingleFreeze;

/** A freeze that is in force, and the wall-clock time at which it ends. */
export interface Freeze {
  readonly untilMs: number;
  readonly why: string | null;
}

/** The points at which gates are asked, in the order of a rollout. */
export const GATE_POINTS = [
  "pre-flight",
  "before-step",
  "after-step",
  "before-promote",
  "post-cutover",
  "on-rollback",
] as const;

/**
 * When a gate is asked: before the first weight; before and after every step; besides, before and after the step to
 * 100 %; after a rollback.
 */
export type GatePoint = (typeof GATE_POINTS)[number];

/** What may follow when a gate does not answer in time. */
export const ON_TIMEOUT = ["hold", "continue", "rollback"] as const;

/** How long a step stays. */
export interface Bake {
  /** At least so long; 0: as short as may be. */
  readonly bakeMs: number;
  /** Until the judge has proved that the candidate's failure rate is below the margin. */
  readonly proven: boolean;
}

/** One step: the candidate's weight, and how long it stays. */
export interface RolloutStep extends Bake {
  readonly shares: number;
}

/** Something outside that must agree before a rollout goes on. */
export interface Gate {
  readonly at: GatePoint;
  /** http or https. */
  readonly url: string;
  /** Of one try. */
  readonly timeoutMs: number;
  /** Tries after the first. */
  readonly retries: number;
  /** What follows when the last try had no answer in time. A gate that says no always holds. */
  readonly onTimeout: (typeof ON_TIMEOUT)[number];
  /** Only at steps with these weights; empty: at every step. */
  readonly steps: readonly number[];
}

/** What must be known of the answers before the candidate gets much traffic. */
export interface DifferencesBound {
  /** Higher weights begin only once it is proved. */
  readonly aboveShares: number;
  /** That fewer than so many percent of compared answers mismatch. */
  readonly belowPercent: number;
}

/** What an operator wants of a rollout. Steps grow; they need not end at 100 %. */
export interface RolloutPlan {
  readonly steps: readonly RolloutStep[];
  /** Candidate requests without which a step is never left. */
  readonly minRequests: number;
  /** Null: how often answers differ is no matter. */
  readonly differences: DifferencesBound | null;
  /** Percent of failures that `proven` means. */
  readonly marginPercent: number;
  /** From the start or the resume after it ran out; null: without end. */
  readonly maxDurationMs: number | null;
  readonly freeze: readonly FreezeWindow[];
  readonly gates: readonly Gate[];
}

/** Everything that a rollout can be doing. */
export const PHASES = [
  "pending",
  "progressing",
  "paused",
  "held",
  "promoted",
  "decommissioned",
  "rolled_back",
  "aborted",
] as const;

/** What a rollout does: see RolloutState. */
export type Phase = (typeof PHASES)[number];

/** The parts of a step, in their order. */
export const STAGES = ["entering", "baking", "leaving"] as const;

/**
 * The part of a step. `entering`: its weight is not set yet; gates and freezes come first. `baking`: its weight is
 * set. `leaving`: the bake is over; gates after it are asked.
 */
export type Stage = (typeof STAGES)[number];

/** Whatever may hold a rollout. */
export const HOLD_CAUSES = ["judge", "evidence", "gate", "max_duration", "plan"] as const;

/**
 * Why a rollout is held. `judge`: it has doubts, and `evidence`: it cannot be believed at the moment; both end by
 * themselves. `gate`: one said no or nothing, and `max_duration`: the time is over; both end by a person's resume.
 * `plan`: it was changed and has no step with the weight, or no step is left below 100 %; this ends by a resume too, if
 * the plan has a higher step.
 */
export type HoldCause = (typeof HOLD_CAUSES)[number];

/** Who may decide over a rollout. */
export const DECIDERS = ["person", "machine"] as const;

/** How far the gates of a stage are. They are asked one after the other, in the order of the plan. */
export interface GateProgress {
  /** How many have passed. */
  readonly passed: number;
  /** Where the one stands that was asked last. */
  readonly point: GatePoint;
  /** Tries so far of the first that has not passed. */
  readonly tries: number;
  /** The number of the call that has no answer yet, or null between two calls. */
  readonly call: number | null;
  /** When that call was made, or the last one ended. */
  readonly sinceMs: number;
}

/**
 * The state of a rollout. Nothing else decides how it goes on, so whoever reads it can carry on from it. Moments are
 * wall-clock times in Unix milliseconds.
 *
 * ```text
 *                          resume, or the cause is gone
 *                      +--------------------------------+
 *                      v                                |
 *   pending -----> progressing ------------> paused, held
 *            start     |        pause, hold      |
 *                      | all steps passed        | promote (from progressing too)
 *                      +-----------> promoted <--+
 *                                        |
 *                                        +--> decommissioned
 *
 *   progressing, paused, held, promoted -- rollback --> rolled_back -- start --> progressing, first step
 *   progressing, paused, held ----------- abort ------> aborted ------ start --> progressing, first step
 * ```
 *
 * **pending** was never started. The operator's split counts; `candidateShares` has no meaning yet and is 0.
 *
 * **progressing** goes through the steps. Each begins with its gates, sets its weight unless a freeze is in force,
 * bakes until time, requests and proof suffice, and ends with its gates. Only here may the weight grow by itself.
 *
 * **paused** was stopped by a person and waits for one. The weight stays; the bake goes on, because the judge looks on.
 *
 * **held** was stopped by the machine. The weight stays. After doubts of the judge or missing evidence it goes on by
 * itself when they are gone, and bakes the step anew; otherwise it waits for a person.
 *
 * **promoted** has 100 %. Legacy stays routable, and the judge may still roll back, until a person decommissions it.
 *
 * **decommissioned** is the end: the machine does nothing more. Only a person's rollback leads out of it.
 *
 * **rolled_back** and **aborted** have all traffic on legacy: the first by the judge, a gate or a person, the second by
 * a person who stopped the plan; people see both as "rolled back". Nothing but a start by a person leads out.
 *
 * Leaving `progressing` forgets the gates of the stage; coming back asks them again, and late answers are stale.
 */
export interface RolloutState {
  readonly phase: Phase;
  /** Grows by one with every start; 0 before the first. */
  readonly runId: number;
  /** Index in the plan's steps: the step that the rollout is at, or enters. */
  readonly step: number;
  readonly stage: Stage;
  /** The weight that this rollout wants for the candidate, in shares. */
  readonly candidateShares: number;
  readonly startedMs: number;
  /** When `phase` was entered. */
  readonly phaseSinceMs: number;
  /** When the weight was set; moves forward with every weight of a run. Evidence is counted from here. */
  readonly stepSinceMs: number;
  /** When the bake began, which is later than the weight after a hold. */
  readonly bakeSinceMs: number;
  /** Where the plan's longest duration is counted from. */
  readonly limitSinceMs: number;
  /** Set in phase held alone. */
  readonly heldBy: HoldCause | null;
  /** Null when no gate of this stage was asked. */
  readonly gates: GateProgress | null;
  /** Gate calls so far, over all runs: each has a number of its own. */
  readonly calls: number;
  /** Why it is where it is, for people. */
  readonly reason: string;
  /** Who decided that. */
  readonly by: (typeof DECIDERS)[number];
}
