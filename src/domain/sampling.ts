/** Which requests of a route have a copy. */
import type { Pick } from "./pick.ts";
import { SHARES_TOTAL, type PathMatch } from "./route.ts";
import { meets, type CompiledMirror, type RequestView } from "./table.ts";

/**
 * Whether a request that goes where `picked` says has a copy.
 *
 * Not one that the mirror's backend answers itself, and none of those who are pinned: they want to see one backend, and
 * their share is not the configured one. A request that says it is a copy has none, so that copies never go in circles.
 */
export function isSampled(
  mirror: CompiledMirror,
  picked: Pick,
  view: RequestView,
  draw: (below: number) => number,
): boolean {
  const { policy, buckets, expression } = mirror;
  if (picked.why === "pin" || picked.backend.id === policy.to) return false;
  if (policy.by === "bucket" && (picked.bucket < buckets[0] || picked.bucket >= buckets[1])) return false;
  const isMethod = (method: string): boolean => method === view.method;
  if (!policy.methods.some(isMethod) && !policy.writes.some(isMethod)) return false;
  if (!isAt(policy.match.path, expression, view.path)) return false;
  if (!policy.match.conditions.every((condition) => meets(condition, view))) return false;
  if (view.field("crossfade-shadow") !== undefined) return false;
  return policy.by === "bucket" || draw(SHARES_TOTAL) < policy.shares;
}

function isAt({ kind, value }: PathMatch, expression: RegExp | null, path: string): boolean {
  if (expression !== null) return expression.test(path);
  if (kind === "exact") return path === value;
  if (!path.startsWith(value)) return false;
  return path.length === value.length || value.endsWith("/") || path.charCodeAt(value.length) === 0x2f;
}
