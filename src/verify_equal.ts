/** Whether a replay has shown two backends to be equal, and if not, why. */
import type { ComparisonSummary, FieldReport } from "./domain/comparison.ts";
import { chanceOfSoMany } from "./domain/exact_test.ts";
import { countText, percentText } from "./render.ts";

/** The answer, with everything that speaks against it. */
export interface Equality {
  readonly isEqual: boolean;
  /** One line: `equal: 1,000 compared, 0 differ`. */
  readonly text: string;
  /** Why not; empty when equal. */
  readonly reasons: readonly string[];
}

/** What there is to judge. */
export interface EqualityCase {
  readonly summary: ComparisonSummary;
  readonly fields: readonly FieldReport[];
  /** Requests that were sent. Those that are neither compared nor counted as not compared were given up. */
  readonly sent: number;
  /** Whether all of the input was replayed that was to be. */
  readonly isComplete: boolean;
  /** So many of the requests that were sent, in percent, may stay without a comparison. */
  readonly uncomparedPercentMax: number;
}

/** The probability that noise alone makes two equal backends "not equal", over all fields that are noisy. */
const FALSE_ALARM = 0.01;
/** So many fields have a reason of their own. */
const FIELDS_NAMED_MAX = 5;

/**
 * Judges a replay.
 *
 * Equal means all of this: something was compared; the candidate answered whatever legacy answered; no more requests
 * than allowed are without a comparison, whatever the reason; the replay was not interrupted; and each field that
 * differed did so between two answers of legacy itself too, and not clearly more often: neither by the evidence that
 * was taken on the way, nor by Fisher's exact test at the end, at 1 % for all fields together. A field of which legacy
 * has shown no noise makes "not equal" by differing once: few requests prove no rate, so nothing is explained away.
 */
export function judgeEquality(one: EqualityCase): Equality {
  const { summary, fields } = one;
  const { compared, mismatched } = summary;
  const reasons = [
    ...(one.isComplete ? [] : ["it was interrupted, so not everything was replayed"]),
    ...(compared === 0 ? ["nothing was compared"] : []),
    ...failureReasons(one),
    ...fieldReasons(fields),
    ...uncomparedReasons(one),
  ];
  const counts = `${countText(compared)} compared, ${countText(mismatched)} ${mismatched === 1 ? "differs" : "differ"}`;
  if (reasons.length > 0) return { isEqual: false, text: `not equal: ${counts}`, reasons };
  const as = mismatched === 0 ? "" : " as legacy differs from itself";
  const left = one.sent - compared;
  const without = left === 0 ? "" : `, ${countText(left)} not compared, as allowed`;
  return { isEqual: true, text: `equal: ${counts}${as}${without}`, reasons };
}

function failureReasons({ summary, fields }: EqualityCase): string[] {
  const { failures } = summary;
  if (failures === 0) return [];
  const samples = fields.find(({ field }) => field === "fault")?.samples ?? [];
  const codes = [...new Set(samples.map(({ right }) => right ?? ""))].filter((code) => code !== "");
  const such = codes.length === 0 ? "" : ` (${codes.join(", ")})`;
  return [`the candidate failed ${timesText(failures)} where legacy answered${such}`];
}

function fieldReasons(fields: readonly FieldReport[]): string[] {
  // Failures have a reason of their own.
  const seen = fields.filter(({ field, pairs }) => pairs.differing > 0 && field !== "fault");
  const noisy = seen.filter(({ noise }) => noise.differing > 0).length;
  const reasons = seen.flatMap((field) => fieldReason(field, FALSE_ALARM / Math.max(1, noisy)) ?? []);
  const more = reasons.length - FIELDS_NAMED_MAX;
  if (more <= 0) return reasons;
  return [...reasons.slice(0, FIELDS_NAMED_MAX), `and ${countText(more)} more fields`];
}

function fieldReason({ field, verdict, pairs, noise }: FieldReport, chanceMin: number): string | null {
  const often = `${field} differs in ${ratioText(pairs)}`;
  if (noise.compared === 0) return `${often}, and legacy's own noise was not measured; --noise measures it`;
  const alone = `${ratioText(noise)} between two answers of legacy`;
  if (noise.differing === 0) return `${often}, and in ${alone}`;
  const counted = ({ differing, compared }: FieldReport["pairs"]): { events: number; trials: number } => ({
    events: differing,
    trials: compared,
  });
  const isMore =
    verdict === "real difference" ||
    verdict === "difference, noise not measured" ||
    chanceOfSoMany(counted(pairs), counted(noise)) < chanceMin;
  return isMore ? `${often}, clearly more often than in ${alone}` : null;
}

function uncomparedReasons({ summary, sent, uncomparedPercentMax }: EqualityCase): string[] {
  const left = sent - summary.compared;
  if (left === 0 || (100 * left) / sent <= uncomparedPercentMax) return [];
  const causes = Object.entries(summary.notCompared).filter(([, count]) => count > 0);
  const given = left - causes.reduce((sum, [, count]) => sum + count, 0);
  const words = causes.map(([reason, count]) => `${reason}: ${countText(count)}`);
  if (given > 0) words.push(`given up: ${countText(given)}`);
  const allowed =
    uncomparedPercentMax === 0 ? "" : `, more than the ${percentText(uncomparedPercentMax)} that may be`;
  return [`${countText(left)} of ${countText(sent)} were not compared${allowed} (${words.join(", ")})`];
}

function ratioText({ differing, compared }: FieldReport["pairs"]): string {
  return `${differing === 0 ? "none" : countText(differing)} of ${countText(compared)}`;
}

function timesText(count: number): string {
  return count === 1 ? "once" : `${countText(count)} times`;
}
