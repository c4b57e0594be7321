/** How long a change takes from the call until every worker of every instance has it, under load. */
import { assert } from "../../src/base/fault.ts";
import type { RedisStage } from "../../test/support/redis_stage.ts";
import { quantile } from "./figures.ts";

const HUNDRED = 100;

/** What the changes took, in milliseconds of the caller. */
export interface ChangesReport {
  readonly changes: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly longestMs: number;
  /** The same quantile of every hundred changes: one busy moment of the machine decides that of all. */
  readonly p99OfHundredsMs: readonly number[];
  /** Changes that were not applied everywhere. */
  readonly late: number;
}

/** Changes at each instance in turn, one after the other. Gives up the rest after `timeMaxMs`. */
export async function measureChanges(
  stage: RedisStage,
  changes: number,
  timeMaxMs: number,
): Promise<ChangesReport> {
  const { instances } = stage;
  const tookMs: number[] = [];
  let late = 0;
  const untilMs = performance.now() + timeMaxMs;
  for (let change = 0; change < changes && performance.now() < untilMs; change++) {
    const instance = instances[change % instances.length];
    assert(instance !== undefined, "there are instances");
    const startedMs = performance.now();
    const { status } = await stage.shift(change % 2 === 0 ? 20 : 80, instance);
    if (status === 200) tookMs.push(performance.now() - startedMs);
    else late++;
  }
  const ascending = tookMs.toSorted((a, b) => a - b);
  const hundreds = Array.from({ length: Math.floor(tookMs.length / HUNDRED) }, (_, index) =>
    tookMs.slice(index * HUNDRED, (index + 1) * HUNDRED).toSorted((a, b) => a - b),
  );
  return {
    changes: tookMs.length + late,
    medianMs: quantile(ascending, 0.5),
    p99Ms: quantile(ascending, 0.99),
    longestMs: ascending.at(-1) ?? Number.NaN,
    p99OfHundredsMs: hundreds.map((hundred) => quantile(hundred, 0.99)),
    late,
  };
}
