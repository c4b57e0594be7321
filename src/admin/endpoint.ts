/** An endpoint of the admin API as data, and how requests get to it: role, query, conditions and body first. */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { z } from "zod";
import type { Clock } from "../base/clock.ts";
import { assert, FAULTS, type FaultCode, type Problem } from "../base/fault.ts";
import type { IdempotencyMark } from "../store/store.ts";
import { isAllowed, type Access, type Caller } from "./access.ts";
import { refusal } from "./answers.ts";
import {
  BODY_BYTES_MAX,
  readBytes,
  readIdempotency,
  readIfMatch,
  readJson,
  readQuery,
  type Read,
} from "./input.ts";
import type { ShapeName } from "./shapes.ts";

/** What the listener hands over with a request; absent in tests without a socket. */
export interface AdminBindings {
  /** Cuts the connection of this request. */
  readonly cut?: () => void;
  /** Aborted when the listener closes: endless answers end then. */
  readonly closing?: AbortSignal;
}

/** What hono carries along with a request. */
export interface AdminEnv {
  Bindings: AdminBindings;
  Variables: { caller: Caller };
}

/** The app of the admin API. */
export type AdminApp = OpenAPIHono<AdminEnv>;

/** A request that may be answered: everything that does not depend on the endpoint has been checked. */
export interface Call<Query = unknown> {
  readonly request: Request;
  /** The name for the audit log. */
  readonly actor: string;
  /** A parameter of the path, decoded. */
  param(name: string): string;
  readonly query: Query;
  /** Parsed JSON; undefined when there is no body. */
  readonly body: unknown;
  /** The revision that If-Match names; undefined without. */
  readonly ifMatch: number | undefined;
  /** Of a POST that carries an Idempotency-Key. */
  readonly idempotency: IdempotencyMark | undefined;
  readonly bindings: AdminBindings;
  /** When it arrived, on the clock's `nowMs`. */
  readonly arrivedMs: number;
}

/** One answer that is not a refusal. Without a shape it has the media type `type`. */
export interface AnswerSpec {
  readonly description: string;
  readonly shape?: ShapeName;
  readonly type?: string;
  readonly etag?: boolean;
}

/** One endpoint. `path` has its parameters in braces. `faults` are those that this endpoint adds to the common ones. */
export interface Endpoint<Query = unknown> {
  readonly method: "get" | "put" | "post" | "delete";
  readonly path: string;
  readonly access: Access;
  readonly summary: string;
  readonly query: z.ZodType<Query> & { readonly shape: z.ZodRawShape };
  /** The shape of the body and its bound, if not BODY_BYTES_MAX; endpoints without one refuse a body. */
  readonly body?: { readonly shape: ShapeName; readonly required: boolean; readonly bytesMax?: number };
  /** Changes the table: honours If-Match, and Idempotency-Key on POST. */
  readonly writes?: boolean;
  readonly answers: Readonly<Record<number, AnswerSpec>>;
  readonly faults: readonly FaultCode[];
  handle(call: Call<Query>): Promise<Response> | Response;
}

/** Calls that may hold a body above BODY_BYTES_MAX at the same time; others are refused with TOO_MANY_WAITING. */
const LARGE_BODIES_MAX = 2;

/** What calls to one app share. */
interface Held {
  /** Calls that may hold a large body. */
  large: number;
}

/** The query of an endpoint that takes no parameters. */
export const noQuery = z.strictObject({});

/** Ties the type of the query schema to the handler's. */
export function endpoint<Query>(spec: Endpoint<Query>): Endpoint {
  return spec;
}

/** The statuses and faults of every endpoint that its role, its query or its body can cause. */
export function faultsOf(spec: Endpoint): readonly FaultCode[] {
  const faults = new Set<FaultCode>(spec.faults);
  faults.add("INVALID").add("FORBIDDEN");
  if (spec.access !== "anyone") faults.add("UNAUTHENTICATED");
  if (spec.method !== "get") faults.add("MALFORMED").add("BODY_REFUSED");
  if (spec.writes === true)
    faults.add("REVISION_MISMATCH").add("CONFLICT").add("NOT_APPLIED").add("TOO_MANY_WAITING");
  if (spec.writes === true && spec.method === "post") faults.add("KEY_REUSED");
  return [...faults].toSorted((a, b) => FAULTS[a].status - FAULTS[b].status);
}

/** Puts the endpoints into the app. Any other method on one of their paths is answered 405. */
export function mount(app: AdminApp, endpoints: readonly Endpoint[], clock: Clock): void {
  const methods = new Map<string, string[]>();
  const held: Held = { large: 0 };
  for (const spec of endpoints) {
    const path = spec.path.replaceAll(/\{(\w+)\}/g, ":$1");
    methods.set(path, [...(methods.get(path) ?? []), spec.method.toUpperCase()]);
    app.on(spec.method.toUpperCase(), path, (context) => serve(spec, context, clock, held));
  }
  for (const [path, allowed] of methods) {
    const allow = allowed.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method])).join(", ");
    app.all(path, (context) =>
      refusal("METHOD_REFUSED", `${context.req.method} is not for this path; use ${allow}`, {
        headers: { allow },
      }),
    );
  }
}

async function serve(
  spec: Endpoint,
  context: Context<AdminEnv>,
  clock: Clock,
  held: Held,
): Promise<Response> {
  const arrivedMs = clock.nowMs();
  const request = context.req.raw;
  const caller = context.get("caller");
  if (!isAllowed(caller.role, spec.access)) {
    return refusal("FORBIDDEN", `"${caller.name}" is a ${caller.role}; this needs the role ${spec.access}`);
  }
  const query = readQuery(spec.query, request.url);
  if (!query.ok) return invalid(query.problems);
  const isLarge = (spec.body?.bytesMax ?? 0) > BODY_BYTES_MAX;
  if (isLarge && held.large >= LARGE_BODIES_MAX) return refusal("TOO_MANY_WAITING", "Others import already");
  if (isLarge) held.large++;
  try {
    const input = await readInput(spec, request);
    if (!input.ok) return input.response;
    return await spec.handle({
      request,
      actor: caller.name,
      param(name) {
        const value = context.req.param(name);
        assert(value !== undefined, `${spec.path} has the parameter ${name}`);
        return value;
      },
      query: query.value,
      ...input.value,
      // Without a socket, as in tests, there may be none.
      bindings: context.env ?? {},
      arrivedMs,
    });
  } finally {
    if (isLarge) held.large--;
  }
}

async function readInput(
  spec: Endpoint,
  request: Request,
): Promise<Read<Pick<Call, "body" | "ifMatch" | "idempotency">>> {
  const nothing = { body: undefined, ifMatch: undefined, idempotency: undefined };
  if (spec.method === "get") return { ok: true, value: nothing };
  const ifMatch = spec.writes === true ? readIfMatch(request) : { ok: true as const, value: undefined };
  if (!ifMatch.ok) return ifMatch;
  const bytes = await readBytes(request, spec.body?.bytesMax ?? BODY_BYTES_MAX);
  if (!bytes.ok) return bytes;
  if (spec.body === undefined && bytes.value.length > 0) {
    return {
      ok: false,
      response: refusal("MALFORMED", "This call takes no body; give the reason as ?reason="),
    };
  }
  const body = readJson(request, bytes.value);
  if (!body.ok) return body;
  if (spec.body?.required === true && body.value === undefined) {
    return { ok: false, response: refusal("MALFORMED", "This call needs a body of JSON") };
  }
  const isMarked = spec.writes === true && spec.method === "post";
  const idempotency = isMarked
    ? readIdempotency(request, bytes.value)
    : { ok: true as const, value: undefined };
  if (!idempotency.ok) return idempotency;
  return { ok: true, value: { body: body.value, ifMatch: ifMatch.value, idempotency: idempotency.value } };
}

/** The refusal of an input with problems. */
export function invalid(problems: readonly Problem[]): Response {
  const [first] = problems;
  const detail =
    problems.length === 1 && first !== undefined
      ? first.message
      : `The input has ${problems.length} problems`;
  return refusal("INVALID", detail, { errors: problems });
}
