/** A judge for every route that needs one: gathers the evidence between two ticks and asks for verdicts. */
import { JUDGE_DEFAULTS, RouteJudge, type JudgePolicy, type Side } from "../domain/judge.ts";
import type { RolloutState } from "../domain/rollout_words.ts";
import { SHARES_TOTAL, type Route } from "../domain/route.ts";
import type { Verdict } from "../domain/verdict.ts";
import { type Judged, NOTHING_JUDGED } from "../domain/window.ts";
import { keyOf, type Addition } from "./sampler.ts";

/** Judges at a time, at 35 KiB each at most. Routes beyond that are not judged, and a warning says so. */
const JUDGES_MAX = 1_000;

/** Backends that evidence is gathered for between two ticks. */
const PAIRS_MAX = 4_000;

/** A route as it is judged now. */
export interface JudgedRoute {
  readonly route: Route;
  /** The weight that the workers have, which a brake may have set to 0. */
  readonly candidateShares: number;
  /** The state of its rollout, if it has a plan. */
  readonly state: RolloutState | null;
}

/** What is known of a route's candidate. */
export interface RouteVerdict {
  readonly verdict: Verdict;
  /** The `stepSinceMs` of the rollout that the figures are about; 0 without one. */
  readonly stepSinceMs: number;
}

interface Case {
  /** The very route that it was last asked for: the same object has the same policy. */
  route: Route;
  readonly policyText: string;
  readonly judge: RouteJudge;
  stage: number;
  stepSinceMs: number;
  verdict: Verdict | null;
}

interface Gathered {
  requests: number;
  failures: number;
  readonly latency: Map<number, number>;
}

/**
 * The judges of all routes.
 *
 * A route has one from its first traffic on the candidate, or its plan, for as long as it is in the table. Another
 * policy or other backends bring a new judge. Each weight that a plan sets begins a stage; other changes do not.
 */
export class Judges {
  readonly #cases = new Map<string, Case>();
  readonly #gathered = new Map<string, Gathered>();
  #unjudged = 0;

  /** Gathers what happened, of this instance and of others. */
  add({ route, backend, delta }: Addition): void {
    const { requests, failures, latency } = delta.judged;
    if (requests === 0 && failures === 0) return;
    const key = keyOf(route, backend);
    let sum = this.#gathered.get(key);
    if (sum === undefined) {
      if (this.#gathered.size >= PAIRS_MAX) return;
      sum = { requests: 0, failures: 0, latency: new Map() };
      this.#gathered.set(key, sum);
    }
    sum.requests += requests;
    sum.failures += failures;
    for (const [bucket, count] of latency) sum.latency.set(bucket, (sum.latency.get(bucket) ?? 0) + count);
  }

  /** One tick: what was gathered since the last one goes to the judges. Routes that are not named lose theirs. */
  tick(routes: readonly JudgedRoute[], nowMs: number): void {
    this.#unjudged = 0;
    const known = new Set<string>();
    for (const judged of routes) {
      known.add(judged.route.id);
      const found = this.#caseOf(judged);
      if (found === null) continue;
      this.#beginStage(found, judged);
      const { legacy, candidate } = judged.route.cutover;
      found.verdict = found.judge.tick({
        nowMs,
        candidateShare: judged.candidateShares / SHARES_TOTAL,
        legacy: this.#take(judged.route.id, legacy),
        candidate: this.#take(judged.route.id, candidate),
      });
    }
    for (const route of this.#cases.keys()) if (!known.has(route)) this.#cases.delete(route);
    this.#gathered.clear();
  }

  /** The last verdict on a route, or null before there is one. */
  verdict(route: string): RouteVerdict | null {
    const found = this.#cases.get(route);
    if (found === undefined || found.verdict === null) return null;
    return { verdict: found.verdict, stepSinceMs: found.stepSinceMs };
  }

  /** What keeps routes from being judged. */
  warnings(): string[] {
    const { size } = this.#cases;
    return this.#unjudged === 0 ? [] : [`${this.#unjudged} routes are not judged: there are ${size} judges`];
  }

  #caseOf({ route, candidateShares, state }: JudgedRoute): Case | null {
    const found = this.#cases.get(route.id);
    if (found?.route === route) return found;
    const policyText = JSON.stringify([route.rollback, route.cutover]);
    if (found?.policyText === policyText) {
      found.route = route;
      return found;
    }
    if (found === undefined && candidateShares === 0 && state === null) return null;
    if (found === undefined && this.#cases.size >= JUDGES_MAX) {
      this.#unjudged++;
      return null;
    }
    const judge = new RouteJudge(policyOf(route));
    const made: Case = { route, policyText, judge, stage: 0, stepSinceMs: 0, verdict: null };
    this.#cases.set(route.id, made);
    return made;
  }

  /** Every weight that a plan sets is a stage of its own. */
  #beginStage(found: Case, { route, state }: JudgedRoute): void {
    const stepSinceMs = state === null || state.phase === "pending" ? 0 : state.stepSinceMs;
    if (stepSinceMs === found.stepSinceMs) return;
    found.stepSinceMs = stepSinceMs;
    const { rollout } = route;
    if (stepSinceMs === 0 || rollout === null) return;
    found.judge.beginStage(++found.stage, rollout.marginPercent / 100);
  }

  #take(route: string, backend: string): Side {
    const sum = this.#gathered.get(keyOf(route, backend));
    if (sum === undefined) return NOTHING_JUDGED satisfies Judged;
    return { ...sum, latency: [...sum.latency] };
  }
}

function policyOf({ rollback }: Route): JudgePolicy {
  if (rollback === null) return JUDGE_DEFAULTS;
  const { on, tolerance, falseAlarm } = rollback;
  return { ...JUDGE_DEFAULTS, on, tolerance, falseAlarm };
}
