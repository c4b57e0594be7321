/** Each tick: evidence to verdicts, verdicts to rollbacks, plans one step on. What it decides, commands carry out. */
import type { Clock } from "../base/clock.ts";
import { Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { frozenUntil } from "../domain/freeze.ts";
import { advance } from "../domain/rollout.ts";
import type { CallGate, Effect, Judgement, RolloutEvent, Tick } from "../domain/rollout_event.ts";
import type { RolloutPlan, RolloutState } from "../domain/rollout_words.ts";
import type { Document, Route, RouteId } from "../domain/route.ts";
import { writePercent } from "../domain/quantity.ts";
import { explainHealth } from "../domain/verdict.ts";
import type { Brake, Brakes } from "./brakes.ts";
import type { Outcome } from "./attempt.ts";
import type { MoveOutcome } from "./commands.ts";
import type { Comparisons } from "./comparisons.ts";
import type { EventSink } from "./fleet_news.ts";
import type { GateOutcome, GateStory } from "./gates.ts";
import { Judges, type JudgedRoute, type RouteVerdict } from "./judges.ts";
import { alarmOf, MACHINE } from "./rollout_move.ts";
import type { AdditionListener } from "./sampler.ts";

/** A rollback that is not committed after this long is carried out by the brake. In milliseconds. */
const BRAKE_AFTER_MS = 250;
/** After a failed commit the next one is tried this much later, in milliseconds. */
const AGAIN_MS = 1_000;
/** Gates that are asked at the same time; a further one waits for a later tick. */
const CALLS_MAX = 20;

/** What the loop works with. */
export interface RolloutsParts {
  readonly sampler: { watch(listener: AdditionListener): () => void };
  readonly publisher: {
    /** The table in force, brakes apart. */
    table(): { readonly revision: number; readonly document: Document } | null;
    /** Gives the workers the table anew, with the brakes that are on now. */
    republish(): void;
  };
  readonly commands: {
    moveRollout(
      route: string,
      event: RolloutEvent | ((state: RolloutState, plan: RolloutPlan) => RolloutEvent | null),
      author: { readonly actor: string; readonly reason: string },
    ): Promise<MoveOutcome>;
    rollBackByItself(route: string, reason: string): Promise<Outcome>;
    rolledBackSince(route: RouteId, since: number): Promise<number | null>;
  };
  readonly brakes: Brakes;
  /** Whether this instance moves plans on. Taking traffic back is everybody's. */
  readonly leads: () => boolean;
  /** Whether the store, and with it the evidence of the others, can be read. */
  readonly storeOk: () => boolean;
  readonly comparisons: Pick<Comparisons, "isProvenBelow">;
  readonly askGate: (call: CallGate, story: GateStory) => Promise<GateOutcome>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: EventSink;
}

/** Who asks for what nobody asked for; the reasons come from the state. */
const AUTHOR = { actor: MACHINE, reason: "" } as const;

/**
 * Judges every route and moves every plan, four times a second.
 *
 * Every instance judges the same sums and takes traffic back by itself: whichever commits first wins, and the others
 * find it done. Only one instance at a time moves plans on; if two believe to be that one, the second meets a conflict
 * and finds the step taken. A route has one commit under way at most.
 */
export class Rollouts {
  readonly #parts: RolloutsParts;
  readonly #judges = new Judges();
  readonly #busy = new Set<string>();
  /** When a route may be tried again after a fault, on the clock's `nowMs`. */
  readonly #againAtMs = new Map<string, number>();
  readonly #calls = new Set<string>();
  readonly #unwatch: () => void;
  /** Rollbacks that this instance has carried out, by route and cause. */
  readonly #rollbacks = new Map<string, { readonly route: string; readonly cause: string; count: number }>();
  #isStopped = false;

  constructor(parts: RolloutsParts) {
    this.#parts = parts;
    this.#unwatch = parts.sampler.watch((addition) => this.#judges.add(addition));
  }

  stop(): void {
    this.#isStopped = true;
    this.#unwatch();
  }

  /** What is known of a route's candidate, or null when nothing is. */
  verdict(route: string): RouteVerdict | null {
    return this.#judges.verdict(route);
  }

  /** Rollbacks that this instance has carried out since its start. */
  rollbacks(): readonly { readonly route: string; readonly cause: string; readonly count: number }[] {
    return [...this.#rollbacks.values()];
  }

  /** What keeps routes from being judged, and which are kept on legacy by the brake. */
  warnings(): string[] {
    const braked = this.#parts.brakes.list().map(({ route, reason }) => {
      return `route "${route}" is kept on legacy although the table says otherwise, until it can be changed: ${reason}`;
    });
    return [...this.#judges.warnings(), ...braked];
  }

  /** Called every TICK_MS. */
  tick(): void {
    const table = this.#parts.publisher.table();
    if (table === null || this.#isStopped) return;
    const states = new Map<string, RolloutState>(
      table.document.rollouts.map(({ route, state }) => [route, state]),
    );
    const judged = table.document.routes.map((route): JudgedRoute => {
      const candidateShares = this.#parts.brakes.has(route.id) ? 0 : route.candidateShares;
      return {
        route,
        candidateShares,
        state: route.rollout === null ? null : (states.get(route.id) ?? null),
      };
    });
    this.#judges.tick(judged, this.#parts.clock.nowMs());
    for (const one of judged) this.#look(one);
  }

  #look({ route, candidateShares, state }: JudgedRoute): void {
    const brake = this.#parts.brakes.of(route.id);
    if (brake !== undefined) return this.#attempt(route.id, () => this.#commitBrake(route, state, brake));
    const known = this.#judges.verdict(route.id);
    const isGuarded = route.rollback !== null && state?.phase !== "decommissioned";
    const { rollout: plan } = route;
    if (isGuarded && known?.verdict.action === "rollback" && candidateShares > 0) {
      return this.#attempt(route.id, () => this.#takeBack(route, state, known));
    }
    if (plan === null || state === null || !this.#parts.leads()) return;
    const tick = this.#tickOf(route, plan, known);
    const next = advance(plan, state, tick);
    // Most ticks change nothing, and cost no read of the store.
    if (next.ok && next.state === state && next.effects.length === 0) return;
    this.#attempt(route.id, () => this.#move(route, (current) => (current === null ? null : tick)));
  }

  #tickOf(route: Route, plan: RolloutPlan, known: RouteVerdict | null): Tick {
    const nowMs = Math.trunc(this.#parts.clock.wallMs());
    return {
      type: "tick",
      nowMs,
      verdict: judgementOf(route, known),
      stepSinceMs: known?.stepSinceMs ?? 0,
      candidateRequests: known?.verdict.figures.candidate.requests ?? 0,
      frozen: plan.freeze.length === 0 ? null : frozenUntil(plan.freeze, nowMs),
      storeOk: this.#parts.storeOk(),
      differencesProven: isProven(route, plan, this.#parts.comparisons),
    };
  }

  /** Runs a commit for a route, if none is under way and no fault was met just now. */
  #attempt(route: string, work: () => Promise<unknown>): void {
    const { clock, log } = this.#parts;
    if (this.#busy.has(route) || clock.nowMs() < (this.#againAtMs.get(route) ?? 0)) return;
    this.#busy.add(route);
    work()
      .then(
        () => void this.#againAtMs.delete(route),
        (error: unknown) => {
          const isFirst = !this.#againAtMs.has(route);
          this.#againAtMs.set(route, clock.nowMs() + AGAIN_MS);
          if (!(error instanceof Fault)) throw error;
          if (isFirst)
            log.warn({ route, code: error.code, detail: error.message }, "a rollout could not be moved on");
        },
      )
      .finally(() => this.#busy.delete(route));
  }

  /** The judge's rollback: by the store, or by the brake when the store does not take it in time. */
  async #takeBack(route: Route, state: RolloutState | null, known: RouteVerdict): Promise<void> {
    const reason = reasonOf(route, known);
    const cause = known.verdict.signal ?? "errors";
    const timer = setTimeout(() => this.#brake(route, reason), BRAKE_AFTER_MS);
    let isOurs = false;
    try {
      isOurs = await this.#commitRollback(route, state, reason, known);
    } catch (error) {
      if (error instanceof Fault) this.#brake(route, reason);
      throw error;
    } finally {
      clearTimeout(timer);
    }
    // Another instance may have been faster: it tells, and this one's workers hear of it as of any change.
    if (!isOurs) return;
    this.#count(route.id, cause);
    this.#parts.journal.append("rollback", { route: route.id, cause, reason });
    this.#parts.log.warn({ route: route.id, cause, reason }, "rolled back");
  }

  async #commitRollback(
    route: Route,
    state: RolloutState | null,
    reason: string,
    known: RouteVerdict | null,
  ): Promise<boolean> {
    const { commands, clock } = this.#parts;
    if (state === null || route.rollout === null || state.candidateShares === 0) {
      return isChanged(await commands.rollBackByItself(route.id, reason));
    }
    const signal = known?.verdict.signal ?? null;
    const event = alarmOf(reason, Math.trunc(clock.wallMs()), signal);
    return this.#move(route, (current) => (current.candidateShares === 0 ? null : event));
  }

  #brake(route: Route, reason: string): void {
    const { brakes, publisher, journal, log, clock } = this.#parts;
    const revision = publisher.table()?.revision ?? 0;
    if (!brakes.put({ route: route.id, reason, revision, atMs: Math.trunc(clock.wallMs()) })) return;
    publisher.republish();
    journal.append("rollback.braked", { route: route.id, reason });
    log.error(
      { route: route.id, reason },
      "braked: the store does not take the rollback, legacy has all traffic",
    );
  }

  async #commitBrake(route: Route, state: RolloutState | null, { reason, revision }: Brake): Promise<void> {
    const { commands, brakes, publisher } = this.#parts;
    const doneAt = await commands.rolledBackSince(route.id, revision);
    if (doneAt !== null) {
      // Others have done it, and whoever gave the candidate traffic since then knew.
      if ((publisher.table()?.revision ?? 0) < doneAt) return;
      brakes.release(route.id);
      return publisher.republish();
    }
    const isOurs = await this.#commitRollback(route, state, reason, null);
    // The table that comes of it releases the brake; one that was at 0 already comes no more.
    this.#parts.publisher.republish();
    if (!isOurs) return;
    this.#count(route.id, "brake");
    this.#parts.journal.append("rollback", { route: route.id, cause: "brake", reason });
  }

  /** Moves a plan on, and does what is to be done then. Gives whether anything was committed. */
  async #move(
    route: Route,
    event: (state: RolloutState, plan: RolloutPlan) => RolloutEvent | null,
  ): Promise<boolean> {
    const outcome = await this.#parts.commands.moveRollout(route.id, event, AUTHOR);
    if (!isChanged(outcome) || !outcome.ok) return false;
    for (const effect of outcome.effects) this.#carryOut(route, outcome.state, effect);
    return true;
  }

  #carryOut(route: Route, state: RolloutState, effect: Effect): void {
    const { journal, log } = this.#parts;
    if (effect.type === "callGate") return this.#call(route, state, effect);
    if (effect.type === "setShares") {
      const percent = writePercent(effect.candidateShares);
      journal.append("rollout.weight", { route: route.id, percent });
      return;
    }
    journal.append("rollout", { route: route.id, phase: state.phase, text: effect.text });
    log.info({ route: route.id, phase: state.phase }, effect.text);
  }

  /** Asks a gate and tells the rollout. One that is not asked here in time is given up by the machine's own rule. */
  #call(route: Route, state: RolloutState, call: CallGate): void {
    const key = `${route.id} ${call.runId} ${call.call}`;
    if (this.#calls.has(key) || this.#calls.size >= CALLS_MAX) return;
    this.#calls.add(key);
    const { legacy, candidate } = route.cutover;
    const weight = writePercent(state.candidateShares);
    const story: GateStory = { route: route.id, legacy, candidate, weight, reason: state.reason };
    void this.#parts
      .askGate(call, story)
      .then((answer) => this.#answer(route, call, answer))
      .finally(() => this.#calls.delete(key));
  }

  async #answer(route: Route, call: CallGate, { outcome, detail }: GateOutcome): Promise<void> {
    const { runId, step, point, call: number } = call;
    this.#parts.journal.append("rollout.gate", { route: route.id, point, outcome, detail });
    try {
      const nowMs = Math.trunc(this.#parts.clock.wallMs());
      await this.#move(route, () => ({
        type: "gateResult",
        nowMs,
        runId,
        step,
        point,
        call: number,
        outcome,
        detail,
      }));
    } catch (error) {
      // Without its answer the call is overdue soon, and asked again or given up as the plan says.
      if (!(error instanceof Fault)) throw error;
    }
  }

  #count(route: string, cause: string): void {
    const key = `${route} ${cause}`;
    const known = this.#rollbacks.get(key) ?? { route, cause, count: 0 };
    known.count++;
    this.#rollbacks.set(key, known);
  }
}

/** Whether what a plan wants to know of differences is proved. A plan that wants nothing has it. */
export function isProven(
  route: Route,
  { differences }: RolloutPlan,
  comparisons: Pick<Comparisons, "isProvenBelow">,
): boolean {
  return differences === null || comparisons.isProvenBelow(route, differences.belowPercent / 100);
}

/**
 * Whether anything was committed. A route or plan that is gone needs nothing; any other refusal is thrown as a Fault,
 * so that a rollback is braked and tried again.
 */
function isChanged(outcome: Outcome): boolean {
  if (outcome.ok) return outcome.changed;
  if (outcome.code === "NOT_FOUND") return false;
  throw new Fault(outcome.code, outcome.detail);
}

/** What the rollout hears of the judge. Where rollback is switched off, doubts only hold. */
function judgementOf(route: Route, known: RouteVerdict | null): Judgement {
  if (known === null) return { action: "none", signal: null, reason: "nothing is known yet", proven: false };
  const { action, signal, proven } = known.verdict;
  const reason = reasonOf(route, known);
  if (action === "rollback" && route.rollback === null)
    return { action: "hold", signal, reason, proven: false };
  return { action, signal, reason, proven };
}

function reasonOf({ cutover }: Route, { verdict }: RouteVerdict): string {
  return explainHealth({ legacy: cutover.legacy, candidate: cutover.candidate }, verdict);
}
