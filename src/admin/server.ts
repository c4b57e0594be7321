/** The admin surface: who may come in, the endpoints, and the listener that serves them. */
import { createServer, type Server, type ServerResponse } from "node:http";
import { lookup } from "node:dns/promises";
import { BoundSocket, isIP, type AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { OpenAPIHono } from "@hono/zod-openapi";
import { Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { authenticate, strangeOrigin, type Caller } from "./access.ts";
import { answer, bugAnswer, refusal } from "./answers.ts";
import { readCurrent } from "./current.ts";
import { endpoint, mount, noQuery, type AdminApp, type AdminEnv, type Endpoint } from "./endpoint.ts";
import { EventStreams } from "./event_stream.ts";
import { eventsApi } from "./events_api.ts";
import { explainApi } from "./explain_api.ts";
import { exportApi } from "./export_api.ts";
import { fleetApi } from "./fleet_api.ts";
import { differencesApi } from "./differences_api.ts";
import { healthApi } from "./health_api.ts";
import { historyApi } from "./history_api.ts";
import { Metrics } from "./metrics.ts";
import { describeApi } from "./openapi.ts";
import type { AdminParts } from "./parts.ts";
import { OPEN_PATHS, probesApi } from "./probes_api.ts";
import { rolloutApi } from "./rollout_api.ts";
import { routesApi } from "./routes_api.ts";
import { storeApi } from "./store_api.ts";
import { tableApi } from "./table_api.ts";

export type { AdminParts } from "./parts.ts";

/** Who asks for a probe. */
const NOBODY: Caller = { name: "anyone", role: "viewer" };

/** Builds the app. Nothing listens yet: `app.request()` answers without a socket. */
export function buildAdmin(parts: AdminParts): AdminApp {
  const app: AdminApp = new OpenAPIHono<AdminEnv>();
  const { commands, sampler, rollouts, comparisons, version, log } = parts;
  const metrics = new Metrics({
    sampler,
    rollouts,
    comparisons,
    version,
    current: () => readCurrent(commands),
  });
  app.use(async (context, next) => {
    const caller = admit(parts, context.req.raw, context.req.path);
    if (caller instanceof Response) return protect(caller);
    context.set("caller", caller);
    await next();
    context.res = protect(context.res);
    return undefined;
  });
  const endpoints = [
    ...tableApi(parts),
    ...routesApi(parts),
    ...rolloutApi(parts),
    ...healthApi(parts),
    ...differencesApi(parts),
    ...historyApi(parts),
    ...exportApi(parts),
    ...explainApi(parts),
    ...fleetApi(parts),
    ...storeApi(parts),
    ...eventsApi(new EventStreams(parts.journal)),
    ...probesApi(parts, metrics),
  ];
  endpoints.push(describing(endpoints, version));
  mount(app, endpoints, parts.clock);
  app.notFound((context) =>
    refusal("NOT_FOUND", `There is nothing at ${context.req.path.slice(0, 200)}; see /openapi.json`),
  );
  app.onError((error) => failure(error, log));
  return app;
}

/** Who calls, or the answer that keeps them out. */
function admit(parts: AdminParts, request: Request, path: string): Caller | Response {
  const tokens = parts.tokens();
  if (tokens.length === 0) {
    const strange = strangeOrigin(request);
    if (strange !== null) return refusal("FORBIDDEN", strange);
  }
  if (OPEN_PATHS.has(path)) return NOBODY;
  const caller = authenticate(request.headers.get("authorization"), tokens);
  return caller ?? refusal("UNAUTHENTICATED", "Send a known token as Authorization: Bearer TOKEN");
}

/** Answers are about this moment and never a page. */
function protect(response: Response): Response {
  response.headers.set("cache-control", "no-store");
  response.headers.set("x-content-type-options", "nosniff");
  return response;
}

function failure(error: unknown, log: Logger): Response {
  if (error instanceof Fault) return refusal(error.code, error.message);
  log.error({ err: error }, "admin request failed");
  return bugAnswer();
}

function describing(endpoints: readonly Endpoint[], version: string): Endpoint {
  let description: object | null = null;
  return endpoint({
    method: "get",
    path: "/openapi.json",
    access: "viewer",
    summary: "This description",
    query: noQuery,
    answers: { 200: { description: "OpenAPI 3.1", type: "application/json" } },
    faults: [],
    handle() {
      description ??= describeApi(endpoints, version);
      return answer(description);
    },
  });
}

/** Connections that the listener holds at most; more are closed at once. */
const CONNECTIONS_MAX = 256;
/** How long a request's head, and all of it, may take to arrive. */
const HEAD_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** A connection on which nothing moves is cut: above the longest wait (60 s) and the heartbeat of events (15 s). */
const SILENCE_MS = 90_000;
/** How long answers that are under way may take when the listener closes. */
const CLOSE_GRACE_MS = 2_000;

/** A bound socket for the listener: made here, or inherited as a descriptor. */
export type AdminSocket = BoundSocket | { readonly inherited: number };

/** Binds the address, without listening yet. Rejects with the system's error when that is not possible. */
export async function bindAdmin(address: {
  readonly host: string;
  readonly port: number;
}): Promise<AdminSocket> {
  const host = isIP(address.host) ? address.host : (await lookup(address.host)).address;
  return new BoundSocket({ host, port: address.port });
}

/** A listener that is open. `close` may be called again and never takes longer than its grace. */
export interface AdminListener {
  readonly port: number;
  /** Its descriptor, for another process. */
  readonly fd: number;
  close(): Promise<void>;
}

/** Serves the app on a bound socket, or binds the address. Rejects with the system's error when it cannot. */
export async function listenAdmin(
  app: Pick<AdminApp, "fetch">,
  address: { readonly host: string; readonly port: number },
  bound?: AdminSocket,
): Promise<AdminListener> {
  const socket = bound ?? (await bindAdmin(address));
  const fd = "inherited" in socket ? socket.inherited : socket.fd();
  const closing = new AbortController();
  const serve = getRequestListener(
    (request, env) =>
      app.fetch(request, { closing: closing.signal, cut: () => (env.outgoing as ServerResponse).destroy() }),
    {
      hostname: address.host,
      overrideGlobalObjects: false,
      // Only what cannot even be made into a request gets here; the app answers its own errors.
      errorHandler: () =>
        protect(refusal("MALFORMED", "The request target or the Host field cannot be read")),
    },
  );
  const server = createServer({
    headersTimeout: HEAD_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: 5_000,
    maxHeaderSize: 16_384,
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.timeout = SILENCE_MS;
  const open = new Set<ServerResponse>();
  server.on("request", (request, response) => {
    open.add(response);
    response.once("close", () => {
      open.delete(response);
      if (closing.signal.aborted) server.closeIdleConnections();
    });
    void serve(request, response);
  });
  await listening(server, socket);
  let closed: Promise<void> | null = null;
  return {
    port: (server.address() as AddressInfo).port,
    fd,
    close() {
      closed ??= close(server, open, closing);
      return closed;
    },
  };
}

function listening(server: Server, socket: AdminSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen("inherited" in socket ? { fd: socket.inherited } : socket, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function close(server: Server, open: ReadonlySet<ServerResponse>, closing: AbortController): Promise<void> {
  return new Promise((resolve) => {
    const lastly = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
    server.close(() => {
      clearTimeout(lastly);
      resolve();
    });
    // Kept-alive connections would hold the listener open until they time out.
    for (const response of open) if (!response.headersSent) response.setHeader("connection", "close");
    closing.abort();
    server.closeIdleConnections();
  });
}
