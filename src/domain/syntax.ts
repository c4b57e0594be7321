/** The small languages inside a table: names, hosts, paths, fields, endpoints, sticky keys. Each says what is wrong. */
import { assert } from "../base/fault.ts";
import { decodedPath } from "./path.ts";
import { nearestName } from "./problems.ts";
import type { Endpoint, StickyKey } from "./route.ts";

/** What a text means, or why it means nothing: a phrase that says what to write instead. */
export type Reading<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly fault: string };

/** What a reading gave, where its text was checked before. */
export function sure<Value>(reading: Reading<Value>): Value {
  assert(reading.ok, "only texts that can be read get past their schema");
  return reading.value;
}

/** The longest path, regular expression, host and condition value that a table may hold, in characters. */
const PATH_CHARS_MAX = 1024;
const REGEX_CHARS_MAX = 512;
const HOST_CHARS_MAX = 253;
const VALUE_CHARS_MAX = 1024;
const NAME_CHARS_MAX = 128;
const SALT_CHARS_MAX = 128;
/** Unix sockets have at most this many bytes of path on every system, its final zero not counted. */
const SOCKET_PATH_BYTES_MAX = 103;

/** Source: RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Source: RFC 3986 section 3.3, the characters of an absolute path. */
const PATH = /^\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*$/;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const SOCKET_PATH = /^(?:\/[A-Za-z0-9._@%+~-]+)+$/;
const VISIBLE = /^[\x21-\x7e]+$/;
/** What a field value may hold. Source: RFC 9110 section 5.5. */
const FIELD_VALUE = /^[^\x00-\x08\x0a-\x1f\x7f]*$/;

const METHODS_KNOWN = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/** Where a sticky key with a name comes from. */
const KEYS_WITH_NAME = ["cookie", "header", "claim"] as const;
const KEYS_ALONE = ["issue", "address"] as const;

/**
 * "-" stands for nobody in the counters, "." and ".." would vanish from the path of an API call, and "reason" stands
 * beside the names of backends in the body of a weight change.
 */
const RESERVED_NAMES = ["-", ".", "..", "reason"];

/** Why a text cannot name a route, a backend or a token, or null when it can. */
export function nameFault(text: string): string | null {
  if (/^[a-zA-Z0-9._-]{1,64}$/.test(text) && !RESERVED_NAMES.includes(text)) return null;
  if (RESERVED_NAMES.includes(text)) return `"${text}" is reserved; use another name`;
  return `"${shorten(text)}" cannot be a name: use 1 to 64 letters, digits, ".", "_" or "-"`;
}

/** Why a text is not a host to match, or null. A host has no port; `*.` in front matches every name below. */
export function hostFault(text: string): string | null {
  if (text === "*") return 'leave "hosts" out to match every host';
  if (/^\[.*\]$/.test(text)) {
    const literal = canonicalHost(text);
    if (literal === text.toLowerCase()) return null;
    return literal === null ? `"${shorten(text)}" is not an IPv6 address` : `write it as "${literal}"`;
  }
  const name = text.startsWith("*.") ? text.slice(2) : text;
  if (/:\d*$/.test(text)) return "a host is matched without its port; leave the port out";
  if (name.length <= HOST_CHARS_MAX && name.toLowerCase().split(".").every(isLabel)) return null;
  return `"${shorten(text)}" is not a host: write a name such as "shop.example.com" or "*.example.com"`;
}

/** Why a text is not a path to match exactly, or null. The path of a request is compared after normalisation. */
export function pathFault(text: string): string | null {
  if (!text.startsWith("/")) return 'a path starts with "/"';
  if (text.length > PATH_CHARS_MAX) return `a path has at most ${PATH_CHARS_MAX} characters`;
  if (/[?#]/.test(text)) return 'a path has no "?" and no "#"; match the query with "query"';
  if (!PATH.test(text)) return "a path has only the characters of a URL; write others percent-encoded";
  const decoded = decodedPath(text);
  if (decoded === null) return 'the segments "." and ".." and an encoded "/" or "\\" never match';
  return decoded === text ? null : `requests are matched decoded; write it as "${shorten(decoded)}"`;
}

/** Why a text is not a path prefix, or null. */
export function prefixFault(text: string): string | null {
  if (text.endsWith("*")) return 'a path is a prefix already; leave the "*" out';
  return pathFault(text);
}

/** Why a text is not a regular expression, or null. It is compiled without flags. */
export function regexFault(text: string): string | null {
  if (text === "") return "an empty regular expression matches no path";
  if (text.length > REGEX_CHARS_MAX) return `a regular expression has at most ${REGEX_CHARS_MAX} characters`;
  try {
    void new RegExp(text);
    return null;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return `this is not a regular expression: ${message.slice(message.lastIndexOf(": ") + 2)}`;
  }
}

/** Why a text is not a method that a route can match, or null. */
export function methodFault(text: string): string | null {
  if (METHODS_KNOWN.includes(text)) return null;
  if (text === "CONNECT" || text === "TRACE") return `${text} requests are never forwarded`;
  const nearest = nearestName(text, METHODS_KNOWN);
  if (text.length > NAME_CHARS_MAX || !TOKEN.test(text)) return `"${shorten(text)}" is not a method`;
  // Methods are case-sensitive (RFC 9110 section 9.1), so "get" would never match anything.
  if (text !== text.toUpperCase()) return `methods are upper case; write "${nearest ?? text.toUpperCase()}"`;
  return null;
}

/** Why a text is not the name of a header field or a cookie, or null. */
export function tokenFault(text: string): string | null {
  if (text.length <= NAME_CHARS_MAX && TOKEN.test(text)) return null;
  return `"${shorten(text)}" is not a name of letters, digits and "-"`;
}

/** Why a text is not the name of a query parameter, or null. It is compared as it stands in the URL. */
export function queryNameFault(text: string): string | null {
  if (text.length <= NAME_CHARS_MAX && VISIBLE.test(text) && !/[&=#]/.test(text)) return null;
  return `"${shorten(text)}" is not the name of a query parameter as it stands in a URL`;
}

/** Why a text is not a value that a header, query parameter or cookie can have, or null. */
export function valueFault(text: string): string | null {
  if (text.length > VALUE_CHARS_MAX) return `a value has at most ${VALUE_CHARS_MAX} characters`;
  if (!FIELD_VALUE.test(text)) return "a value has no control characters";
  // Space around a field value is not part of it (RFC 9110 section 5.5), so it would never match.
  if (text.trim() !== text) return "a value has no space around it";
  return null;
}

/** Why a text is not a salt, or null. */
export function saltFault(text: string): string | null {
  if (text.length <= SALT_CHARS_MAX && VISIBLE.test(text)) return null;
  return `a salt has 1 to ${SALT_CHARS_MAX} visible ASCII characters`;
}

/** Reads `http://host[:port]` or `unix:/PATH`. The address is kept as written; the port is 80 when none is. */
export function readEndpoint(text: string): Reading<Endpoint> {
  if (text.startsWith("unix:")) return readUnixEndpoint(text);
  if (/^https:/i.test(text)) return { ok: false, fault: "TLS to backends is not supported yet; use http://" };
  const parts = /^http:\/\/(\[[^\]/?#@]*\]|[^\]/?#@:[]+)(?::(\d{1,5}))?$/.exec(text);
  const written = parts?.[1];
  const host = written === undefined ? null : canonicalHost(written);
  if (written === undefined || host === null) {
    return {
      ok: false,
      fault: `"${shorten(text)}" is not an endpoint: write http://host:port or unix:/path, and nothing after it`,
    };
  }
  // Names such as 0x7f.1 are addresses in disguise, which would hide that two endpoints are the same.
  if (host !== written.toLowerCase()) return { ok: false, fault: `write the host as "${host}"` };
  const port = Number(parts?.[2] ?? 80);
  if (port < 1 || port > 65_535) return { ok: false, fault: "a port is 1 to 65535" };
  return { ok: true, value: { address: text, host: withoutBrackets(host), port } };
}

function readUnixEndpoint(text: string): Reading<Endpoint> {
  const path = text.slice("unix:".length);
  if (path.length > SOCKET_PATH_BYTES_MAX) {
    return { ok: false, fault: `the path of a socket has at most ${SOCKET_PATH_BYTES_MAX} characters` };
  }
  // One socket has one spelling, so that a backend cannot name it twice.
  const isPlain = SOCKET_PATH.test(path) && !path.split("/").some((part) => part === "." || part === "..");
  if (isPlain) return { ok: true, value: { address: text, path } };
  const what = 'write "unix:" and an absolute path of letters, digits, ".", "_" and "-"';
  return { ok: false, fault: `"${shorten(text)}" is not a socket: ${what}` };
}

/** Reads `cookie:NAME`, `header:NAME`, `claim:NAME`, `issue` or `address`. Header names become lower case. */
export function readStickyKey(text: string): Reading<StickyKey> {
  const alone = KEYS_ALONE.find((from) => from === text);
  if (alone !== undefined) return { ok: true, value: { from: alone } };
  const colon = text.indexOf(":");
  const written = colon < 0 ? text : text.slice(0, colon);
  const name = colon < 0 ? "" : text.slice(colon + 1);
  const from = KEYS_WITH_NAME.find((known) => known === written);
  if (from === undefined) return { ok: false, fault: stickyKeyFault(text, written, name) };
  if (name === "") return { ok: false, fault: `name the ${from}: "${from}:NAME"` };
  const fault = from === "claim" ? claimFault(name) : tokenFault(name);
  if (fault !== null) return { ok: false, fault };
  return { ok: true, value: { from, name: from === "header" ? name.toLowerCase() : name } };
}

/** A sticky key as operators write it; readStickyKey gives the same key again. */
export function writeStickyKey(key: StickyKey): string {
  return "name" in key ? `${key.from}:${key.name}` : key.from;
}

/**
 * A host as the URL standard writes it: lower case, IPv4 in four decimal parts, IPv6 shortened and in brackets.
 *
 * Takes a name, an IPv4 address or an IPv6 address in brackets. Gives null when it is none of them.
 */
export function canonicalHost(host: string): string | null {
  const url = URL.parse(`http://${host}/`);
  if (url === null || url.username !== "" || url.port !== "" || url.pathname !== "/") return null;
  return url.hostname.startsWith("[") || url.hostname.split(".").every(isLabel) ? url.hostname : null;
}

/** The host of a URL without the brackets of an IPv6 address. */
export function withoutBrackets(host: string): string {
  return host.startsWith("[") ? host.slice(1, -1) : host;
}

/** A text that is short enough to be quoted in a message. */
export function shorten(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}

function stickyKeyFault(text: string, written: string, name: string): string {
  const nearest = nearestName(written, name === "" ? KEYS_ALONE : KEYS_WITH_NAME);
  if (nearest !== null)
    return `unknown key "${shorten(text)}"; did you mean "${name === "" ? nearest : `${nearest}:${name}`}"?`;
  return `"${shorten(text)}" is not a sticky key: write cookie:NAME, header:NAME, claim:NAME, issue or address`;
}

function claimFault(name: string): string | null {
  if (name.length <= NAME_CHARS_MAX && VISIBLE.test(name)) return null;
  return `"${shorten(name)}" is not the name of a claim`;
}

function isLabel(label: string): boolean {
  return LABEL.test(label);
}
