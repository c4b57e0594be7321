/** Message heads: their types, the size limits, and the field names that mean something to a proxy. */

/** Size limits in bytes and counts. Everything is counted before it is stored. */
export const LIMITS = {
  requestLineBytes: 8 * 1024,
  requestHeadBytes: 32 * 1024,
  responseHeadBytes: 64 * 1024,
  fields: 100,
  chunkLineBytes: 256,
  /** Chunk extensions of one message together. */
  chunkExtensionBytes: 4 * 1024,
  trailerBytes: 8 * 1024,
  trailerFields: 32,
  /** Interim (1xx) responses before a final one. */
  interimResponses: 8,
} as const;

/** What a field means to the proxy. Everything else is OTHER and passes unchanged. */
export const FIELD = {
  OTHER: 0,
  HOST: 1,
  CONTENT_LENGTH: 2,
  TRANSFER_ENCODING: 3,
  CONNECTION: 4,
  /** Belongs to one connection only and is never forwarded. */
  HOP: 5,
  TE: 6,
  UPGRADE: 7,
  EXPECT: 8,
  /** Says who the client is: believed from trusted peers only. */
  FORWARDED: 9,
  VIA: 10,
  AUTHORIZATION: 11,
  REQUEST_ID: 12,
  KEEP_ALIVE: 13,
  /** Set by Crossfade alone. */
  OWN: 14,
  /** Would be one of FORWARDED, REQUEST_ID or OWN for a server that reads `_` and `.` as `-`. */
  TWIN: 15,
} as const;

const NAMED: ReadonlyMap<string, number> = new Map([
  ["host", FIELD.HOST],
  ["content-length", FIELD.CONTENT_LENGTH],
  ["transfer-encoding", FIELD.TRANSFER_ENCODING],
  ["connection", FIELD.CONNECTION],
  ["keep-alive", FIELD.KEEP_ALIVE],
  ["proxy-connection", FIELD.HOP],
  ["proxy-authorization", FIELD.HOP],
  ["proxy-authenticate", FIELD.HOP],
  ["proxy-authentication-info", FIELD.HOP],
  ["http2-settings", FIELD.HOP],
  ["trailer", FIELD.HOP],
  ["te", FIELD.TE],
  ["upgrade", FIELD.UPGRADE],
  ["expect", FIELD.EXPECT],
  ["x-forwarded-for", FIELD.FORWARDED],
  ["x-forwarded-proto", FIELD.FORWARDED],
  ["x-forwarded-host", FIELD.FORWARDED],
  ["x-forwarded-port", FIELD.FORWARDED],
  ["x-real-ip", FIELD.FORWARDED],
  ["forwarded", FIELD.FORWARDED],
  ["via", FIELD.VIA],
  ["authorization", FIELD.AUTHORIZATION],
  ["x-request-id", FIELD.REQUEST_ID],
  ["crossfade-backend", FIELD.OWN],
  ["crossfade-revision", FIELD.OWN],
  ["crossfade-shadow", FIELD.OWN],
  ["crossfade-dry-run", FIELD.OWN],
]);

const NAME_LENGTH_MAX = 32;

const UPPER_A = 0x41;
const UPPER_Z = 0x5a;
/** What tells a small letter from its capital. */
const CASE_BIT = 0x20;

/** [length * 32 + low five bits of the first letter] -> the named fields that start so. */
const POSSIBLE: (readonly string[] | undefined)[] = Array.from({ length: NAME_LENGTH_MAX * 32 });
for (const name of NAMED.keys()) {
  const place = name.length * 32 + (name.charCodeAt(0) & 31);
  POSSIBLE[place] = [...(POSSIBLE[place] ?? []), name];
}

/** Every field of this family says who the client is, also those that nobody has registered. */
const FORWARDED_NAME = /^x[-_.]forwarded[-_.]/i;
/** The length of that beginning: shorter names are not of the family. */
const FORWARDED_LENGTH = 12;

const GUARDED: ReadonlySet<number> = new Set([FIELD.FORWARDED, FIELD.REQUEST_ID, FIELD.OWN]);

/**
 * The meaning of the field name at `text[start, end)`, whatever its case.
 *
 * `isOdd`: it holds `_` or `.`, which some servers take for `-`.
 */
export function fieldKind(text: string, start: number, end: number, isOdd: boolean): number {
  const length = end - start;
  if (length > FORWARDED_LENGTH && isForwarded(text, start, end)) return isOdd ? FIELD.TWIN : FIELD.FORWARDED;
  const possible =
    length < NAME_LENGTH_MAX ? POSSIBLE[length * 32 + (text.charCodeAt(start) & 31)] : undefined;
  if (possible === undefined) return FIELD.OTHER;
  if (!isOdd) {
    for (const name of possible) if (isSameName(text, start, name)) return NAMED.get(name) as number;
    return FIELD.OTHER;
  }
  const name = text.slice(start, end).toLowerCase();
  return GUARDED.has(NAMED.get(name.replace(/[_.]/g, "-")) ?? FIELD.OTHER) ? FIELD.TWIN : FIELD.OTHER;
}

function isForwarded(text: string, start: number, end: number): boolean {
  const isX = (text.charCodeAt(start) | 0x20) === 0x78;
  return isX && FORWARDED_NAME.test(text.slice(start, end));
}

/** Numbers per field in `Head.fields`. */
export const FIELD_STRIDE = 5;

/**
 * A parsed head. `text` is the head as it came, one character a byte, and includes the empty line.
 *
 * `fields` holds FIELD_STRIDE numbers a field: its FIELD kind, where the name starts, where it ends, where the value
 * starts and where it ends, without the white space around it.
 */
interface Head {
  readonly text: string;
  readonly fields: readonly number[];
  /** The x of HTTP/1.x. */
  readonly minor: 0 | 1;
  /** Lower-case names that the Connection field nominates, without `close` and `keep-alive`. Usually empty. */
  readonly nominated: readonly string[];
  /** Whether the sender keeps the connection open after this message. */
  readonly keepAlive: boolean;
}

/** How a body ends: not at all, after so many bytes, by a last chunk, or with the connection. */
export type BodyKind = "none" | "length" | "chunked" | "close";

/** The head of a request. */
export interface RequestHead extends Head {
  readonly method: string;
  /** In origin form or `*`, as it came. */
  readonly target: string;
  /** The path with unreserved characters decoded: for matching only. */
  readonly path: string;
  /** What follows the `?`, empty without one. */
  readonly query: string;
  /** Host as it came, with port. */
  readonly authority: string;
  /** Lower case, without port and final dot. */
  readonly host: string;
  readonly body: BodyKind;
  /** -1 without Content-Length. */
  readonly contentLength: number;
  readonly expectsContinue: boolean;
  /** Whether it is a valid WebSocket handshake (RFC 6455 section 4.1). */
  readonly isWebSocket: boolean;
  /** Whether the client takes trailers (RFC 9110 section 10.1.4). */
  readonly takesTrailers: boolean;
  /** Fields that are dropped because some servers would take them for ones that only proxies may set. */
  readonly twins: number;
}

/** The head of a response. How its body ends also depends on the request: see `responseBody`. */
export interface ResponseHead extends Head {
  readonly status: number;
  readonly reason: string;
  readonly isChunked: boolean;
  /** -1 without Content-Length. */
  readonly contentLength: number;
  /** Whether it agrees to become a WebSocket; only with status 101. */
  readonly isWebSocket: boolean;
  /** Seconds the sender promises to keep an idle connection open; -1 when it does not say. */
  readonly keepAliveSeconds: number;
}

/** The value of the first field with this lower-case name, or undefined. */
export function fieldValue(head: Pick<Head, "text" | "fields">, name: string): string | undefined {
  const { text, fields } = head;
  for (let i = 0; i < fields.length; i += FIELD_STRIDE) {
    if (isNamed(text, fields, i, name)) return text.slice(fields[i + 3], fields[i + 4]);
  }
  return undefined;
}

/** The values of all fields with this lower-case name, in order. */
export function fieldValues(head: Pick<Head, "text" | "fields">, name: string): string[] {
  const { text, fields } = head;
  const values: string[] = [];
  for (let i = 0; i < fields.length; i += FIELD_STRIDE) {
    if (isNamed(text, fields, i, name)) values.push(text.slice(fields[i + 3], fields[i + 4]));
  }
  return values;
}

function isNamed(text: string, fields: readonly number[], i: number, name: string): boolean {
  const start = fields[i + 1] as number;
  const end = fields[i + 2] as number;
  return end - start === name.length && isSameName(text, start, name);
}

/**
 * Whether `name`, in lower case, stands at `start`, whatever its case there.
 *
 * Character by character: a slice would have to be made, folded and hashed, which takes several times as long.
 */
function isSameName(text: string, start: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = text.charCodeAt(start + i);
    const folded = code >= UPPER_A && code <= UPPER_Z ? code | CASE_BIT : code;
    if (folded !== name.charCodeAt(i)) return false;
  }
  return true;
}

/** How the body of a response ends. Source: RFC 9112 section 6.3. */
export function responseBody(head: ResponseHead, requestMethod: string): BodyKind {
  const { status } = head;
  if (requestMethod === "HEAD" || status < 200 || status === 204 || status === 304) return "none";
  if (head.isChunked) return "chunked";
  if (head.contentLength >= 0) return "length";
  return "close";
}
