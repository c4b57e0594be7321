/** Endpoints of the instances and their worker processes: how far each is, and replacing them. */
import type { z } from "zod";
import { Fault, type Result } from "../base/fault.ts";
import type { WorkerStatus } from "../control/fleet.ts";
import type { InstanceView } from "../control/members.ts";
import { answer, refusal } from "./answers.ts";
import { readCurrent } from "./current.ts";
import { endpoint, invalid, noQuery, type Call, type Endpoint } from "./endpoint.ts";
import { readShape } from "./input.ts";
import type { AdminParts } from "./parts.ts";
import { reasonBody, type shapes } from "./shapes.ts";

type FleetAnswer = z.input<typeof shapes.FleetAnswer>;

/** GET /v1/fleet, POST /v1/fleet/recycle and POST /v1/upgrade. */
export function fleetApi(parts: AdminParts): Endpoint[] {
  return [showing(parts), recycling(parts), upgrading(parts)];
}

function showing(parts: AdminParts): Endpoint {
  return endpoint({
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
        pid: parts.pid,
        listen: [...parts.fleet.addresses()],
        instance: instances.find(({ isSelf }) => isSelf)?.id ?? "",
        workers: parts.fleet.status().map((worker) => encodeWorker(worker, revision)),
        instances: instances.map((instance) => encodeInstance(instance, revision)),
      };
      return answer(fleet, { revision });
    },
  });
}

function recycling(parts: AdminParts): Endpoint {
  return endpoint({
    method: "post",
    path: "/v1/fleet/recycle",
    access: "operator",
    summary: "Replace every worker of this instance, one after the other; answers when that has begun",
    query: noQuery,
    body: { shape: "ReasonBody", required: false },
    answers: { 200: { description: "The workers that will go", shape: "RecycleAnswer" } },
    faults: [],
    handle(call) {
      const cause = causeOf(call);
      if (!cause.ok) return invalid(cause.problems);
      const workers = parts.fleet.recycle(cause.value);
      parts.log.info({ actor: call.actor, workers: workers.length, cause: cause.value }, "admin recycle");
      return answer({ workers });
    },
  });
}

function upgrading(parts: AdminParts): Endpoint {
  return endpoint({
    method: "post",
    path: "/v1/upgrade",
    access: "admin",
    summary: "Start the program on disk and hand over to it; answers when it serves, or why it does not",
    query: noQuery,
    body: { shape: "ReasonBody", required: false },
    answers: { 200: { description: "The control process that takes over now", shape: "UpgradeAnswer" } },
    faults: ["CONFLICT", "UPGRADE_FAILED"],
    async handle(call) {
      const cause = causeOf(call);
      if (!cause.ok) return invalid(cause.problems);
      parts.log.info({ actor: call.actor, cause: cause.value }, "admin upgrade");
      const outcome = await parts.upgrade.begin(cause.value);
      if (!outcome.ok) return refusal(outcome.code, outcome.detail);
      const { pid, version, afterMs } = outcome;
      return answer({ pid, version, after_ms: afterMs });
    },
  });
}

/** Who wants it and why, as one text for events and the log. */
function causeOf(call: Call): Result<string> {
  const body = readShape(reasonBody, call.body ?? {});
  if (!body.ok) return body;
  const { reason } = body.value;
  const isSilent = reason === undefined || reason === "";
  return { ok: true, value: isSilent ? `${call.actor} wants it` : `${call.actor}: ${reason}` };
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
    replaced_because: worker.replacedBecause,
    pressure: worker.pressure,
    drain: worker.drain && {
      open: { ...worker.drain.open },
      requests_until: new Date(worker.drain.requestsUntilMs).toISOString(),
      tunnels_until: new Date(worker.drain.tunnelsUntilMs).toISOString(),
    },
  };
}
