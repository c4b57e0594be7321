/** When a request may be sent again: what is safe, and how many at a time. */
import { FAULTS, type FaultCode } from "../base/fault.ts";
import type { Pick } from "../domain/pick.ts";
import type { CompiledRoute } from "../domain/table.ts";

/** Methods that may be repeated without harm. Source: RFC 9110 section 9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]);

/** Retries under way to one backend: so many always, or this part of its active requests if that is more. */
const RETRYING_MIN = 3;
const RETRYING_RATIO = 0.2;

/** The retries of one worker to one backend: a backend that is down must not get its traffic twice. */
export class RetryBudget {
  #active = 0;
  #retrying = 0;

  begin(): void {
    this.#active++;
  }

  /** `isRetrying`: the request that ends had taken a place. */
  end(isRetrying: boolean): void {
    this.#active--;
    if (isRetrying) this.#retrying--;
  }

  /** Takes a place until the request ends. Gives whether there was one. */
  take(): boolean {
    if (this.#retrying >= Math.max(RETRYING_MIN, this.#active * RETRYING_RATIO)) return false;
    this.#retrying++;
    return true;
  }
}

/** A request's place in the budget of its backend. */
export class RetryPlace {
  readonly #budget: RetryBudget;
  #isTaken = false;

  /** The request begins. */
  constructor(budget: RetryBudget) {
    this.#budget = budget;
    budget.begin();
  }

  /** Takes a place until the request ends, for all of its retries. Gives whether it has one. */
  take(): boolean {
    this.#isTaken ||= this.#budget.take();
    return this.#isTaken;
  }

  /** The request ends. */
  end(): void {
    this.#budget.end(this.#isTaken);
  }
}

/** The wait before a later retry is drawn up to a bound that doubles from the first to the second figure. */
const BACKOFF_MS = 25;
const BACKOFF_MS_MAX = 250;

/**
 * How long to wait before the next attempt, in milliseconds, after so many.
 *
 * The first retry goes at once, to another endpoint or on a fresh connection; later ones spread out (full jitter).
 */
export function backoffMs(attempts: number, draw: (below: number) => number): number {
  return attempts <= 1 ? 0 : draw(Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** (attempts - 1)));
}

/** A request that can't be repeated trusts a kept connection only so soon after its last answer. */
const SURE_MS = 1_000;

/**
 * How long a kept connection may have been idle to carry a request of this method, in milliseconds.
 *
 * A backend may be closing an idle connection just when a request is on its way. A safe one is then sent again; the
 * others would be lost, so they go on a connection that has just answered, or on a new one.
 */
export function idleMsMax(method: string): number {
  return IDEMPOTENT.has(method) ? Infinity : SURE_MS;
}

/** How an attempt ended. */
export interface FailedAttempt {
  readonly code: FaultCode;
  readonly method: string;
  readonly hasResponseBytes: boolean;
  /** Whether all of the body so far can be sent again. */
  readonly isBodyHeld: boolean;
}

/**
 * Whether a request of which something was written may be written once more.
 *
 * Only when nothing at all was answered, the method may be repeated, and all of the body so far is still there. The
 * same backend gets it only where a kept-alive connection went away, which may just have been closing; what a backend
 * drops on a new connection it may drop each time.
 * Source: RFC 9110 section 9.2.2, RFC 9112 section 9.3.1.
 */
export function isRepeatable({ code, method, hasResponseBytes, isBodyHeld }: FailedAttempt): boolean {
  return FAULTS[code].retry === "if-repeatable" && !hasResponseBytes && isBodyHeld && IDEMPOTENT.has(method);
}

/**
 * Whether legacy gets a request that the candidate did not take: it accepts no connection at any endpoint, or closed
 * the one that carried a request that may be repeated.
 *
 * Legacy gets each request once, and the candidate gets no more than before: no budget is needed. A dead backend wins
 * over stickiness. Whoever is pinned to the candidate wants to see just that.
 */
export function mayTurn(picked: Pick, { route, candidate }: CompiledRoute): boolean {
  return picked.backend === candidate && picked.why !== "pin" && route.retries.attempts > 0;
}
