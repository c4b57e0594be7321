/** What a move of a rollout makes of a table, and how the audit log tells it. */
import { advance } from "../domain/rollout.ts";
import type { Effect, PersonEvent, RolloutEvent, Tick } from "../domain/rollout_event.ts";
import type { Move } from "../domain/rollout_gates.ts";
import { ownsWeight } from "../domain/rollout_state.ts";
import type { RolloutPlan, RolloutState } from "../domain/rollout_words.ts";
import type { Document, Route } from "../domain/route.ts";
import { decided, noPlan, noSuchRoute, refused, withShares, type Decided, type Refusal } from "./change.ts";

/** Who makes changes that nobody asked for. */
export const MACHINE = "crossfade";

/** An event, or how to make one of the state that is found; null then wants nothing. */
export type MoveWish = RolloutEvent | ((state: RolloutState, plan: RolloutPlan) => RolloutEvent | null);

/** The longest reason that an entry of the audit log has, in UTF-16 units. */
export const REASON_CHARS_MAX = 1_000;

/** A table with a rollout moved, and what is to be done once it is committed. */
export interface MoveDecision extends Decided, Move {}

/**
 * Moves the rollout of a route: the weight and the state change together. A state that comes back unchanged leaves the
 * document as it is. When a person wants it, gates are left to the next tick.
 *
 * Refuses with NOT_FOUND a route that does not exist or has no plan, and with CONFLICT what the state does not allow.
 */
export function withMove(document: Document, id: string, wish: MoveWish): MoveDecision | Refusal {
  const found = findRollout(document, id);
  if (!found.ok) return found;
  const { route, plan, state } = found;
  const event = typeof wish === "function" ? wish(state, plan) : wish;
  const next = event === null ? null : advance(plan, state, event);
  if (next !== null && !next.ok)
    return refused("CONFLICT", `The rollout of "${id}" cannot do that: ${next.reason}`);
  if (event === null || next === null || next.state === state) {
    return { ok: true, document, state, effects: [] };
  }
  const isAsked = event.type !== "tick" && event.type !== "gateResult";
  const move = isAsked ? withoutCalls(state, next) : { state: next.state, effects: next.effects };
  const moved = withState(
    withShares(document, route.id, sharesAfter(route, state, move.state)),
    id,
    move.state,
  );
  return { ok: true, document: moved, ...move, entry: entryOf(state, move, event) };
}

/**
 * Gives all weight of a route to legacy, and ends its rollout if it has one that owns the weight. The gates after a
 * rollback are left to the next tick.
 */
export function withoutCandidate(
  document: Document,
  id: string,
  event: PersonEvent | Tick,
): Decided | Refusal {
  const route = document.routes.find((known) => known.id === id);
  if (route === undefined) return noSuchRoute(document, id);
  const state = stateOf(document, id);
  if (route.rollout === null || state === null || !ownsWeight(state)) {
    return decided(withShares(document, route.id, 0));
  }
  // What the judge saw was before the start: there is nothing to take back.
  if (event.type === "tick" && state.candidateShares === 0) return decided(document);
  const next = advance(route.rollout, state, event);
  if (!next.ok) return refused("CONFLICT", next.reason);
  // Only a person takes back what is decommissioned.
  if (next.state === state) return decided(document);
  return decided(withState(withShares(document, route.id, 0), id, withoutCalls(state, next).state));
}

/** A move with the gates after a rollback left to the next tick, so that whoever leads asks them. */
function withoutCalls(before: RolloutState, { state, effects }: Move): Move {
  return {
    state: { ...state, gates: null, calls: before.calls },
    effects: effects.filter(({ type }) => type !== "callGate"),
  };
}

/** The state of a route's rollout, or null when it has no plan. */
export function stateOf(document: Document, id: string): RolloutState | null {
  return document.rollouts.find(({ route }) => route === id)?.state ?? null;
}

/** The event with which the judge takes a route back. `signal`: what speaks against the candidate, if that is known. */
export function alarmOf(reason: string, nowMs: number, signal: string | null = null): Tick {
  const verdict = { action: "rollback", signal, reason, proven: false } as const;
  return {
    type: "tick",
    nowMs,
    verdict,
    stepSinceMs: 0,
    candidateRequests: 0,
    frozen: null,
    storeOk: true,
    differencesProven: false,
  };
}

function findRollout(
  document: Document,
  id: string,
): { ok: true; route: Route; plan: RolloutPlan; state: RolloutState } | Refusal {
  const route = document.routes.find((known) => known.id === id);
  if (route === undefined) return noSuchRoute(document, id);
  const [plan, state] = [route.rollout, stateOf(document, id)];
  if (plan === null || state === null) return noPlan(id);
  return { ok: true, route, plan, state };
}

/** A rollout that does not own the weight leaves it to people, who may have set one since it ended. */
function sharesAfter(route: Route, before: RolloutState, after: RolloutState): number {
  return ownsWeight(before) || ownsWeight(after) ? after.candidateShares : route.candidateShares;
}

function withState(document: Document, id: string, state: RolloutState): Document {
  const rollouts = document.rollouts.map((one) => (one.route === id ? { ...one, state } : one));
  return { ...document, rollouts };
}

/** Persons speak for themselves; of the machine's moves the entry tells the kind and the reason. */
function entryOf(before: RolloutState, move: Move, event: RolloutEvent): NonNullable<Decided["entry"]> {
  if (event.type !== "tick" && event.type !== "gateResult") {
    return { action: event.type === "rolledBack" ? "rollout.rollback" : `rollout.${event.type}` };
  }
  const reason = reasonOf(before, move);
  const cut = reason.length <= REASON_CHARS_MAX ? reason : `${reason.slice(0, REASON_CHARS_MAX - 3)}...`;
  return { action: `rollout.${kindOf(before, move.state)}`, actor: MACHINE, reason: cut };
}

function kindOf(before: RolloutState, after: RolloutState): string {
  if (after.phase === "rolled_back" && before.phase !== "rolled_back") return "rollback";
  if (after.phase === "promoted" && before.phase !== "promoted") return "promote";
  if (after.phase === "held" && (before.phase !== "held" || before.heldBy !== after.heldBy)) return "hold";
  if (after.phase === "progressing" && before.phase === "held") return "resume";
  if (after.candidateShares !== before.candidateShares) return "step";
  return after.gates === before.gates ? "bake" : "gate";
}

/** Asking a gate and hearing from one leave the reason of the state as it is. */
function reasonOf(before: RolloutState, { state, effects }: Move): string {
  if (state.reason !== before.reason || state.phase !== before.phase) return state.reason;
  const said = effects.map(wordsOf).findLast((words) => words !== null);
  return said ?? (state.stage === before.stage ? state.reason : "the bake is over");
}

function wordsOf(effect: Effect): string | null {
  if (effect.type === "announce") return effect.text;
  return effect.type === "callGate" ? `gate ${effect.point} (${effect.gate.url}) is asked` : null;
}
