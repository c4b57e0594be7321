/** What a line of a list or an access log asks to be replayed: one request, nothing, or why it can't be. */

/** A request as it was recorded. */
export interface RecordedRequest {
  readonly method: "GET" | "HEAD";
  /** As it was written, with its port; null when the line does not tell. */
  readonly host: string | null;
  /** Path and query, in the origin form. */
  readonly target: string;
  /** The route that took it; null when the line does not tell. */
  readonly route: string | null;
  /** Whether the log keeps no queries. */
  readonly isQueryLost: boolean;
}

/** What became of a line. */
export type Reading =
  | { readonly kind: "request"; readonly request: RecordedRequest }
  /** A blank line or a comment. */
  | { readonly kind: "nothing" }
  /** A method that could change something. */
  | { readonly kind: "other method" }
  | { readonly kind: "unusable"; readonly why: string };

/** What a line asks for, before it was looked at. */
interface Asked extends Omit<RecordedRequest, "method"> {
  readonly method: string;
}

/**
 * A line of an access log in the common or the combined format, as nginx, Apache and Crossfade write it: address,
 * identity, user, time, request, status, bytes, and then whatever. Apache may put the name of the virtual host first.
 */
const LOG_LINE = /^(?:([^\s"[\]]+:\d{1,5}) )?\S+ \S+ [^"[]*\[[^\]]*\] "((?:[^"\\]|\\.)*)" (?:\d{3}|-)(?: |$)/;
/** The request line inside it. HTTP/2 and 3 have none of their own, so servers write one. */
const REQUEST_LINE = /^([!#$%&'*+.^_`|~\w-]+) (\S+) HTTP\/\d(?:\.\d)?$/;
/** A line of a list: a URL or a path, and perhaps a method before it. */
const LISTED = /^(?:([A-Z]{1,32})[ \t]+)?(\/\S*|https?:\/\/\S+)$/i;
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;
/** What Crossfade itself takes as a target. Source: RFC 3986 section 2. */
const TARGET = /^\/(?:[!$&-;=?-[\]_a-z~]|%[0-9a-f]{2})*$/i;
const HOST = /^(?:[\w.~-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?$/;
/** Crossfade refuses longer request lines. */
const TARGET_CHARS_MAX = 8_000;

const NOTHING: Reading = Object.freeze<Reading>({ kind: "nothing" });

/** Reads one line. Each is looked at by itself, so one input may mix formats. */
export function readLine(text: string): Reading {
  const line = text.trim();
  if (line === "" || line.startsWith("#")) return NOTHING;
  const asked = line.startsWith("{") ? fromJson(line) : (fromList(line) ?? fromLog(line));
  return typeof asked === "string" ? unusable(asked) : requestOf(asked);
}

function requestOf({ method, target: written, host: told, ...rest }: Asked): Reading {
  if (method !== "GET" && method !== "HEAD") return { kind: "other method" };
  const absolute = ABSOLUTE.exec(written);
  const host = absolute === null ? told : (absolute[1] as string);
  const [path = ""] = (absolute === null ? written : (absolute[2] as string)).split("#", 1);
  const target = path.startsWith("/") || absolute === null ? path : `/${path}`;
  if (host !== null && !HOST.test(host)) return unusable("its host can't be sent");
  if (target.length > TARGET_CHARS_MAX) return unusable("its path is too long");
  if (!TARGET.test(target)) return unusable("its path can't be sent as it is");
  return { kind: "request", request: { method, host, target, ...rest } };
}

/** A line of Crossfade's own access log. */
function fromJson(line: string): Asked | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return "it is broken JSON";
    throw error;
  }
  const { method, path, host, route } = value as Readonly<Record<string, unknown>>;
  if (typeof method !== "string" || typeof path !== "string") return "it has no method and path";
  return { method, target: path, host: given(host), route: given(route), isQueryLost: true };
}

function fromList(line: string): Asked | null {
  const parts = LISTED.exec(line);
  if (parts === null) return null;
  const method = (parts[1] ?? "GET").toUpperCase();
  return { method, target: parts[2] as string, host: null, route: null, isQueryLost: false };
}

function fromLog(line: string): Asked | string {
  const parts = LOG_LINE.exec(line);
  if (parts === null) return "it is no URL, no path and no line of an access log";
  const request = REQUEST_LINE.exec(parts[2] as string);
  if (request === null) return "its request line is none";
  const [, method, target] = request as unknown as [string, string, string];
  return { method, target, host: parts[1] ?? null, route: null, isQueryLost: false };
}

/** A text that says something; Crossfade's log has empty ones and dashes. */
function given(value: unknown): string | null {
  return typeof value === "string" && value !== "" && value !== "-" ? value : null;
}

function unusable(why: string): Reading {
  return { kind: "unusable", why };
}
