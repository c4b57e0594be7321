/** The endpoint that shows the instances, their worker processes, and how far each of them is. */
import type { z } from "zod";
import { Fault } from "../base/fault.ts";
import type { WorkerStatus } from "../control/fleet.ts";
import type { InstanceView } from "../control/members.ts";
import { answer } from "./answers.ts";
import { readCurrent } from "./current.ts";
import { endpoint, noQuery, type Endpoint } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";
import type { shapes } from "./shapes.ts";

type FleetAnswer = z.input<typeof shapes.FleetAnswer>;

/** GET /v1/fleet. */
export function fleetApi(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/fleet",
      access: "viewer",
      summary: "The instances and their workers: version, applied revision, connections",
      query: noQuery,
      answers: { 200: { description: "The instances", shape: "FleetAnswer", etag: true } },
      faults: [],
      async handle() {
        const instances = parts.members.instances();
        const revision = await newestRevision(parts, instances);
        const fleet: FleetAnswer = {
          revision,
          version: parts.version,
          instance: instances.find(({ isSelf }) => isSelf)?.id ?? "",
          workers: parts.fleet.status().map((worker) => encodeWorker(worker, revision)),
          instances: instances.map((instance) => encodeInstance(instance, revision)),
        };
        return answer(fleet, { revision });
      },
    }),
  ];
}

/** The table's revision; the newest that any instance is known to have when the store cannot say. */
async function newestRevision(parts: AdminParts, instances: readonly InstanceView[]): Promise<number> {
  try {
    return (await readCurrent(parts.commands)).revision;
  } catch (error) {
    // Who is where matters most when the store is away.
    if (!(error instanceof Fault)) throw error;
    return Math.max(parts.publisher.served().revision, ...instances.map((one) => one.appliedRevision));
  }
}

function encodeInstance(instance: InstanceView, revision: number): FleetAnswer["instances"][number] {
  const { status } = instance;
  return {
    id: instance.id,
    self: instance.isSelf,
    version: status?.version ?? "",
    applied_revision: instance.appliedRevision,
    lag: Math.max(0, revision - instance.appliedRevision),
    last_heard_ms_ago: Math.round(instance.lastHeardMsAgo),
    state: instance.isUnknown || status === null ? "unknown" : status.state,
    serving_from: status?.servingFrom ?? null,
    store: status === null ? "what it says cannot be read here" : (status.store ?? "ok"),
    workers: status?.workers.map((worker) => encodeWorker(worker, revision)) ?? [],
    warnings: [...(status?.warnings ?? [])],
  };
}

function encodeWorker(worker: WorkerStatus, revision: number): FleetAnswer["workers"][number] {
  return {
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
  };
}
