/** What would happen to a request, and why: the router's own decisions, in words. */
import type { Random } from "../base/random.ts";
import { decodedPath } from "./path.ts";
import { pick, type Pick } from "./pick.ts";
import { writePercent } from "./quantity.ts";
import { SHARES_TOTAL, type Route } from "./route.ts";
import { isSampled } from "./sampling.ts";
import { findRoute, type CompiledRoute, type RequestView, type RouteTable } from "./table.ts";

/** A request as a person describes it. */
export interface DescribedRequest {
  readonly method: string;
  /** Absolute, or a path when `headers` has a Host. */
  readonly url: string;
  readonly headers: readonly (readonly [string, string])[];
}

/** The decision and how it came about. Fields are null when it did not get that far. */
export interface Explanation {
  readonly revision: number;
  readonly route: string | null;
  readonly backend: string | null;
  /** One sentence. */
  readonly reason: string;
  /** 0 to SHARES_TOTAL - 1. */
  readonly bucket: number | null;
  /** Where the identity came from, such as `cookie:uid`. */
  readonly key: string | null;
  readonly candidateShares: number | null;
  readonly steps: readonly string[];
}

/** Stands in for chance: what would be drawn can't be told beforehand. */
const NO_CHANCE: Random = { draw: () => 0, id: () => "" };

/** Explains a request against a table. `clientAddress` is used where the route falls back to it. */
export function explain(table: RouteTable, request: DescribedRequest, clientAddress: string): Explanation {
  const view = viewOf(request);
  if (typeof view === "string") return refusal(table, view);
  const steps = [`host "${view.host}", path "${view.path}", method ${view.method}`];
  const compiled = findRoute(table, view);
  if (compiled === null) return { ...refusal(table, "no route matches; the answer is 404"), steps };
  const { route } = compiled;
  steps.push(`route ${route.id} is the most specific that matches`);
  const picked = pick(table, compiled, view, { address: clientAddress, random: NO_CHANCE });
  const isOpen = picked.why === "draw" || (picked.keyFrom === "issue" && picked.issued === "" && isNew(view));
  const reason = isOpen ? openReason(route, picked) : reasonOf(route, picked);
  steps.push(reason);
  if (compiled.mirror !== null) steps.push(copyStep(compiled, picked, view, isOpen));
  return {
    revision: table.revision,
    route: route.id,
    backend: isOpen && isSplit(route) ? null : picked.backend.id,
    reason,
    bucket: isOpen || picked.why === "pin" ? null : picked.bucket,
    key: picked.keyFrom === "" ? null : picked.keyFrom,
    candidateShares: route.candidateShares,
    steps,
  };
}

function isNew(view: RequestView): boolean {
  return !(view.field("cookie") ?? "").includes("crossfade_id=");
}

function isSplit(route: Route): boolean {
  return route.candidateShares > 0 && route.candidateShares < SHARES_TOTAL;
}

function reasonOf(route: Route, picked: Pick): string {
  if (picked.why === "pin")
    return `a pin of the route sends it to ${picked.backend.id}, whatever the weights`;
  const relation = picked.bucket < route.candidateShares ? "below" : "not below";
  return (
    `the bucket of ${picked.keyFrom} is ${picked.bucket}, ${relation} the ${route.candidateShares} shares ` +
    `of ${route.cutover.candidate}, so it goes to ${picked.backend.id}`
  );
}

function openReason(route: Route, picked: Pick): string {
  if (!isSplit(route)) return `all traffic of the route goes to ${picked.backend.id}`;
  const percent = route.candidateShares / 1000;
  const how = picked.why === "draw" ? "every request is drawn anew" : "a new client gets a new identity";
  return `${how}: ${route.cutover.candidate} in ${percent} % of the cases, else ${route.cutover.legacy}`;
}

/** Whether the request has a copy. `isOpen`: its client has no bucket yet. */
function copyStep({ mirror }: CompiledRoute, picked: Pick, view: RequestView, isOpen: boolean): string {
  if (mirror === null) return "no copy is made";
  const { to, by, shares } = mirror.policy;
  if (isOpen || by === "random")
    return `of such requests up to ${writePercent(shares)} % have a copy at ${to}`;
  const isCopied = isSampled(mirror, picked, view, () => 0);
  return isCopied ? `a copy goes to ${to}, whose answer is thrown away` : `no copy goes to ${to}`;
}

function refusal(table: RouteTable, reason: string): Explanation {
  const nothing = { route: null, backend: null, bucket: null, key: null, candidateShares: null };
  return { revision: table.revision, ...nothing, reason, steps: [] };
}

function viewOf(request: DescribedRequest): RequestView | string {
  const fields = new Map<string, string>();
  for (const [name, value] of request.headers) {
    if (!fields.has(name.toLowerCase())) fields.set(name.toLowerCase(), value);
  }
  const base = `http://${fields.get("host") ?? "unknown"}`;
  if (!URL.canParse(request.url, base)) return "the URL is malformed";
  const url = new URL(request.url, base);
  // The parser would resolve dots silently; the proxy refuses them, so the raw path is looked at.
  const raw = request.url.replace(/^[a-z]+:\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "") || "/";
  const path = decodedPath(raw.startsWith("/") ? raw : `/${raw}`);
  if (path === null) return "the path is ambiguous (dot segments or escaped slashes); the answer is 400";
  return {
    method: request.method.toUpperCase(),
    host: url.hostname.toLowerCase().replace(/\.$/, ""),
    path,
    query: url.search.slice(1),
    field: (name) => fields.get(name),
  };
}
