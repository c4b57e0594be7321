/** The whole plan: what is simulated, in which order, and how much of it. */
import { Chance } from "./chance.ts";
import { detectionRows } from "./detecting.ts";
import { latencyRows } from "./lateness.ts";
import { nullRows } from "./nothing_wrong.ts";
import { proofRows } from "./proving.ts";
import { robustnessRows } from "./robustness.ts";
import type { Effort, Outcome, Row } from "./row.ts";

/** Minutes on one core: what the figures are stated for. */
export const FULL: Effort = {
  nullDays: 100,
  detections: 1000,
  warmDetections: 300,
  robustRuns: 400,
  latencyRuns: 200,
  latencyNullDays: 10,
  proofRuns: 4000,
};

/** Seconds: enough to notice a wrong formula. */
export const SHORT: Effort = {
  nullDays: 0.5,
  detections: 100,
  warmDetections: 12,
  robustRuns: 4,
  latencyRuns: 10,
  latencyNullDays: 0.2,
  proofRuns: 800,
};

/** Runs everything and tells each outcome as soon as it is known. The same seed gives the same outcomes. */
export function runPlan(effort: Effort, seed: number, tell: (outcome: Outcome) => void): readonly Outcome[] {
  const rows: readonly Row[] = [
    ...detectionRows,
    ...latencyRows,
    ...proofRows,
    ...robustnessRows,
    ...nullRows,
  ];
  return rows.map((row, at) => {
    // A stream for each row, so that one row does not move the chance of the others.
    const outcome = row(effort, new Chance(seed * 1000 + at));
    tell(outcome);
    return outcome;
  });
}
