/** The JSON shapes of the admin API: what it takes, what it answers. Its description is generated from them. */
import { z } from "zod";
import { exportSchema } from "../control/export.ts";
import { closed } from "../domain/examine.ts";
import { rolloutSchema } from "../domain/rollout_plan.ts";
import { rolloutStateSchema } from "../domain/rollout_state.ts";
import { PHASES } from "../domain/rollout_words.ts";
import { ROLLBACK_SIGNALS } from "../domain/route.ts";
import { routeSchema, tableRouteSchema, tableSchema, weightsSchema } from "../domain/schema.ts";
import { nameSchema } from "../domain/schema_parts.ts";
import { PRESSURE_LEVELS, SHADOW_RESULTS } from "../shared/counters.ts";
import { comparisonShape } from "./difference_shapes.ts";

/** The longest reason, in UTF-16 units. */
const REASON_LENGTH_MAX = 1000;
/** Bounds of a described request; a real one has smaller ones. */
const URL_LENGTH_MAX = 16_384;
const HEADERS_MAX = 200;
const HEADER_LENGTH_MAX = 8_192;

const count = z.int().min(0);
const revision = z.int().min(0).meta({ description: "The revision of the table; 0 while there is none" });
const percent = z.number().min(0).max(100);
const moment = z.string().meta({ format: "date-time" });
const milliseconds = z.number().min(0);
const difference = z
  .array(z.string())
  .meta({ description: "One line per difference, as a person would say it" });

const appliedMs = milliseconds
  .optional()
  .meta({ description: "With ?wait=applied: from the call until every worker of every instance had it" });

/** Why something is changed. */
export const reasonSchema = z
  .string({ error: "write the reason as text" })
  .max(REASON_LENGTH_MAX, { error: `write at most ${REASON_LENGTH_MAX} characters` });

/** The body of a write that needs nothing else. */
export const reasonBody = closed({ reason: reasonSchema.optional() });

/** An operator's word on which table counts. */
export const reseedBody = closed({
  from: z
    .enum(["served", "stored"], { error: 'write "served" or "stored"' })
    .meta({ description: "The table that is served here, or the one that the store holds" }),
  reason: reasonSchema.optional(),
});

/** How the store is. */
export const storeAnswer = z.strictObject({
  kind: z.enum(["sqlite", "redis"]),
  where: z.string(),
  condition: z.enum(["ok", "away", "empty", "older", "stranger"]).meta({
    description:
      "Whether its table is in use; if not: out of reach, emptied, set back, or of another history",
  }),
  detail: z.string(),
  since: moment,
  store_revision: revision
    .nullable()
    .meta({ description: "Last seen there; null when it was never reached" }),
  served_revision: revision,
  served_from: z.enum(["store", "disk", "none"]),
  warnings: z.array(z.string()),
});

/** A request to explain. */
export const explainBody = closed({
  method: z.string().regex(/^[!#$%&'*+\-.^_`|~\w]{1,40}$/, { error: "write a method, such as GET" }),
  url: z
    .string()
    .min(1, { error: "write a URL, such as http://shop.example.com/api/" })
    .max(URL_LENGTH_MAX, { error: `write at most ${URL_LENGTH_MAX} characters` }),
  headers: z
    .record(
      z.string(),
      z.union([z.string().max(HEADER_LENGTH_MAX), z.array(z.string().max(HEADER_LENGTH_MAX))]),
    )
    .refine((headers) => Object.keys(headers).length <= HEADERS_MAX, {
      error: `write at most ${HEADERS_MAX} headers`,
    })
    .optional(),
  client: z
    .string()
    .regex(/^[\d.:a-fA-F]{2,45}$/, { error: "write the client's IP address" })
    .optional()
    .meta({ description: "The client's address, for routes that fall back to it", default: "127.0.0.1" }),
});

const problem = z.strictObject({
  path: z
    .string()
    .meta({ description: "A JSON pointer into the body, ?name for a parameter, or a header's name" }),
  message: z.string(),
});

const windowFigures = z.strictObject({
  requests: count.meta({ description: "Requests that ended" }),
  failures: count.meta({ description: "Requests that the backend failed" }),
  aborted: count,
  p50_ms: milliseconds.nullable(),
  p90_ms: milliseconds.nullable(),
  p99_ms: milliseconds.nullable(),
});

const backendHealth = z.strictObject({
  backend: nameSchema,
  role: z.enum(["legacy", "candidate"]),
  share_configured_percent: percent,
  share_observed_percent: percent.nullable().meta({ description: "Of the last 60 s; null without requests" }),
  windows: z.strictObject({ "10s": windowFigures, "60s": windowFigures }),
});

const judgedSide = z
  .strictObject({
    requests: count,
    failures: count,
    rate_percent: percent.nullable().meta({ description: "Null without requests" }),
    rate_low_percent: percent,
    rate_high_percent: percent,
  })
  .meta({ description: "Since the stage began; low and high: the rates that are still possible" });

const score = z.number().min(0).max(10);
const scores = z.strictObject({ all: score, errors: score, latency: score });
const slowAnswers = z.strictObject({ slow: count, answers: count });

const judgement = z.strictObject({
  action: z.enum(["none", "hold", "rollback"]),
  signal: z.enum(ROLLBACK_SIGNALS).nullable().meta({ description: "What speaks against the candidate" }),
  proven: z.boolean().meta({ description: "Fewer failures than the margin are proved" }),
  summary: z.string().meta({ description: "All of it in one line, as a person would say it" }),
  stage: count,
  legacy: judgedSide,
  candidate: judgedSide,
  evidence: z
    .strictObject({ rollback: scores, hold: scores })
    .meta({ description: "0 to 10; at 10 the candidate is rolled back, or held" }),
  margin_percent: percent,
  requests_to_proof: count.nullable().meta({
    description: "Requests of the candidate until the proof at this rate; null when it will not come",
  }),
  candidate_per_second: z.number().min(0),
  slow: z.array(
    z.strictObject({
      event: z.string(),
      threshold_ms: milliseconds
        .nullable()
        .meta({ description: "Slower counts as slow; null while legacy has too few answers to say" }),
      legacy: slowAnswers,
      candidate: slowAnswers,
    }),
  ),
});

const rolloutLines = z
  .array(z.string())
  .meta({ description: "Where the rollout is, what it waits for, what comes next and why, for people" });

const rolloutBrief = z.strictObject({
  phase: z.enum(PHASES),
  step: count.meta({ description: "The step whose weight is set, from 1; 0: legacy has all traffic" }),
  steps: count,
  lines: rolloutLines,
});

const mirrored = z
  .strictObject({
    to: nameSchema,
    percent,
    sampled: count.meta({ description: "Requests that were to have a copy" }),
    answered: count,
    in_flight: count,
    dropped: z.partialRecord(z.enum(SHADOW_RESULTS).exclude(["answered"]), count).meta({
      description: "Why the others were given up; with answered and in_flight they add up to sampled",
    }),
  })
  .meta({ description: "Copies that workers of this instance made since its control process started" });

const historyEntry = {
  revision,
  from_revision: revision,
  at: moment,
  actor: z.string(),
  action: z.string(),
  reason: z.string(),
};

const nextBefore = revision
  .nullable()
  .meta({ description: "Pass as ?before= for the next page; null at the end" });

const workerStatus = z.strictObject({
  worker: count,
  pid: count,
  version: z.string(),
  state: z.enum(["starting", "serving", "draining"]),
  adopted: z.boolean(),
  applied_revision: revision,
  lag: count.meta({ description: "How many revisions it is behind" }),
  refused: z.strictObject({ revision, reason: z.string() }).optional(),
  connections_open: count,
  restarts: count,
  rss_bytes: count,
  loop_utilization: z.number().min(0).max(1),
  pressure: z
    .enum(PRESSURE_LEVELS)
    .optional()
    .meta({ description: "What it gives up because it is pressed; each level includes those before it" }),
  drain: z
    .strictObject({
      open: z.strictObject({ idle: count, requests: count, tunnels: count, streams: count }),
      requests_until: moment,
      tunnels_until: moment,
    })
    .optional()
    .meta({ description: "While it drains: what is still open, and until when it may be" }),
  replaced_because: z
    .string()
    .optional()
    .meta({ description: "It serves until its successor does, then it drains; why" }),
});

const instanceStatus = z.strictObject({
  id: z.string(),
  self: z.boolean(),
  version: z.string(),
  applied_revision: revision,
  lag: count.meta({ description: "How many revisions it is behind" }),
  last_heard_ms_ago: count,
  state: z.enum(["serving", "not ready", "draining", "unknown"]).meta({
    description: "unknown: the store cannot be reached, or this version cannot read what it says",
  }),
  serving_from: z
    .enum(["store", "disk", "none"])
    .nullable()
    .meta({ description: "Where its table is from; null when that cannot be read" }),
  store: z.string().meta({ description: "ok, or what is wrong with the store as seen from there" }),
  workers: z.array(workerStatus),
  warnings: z.array(z.string()),
});

/** Every shape by its name in the description. */
export const shapes = {
  Table: tableSchema,
  Route: routeSchema,
  TableRoute: tableRouteSchema,
  Weights: weightsSchema,
  Rollout: rolloutSchema,
  Split: z
    .object({ reason: reasonSchema.optional() })
    .catchall(percent)
    .meta({ description: "Percent per backend of the cutover, adding up to 100, and why" }),
  ReasonBody: reasonBody,
  ExplainBody: explainBody,
  ReseedBody: reseedBody,
  StoreAnswer: storeAnswer,
  TableAnswer: z.strictObject({ revision, table: tableSchema }),
  RouteAnswer: z.strictObject({ revision, route: tableRouteSchema }),
  RoutesAnswer: z.strictObject({ revision, routes: z.array(tableRouteSchema) }),
  WriteAnswer: z.strictObject({
    revision,
    changed: z.boolean(),
    difference,
    dry_run: z.literal(true).optional(),
    lines: rolloutLines.optional(),
    applied_ms: appliedMs,
  }),
  RolloutAnswer: z.strictObject({
    revision,
    route: nameSchema,
    plan: rolloutSchema,
    state: rolloutStateSchema,
    lines: rolloutLines,
    frozen_until: moment.nullable().meta({ description: "The end of the freeze that is in force" }),
  }),
  HealthAnswer: z.strictObject({
    revision,
    route: nameSchema,
    instances: z.int().min(1).meta({ description: "How many instances the figures are from" }),
    backends: z.array(backendHealth),
    judgement: judgement
      .nullable()
      .meta({ description: "What the evidence says of the candidate; null while there is none" }),
    braked: z
      .boolean()
      .meta({ description: "Kept on legacy by this instance, because the table could not be changed" }),
    rollout: rolloutBrief.nullable().meta({ description: "Null without a plan" }),
    mirror: mirrored.nullable().meta({ description: "Null without a mirror" }),
  }),
  DifferencesAnswer: z.strictObject({
    revision,
    route: nameSchema,
    mirror: mirrored.nullable().meta({ description: "Null without a mirror" }),
    instances: count.meta({ description: "How many instances have compared anything" }),
    comparison: comparisonShape.nullable().meta({ description: "Null where nothing is compared" }),
    reason: z.string().nullable().meta({ description: "Why nothing is" }),
  }),
  HistoryPage: z.strictObject({ entries: z.array(z.strictObject(historyEntry)), next_before: nextBefore }),
  AuditPage: z.strictObject({
    entries: z.array(z.strictObject({ ...historyEntry, difference })),
    next_before: nextBefore,
  }),
  Export: exportSchema,
  ImportAnswer: z.strictObject({
    revision,
    revisions: count.meta({ description: "How many were imported" }),
    applied_ms: appliedMs,
  }),
  PastTable: z.strictObject({ ...historyEntry, difference, table: tableSchema }),
  Explanation: z.strictObject({
    revision,
    route: nameSchema.nullable(),
    backend: nameSchema.nullable().meta({ description: "Null when chance decides or nothing is sent" }),
    reason: z.string(),
    bucket: count.nullable(),
    key: z.string().nullable(),
    candidate_percent: percent.nullable(),
    endpoints: z.array(z.string()).meta({ description: "Where it would be sent: one of these" }),
    steps: z.array(z.string()),
  }),
  FleetAnswer: z.strictObject({
    revision,
    version: z.string(),
    pid: count.meta({ description: "The control process that answers" }),
    listen: z.array(z.string()).meta({ description: "Where requests come in" }),
    instance: z.string().meta({ description: "The instance that answers; version and workers are its own" }),
    workers: z.array(workerStatus),
    instances: z
      .array(instanceStatus)
      .meta({ description: "All instances of the store, in the order of ids" }),
  }),
  RecycleAnswer: z.strictObject({
    workers: z.array(z.strictObject({ worker: count, pid: count })),
  }),
  UpgradeAnswer: z.strictObject({
    pid: count,
    version: z.string(),
    after_ms: milliseconds.meta({ description: "From the call until its workers served" }),
  }),
  Live: z.strictObject({ live: z.literal(true) }),
  Ready: z.strictObject({
    ready: z.literal(true),
    warnings: z.array(z.string()),
    workers: z
      .array(z.strictObject({ worker: count, state: workerStatus.shape.state, applied_revision: revision }))
      .optional(),
  }),
  Problem: z
    .looseObject({
      type: z.string(),
      title: z.string(),
      status: z.int(),
      detail: z.string(),
      code: z.string(),
      errors: z.array(problem),
    })
    .meta({ description: "RFC 9457; errors lists everything that is wrong, not only the first" }),
} as const;

/** The name of a shape. */
export type ShapeName = keyof typeof shapes;
