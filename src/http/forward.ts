/** What a relay changes in a head: connection fields out, framing anew, who we are and who the client is in. */
import {
  FIELD,
  FIELD_STRIDE,
  fieldValue,
  fieldValues,
  type BodyKind,
  type RequestHead,
  type ResponseHead,
} from "./head.ts";

const PSEUDONYM = "1.1 crossfade";
const SLASH = 0x2f;

/** What a forwarded request says about its way here. */
export interface RequestContext {
  /** The peer's address; added to X-Forwarded-For. */
  readonly peerAddress: string;
  /** Whether the peer's own forwarding fields and request id are believed. */
  readonly isPeerTrusted: boolean;
  readonly requestId: string;
  /** The backend is asked to become a WebSocket. */
  readonly isUpgrade: boolean;
}

/**
 * The head to send to a backend.
 *
 * Fields keep their order, case and bytes. Removed: the Connection field and what it names, other fields of one
 * connection, framing (written anew), forwarding fields of peers that are not trusted. Source: RFC 9110 section 7.6.
 */
export function requestForward(head: RequestHead, context: RequestContext): string {
  const { method, target, text, minor } = head;
  // Anything but the origin form of a request of HTTP/1.1 is written anew; that one stays as it came.
  const isLineKept = minor === 1 && text.charCodeAt(method.length + 1) === SLASH;
  const line = isLineKept ? "" : `${method} ${target} HTTP/1.1\r\n`;
  const isKept = context.isPeerTrusted ? isKeptFromTrusted : isKeptFromStranger;
  const kept = keptFields(head, isKept, isLineKept);
  return `${line}${kept}${requestFraming(head)}${forwardedFields(head, context)}\r\n`;
}

/** A trace context of the only version so far. Source: W3C Trace Context section 3.2. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})$/;

/**
 * The head of a copy: that of the request, and a mark. `spanId`: 16 hex digits.
 *
 * A trace goes on in it under a span of its own, so that the copy does not pass for the request.
 */
export function shadowForward(head: RequestHead, context: RequestContext, spanId: string): string {
  const text = `${requestForward(head, context).slice(0, -2)}Crossfade-Shadow: 1\r\n\r\n`;
  const [parent = "", ...others] = fieldValues(head, "traceparent");
  const parts = TRACEPARENT.exec(parent);
  if (parts === null || others.length > 0) return text;
  const line = new RegExp(`^(traceparent:[ \\t]*)${parent}`, "im");
  return text.replace(line, (_, name: string) => `${name}00-${parts[1]}-${spanId}-${parts[2]}`);
}

/**
 * The lines that pass unchanged, in order; neighbours are taken as one slice. `isKept` decides by FIELD kind,
 * `isLineKept` whether the line before the fields is one of them.
 */
function keptFields(
  head: RequestHead | ResponseHead,
  isKept: (kind: number) => boolean,
  isLineKept: boolean,
): string {
  const { text, fields } = head;
  let kept = "";
  let from = isLineKept ? 0 : -1;
  for (let i = 0; i < fields.length; i += FIELD_STRIDE) {
    const at = fields[i + 1] as number;
    if (isKept(fields[i] as number) && !isNominated(head, fields, i)) {
      if (from === -1) from = at;
    } else if (from !== -1) {
      kept += text.slice(from, at);
      from = -1;
    }
  }
  return from === -1 ? kept : kept + text.slice(from, text.length - 2);
}

function isKeptFromTrusted(kind: number): boolean {
  return kind === FIELD.FORWARDED || kind === FIELD.REQUEST_ID || isKeptFromStranger(kind);
}

function isKeptFromStranger(kind: number): boolean {
  return kind === FIELD.OTHER || kind === FIELD.HOST || kind === FIELD.AUTHORIZATION || kind === FIELD.VIA;
}

function isNominated(head: RequestHead | ResponseHead, fields: readonly number[], i: number): boolean {
  if (head.nominated.length === 0) return false;
  return head.nominated.includes(head.text.slice(fields[i + 1], fields[i + 2]).toLowerCase());
}

function requestFraming(head: RequestHead): string {
  if (head.body === "chunked") return "Transfer-Encoding: chunked\r\n";
  // A length of zero is passed on too: POST without one makes some backends answer 411.
  return head.contentLength >= 0 ? `Content-Length: ${head.contentLength}\r\n` : "";
}

/** What this connection asks of the backend: an upgrade or trailers, and to wait for its word. */
function connectionFields(head: RequestHead, isUpgrade: boolean): string {
  if (isUpgrade) return "Connection: Upgrade\r\nUpgrade: websocket\r\n";
  const te = head.takesTrailers ? "Connection: TE\r\nTE: trailers\r\n" : "";
  return head.expectsContinue && head.body !== "none" ? `${te}Expect: 100-continue\r\n` : te;
}

function forwardedFields(head: RequestHead, context: RequestContext): string {
  const { peerAddress, requestId } = context;
  let fields = `Via: ${PSEUDONYM}\r\n${connectionFields(head, context.isUpgrade)}`;
  if (!context.isPeerTrusted) {
    fields += `X-Forwarded-For: ${peerAddress}\r\nX-Forwarded-Proto: http\r\n`;
    return `${fields}X-Forwarded-Host: ${head.authority}\r\nX-Request-Id: ${requestId}\r\n`;
  }
  // A trusted peer's fields are kept as they came; ours follows in a field of its own, which means the same as a list.
  fields += `X-Forwarded-For: ${peerAddress}\r\n`;
  if (fieldValue(head, "x-forwarded-proto") === undefined) fields += "X-Forwarded-Proto: http\r\n";
  if (fieldValue(head, "x-forwarded-host") === undefined) fields += `X-Forwarded-Host: ${head.authority}\r\n`;
  if (fieldValue(head, "x-request-id") === undefined) fields += `X-Request-Id: ${requestId}\r\n`;
  if (fieldValue(head, "forwarded") !== undefined)
    fields += `Forwarded: for=${forwardedNode(peerAddress)}\r\n`;
  return fields;
}

/** How a forwarded response is framed towards this client. */
export interface ResponseContext {
  /** The body as the client will get it: `close` for HTTP/1.0 clients when the length is unknown. */
  readonly body: BodyKind;
  /** Whether the response may hold a Content-Length although it has no body (HEAD, 304). */
  readonly keepsLength: boolean;
  readonly isLast: boolean;
  /** HTTP/1.0 clients must be told that the connection stays open. */
  readonly clientMinor: 0 | 1;
  /** Complete field lines to add, each with CRLF; usually empty. */
  readonly added: string;
}

/** Responses below 200: no body, and the connection goes on. */
const BODILESS: ResponseContext = {
  body: "none",
  keepsLength: false,
  isLast: false,
  clientMinor: 1,
  added: "",
};

/** The head to send to a client. Changes the same kinds of fields as `requestForward`. */
export function responseForward(head: ResponseHead, context: ResponseContext): string {
  const { status, reason } = head;
  // One without a reason lacks the space before it.
  const isLineKept = head.minor === 1 && reason !== "";
  const line = isLineKept ? "" : `HTTP/1.1 ${status} ${reason}\r\n`;
  const kept = keptFields(head, isKeptInResponse, isLineKept);
  return `${line}${kept}${responseFraming(head, context)}${context.added}\r\n`;
}

/** The head that turns the client's connection into a WebSocket. */
export function upgradeForward(head: ResponseHead): string {
  const added = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
  return responseForward(head, { ...BODILESS, added });
}

/** An interim (1xx) response as it is passed on. Source: RFC 9110 section 15.2. */
export function interimForward(head: ResponseHead): string {
  return responseForward(head, BODILESS);
}

function isKeptInResponse(kind: number): boolean {
  switch (kind) {
    case FIELD.CONTENT_LENGTH:
    case FIELD.TRANSFER_ENCODING:
    case FIELD.CONNECTION:
    case FIELD.KEEP_ALIVE:
    case FIELD.HOP:
    case FIELD.TE:
    case FIELD.UPGRADE:
    case FIELD.OWN:
      return false;
    default:
      return true;
  }
}

function responseFraming(head: ResponseHead, context: ResponseContext): string {
  let framing = "";
  if (context.body === "chunked") framing = "Transfer-Encoding: chunked\r\n";
  else if (
    context.body === "length" ||
    (context.keepsLength && head.contentLength >= 0 && head.status !== 204)
  ) {
    framing = `Content-Length: ${head.contentLength}\r\n`;
  }
  if (head.status >= 200) framing += `Via: ${PSEUDONYM}\r\n`;
  if (context.isLast) return `${framing}Connection: close\r\n`;
  return context.clientMinor === 0 ? `${framing}Connection: keep-alive\r\n` : framing;
}

/** An address as a node of RFC 7239 section 6: IPv6 in brackets and quotes, what is no address unknown. */
function forwardedNode(address: string): string {
  if (!/[.:]/.test(address)) return "unknown";
  return address.includes(":") ? `"[${address}]"` : address;
}
