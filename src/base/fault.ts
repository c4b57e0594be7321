/** The closed table of expected faults: whose fault it is, what may be done, and what the client sees. */

/**
 * One row of the fault table.
 *
 * `side`: who caused it. `status`: the HTTP status that answers it, 0 when nobody is left to answer.
 * `retry`: whether another attempt could be safe: of any request, or of one that may be repeated.
 * `proxyStatus`: the error type of RFC 9209 section 2.3, empty for faults that are not about forwarding.
 */
interface FaultRow {
  readonly side: "downstream" | "upstream" | "internal";
  readonly status: number;
  readonly retry: "never" | "if-repeatable" | "if-safe";
  readonly level: "debug" | "info" | "warn" | "error";
  readonly proxyStatus: string;
  readonly meaning: string;
}

function row(
  side: FaultRow["side"],
  status: number,
  retry: FaultRow["retry"],
  level: FaultRow["level"],
  proxyStatus: string,
  meaning: string,
): FaultRow {
  return { side, status, retry, level, proxyStatus, meaning };
}

/** Every expected fault. A code never changes its meaning: logs, metrics and answers use it. */
export const FAULTS = {
  // What a client sent cannot be understood or is not allowed.
  BAD_REQUEST_LINE: row(
    "downstream",
    400,
    "never",
    "info",
    "http_request_error",
    "The request line is malformed",
  ),
  BAD_TARGET: row(
    "downstream",
    400,
    "never",
    "info",
    "http_request_error",
    "The request target is malformed or ambiguous",
  ),
  BAD_HOST: row(
    "downstream",
    400,
    "never",
    "info",
    "http_request_error",
    "The Host field is missing, repeated or malformed",
  ),
  BAD_FIELD: row("downstream", 400, "never", "info", "http_request_error", "A header field is malformed"),
  BAD_FRAMING: row(
    "downstream",
    400,
    "never",
    "warn",
    "http_request_error",
    "The message length is malformed or ambiguous",
  ),
  BAD_CHUNK: row("downstream", 400, "never", "info", "http_request_error", "The chunked body is malformed"),
  METHOD_REFUSED: row(
    "downstream",
    405,
    "never",
    "info",
    "http_request_denied",
    "The method is not allowed here",
  ),
  CODING_UNKNOWN: row(
    "downstream",
    501,
    "never",
    "info",
    "http_request_error",
    "The transfer coding is not supported",
  ),
  VERSION_UNKNOWN: row(
    "downstream",
    505,
    "never",
    "info",
    "http_request_error",
    "The HTTP version is not supported",
  ),
  TARGET_TOO_LONG: row(
    "downstream",
    414,
    "never",
    "info",
    "http_request_error",
    "The request line is longer than the limit",
  ),
  HEAD_TOO_LARGE: row(
    "downstream",
    431,
    "never",
    "info",
    "http_request_error",
    "The header block is larger than the limit",
  ),
  BAD_UPGRADE: row(
    "downstream",
    400,
    "never",
    "info",
    "http_request_error",
    "The upgrade request is malformed",
  ),
  UPGRADE_VERSION: row(
    "downstream",
    426,
    "never",
    "info",
    "http_request_error",
    "Only version 13 of WebSocket is supported",
  ),
  EXPECT_UNKNOWN: row(
    "downstream",
    417,
    "never",
    "info",
    "http_request_error",
    "The expectation is not supported",
  ),
  BODY_REFUSED: row(
    "downstream",
    413,
    "never",
    "info",
    "http_request_error",
    "The body is too large or not allowed here",
  ),
  LOOP: row(
    "downstream",
    508,
    "never",
    "warn",
    "proxy_loop_detected",
    "The request already passed through Crossfade twice",
  ),
  HEAD_TIMEOUT: row(
    "downstream",
    408,
    "never",
    "info",
    "http_request_error",
    "The request head did not arrive in time",
  ),
  BODY_TIMEOUT: row(
    "downstream",
    408,
    "never",
    "info",
    "http_request_error",
    "The request body stopped arriving",
  ),
  CLIENT_GONE: row(
    "downstream",
    499,
    "never",
    "info",
    "",
    "The client closed its connection before the answer was complete",
  ),
  CLIENT_STALLED: row("downstream", 499, "never", "info", "", "The client stopped reading the answer"),
  // What a backend did. Each of these is charged to the backend.
  CONNECT_FAILED: row(
    "upstream",
    502,
    "if-safe",
    "warn",
    "connection_refused",
    "The backend refused the connection",
  ),
  NAME_UNRESOLVED: row("upstream", 502, "if-safe", "warn", "dns_error", "The backend's name has no address"),
  CONNECT_TIMEOUT: row(
    "upstream",
    504,
    "if-safe",
    "warn",
    "connection_timeout",
    "The backend did not accept the connection in time",
  ),
  UPSTREAM_RESET: row(
    "upstream",
    502,
    "if-repeatable",
    "warn",
    "connection_terminated",
    "The backend closed the connection before it answered",
  ),
  BAD_RESPONSE: row(
    "upstream",
    502,
    "never",
    "error",
    "http_protocol_error",
    "The backend's answer is malformed",
  ),
  RESPONSE_TOO_LARGE: row(
    "upstream",
    502,
    "never",
    "error",
    "http_response_header_section_size",
    "The backend's header block is larger than the limit",
  ),
  RESPONSE_TIMEOUT: row(
    "upstream",
    504,
    "never",
    "warn",
    "http_response_timeout",
    "The backend did not answer in time",
  ),
  RESPONSE_STALLED: row(
    "upstream",
    504,
    "never",
    "warn",
    "http_response_timeout",
    "The backend's answer stopped arriving",
  ),
  RESPONSE_TRUNCATED: row(
    "upstream",
    502,
    "never",
    "error",
    "http_response_incomplete",
    "The backend's answer ended before it was complete",
  ),
  // What Crossfade itself could not do.
  NO_ROUTE: row("internal", 404, "never", "info", "destination_not_found", "No route matches the request"),
  POOL_FULL: row(
    "internal",
    503,
    "never",
    "error",
    "connection_limit_reached",
    "Too many requests wait for a connection to the backend",
  ),
  POOL_TIMEOUT: row(
    "internal",
    503,
    "never",
    "error",
    "connection_limit_reached",
    "No connection to the backend became free in time",
  ),
  OVERLOADED: row(
    "internal",
    503,
    "never",
    "error",
    "proxy_internal_error",
    "Crossfade is at its connection limit",
  ),
  // The control side: admin API, store, settings.
  INVALID: row("downstream", 422, "never", "info", "", "The input has problems; nothing was changed"),
  MALFORMED: row("downstream", 400, "never", "info", "", "The request could not be read"),
  NOT_FOUND: row("downstream", 404, "never", "info", "", "There is no such thing"),
  UNAUTHENTICATED: row("downstream", 401, "never", "info", "", "A valid token is needed"),
  FORBIDDEN: row("downstream", 403, "never", "warn", "", "This is not allowed"),
  REVISION_MISMATCH: row(
    "downstream",
    412,
    "never",
    "info",
    "",
    "The table has changed since the revision named in If-Match",
  ),
  CONFLICT: row(
    "internal",
    409,
    "if-safe",
    "warn",
    "",
    "The table kept changing, or is not in the state that this write needs",
  ),
  KEY_REUSED: row(
    "downstream",
    422,
    "never",
    "info",
    "",
    "The Idempotency-Key was used before for another request",
  ),
  TOO_MANY_WAITING: row("internal", 503, "if-safe", "warn", "", "Too many callers wait already"),
  NOT_APPLIED: row(
    "internal",
    504,
    "never",
    "warn",
    "",
    "The change is committed, but not every worker has applied it yet",
  ),
  STORE_UNAVAILABLE: row(
    "internal",
    503,
    "if-safe",
    "error",
    "",
    "The store cannot be reached; nothing was changed",
  ),
  STORE_UNSURE: row(
    "internal",
    503,
    "never",
    "error",
    "",
    "The store stopped answering while the change was written; read the table before trying again",
  ),
  STORE_REGRESSED: row(
    "internal",
    503,
    "never",
    "error",
    "",
    "The store holds no table, an older one or a stranger's; an operator must say which one counts",
  ),
  UPGRADE_FAILED: row(
    "internal",
    500,
    "never",
    "error",
    "",
    "The new control process did not come up; the one before and its workers carry on",
  ),
  NOT_READY: row("internal", 503, "if-safe", "warn", "", "Crossfade is not ready to serve"),
} as const satisfies Record<string, FaultRow>;

/** The code of an expected fault. */
export type FaultCode = keyof typeof FAULTS;

/** An expected fault on the control side, thrown by IO and caught where it becomes an answer. */
export class Fault extends Error {
  readonly code: FaultCode;
  constructor(code: FaultCode, detail?: string, cause?: unknown) {
    super(detail ?? FAULTS[code].meaning, { cause });
    this.name = "Fault";
    this.code = code;
  }
}

/** One thing wrong with an input: where (JSON pointer), what, and what to do about it. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

/** The result of something that input can make impossible. */
export type Result<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** States what must hold. A failure is a bug: it ends the process, which is then replaced. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
