/** The rollback policy of a route: between the operator's form and the program's. */
import { examineKeys, isMap } from "./examine.ts";
import { DEFAULT_ROLLBACK, isFailure } from "./failure.ts";
import { type Findings, refuseRepeats, type PathPart } from "./problems.ts";
import type { FailureStatus, RollbackPolicy } from "./route.ts";
import { rollbackSchema } from "./schema.ts";

/** How a route says that only people take it back. */
const OFF = "off";

/**
 * Reads a policy in the operator's form; undefined stands for the default. Gives null for `off`, and after something
 * wrong was added to `findings`.
 *
 * `off` may arrive as false: that is what older readers of YAML make of it.
 */
export function readRollback(
  input: unknown,
  path: readonly PathPart[],
  findings: Findings,
): RollbackPolicy | null {
  if (input === undefined) return DEFAULT_ROLLBACK;
  if (input === OFF || input === false) return null;
  if (!isMap(input)) {
    findings.add(
      path,
      `write "off" or a map; allowed in it: ${Object.keys(rollbackSchema.shape).join(", ")}`,
    );
    return null;
  }
  const keys = examineKeys(rollbackSchema, input, path, findings);
  const policy = {
    on: keys?.on ?? DEFAULT_ROLLBACK.on,
    tolerance: keys?.tolerance ?? DEFAULT_ROLLBACK.tolerance,
    falseAlarm: keys?.false_alarm ?? DEFAULT_ROLLBACK.falseAlarm,
    statuses: keys?.statuses ?? DEFAULT_ROLLBACK.statuses,
  };
  refuseRepeats(policy.on, [...path, "on"], findings);
  refuseRepeats(policy.statuses.map(String), [...path, "statuses"], findings);
  refuseContained(policy, [...path, "statuses"], findings);
  return policy;
}

/** A policy in the operator's form, without what equals its default; undefined when nothing is left. */
export function encodeRollback(policy: RollbackPolicy | null): unknown {
  if (policy === null) return OFF;
  const { on, tolerance, falseAlarm, statuses } = policy;
  const map: Record<string, unknown> = {};
  if (!isSame(on, DEFAULT_ROLLBACK.on)) map["on"] = on;
  if (tolerance !== DEFAULT_ROLLBACK.tolerance) map["tolerance"] = tolerance;
  if (falseAlarm !== DEFAULT_ROLLBACK.falseAlarm) map["false_alarm"] = falseAlarm;
  if (!isSame(statuses, DEFAULT_ROLLBACK.statuses)) map["statuses"] = statuses;
  return Object.keys(map).length === 0 ? undefined : map;
}

/** Adds a finding for every single status whose class stands in the list too. */
function refuseContained(policy: RollbackPolicy, path: readonly PathPart[], findings: Findings): void {
  const classes = policy.statuses.filter((status) => typeof status !== "number");
  for (const [index, status] of policy.statuses.entries()) {
    if (typeof status !== "number") continue;
    const owner = classes.find((one) => isFailure({ ...policy, statuses: [one] }, status));
    if (owner !== undefined) findings.add([...path, index], `"${owner}" in this list includes it already`);
  }
}

function isSame(one: readonly FailureStatus[] | readonly string[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((entry, index) => entry === other[index]);
}
