/** A whole rollout of a good candidate, measured. */
import { CutoverStage } from "../../test/support/cutover_stage.ts";

/** What was seen. */
export interface RolloutRound {
  /** Requests that were really sent in a second, and those that were due and left out. */
  readonly perSecond: number;
  readonly leftOut: number;
  readonly phase: string;
  /** The weights that were set, in percent, and whether they are those of the plan, each once. */
  readonly weights: readonly number[];
  readonly isInOrder: boolean;
  readonly tookMs: number;
  readonly requests: number;
  readonly failed: number;
  readonly rollbacks: number;
}

const STEPS = [1, 5, 10, 25, 50, 75, 100] as const;
const BAKE = "3s";
/** The step that waits for a proof besides. */
const PROVEN = 25;
const TIME_MAX_MS = 180_000;
const ENDS = ["promoted", "rolled_back", "held", "aborted"];

/** Starts a plan from 1 to 100 % and waits for its end. The store must be empty. */
export async function measureRollout(perSecond: number, url: string): Promise<RolloutRound> {
  const steps = STEPS.map((weight) =>
    weight === PROVEN ? { weight, bake: BAKE, until: "proven" } : { weight, bake: BAKE },
  );
  await using stage = await CutoverStage.start({
    redis: [{ url }, { url }],
    route: { rollout: { steps, margin: 5, min_requests: 1 } },
  });
  const stream = stage.stream({ perSecond, clients: 50_000, requestsMax: 1_000_000 });
  const startedMs = performance.now();
  await stage.move("start");
  const { state } = await stage.rolloutIs("over", (says) => ENDS.includes(says.state.phase), {
    timeoutMs: TIME_MAX_MS,
  });
  const tookMs = performance.now() - startedMs;
  const requests = stream.started;
  await stream.stop();
  const weights = await stage.weights();
  return {
    perSecond: (requests * 1000) / tookMs,
    leftOut: stream.leftOut,
    phase: state.phase,
    weights,
    isInOrder: JSON.stringify(weights) === JSON.stringify(STEPS),
    tookMs,
    requests,
    failed: stream.failures().length,
    rollbacks: (await stage.rollbacks()).length,
  };
}
