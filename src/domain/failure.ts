/** Which answers of a backend are failures, by the rollback policy of their route. */
import type { RollbackPolicy } from "./route.ts";

/** The policy of a route that says nothing. */
export const DEFAULT_ROLLBACK: RollbackPolicy = Object.freeze<RollbackPolicy>({
  on: ["errors"],
  tolerance: 1.5,
  falseAlarm: 0.001,
  statuses: ["5xx"],
});

const CLIENT_ERROR = 400;
const SERVER_ERROR = 500;

/**
 * Whether an answer with this status is a failure.
 *
 * A route that is not rolled back has the failures of the default policy, so that there is evidence to look at and to
 * begin with. Statuses from 600 on belong to 5xx: RFC 9110 section 15 wants invalid ones treated so.
 */
export function isFailure(policy: RollbackPolicy | null, status: number): boolean {
  if (status < CLIENT_ERROR) return false;
  const ofClass = status < SERVER_ERROR ? "4xx" : "5xx";
  const { statuses } = policy ?? DEFAULT_ROLLBACK;
  for (const one of statuses) if (one === status || one === ofClass) return true;
  return false;
}
