/** The shape of a table in the operator's form: one schema for files, the API, its description and the store. */
import { z } from "zod";
import { compareSchema } from "./compare_policy.ts";
import { closed } from "./examine.ts";
import { DEFAULT_ROLLBACK } from "./failure.ts";
import { readSize } from "./quantity.ts";
import { rolloutSchema } from "./rollout_plan.ts";
import { MIRRORED_METHODS, MIRRORED_WRITES, ROLLBACK_SIGNALS } from "./route.ts";
import {
  between,
  duration,
  durationOrOff,
  list,
  nameSchema,
  percentSchema,
  text,
  whole,
} from "./schema_parts.ts";
import {
  hostFault,
  methodFault,
  pathFault,
  prefixFault,
  queryNameFault,
  readEndpoint,
  readStickyKey,
  regexFault,
  saltFault,
  tokenFault,
  valueFault,
} from "./syntax.ts";

/** The most of each thing that one table may hold. */
export const TABLE_LIMITS = {
  backends: 200,
  routes: 1000,
  endpoints: 64,
  hosts: 64,
  methods: 16,
  conditions: 16,
  stickyKeys: 8,
  pins: 64,
  retryAttempts: 3,
  retryBodyBytes: 1_048_576,
  failureStatuses: 32,
  mirrorsInFlight: 1024,
} as const;

/** What a route gets for what it leaves out, in the operator's form. The salt comes from the cutover's names. */
export const ROUTE_DEFAULTS = {
  path: "/",
  stickyKeys: ["issue"],
  connect: "3s",
  response: "60s",
  idle: "60s",
  attempts: 1,
  body: "64KiB",
  websocket: true,
  trailers: false,
  evacuate: "keep",
  expose: false,
} as const;

/** What a mirror gets for what it leaves out, in the operator's form. `by` comes from the route's stickiness. */
export const MIRROR_DEFAULTS = { body: "64KiB", timeout: "10s", concurrency: 256 } as const;

/** What backends will have in a later version. */
const BACKEND_LATER = ["health"];

const sizeError = `write a size up to 1MiB, such as "64KiB" or "512"`;
const sizeSchema = z
  .union([z.string(), z.number()], { error: sizeError })
  .refine((size) => (readSize(size) ?? Infinity) <= TABLE_LIMITS.retryBodyBytes, { error: sizeError });

const endpointSchema = text((value) => {
  const reading = readEndpoint(value);
  return reading.ok ? null : reading.fault;
});

const stickyKeySchema = text((value) => {
  const reading = readStickyKey(value);
  return reading.ok ? null : reading.fault;
});

const valueSchema = text(valueFault);
const wantedSchema = z.union([z.literal(true), valueSchema], {
  error: "write the value as text in quotes, or true when presence is enough",
});

function conditions(name: z.ZodType<string, string>) {
  const error = `at most ${TABLE_LIMITS.conditions} conditions are allowed`;
  return z
    .record(name, wantedSchema)
    .refine((map) => Object.keys(map).length <= TABLE_LIMITS.conditions, { error })
    .optional();
}

/** A backend in the operator's form. */
export const backendSchema = closed(
  {
    endpoints: list(endpointSchema, 1, TABLE_LIMITS.endpoints),
    proxy_protocol: z
      .enum(["v1", "v2"])
      .optional()
      .meta({ description: "The header that tells the backend each client's address" }),
  },
  BACKEND_LATER,
);

/** What a route matches, in the operator's form. Of `path`, `exact` and `regex` at most one is given. */
export const matchSchema = closed({
  hosts: list(text(hostFault), 0, TABLE_LIMITS.hosts).optional(),
  path: text(prefixFault)
    .optional()
    .meta({ description: "Prefix of whole segments", default: ROUTE_DEFAULTS.path }),
  exact: text(pathFault).optional(),
  regex: text(regexFault).optional().meta({ description: "Must match the whole path" }),
  methods: list(text(methodFault), 0, TABLE_LIMITS.methods).optional(),
  headers: conditions(text(tokenFault)),
  query: conditions(text(queryNameFault)),
  cookies: conditions(text(tokenFault)),
});

/** The two roles of a cutover, in the operator's form. */
const cutoverSchema = closed({ legacy: nameSchema, candidate: nameSchema });

/** A pin in the operator's form. Of `header`, `cookie` and `query` exactly one is given. */
export const pinSchema = closed({
  header: text(tokenFault).optional(),
  cookie: text(tokenFault).optional(),
  query: text(queryNameFault).optional(),
  value: valueSchema.optional(),
  to: nameSchema,
});

const statusError = 'write "5xx", "4xx" or a status from 400 to 599, such as 503';
const failureStatusSchema = z.union(
  [z.enum(["4xx", "5xx"]), z.int().min(400, { error: statusError }).max(599, { error: statusError })],
  { error: statusError },
);

/** A rollback policy in the operator's form; a route may say `off` instead. */
export const rollbackSchema = closed({
  on: list(z.enum(ROLLBACK_SIGNALS), 1, ROLLBACK_SIGNALS.length)
    .optional()
    .meta({ default: DEFAULT_ROLLBACK.on }),
  tolerance: between(1, 10).optional().meta({
    description: "The candidate may fail this many times as often as legacy",
    default: DEFAULT_ROLLBACK.tolerance,
  }),
  false_alarm: between(0.000001, 0.05).optional().meta({
    description: "The probability of a rollback without a cause, per stage",
    default: DEFAULT_ROLLBACK.falseAlarm,
  }),
  statuses: list(failureStatusSchema, 1, TABLE_LIMITS.failureStatuses)
    .optional()
    .meta({ description: "Answers that are failures", default: DEFAULT_ROLLBACK.statuses }),
});

const { hosts: _hosts, methods: _methods, ...mirrorMatch } = matchSchema.shape;
const mirroredMethodSchema = text((method) =>
  MIRRORED_METHODS.some((one) => one === method)
    ? null
    : `only requests that change nothing have copies: write ${MIRRORED_METHODS.join(", ")}`,
);

/** Which requests are sent to a second backend too, in the operator's form. */
const mirrorSchema = closed({
  to: nameSchema.meta({ description: "The backend that gets the copies; its answers are thrown away" }),
  percent: percentSchema,
  by: z
    .enum(["bucket", "random"])
    .optional()
    .meta({ description: "bucket: all requests of some clients, the default where clients are sticky" }),
  methods: list(mirroredMethodSchema, 1, MIRRORED_METHODS.length)
    .optional()
    .meta({ default: MIRRORED_METHODS }),
  writes: list(z.enum(MIRRORED_WRITES), 0, MIRRORED_WRITES.length)
    .optional()
    .meta({ description: "Methods that may write; for shadows that proved to pretend", default: [] }),
  match: closed(mirrorMatch).optional(),
  max_body: sizeSchema.optional().meta({ default: MIRROR_DEFAULTS.body }),
  timeout: duration(1).optional().meta({ default: MIRROR_DEFAULTS.timeout }),
  concurrency: whole(1, TABLE_LIMITS.mirrorsInFlight)
    .optional()
    .meta({ description: "Copies under way per worker", default: MIRROR_DEFAULTS.concurrency }),
  compare: z
    .union([compareSchema, z.literal(["off", false])])
    .optional()
    .meta({ description: "How the two answers are compared; off: they are not" }),
});

/** A mirror whose larger parts are still to be read, each by itself. */
export const mirrorOutline = closed({ ...mirrorSchema.shape, compare: z.unknown().optional() });

/** Percent per backend of a cutover, adding up to 100; whoever is left out has 0. */
export const weightsSchema = z.record(z.string(), percentSchema);

/** One route in the operator's form, as the API takes it: its id may stand in the URL alone. */
export const routeSchema = closed({
  id: nameSchema.optional(),
  match: matchSchema.optional(),
  cutover: cutoverSchema,
  split: weightsSchema.optional(),
  sticky: closed({
    keys: list(stickyKeySchema, 0, TABLE_LIMITS.stickyKeys)
      .optional()
      .meta({ default: ROUTE_DEFAULTS.stickyKeys }),
    salt: text(saltFault).optional(),
  }).optional(),
  pins: list(pinSchema, 0, TABLE_LIMITS.pins).optional(),
  timeouts: closed({
    connect: duration(1).optional().meta({ default: ROUTE_DEFAULTS.connect }),
    response: durationOrOff.optional().meta({ default: ROUTE_DEFAULTS.response }),
    idle: durationOrOff.optional().meta({ default: ROUTE_DEFAULTS.idle }),
  }).optional(),
  retries: closed({
    attempts: whole(0, TABLE_LIMITS.retryAttempts).optional().meta({ default: ROUTE_DEFAULTS.attempts }),
    body: sizeSchema.optional().meta({ default: ROUTE_DEFAULTS.body }),
  }).optional(),
  websocket: z.boolean().optional().meta({ default: ROUTE_DEFAULTS.websocket }),
  trailers: z.boolean().optional().meta({ default: ROUTE_DEFAULTS.trailers }),
  evacuate: z.enum(["keep", "cut"]).optional().meta({
    description: "What becomes of WebSockets and event streams of clients that change sides",
    default: ROUTE_DEFAULTS.evacuate,
  }),
  expose: z.boolean().optional().meta({ default: ROUTE_DEFAULTS.expose }),
  rollback: z
    .union([rollbackSchema, z.literal(["off", false])])
    .optional()
    .meta({ description: "When the route goes back to legacy by itself; off: never" }),
  mirror: mirrorSchema.optional().meta({ description: "Which requests are sent to a second backend too" }),
  rollout: rolloutSchema
    .optional()
    .meta({ description: "The plan by which traffic moves to the candidate by itself" }),
});

/** One route of a table in the operator's form. */
export const tableRouteSchema = closed({ ...routeSchema.shape, id: nameSchema });

/** A whole table in the operator's form. */
export const tableSchema = closed({
  backends: z.record(nameSchema, backendSchema),
  routes: list(tableRouteSchema, 0, TABLE_LIMITS.routes),
});

/** A table whose backends and routes are still to be read, each by itself. */
export const tableOutline = closed({
  backends: z.record(z.string(), z.unknown()),
  routes: list(z.unknown(), 0, TABLE_LIMITS.routes),
});

/** A route whose larger parts are still to be read, each by itself. */
export const routeOutline = closed({
  ...tableRouteSchema.shape,
  match: z.unknown().optional(),
  split: z.unknown().optional(),
  pins: list(z.unknown(), 0, TABLE_LIMITS.pins).optional(),
  rollback: z.unknown().optional(),
  mirror: z.unknown().optional(),
  rollout: z.unknown().optional(),
});
