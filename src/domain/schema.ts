/** The shape of a table in the operator's form: one schema for files, the API, its description and the store. */
import { z } from "zod";
import { closed } from "./examine.ts";
import { readDuration, readLimit, readPercent, readSize } from "./quantity.ts";
import {
  hostFault,
  methodFault,
  nameFault,
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
  expose: false,
} as const;

/** What routes and backends will have in a later version. */
const ROUTE_LATER = ["mirror", "rollback", "rollout"];
const BACKEND_LATER = ["health"];

/** Text that a function finds no fault with. */
export function text(faultOf: (value: string) => string | null) {
  return z.string().superRefine((value, context) => {
    const fault = faultOf(value);
    if (fault !== null) context.addIssue({ code: "custom", message: fault });
  });
}

/** A duration such as `250ms`, `5s`, `2m` or `1h`, from `msMin` milliseconds to 24 hours. */
export function duration(msMin: number) {
  const message = `write a duration from ${msMin}ms to 24h with its unit, such as "250ms", "5s", "2m" or "1h"`;
  return z
    .string({ error: message })
    .refine((value) => (readDuration(value) ?? -1) >= msMin, { error: message });
}

const durationOrOffMessage =
  'write a duration from 1ms to 24h with its unit, such as "250ms", "5s", "2m" or "1h", or "off"';

/** A duration from 1 ms on, or `off` for no limit. */
const durationOrOff = z
  .string({ error: durationOrOffMessage })
  .refine((value) => (readLimit(value) ?? -1) >= 0, { error: durationOrOffMessage });

/** A list of `least` to `most` entries. */
export function list<Item extends z.ZodType>(item: Item, least: number, most: number) {
  const error = least === 0 ? `at most ${most} entries are allowed` : `write ${least} to ${most} entries`;
  return z.array(item).min(least, { error }).max(most, { error });
}

/** A whole number from `least` to `most`. */
export function whole(least: number, most: number) {
  const error = `write a whole number from ${least} to ${most}`;
  return z.int({ error }).min(least, { error }).max(most, { error });
}

/** The name of a route, a backend or a token. */
export const nameSchema = text(nameFault);

/** A percentage with at most 3 decimals. */
export const percentSchema = z
  .number({ error: "write a number of percent, such as 5 or 12.5" })
  .refine((percent) => readPercent(percent) !== null, {
    error: "write 0 to 100 percent with at most 3 decimals",
  })
  .meta({ minimum: 0, maximum: 100 });

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

/** Percent per backend of a cutover, adding up to 100; whoever is left out has 0. */
export const weightsSchema = z.record(z.string(), percentSchema);

/** One route in the operator's form, as the API takes it: its id may stand in the URL alone. */
export const routeSchema = closed(
  {
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
    expose: z.boolean().optional().meta({ default: ROUTE_DEFAULTS.expose }),
  },
  ROUTE_LATER,
);

/** One route of a table in the operator's form. */
export const tableRouteSchema = closed({ ...routeSchema.shape, id: nameSchema }, ROUTE_LATER);

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
export const routeOutline = closed(
  {
    ...tableRouteSchema.shape,
    match: z.unknown().optional(),
    split: z.unknown().optional(),
    pins: list(z.unknown(), 0, TABLE_LIMITS.pins).optional(),
  },
  ROUTE_LATER,
);
