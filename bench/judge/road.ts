/** A simulated route: Poisson traffic over two backends, counted and handed to the real judge. */
import { JUDGE_DEFAULTS, RouteJudge, type JudgePolicy, type Side } from "../../src/domain/judge.ts";
import type { Counts } from "../../src/domain/window.ts";
import type { Verdict } from "../../src/domain/verdict.ts";
import type { Chance } from "./chance.ts";

/** How the product ticks. */
export const TICK_MS = 250;
/** For long stretches in which nothing is to be timed. */
export const SECOND_MS = 1000;

/** Traffic at a moment. `share` is where requests really go when it is not the weight. */
export interface Traffic {
  readonly rps: number;
  readonly weight: number;
  readonly share?: number;
  readonly legacyRate: number;
  readonly candidateRate: number;
}

/** What one tick counted. */
export interface Counted {
  readonly legacy: Side;
  readonly candidate: Side;
}

/** The latency of some answers of one side. */
export type Latency = (side: "legacy" | "candidate", answers: number) => Counts;

/** When a rollback came, in seconds since the run began, and how many requests of users had failed by then. */
export interface Detection {
  readonly seconds: number;
  readonly failed: number;
  readonly verdict: Verdict;
}

const NOTHING: Side = { requests: 0, failures: 0, latency: [] };

/** Counts of independent requests and failures over `seconds`. */
export function count(chance: Chance, seconds: number, traffic: Traffic, latency?: Latency): Counted {
  const share = traffic.share ?? traffic.weight;
  const sideOf = (side: "legacy" | "candidate", requests: number, rate: number): Side => {
    const failures = chance.poisson(requests * rate);
    const well = chance.poisson(requests * (1 - rate));
    const all = failures + well;
    return { requests: all, failures, latency: latency === undefined ? [] : latency(side, all) };
  };
  const requests = traffic.rps * seconds;
  return {
    legacy: share >= 1 ? NOTHING : sideOf("legacy", requests * (1 - share), traffic.legacyRate),
    candidate: share <= 0 ? NOTHING : sideOf("candidate", requests * share, traffic.candidateRate),
  };
}

/** One route with its judge, and its time. */
export class Road {
  readonly chance: Chance;
  readonly #judge: RouteJudge;
  readonly #latency: Latency | undefined;
  #nowMs = 0;
  #stage = 0;

  constructor(chance: Chance, latency?: Latency, policy: JudgePolicy = JUDGE_DEFAULTS) {
    this.chance = chance;
    this.#latency = latency;
    this.#judge = new RouteJudge(policy);
  }

  /** A minute with everybody on legacy, as before any first stage, and then the stage begins. */
  begin(traffic: Traffic): void {
    this.run(60, SECOND_MS, { ...traffic, weight: 0, share: 0 }, () => {});
    this.beginStage();
  }

  beginStage(): void {
    this.#judge.beginStage(++this.#stage);
  }

  /** One tick of `ms` with what was counted in it. */
  tick(ms: number, weight: number, { legacy, candidate }: Counted): Verdict {
    this.#nowMs += ms;
    return this.#judge.tick({ nowMs: this.#nowMs, candidateShare: weight, legacy, candidate });
  }

  /** Steady traffic for some seconds. Each verdict goes to `see`. */
  run(seconds: number, ms: number, traffic: Traffic, see: (verdict: Verdict) => void): void {
    for (let at = 0; at < seconds * 1000; at += ms) {
      see(this.tick(ms, traffic.weight, count(this.chance, ms / 1000, traffic, this.#latency)));
    }
  }

  /** Steady traffic until a rollback, or null when none comes within `seconds`. */
  detect(seconds: number, ms: number, traffic: Traffic): Detection | null {
    let failed = 0;
    for (let at = ms; at <= seconds * 1000; at += ms) {
      const counted = count(this.chance, ms / 1000, traffic, this.#latency);
      failed += counted.candidate.failures;
      const verdict = this.tick(ms, traffic.weight, counted);
      if (verdict.action === "rollback") return { seconds: at / 1000, failed, verdict };
    }
    return null;
  }
}

/** The value that a fraction of the values is not above; Infinity stands for a detection that did not come. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))] ?? NaN;
}
