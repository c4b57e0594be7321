/** The JSON shapes of the admin API: what it takes, what it answers. Its description is generated from them. */
import { z } from "zod";
import { closed } from "../domain/examine.ts";
import { nameSchema, routeSchema, tableRouteSchema, tableSchema, weightsSchema } from "../domain/schema.ts";

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

/** Why something is changed. */
export const reasonSchema = z
  .string({ error: "write the reason as text" })
  .max(REASON_LENGTH_MAX, { error: `write at most ${REASON_LENGTH_MAX} characters` });

/** The body of a write that needs nothing else. */
export const reasonBody = closed({ reason: reasonSchema.optional() });

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
});

/** Every shape by its name in the description. */
export const shapes = {
  Table: tableSchema,
  Route: routeSchema,
  TableRoute: tableRouteSchema,
  Weights: weightsSchema,
  Split: z
    .object({ reason: reasonSchema.optional() })
    .catchall(percent)
    .meta({ description: "Percent per backend of the cutover, adding up to 100, and why" }),
  ReasonBody: reasonBody,
  ExplainBody: explainBody,
  TableAnswer: z.strictObject({ revision, table: tableSchema }),
  RouteAnswer: z.strictObject({ revision, route: tableRouteSchema }),
  RoutesAnswer: z.strictObject({ revision, routes: z.array(tableRouteSchema) }),
  WriteAnswer: z.strictObject({
    revision,
    changed: z.boolean(),
    difference,
    dry_run: z.literal(true).optional(),
    applied_ms: milliseconds
      .optional()
      .meta({ description: "With ?wait=applied: from the call until every worker had it" }),
  }),
  HealthAnswer: z.strictObject({ revision, route: nameSchema, backends: z.array(backendHealth) }),
  HistoryPage: z.strictObject({ entries: z.array(z.strictObject(historyEntry)), next_before: nextBefore }),
  AuditPage: z.strictObject({
    entries: z.array(z.strictObject({ ...historyEntry, difference })),
    next_before: nextBefore,
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
  FleetAnswer: z.strictObject({ revision, version: z.string(), workers: z.array(workerStatus) }),
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
