/** Heads and chunks to bytes: what Crossfade itself puts on the wire. */
import { FAULTS, type FaultCode } from "../base/fault.ts";

/** Ends a chunked body. `trailers`: complete lines, usually none. */
export function lastChunk(trailers: string): string {
  return `0\r\n${trailers}\r\n`;
}
/** Answers `Expect: 100-continue`. */
export const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** Reason phrases of the statuses that Crossfade itself answers with. */
const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  417: "Expectation Failed",
  426: "Upgrade Required",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  508: "Loop Detected",
};

/** Seconds after which a client may well try again when Crossfade is short of something. */
const RETRY_AFTER_SECONDS = 1;

/** The size line of a chunk. The data and CRLF follow. */
export function chunkSize(bytes: number): string {
  return `${bytes.toString(16)}\r\n`;
}

/** A complete answer made by Crossfade: static body, Proxy-Status (RFC 9209), Retry-After where it helps. */
export function faultResponse(code: FaultCode, options: FaultResponseOptions): string {
  const fault = FAULTS[code];
  const body = options.withBody ? `${fault.status} ${fault.meaning}.\n` : "";
  const lines = [
    `HTTP/1.1 ${fault.status} ${REASONS[fault.status] ?? "Error"}`,
    `Date: ${options.date}`,
    "Content-Type: text/plain; charset=utf-8",
    // Without a body it is the answer to HEAD, which states the length that GET would have.
    `Content-Length: ${body.length || `${fault.status} ${fault.meaning}.\n`.length}`,
    `Proxy-Status: crossfade; error=${fault.proxyStatus || "proxy_internal_error"}; details="${code}"`,
    "Cache-Control: no-store",
  ];
  if (options.requestId !== "") lines.push(`X-Request-Id: ${options.requestId}`);
  if (fault.status === 503) lines.push(`Retry-After: ${RETRY_AFTER_SECONDS}`);
  if (fault.status === 405) lines.push("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  if (fault.status === 426) lines.push("Upgrade: websocket", "Sec-WebSocket-Version: 13");
  if (options.isLast) lines.push(fault.status === 426 ? "Connection: upgrade, close" : "Connection: close");
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

/** What a fault response depends on besides the fault. */
interface FaultResponseOptions {
  /** HTTP date (RFC 9110 section 5.6.7). */
  readonly date: string;
  readonly withBody: boolean;
  readonly isLast: boolean;
  /** Empty before a request has one. */
  readonly requestId: string;
}
