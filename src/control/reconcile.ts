/** What becomes of rollouts when people change the table around them. */
import { ownsWeight, isUnderWay, pendingRollout } from "../domain/rollout_state.ts";
import { percentOf, setStep } from "../domain/rollout_gates.ts";
import type { RolloutPlan, RolloutState } from "../domain/rollout_words.ts";
import type { Document, RolloutOf, Route } from "../domain/route.ts";
import { decided, refused, type Decision } from "./change.ts";

/** What a hand on the weights leaves in a rollout that was over. */
const BY_HAND = "the weights were set by hand";
const NEW_CUTOVER = "the backends of the cutover were changed";

/**
 * The table that a change other than a move of a rollout leads to: `after`, with the state of every rollout.
 *
 * States come from `before` alone, whatever `after` says of them. A new plan is pending since `nowMs` (Unix time), with
 * the weights as written. A changed plan goes on from where it is. Refused with CONFLICT: to change the weights or the
 * cutover, or to remove plan or route, while the rollout is under way. Weights that are set by hand, or another
 * cutover, put a rollout that owns the weight, or any, back to pending.
 */
export function reconcile(before: Document, after: Document, nowMs: number): Decision {
  const routes = new Map(before.routes.map((route) => [route.id, route]));
  const states = new Map(before.rollouts.map(({ route, state }) => [route, state]));
  const wanted = new Map(after.routes.map((route) => [route.id, route]));
  for (const { route: id, state } of before.rollouts) {
    const was = routes.get(id);
    const plan = was?.rollout ?? null;
    if (was === undefined || plan === null || !isUnderWay(state)) continue;
    const wish = wishOf(was, wanted.get(id));
    if (wish !== null) return refused("CONFLICT", refusalText(id, plan, state, wish));
  }
  const rollouts = after.routes
    .filter(({ rollout }) => rollout !== null)
    .map((route): RolloutOf => {
      const [was, state] = [routes.get(route.id), states.get(route.id)];
      const isKnown = was !== undefined && state !== undefined;
      return {
        route: route.id,
        state: isKnown ? carryOver(was, route, state, nowMs) : pendingRollout(nowMs),
      };
    });
  return decided({ ...after, rollouts });
}

/** What must not be done to a route whose rollout is under way: any of it, or null. */
function wishOf(was: Route, is: Route | undefined): "end" | "cutover" | "weights" | null {
  if (is === undefined || is.rollout === null) return "end";
  if (!isSameCutover(was, is)) return "cutover";
  return was.candidateShares === is.candidateShares ? null : "weights";
}

function refusalText(
  id: string,
  plan: RolloutPlan,
  state: RolloutState,
  wish: "end" | "cutover" | "weights",
): string {
  const step = `step ${setStep(state) + 1} of ${plan.steps.length}, ${percentOf(state.candidateShares)}`;
  const head = `A rollout is under way on "${id}" (${state.phase}, ${step})`;
  const command = (verb: string): string => `\`crossfade rollout ${id} ${verb}\``;
  if (wish !== "weights") return `${head}: abort it first with ${command("abort")}`;
  const stop = state.phase === "progressing" ? `stop it where it is with ${command("pause")}, ` : "";
  const others = `go to 100 % with ${command("promote")}, or abort it with ${command("abort")}`;
  return `${head} and sets the weights: ${stop}${others}`;
}

function carryOver(was: Route, is: Route, state: RolloutState, nowMs: number): RolloutState {
  if (!isSameCutover(was, is)) return anew(state, NEW_CUTOVER, nowMs);
  const isByHand = was.candidateShares !== is.candidateShares && ownsWeight(state);
  return isByHand ? anew(state, BY_HAND, nowMs) : state;
}

/** Pending, with the numbers of its run and calls, so that late answers of gates stay late. */
function anew(state: RolloutState, reason: string, nowMs: number): RolloutState {
  return { ...pendingRollout(nowMs), runId: state.runId, calls: state.calls, reason };
}

function isSameCutover(one: Route, other: Route): boolean {
  return one.cutover.legacy === other.cutover.legacy && one.cutover.candidate === other.cutover.candidate;
}
