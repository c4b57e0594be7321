/** The endpoint that shows the worker processes and how far each of them is. */
import { answer } from "./answers.ts";
import { readCurrent } from "./current.ts";
import { endpoint, noQuery, type Endpoint } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";

/** GET /v1/fleet. */
export function fleetApi(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/fleet",
      access: "viewer",
      summary: "The workers: version, applied revision, connections",
      query: noQuery,
      answers: { 200: { description: "The workers", shape: "FleetAnswer", etag: true } },
      faults: ["STORE_UNAVAILABLE"],
      async handle() {
        const { revision } = await readCurrent(parts.commands);
        const workers = parts.fleet.status().map((worker) => ({
          worker: worker.worker,
          pid: worker.pid,
          version: worker.version,
          state: worker.state,
          adopted: worker.adopted,
          applied_revision: worker.appliedRevision,
          lag: Math.max(0, revision - worker.appliedRevision),
          refused: worker.refused,
          connections_open: worker.connectionsOpen,
          restarts: worker.restarts,
          rss_bytes: worker.rssBytes,
          loop_utilization: worker.loopUtilization,
        }));
        return answer({ revision, version: parts.version, workers }, { revision });
      },
    }),
  ];
}
