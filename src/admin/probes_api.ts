/** Endpoints for machines that watch: alive, ready, metrics. None needs a token. */
import { z } from "zod";
import { closed } from "../domain/examine.ts";
import { answer, refusal } from "./answers.ts";
import { endpoint, noQuery, type Endpoint } from "./endpoint.ts";
import { METRICS_TYPE, type Metrics } from "./metrics.ts";
import type { AdminParts } from "./parts.ts";

const readyQuery = closed({
  verbose: z
    .enum(["", "true", "false"])
    .optional()
    .meta({ description: "Also show the revision of each worker" }),
});

/** The paths that are served without a token. */
export const OPEN_PATHS: ReadonlySet<string> = new Set(["/livez", "/readyz", "/metrics"]);

/** GET /livez, /readyz and /metrics. */
export function probesApi(parts: AdminParts, metrics: Metrics): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/livez",
      access: "anyone",
      summary: "Whether the control process answers at all",
      query: noQuery,
      answers: { 200: { description: "It does", shape: "Live" } },
      faults: [],
      handle: () => answer({ live: true }),
    }),
    endpoint({
      method: "get",
      path: "/readyz",
      access: "anyone",
      summary: "Whether requests are served",
      query: readyQuery,
      answers: {
        200: { description: "They are; warnings say what is wrong although they are", shape: "Ready" },
      },
      faults: ["NOT_READY"],
      handle({ query }) {
        const { ready, reason, warnings: own } = parts.publisher.readiness();
        const { members, rollouts, comparisons } = parts;
        const warnings = [own, members.warnings(), rollouts.warnings(), comparisons.warnings()].flat();
        const isVerbose = query.verbose !== undefined && query.verbose !== "false";
        const more = isVerbose ? { workers: workersOf(parts) } : {};
        if (!ready) return refusal("NOT_READY", reason, { members: { warnings, ...more } });
        return answer({ ready: true, warnings, ...more });
      },
    }),
    endpoint({
      method: "get",
      path: "/metrics",
      access: "anyone",
      summary: "Metrics for Prometheus",
      query: noQuery,
      answers: { 200: { description: "The text exposition format, version 0.0.4", type: METRICS_TYPE } },
      faults: [],
      async handle() {
        return new Response(await metrics.scrape(), { headers: { "content-type": METRICS_TYPE } });
      },
    }),
  ];
}

function workersOf(parts: AdminParts): unknown {
  return parts.fleet.status().map(({ worker, state, appliedRevision }) => ({
    worker,
    state,
    applied_revision: appliedRevision,
  }));
}
