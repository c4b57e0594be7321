/** What a judge says after one tick, for tests of whatever shows it. */
import { JUDGE_DEFAULTS, RouteJudge } from "../../src/domain/judge.ts";
import type { Verdict } from "../../src/domain/verdict.ts";

/** The verdict on 5 % for a candidate that failed so many of its 200 requests; legacy failed 10 of 4000. */
export function verdictOn(failures: number): Verdict {
  return new RouteJudge(JUDGE_DEFAULTS).tick({
    nowMs: 0,
    candidateShare: 0.05,
    legacy: { requests: 4000, failures: 10, latency: [] },
    candidate: { requests: 200, failures, latency: [] },
  });
}
