/** What the demo promises, and whether it came true: by what the clients saw, what the API says, and nothing else. */
import type { Account } from "./demo_clients.ts";
import { countText, msText, percentText } from "./render.ts";

/** One promise, and what came of it. */
export interface Claim {
  readonly says: string;
  readonly holds: boolean;
  readonly figures: string;
}

/** A change of the table as the audit log tells it, with the weight that it gave the new backend. */
export interface Move {
  readonly revision: number;
  readonly actor: string;
  readonly action: string;
  readonly reason: string;
  readonly percent: number;
}

/** Requests of clients since the beginning: those that came to an end, and among them those that failed or got lost. */
export interface Sum {
  readonly asked: number;
  readonly failed: number;
}

/** Everything that the claims go by. Revisions and moves are the API's, counts the clients' and the backends'. */
export interface Facts {
  readonly clients: number;
  readonly account: Account;
  /** The audit log, oldest first. */
  readonly moves: readonly Move[];
  /** The revision that was in effect when the new backend broke. */
  readonly brokenRevision: number;
  /** From the break until the rollback was seen to be in effect in every worker, in milliseconds. */
  readonly rolledBackMs: number;
  readonly beforeBreak: Sum;
  /** When the rollback was in effect and every request from before it had ended. */
  readonly atRollback: Sum;
  readonly beforePlan: Sum;
  readonly atEnd: Sum;
  /** Answers with a failure from the new backend, from the break until the rollback. */
  readonly failuresOfNew: number;
  /** Requests that the new backend received between the rollback and the plan, by its own count. */
  readonly reachedNew: number;
  /** The steps that the plan was given, in percent, and the revision with which it was started. */
  readonly steps: readonly number[];
  readonly startRevision: number;
  /** What the API said of the plan last; null without one. */
  readonly phase: string | null;
  /** Clients that the new backend was seen to serve at the end. */
  readonly onNewAtEnd: number;
}

/** The name in the audit log for what nobody asked for. */
const MACHINE = "crossfade";

/** Every claim of the demo. */
export function claimsOf(facts: Facts): Claim[] {
  const { account, clients, beforeBreak, atRollback, beforePlan, atEnd } = facts;
  const { answers, failures, compared } = account;
  const since = { asked: atEnd.asked - atRollback.asked, failed: atEnd.failed - atRollback.failed };
  const meanwhile = beforePlan.asked - atRollback.asked;
  const onNew = countText(facts.onNewAtEnd);
  return [
    none("no request to legacy failed", failures.legacy, answers.legacy, "answers"),
    none("no request was left without an answer", account.lost, atEnd.asked, "requests"),
    none("every client was on the side of its bucket", account.misplaced, compared, "answers elsewhere"),
    none("no client went back while the weight grew, in either rise", account.jumpedBack, clients, "clients"),
    none("nothing failed before the new backend broke", beforeBreak.failed, beforeBreak.asked, "requests"),
    rolledBack(facts),
    none("nothing failed after that", since.failed, since.asked, "requests"),
    none("nothing reached the new backend until the plan began", facts.reachedNew, meanwhile, "requests"),
    planned(facts),
    {
      says: "every client ended on the new backend",
      holds: facts.onNewAtEnd === clients,
      figures: `${onNew} of ${countText(clients)} clients`,
    },
  ];
}

/** The rollback after the break, or null when the audit log has none. */
export function rollbackOf({ moves, brokenRevision }: Pick<Facts, "moves" | "brokenRevision">): Move | null {
  return moves.find((move) => move.revision > brokenRevision && isRollback(move)) ?? null;
}

/** Holds when there was none, among at least one. */
function none(says: string, count: number, all: number, of: string): Claim {
  return { says, holds: count === 0 && all > 0, figures: `${countText(count)} of ${countText(all)} ${of}` };
}

/** Once, by nobody but Crossfade, for failures that clients saw, and all the way. */
function rolledBack(facts: Facts): Claim {
  const says = "Crossfade rolled back, once and by itself";
  const move = rollbackOf(facts);
  const count = facts.moves.filter(isRollback).length;
  if (move === null) return { says, holds: false, figures: `${count} rollbacks in the audit log` };
  const isByItself = move.actor === MACHINE && move.percent === 0;
  const failed = countText(facts.failuresOfNew);
  return {
    says,
    holds: count === 1 && isByItself && facts.failuresOfNew > 0,
    figures: `by ${move.actor}, ${msText(facts.rolledBackMs)} and ${failed} failed answers after the break`,
  };
}

/** Every step of the plan once and in order, by nobody but Crossfade, and then the promotion. */
function planned(facts: Facts): Claim {
  const moves = facts.moves.filter(({ revision }) => revision > facts.startRevision);
  const steps = moves.filter(({ action }) => action === "rollout.step").map(({ percent }) => percent);
  const isByItself = moves.every(({ actor }) => actor === MACHINE);
  const isWhole = steps.length === facts.steps.length && steps.every((step, at) => step === facts.steps[at]);
  const isPromoted = facts.phase === "promoted" && moves.at(-1)?.action === "rollout.promote";
  return {
    says: "the plan took each of its steps, once and by itself",
    holds: isByItself && isWhole && isPromoted,
    figures: [...steps.map(percentText), facts.phase ?? "no plan"].join(", "),
  };
}

function isRollback({ action }: Move): boolean {
  return action === "rollback" || action === "rollout.rollback";
}
