/** A rollout with a clock: told event by event, it keeps its state and what came of the last event. */
import { advance } from "../../src/domain/rollout.ts";
import type { CallGate, Effect, GateResult, PersonEvent, Tick } from "../../src/domain/rollout_event.ts";
import { decodePlan } from "../../src/domain/rollout_plan.ts";
import { pendingRollout } from "../../src/domain/rollout_state.ts";
import type { Phase, RolloutPlan, RolloutState } from "../../src/domain/rollout_words.ts";

/** A minute; the steps of a story's usual plan bake for five. */
export const MINUTE_MS = 60_000;
/** What a judge can say. */
export const CALM = { action: "none", signal: null, reason: "", proven: false } as const;
export const DOUBT = { action: "hold", signal: "errors", reason: "4 of 50 failed", proven: false } as const;
export const ALARM = {
  action: "rollback",
  signal: "errors",
  reason: "40 of 50 failed",
  proven: false,
} as const;
/** A freeze in force. */
export const FREEZE = { untilMs: 1e12, why: "Christmas" };

/** A plan in the operator's form, read. */
export function planOf(input: object): RolloutPlan {
  const result = decodePlan(input);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.value;
}

/** A rollout from its beginning. Every call moves it; what is refused is thrown. */
export class Story {
  plan: RolloutPlan;
  state: RolloutState = pendingRollout(0);
  nowMs = 0;
  effects: readonly Effect[] = [];

  constructor(plan: object = { steps: [5, 50, 100] }) {
    this.plan = planOf(plan);
  }

  /** A tick after some time. Unless told otherwise all is well, and the candidate has had enough requests. */
  tick(afterMs: number, part: Partial<Tick> = {}): this {
    this.nowMs += afterMs;
    const { stepSinceMs } = this.state;
    return this.take({
      type: "tick",
      nowMs: this.nowMs,
      verdict: CALM,
      stepSinceMs,
      candidateRequests: 1000,
      frozen: null,
      storeOk: true,
      differencesProven: false,
      ...part,
    });
  }

  person(type: PersonEvent["type"], reason = ""): this {
    return this.take({ type, nowMs: this.nowMs, reason });
  }

  answer(outcome: GateResult["outcome"], part: Partial<GateResult> = {}): this {
    const { runId, step, gates } = this.state;
    const point = gates?.point ?? "pre-flight";
    const call = gates?.call ?? -1;
    return this.take({
      type: "gateResult",
      nowMs: this.nowMs,
      runId,
      step,
      point,
      call,
      outcome,
      detail: "503",
      ...part,
    });
  }

  take(event: Tick | PersonEvent | GateResult): this {
    const next = advance(this.plan, this.state, event);
    if (!next.ok) throw new Error(next.reason);
    this.state = next.state;
    this.effects = next.effects;
    return this;
  }

  /** To the bake of a step: started, and so many steps further. */
  at(step: number): this {
    this.person("start").tick(1);
    for (let i = 0; i < step; i++) this.tick(5 * MINUTE_MS);
    if (this.state.step !== step || this.state.stage !== "baking") throw new Error(this.state.reason);
    return this;
  }

  refusal(type: PersonEvent["type"]): string {
    const next = advance(this.plan, this.state, { type, nowMs: this.nowMs, reason: "" });
    return next.ok ? "" : next.reason;
  }

  get weight(): number {
    return this.state.candidateShares / 1000;
  }

  get calls(): CallGate[] {
    return this.effects.filter((effect) => effect.type === "callGate");
  }

  get phase(): Phase {
    return this.state.phase;
  }
}

/** A plan of two steps with one gate. */
export function gated(at: string, part: object = {}): object {
  return { steps: [5, 100], gates: [{ at, url: "https://g.example/", timeout: "10s", retries: 0, ...part }] };
}
