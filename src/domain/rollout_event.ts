/** What moves a rollout, and what is to be done when it moved. */
import type { Freeze, Gate, GatePoint } from "./rollout_words.ts";

/** What the judge says of the candidate at a tick. */
export interface Judgement {
  readonly action: "none" | "hold" | "rollback";
  /** What speaks against the candidate, such as `errors`; null when nothing does. */
  readonly signal: string | null;
  readonly reason: string;
  /** Whether the failure rate is proved to be below the plan's margin. */
  readonly proven: boolean;
}

/** What a person wants. `reason`: their words, or empty. */
export interface PersonEvent {
  readonly type: "start" | "pause" | "resume" | "promote" | "abort" | "rolledBack" | "decommission";
  readonly nowMs: number;
  readonly reason: string;
}

/** Time went by, and this is known. */
export interface Tick {
  readonly type: "tick";
  readonly nowMs: number;
  readonly verdict: Judgement;
  /** The `stepSinceMs` of the state that requests and proof are about. Those of another weight are of no use. */
  readonly stepSinceMs: number;
  /** Requests that the candidate got since then. */
  readonly candidateRequests: number;
  /** The freeze that is in force. */
  readonly frozen: Freeze | null;
  /** Whether the store and everything else that evidence comes from can be read. */
  readonly storeOk: boolean;
  /** Whether the plan's bound on differences is proved; of no matter without one. */
  readonly differencesProven: boolean;
}

/** What came of a call that CallGate asked for. */
export interface GateResult {
  readonly type: "gateResult";
  readonly nowMs: number;
  readonly runId: number;
  readonly step: number;
  readonly point: GatePoint;
  readonly call: number;
  readonly outcome: "passed" | "failed" | "timeout";
  readonly detail: string;
}

/** Whatever moves a rollout. */
export type RolloutEvent = PersonEvent | Tick | GateResult;

/** Ask a gate. Whoever does answers with a GateResult that repeats the numbers. */
export interface CallGate {
  readonly type: "callGate";
  readonly runId: number;
  readonly step: number;
  readonly point: GatePoint;
  readonly call: number;
  readonly gate: Gate;
}

/** What is to be done once state and shares are committed, in this order. */
export type Effect =
  | { readonly type: "setShares"; readonly candidateShares: number }
  | { readonly type: "announce"; readonly text: string }
  | CallGate;
