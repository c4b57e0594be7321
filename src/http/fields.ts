/** Header fields, as heads and trailers share them: lines to offsets, under the strict rules. */
import type { FaultCode } from "../base/fault.ts";
import { FIELD, FIELD_STRIDE, fieldKind } from "./head.ts";

/** Bytes that no head may hold: controls other than HTAB, CR without LF, LF without CR. RFC 9110 5.5, RFC 9112 2.2. */
const BAD_BYTES = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/;

/** tchar of RFC 9110 section 5.6.2, by character code: 0 for none, 3 for the two that pass for `-`, else 1. */
const TCHAR = new Uint8Array(256);
for (const char of "!#$%&'*+-^`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TCHAR[char.charCodeAt(0)] = 1;
}
for (const char of "._") TCHAR[char.charCodeAt(0)] = 3;
const ODD = 3;

const SPACE = 0x20;
const HTAB = 0x09;
const CR = 0x0d;
const LF = 0x0a;
const COLON = 0x3a;
const ZERO = 0x30;
const PORT_MAX = 65_535;

/** Where the fields of a head are put together: a list that grows with them would be copied again and again. */
const FOUND: number[] = [];

/** What may follow a field's colon, up to the line's end: the same bytes from the other side, and far faster. */
const VALUE = /[\t\x20-\x7e\x80-\xff]*/y;

/** Whether a complete head, or a part of one, holds a byte that is never allowed there. Slow: for what is refused. */
export function hasBadBytes(text: string): boolean {
  return BAD_BYTES.test(text);
}

/** Whether `text` is a token: one or more tchar. */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (TCHAR[text.charCodeAt(i)] === 0) return false;
  return text.length > 0;
}

/**
 * Finds the fields between `start` and the empty line that ends `text`.
 *
 * Takes text that ends in CRLF CRLF (or is just the last CRLF when there are no fields).
 * Gives the offsets (see `Head.fields`), or BAD_FIELD, also for bytes that are never allowed, or HEAD_TOO_LARGE over
 * `fieldsMax`.
 * Source: RFC 9112 section 5; folded lines are refused.
 */
export function findFields(text: string, start: number, fieldsMax: number): number[] | FaultCode {
  let count = 0;
  let at = start;
  // The final CRLF is the empty line.
  const end = text.length - 2;
  while (at < end) {
    if (count === fieldsMax * FIELD_STRIDE) return hasBadBytes(text) ? "BAD_FIELD" : "HEAD_TOO_LARGE";
    let nameEnd = at;
    let seen = 0;
    for (;;) {
      const kind = TCHAR[text.charCodeAt(nameEnd)] as number;
      if (kind === 0) break;
      seen |= kind;
      nameEnd++;
    }
    // An empty name also covers folded lines and white space after the start line.
    if (nameEnd === at || text.charCodeAt(nameEnd) !== COLON) return "BAD_FIELD";
    let valueStart = nameEnd + 1;
    VALUE.lastIndex = valueStart;
    VALUE.test(text);
    const lineEnd = VALUE.lastIndex;
    if (text.charCodeAt(lineEnd) !== CR || text.charCodeAt(lineEnd + 1) !== LF) return "BAD_FIELD";
    let valueEnd = lineEnd;
    while (valueStart < valueEnd && isBlank(text.charCodeAt(valueStart))) valueStart++;
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd--;
    FOUND[count] = fieldKind(text, at, nameEnd, seen === ODD);
    FOUND[count + 1] = at;
    FOUND[count + 2] = nameEnd;
    FOUND[count + 3] = valueStart;
    FOUND[count + 4] = valueEnd;
    count += FIELD_STRIDE;
    at = lineEnd + 2;
  }
  return FOUND.slice(0, count);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === HTAB;
}

/** Names that a Connection field may not nominate: removing them would change what the request means. */
const NEVER_NOMINATED = new Set([
  "host",
  "content-length",
  "authorization",
  "cookie",
  "forwarded",
  "via",
  "x-request-id",
  "crossfade-backend",
  "crossfade-revision",
  "crossfade-shadow",
]);

/** What the fields that frame a message and manage its connection say. Filled while walking them once. */
export class Framing {
  /** -1 without Content-Length. */
  contentLength = -1;
  isChunked = false;
  hosts = 0;
  host = "";
  authorizations = 0;
  closes = false;
  keepsAlive = false;
  expect = "";
  keepAliveSeconds = -1;
  vias = 0;
  nominated: string[] = NOTHING;
  upgrade = "";
  takesTrailers = false;
  twins = 0;

  /**
   * Takes all fields of a head. Gives null, or the fault when they contradict each other.
   * Source: RFC 9112 sections 6.1 to 6.3; stricter than them: leading zeros and lists are refused.
   */
  read(text: string, fields: readonly number[]): FaultCode | null {
    for (let i = 0; i < fields.length; i += FIELD_STRIDE) {
      const kind = fields[i] as number;
      if (kind === FIELD.OTHER) continue;
      const value = text.slice(fields[i + 3], fields[i + 4]);
      const fault = this.#readOne(kind, value);
      if (fault !== null) return fault;
    }
    if (this.isChunked && this.contentLength >= 0) return "BAD_FRAMING";
    return null;
  }

  #readOne(kind: number, value: string): FaultCode | null {
    switch (kind) {
      case FIELD.CONTENT_LENGTH:
        return this.#readLength(value);
      case FIELD.TRANSFER_ENCODING:
        return this.#readCoding(value);
      case FIELD.CONNECTION:
        return this.#readConnection(value);
      case FIELD.HOST:
        this.hosts++;
        this.host = value;
        return null;
      case FIELD.AUTHORIZATION:
        this.authorizations++;
        return null;
      case FIELD.EXPECT:
        this.expect = this.expect === "" ? value : `${this.expect}, ${value}`;
        return null;
      case FIELD.UPGRADE:
        this.upgrade = this.upgrade === "" ? value.toLowerCase() : `${this.upgrade}, ${value.toLowerCase()}`;
        return null;
      case FIELD.TWIN:
        this.twins++;
        return null;
      case FIELD.TE:
        this.takesTrailers ||= /(?:^|,)[ \t]*trailers[ \t]*(?:,|$)/i.test(value);
        return null;
      case FIELD.KEEP_ALIVE:
        this.keepAliveSeconds = keepAliveTimeout(value);
        return null;
      case FIELD.VIA:
        this.vias += value.split(",").filter((hop) => hop.trim().endsWith(" crossfade")).length;
        return null;
      default:
        return null;
    }
  }

  #readLength(value: string): FaultCode | null {
    const length = this.contentLength >= 0 ? -1 : lengthOf(value);
    if (length < 0) return "BAD_FRAMING";
    this.contentLength = length;
    return null;
  }

  #readCoding(value: string): FaultCode | null {
    if (this.isChunked) return "BAD_FRAMING";
    if (value.toLowerCase() === "chunked") {
      this.isChunked = true;
      return null;
    }
    // One unknown coding is merely unsupported; anything that mentions chunked otherwise is an attempt to confuse.
    return isToken(value) && !/chunked/i.test(value) ? "CODING_UNKNOWN" : "BAD_FRAMING";
  }

  #readConnection(value: string): FaultCode | null {
    if (value === "keep-alive") {
      this.keepsAlive = true;
      return null;
    }
    for (const part of value.split(",")) {
      const name = part.trim().toLowerCase();
      if (name === "") continue;
      if (name === "close") this.closes = true;
      else if (name === "keep-alive") this.keepsAlive = true;
      else if (!isToken(name) || NEVER_NOMINATED.has(name) || name.startsWith("x-forwarded-"))
        return "BAD_FIELD";
      else this.nominated = [...this.nominated, name];
    }
    return null;
  }
}

const NOTHING: string[] = [];

/** A safe integer has no more digits. */
const DIGITS_MAX = 16;

/** A Content-Length: digits without leading zeros, a safe integer; else -1. */
function lengthOf(value: string): number {
  if (value.length === 0 || value.length > DIGITS_MAX) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - ZERO;
    // A zero in front of others is one that the others do not belong to.
    if (!(digit >= 0 && digit <= 9) || (i > 0 && length === 0)) return -1;
    length = length * 10 + digit;
  }
  return length <= Number.MAX_SAFE_INTEGER ? length : -1;
}

/** Fields that trailers may not hold besides all that mean something to a proxy. RFC 9110 section 6.5.1. */
const NEVER_TRAILERS = new RegExp(
  "^(?:content-.*|set-cookie|cookie|cache-control|expires|date|location|retry-after|vary|age|range|if-.*|" +
    "max-forwards|pragma|accept.*|www-authenticate|authentication-info)$",
);

/** The lines of a trailer section that may be passed on, each with CRLF, and how many were dropped. */
export function keptTrailers(text: string, fields: readonly number[]): { lines: string; dropped: number } {
  let lines = "";
  let dropped = 0;
  for (let i = 0; i < fields.length; i += FIELD_STRIDE) {
    const name = text.slice(fields[i + 1], fields[i + 2]);
    if (fields[i] !== FIELD.OTHER || NEVER_TRAILERS.test(name.toLowerCase())) dropped++;
    else lines += `${name}: ${text.slice(fields[i + 3], fields[i + 4])}\r\n`;
  }
  return { lines, dropped };
}

/** The `timeout` parameter of a Keep-Alive field in seconds, or -1. */
function keepAliveTimeout(value: string): number {
  const found = /(?:^|[,; ])timeout=([0-9]{1,6})/i.exec(value);
  return found === null ? -1 : Number(found[1]);
}

/** uri-host [":" port] without user information, list commas or percent escapes. RFC 9110 section 7.2. */
const HOST_FORM = /^(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9\-._~!$&'()*+;=]{1,255})(?::([0-9]{1,5}))?$/;

/** The Host value that was read last, and what came of it: most requests name the same host as those before them. */
const lastHost: { value: string; name: string | null } = { value: "", name: null };

/** A Host value for matching: lower case, without port and final dot. Null when it is malformed. */
export function readHost(value: string): string | null {
  if (value !== lastHost.value) {
    lastHost.name = isHost(value) ? hostName(value) : null;
    lastHost.value = value;
  }
  return lastHost.name;
}

/** Whether a Host value is well formed, its port between 1 and 65,535. */
function isHost(value: string): boolean {
  const found = HOST_FORM.exec(value);
  if (found === null || (value.startsWith("[") && !URL.canParse(`http://${value}`))) return false;
  if (found[1] === undefined) return true;
  const port = Number(found[1]);
  return port >= 1 && port <= PORT_MAX;
}

/** Takes a well-formed one. */
function hostName(authority: string): string {
  const colon = authority.lastIndexOf(":");
  const hasPort = colon > authority.lastIndexOf("]") && colon !== -1;
  const name = (hasPort ? authority.slice(0, colon) : authority).toLowerCase();
  return name.endsWith(".") ? name.slice(0, -1) : name;
}
