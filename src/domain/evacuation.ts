/** Which WebSockets and streams must end because a new table sends their clients elsewhere. */
import type { Pick } from "./pick.ts";
import { SHARES_TOTAL, type Route } from "./route.ts";
import { isInCohort } from "./split.ts";
import { findRoute, type RequestView, type RouteTable } from "./table.ts";

/**
 * Whether a request of the route `was` that went where `picked` says would go to another backend now, and its route
 * wants it cut for that.
 *
 * Pinned clients stay. So do those whom chance put where they are, unless one side has everything, and those whose
 * bucket means nothing any more because the salt is another one.
 */
export function isEvacuated(table: RouteTable, view: RequestView, picked: Pick, was: Route): boolean {
  const compiled = findRoute(table, view);
  if (compiled === null || compiled.route.evacuate !== "cut" || picked.why === "pin") return false;
  const { candidateShares, sticky } = compiled.route;
  const isWhole = candidateShares === 0 || candidateShares === SHARES_TOTAL;
  const knowsBucket = picked.why === "cohort" && sticky.keys.length > 0 && sticky.salt === was.sticky.salt;
  if (!isWhole && !knowsBucket) return false;
  const side = isInCohort(picked.bucket, candidateShares) ? compiled.candidate : compiled.legacy;
  return side.id !== picked.backend.id;
}
