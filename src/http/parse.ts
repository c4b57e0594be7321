/** Complete heads to values: request and response heads under the strict rules, without any IO. */
import type { FaultCode } from "../base/fault.ts";
import { decodedPath } from "../domain/path.ts";
import { Framing, findFields, hasBadBytes, isToken, readHost } from "./fields.ts";
import { lineFeedFault } from "./scan.ts";
import { LIMITS, fieldValues, type BodyKind, type RequestHead, type ResponseHead } from "./head.ts";

/** Characters of RFC 3986 that a request target may hold; controls, spaces and `"#<>\^`{|}` are refused. */
const TARGET_FORM = /^[!$-;=?-[\]_a-z~]+$/;
const BAD_ESCAPE = /%(?![0-9a-fA-F]{2})|%00/;
const METHOD_LENGTH_MAX = 32;
/** What nearly every request line ends with. */
const VERSION = " HTTP/1.1";
/** Known as values of our own: a slice of the text would be compared letter by letter wherever it is looked at. */
const COMMON_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/** Methods whose body means nothing in general (RFC 9110 section 9.3); HTTP/1.0 peers may well not expect one. */
const BODILESS = new Set(["GET", "HEAD", "DELETE", "OPTIONS"]);
/** Seeing ourselves once is a legitimate second hop; more often is a loop. */
const VIAS_MAX = 1;

/** The parts of a request line. */
interface RequestLine {
  readonly method: string;
  readonly target: string;
  readonly minor: 0 | 1;
}

/**
 * Parses a complete request head.
 *
 * Takes the text up to and including the empty line, one character a byte. Gives the head, or the fault code of the
 * first rule it breaks. Source: RFC 9112 sections 2 to 6, RFC 9110 sections 5 and 7.
 */
export function parseRequestHead(text: string): RequestHead | FaultCode {
  const head = understand(text);
  // A head in pieces is refused at its first bare line feed, so a whole one must be too, whatever else is wrong.
  return typeof head === "string" ? (lineFeedFault(text) ?? head) : head;
}

function understand(text: string): RequestHead | FaultCode {
  const lineEnd = text.indexOf("\r\n");
  if (lineEnd > LIMITS.requestLineBytes) return "TARGET_TOO_LONG";
  const line = parseRequestLine(text, lineEnd);
  if (typeof line === "string") return line;
  const isSound = TARGET_FORM.test(line.target);
  // Bytes that are never allowed anywhere are refused first, wherever they stand.
  if (!isSound && hasBadBytes(line.target)) return "BAD_FIELD";
  const fields = findFields(text, lineEnd + 2, LIMITS.fields);
  if (typeof fields === "string") return fields;
  const framing = new Framing();
  const unread = framing.read(text, fields);
  if (unread !== null) return unread;
  const host = framing.hosts === 1 ? readHost(framing.host) : null;
  if (host === null) return "BAD_HOST";
  const fault = checkFraming(framing, line);
  if (fault !== null) return fault;
  const place = isSound ? parseTarget(line.target, framing.host, line.method) : "BAD_TARGET";
  if (typeof place === "string") return place;
  const isWebSocket = line.minor === 1 && asksForWebSocket(framing);
  const refusal = isWebSocket ? checkHandshake(text, fields, line.method, framing) : null;
  if (refusal !== null) return refusal;
  return {
    text,
    fields,
    isWebSocket,
    twins: framing.twins,
    takesTrailers: framing.takesTrailers && line.minor === 1,
    method: line.method,
    minor: line.minor,
    target: place.target,
    path: place.path,
    query: place.query,
    authority: framing.host,
    host,
    body: requestBody(framing),
    contentLength: framing.contentLength,
    nominated: framing.nominated,
    keepAlive: line.minor === 1 ? !framing.closes : framing.keepsAlive && !framing.closes,
    expectsContinue: framing.expect !== "" && line.minor === 1,
  };
}

/** Other protocols are not asked for: their fields are removed and the request goes on as it is. RFC 9110 7.8. */
function asksForWebSocket(framing: Framing): boolean {
  return framing.nominated.includes("upgrade") && /(?:^|[, \t])websocket(?:[,/ \t]|$)/.test(framing.upgrade);
}

/** Source: RFC 6455 sections 4.1 and 4.2.1. */
function checkHandshake(
  text: string,
  fields: readonly number[],
  method: string,
  framing: Framing,
): FaultCode | null {
  const head = { text, fields };
  const keys = fieldValues(head, "sec-websocket-key");
  const isSound =
    method === "GET" &&
    framing.upgrade === "websocket" &&
    !framing.isChunked &&
    framing.contentLength <= 0 &&
    keys.length === 1 &&
    /^[A-Za-z0-9+/]{22}==$/.test(keys[0] as string);
  if (!isSound) return "BAD_UPGRADE";
  const versions = fieldValues(head, "sec-websocket-version");
  return versions.length === 1 && versions[0] === "13" ? null : "UPGRADE_VERSION";
}

function requestBody(framing: Framing): BodyKind {
  if (framing.isChunked) return "chunked";
  return framing.contentLength > 0 ? "length" : "none";
}

function parseRequestLine(text: string, end: number): RequestLine | FaultCode {
  const first = text.indexOf(" ");
  const second = text.indexOf(" ", first + 1);
  if (first <= 0 || second === -1 || second >= end) return "BAD_REQUEST_LINE";
  const method = commonMethod(text, first) ?? text.slice(0, first);
  if (method.length > METHOD_LENGTH_MAX || !isToken(method)) return "BAD_REQUEST_LINE";
  const isNewest = end - second === VERSION.length && text.startsWith(VERSION, second);
  if (!isNewest) {
    const version = text.slice(second + 1, end);
    if (!/^HTTP\/[0-9]\.[0-9]$/.test(version)) return "BAD_REQUEST_LINE";
    if (version !== "HTTP/1.0") return "VERSION_UNKNOWN";
  }
  if (method === "TRACE" || method === "CONNECT") return "METHOD_REFUSED";
  return { method, target: text.slice(first + 1, second), minor: isNewest ? 1 : 0 };
}

function commonMethod(text: string, length: number): string | undefined {
  for (const method of COMMON_METHODS) {
    if (method.length === length && text.startsWith(method)) return method;
  }
  return undefined;
}

function checkFraming(framing: Framing, line: RequestLine): FaultCode | null {
  if (framing.authorizations > 1) return "BAD_FIELD";
  if (framing.vias > VIAS_MAX) return "LOOP";
  if (line.minor === 0) {
    if (framing.isChunked) return "BAD_FRAMING";
    if (BODILESS.has(line.method) && framing.contentLength > 0) return "BODY_REFUSED";
  }
  if (framing.expect !== "" && framing.expect.toLowerCase() !== "100-continue") return "EXPECT_UNKNOWN";
  return null;
}

/**
 * Splits a target, which has TARGET_FORM, into what is forwarded and what is matched.
 *
 * Absolute form must agree with Host and becomes origin form (RFC 9112 section 3.2.2). A path whose segments would
 * change by decoding or by resolving dots is ambiguous between backends and refused.
 */
function parseTarget(
  target: string,
  authority: string,
  method: string,
): { target: string; path: string; query: string } | FaultCode {
  if (target.includes("%") && BAD_ESCAPE.test(target)) return "BAD_TARGET";
  // The whole server, which is matched as its root.
  const server = { target: "*", path: "/", query: "" };
  if (target === "*") return method === "OPTIONS" ? server : "BAD_TARGET";
  let origin = target;
  if (target.charCodeAt(0) !== 0x2f) {
    const found = /^(https?):\/\/([^/?]+)(.*)$/i.exec(target);
    if (found === null) return "BAD_TARGET";
    const [, scheme = "", named = "", rest = ""] = found;
    if (!isSameAuthority(named, authority, scheme.toLowerCase() === "https" ? 443 : 80)) return "BAD_HOST";
    // RFC 9112 section 3.2.4.
    if (rest === "" && method === "OPTIONS") return server;
    origin = rest.startsWith("/") ? rest : `/${rest}`;
  }
  const mark = origin.indexOf("?");
  const path = decodedPath(mark === -1 ? origin : origin.slice(0, mark));
  if (path === null) return "BAD_TARGET";
  return { target: origin, path, query: mark === -1 ? "" : origin.slice(mark + 1) };
}

function isSameAuthority(one: string, other: string, defaultPort: number): boolean {
  if (one.toLowerCase() === other.toLowerCase()) return true;
  const suffix = `:${defaultPort}`;
  const fold = (text: string): string => {
    const lower = text.toLowerCase();
    return lower.endsWith(suffix) ? lower.slice(0, -suffix.length) : lower;
  };
  return fold(one) === fold(other);
}

/**
 * Parses a complete response head. Takes and gives as for requests; the faults are BAD_RESPONSE and
 * RESPONSE_TOO_LARGE. Source: RFC 9112 section 4.
 */
export function parseResponseHead(text: string): ResponseHead | "BAD_RESPONSE" | "RESPONSE_TOO_LARGE" {
  const lineEnd = text.indexOf("\r\n");
  const line = parseStatusLine(text, lineEnd);
  if (line === null) return "BAD_RESPONSE";
  const fields = findFields(text, lineEnd + 2, LIMITS.fields);
  if (typeof fields === "string") return fields === "HEAD_TOO_LARGE" ? "RESPONSE_TOO_LARGE" : "BAD_RESPONSE";
  const framing = new Framing();
  const { minor, status, reason } = line;
  if (framing.read(text, fields) !== null || (minor === 0 && framing.isChunked)) return "BAD_RESPONSE";
  return {
    text,
    fields,
    minor,
    status,
    reason,
    isChunked: framing.isChunked,
    contentLength: framing.contentLength,
    isWebSocket: framing.upgrade === "websocket" && framing.nominated.includes("upgrade"),
    nominated: framing.nominated,
    keepAlive: minor === 1 ? !framing.closes : framing.keepsAlive && !framing.closes,
    keepAliveSeconds: framing.keepAliveSeconds,
  };
}

/** What nearly every answer begins with: seen at once, where reading it piece by piece takes as long as its fields. */
const USUAL_LINE = "HTTP/1.1 200 OK\r\n";
const USUAL_STATUS_LINE: StatusLine = { minor: 1, status: 200, reason: "OK" };

/** The parts of a status line. */
interface StatusLine {
  readonly minor: 0 | 1;
  readonly status: number;
  readonly reason: string;
}

function parseStatusLine(text: string, lineEnd: number): StatusLine | null {
  if (text.startsWith(USUAL_LINE)) return USUAL_STATUS_LINE;
  const line = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t \x21-\x7e\x80-\xff]*))?$/.exec(
    text.slice(0, lineEnd),
  );
  if (line === null) return null;
  return { minor: line[1] === "1" ? 1 : 0, status: Number(line[2]), reason: line[3] ?? "" };
}
