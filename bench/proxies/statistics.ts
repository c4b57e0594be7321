/** Ratios of rounds that were measured at the same time, and means of ratios. */
import { median } from "../store/figures.ts";
import type { Round } from "./results.ts";

/** The ratios of one list to another, round by round: what disturbs both at one time cancels out. */
export function ratiosOf(
  over: readonly Round[],
  under: readonly Round[],
  figure: (round: Round) => number,
): number[] {
  return pairs(over, under).map(([one, other]) => figure(one) / figure(other));
}

/** Their median. NaN when there is no pair. */
export function pairedRatio(
  over: readonly Round[],
  under: readonly Round[],
  figure: (round: Round) => number,
): number {
  return median(ratiosOf(over, under, figure));
}

/** The median of the differences, in the same way. */
export function pairedDifference(
  over: readonly Round[],
  under: readonly Round[],
  figure: (round: Round) => number,
): number {
  return median(pairs(over, under).map(([one, other]) => figure(one) - figure(other)));
}

function pairs(over: readonly Round[], under: readonly Round[]): (readonly [Round, Round])[] {
  return over.slice(0, under.length).map((round, place) => [round, under[place] as Round] as const);
}

/** The geometric mean: of ratios, the one that a factor in any of them moves alike. NaN for an empty list. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
