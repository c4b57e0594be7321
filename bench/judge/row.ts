/** One row of the plan: what it shows, what it must show, and whether it does. */
import type { Chance } from "./chance.ts";

/** How much is simulated. */
export interface Effort {
  readonly nullDays: number;
  readonly detections: number;
  readonly warmDetections: number;
  readonly robustRuns: number;
  readonly latencyRuns: number;
  readonly latencyNullDays: number;
  readonly proofRuns: number;
}

/** What a row found. */
export interface Outcome {
  readonly test: string;
  readonly figure: string;
  readonly bound: string;
  readonly isOk: boolean;
}

/** Simulates one row. */
export type Row = (effort: Effort, chance: Chance) => Outcome;

/** A row whose figures each have an upper bound. */
export function bounded(
  test: string,
  figures: readonly { readonly name: string; readonly value: number; readonly most: number }[],
): Outcome {
  const text = (name: string, value: number): string =>
    `${name} ${Number.isInteger(value) ? value : value.toPrecision(3)}`;
  return {
    test,
    figure: figures.map(({ name, value }) => text(name, value)).join(", "),
    bound: figures.map(({ name, most }) => text(name, most)).join(", "),
    // NaN is no figure, so it is not within its bound either.
    isOk: figures.every(({ value, most }) => value <= most),
  };
}
