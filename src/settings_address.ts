/** Addresses in the settings: where to listen, where the admin API and Redis are, whose forwarding is believed. */
import type { ListenAddress } from "./control/sockets.ts";
import { canonicalHost, shorten, withoutBrackets, type Reading } from "./domain/syntax.ts";
import type { RedisNode } from "./store/redis_settings.ts";

/** Unix sockets have at most this many bytes of path on every system, its final zero not counted. */
export const SOCKET_PATH_BYTES_MAX = 103;

/** A host without brackets and a port, 0 for any free one. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, with an IPv6 address in brackets. */
export function readHostPort(text: string): Reading<HostPort> {
  const parts = /^(.+):(\d{1,5})$/.exec(text);
  const port = Number(parts?.[2]);
  const host = parts === null ? null : canonicalHost(parts[1] ?? "");
  if (host === null || port > 65_535) {
    const fault = `"${shorten(text)}" is not an address: write host:port, such as "0.0.0.0:8080" or "[::]:8080"`;
    return { ok: false, fault };
  }
  return { ok: true, value: { host: withoutBrackets(host), port } };
}

/** Reads `host:port`, `unix:PATH`, or `fd:NAME` for a socket that the program is started with. */
export function readListenAddress(text: string): Reading<ListenAddress> {
  if (text.startsWith("fd:")) {
    const name = text.slice("fd:".length);
    const fault = "name the socket as LISTEN_FDNAMES does, or by its number: fd:web, fd:3";
    return /^[\w.@-]{1,255}$/.test(name)
      ? { ok: true, value: { kind: "inherited", name, text } }
      : { ok: false, fault };
  }
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (path === "" || path.includes("\0")) return { ok: false, fault: "name the socket: unix:PATH" };
    if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
      return { ok: false, fault: `the path of a socket has at most ${SOCKET_PATH_BYTES_MAX} bytes` };
    }
    return { ok: true, value: { kind: "unix", path, text } };
  }
  const reading = readHostPort(text);
  return reading.ok ? { ok: true, value: { kind: "tcp", ...reading.value, text } } : reading;
}

/** Whether only this machine can reach a host. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** Whether both listen at the same place. Any free port is a new one every time. */
export function isSameAddress(a: ListenAddress, b: ListenAddress): boolean {
  if (a.kind === "unix") return b.kind === "unix" && a.path === b.path;
  if (a.kind === "inherited") return b.kind === "inherited" && a.name === b.name;
  return b.kind === "tcp" && a.port !== 0 && a.host === b.host && a.port === b.port;
}

/**
 * Reads an IP address or a range of them (RFC 4632 section 3.1), or `unix` for whoever comes over a Unix socket. A
 * single address becomes a range of one.
 */
export function readProxyRange(text: string): Reading<string> {
  if (text === "unix") return { ok: true, value: text };
  const [address = "", bits, ...rest] = text.split("/");
  const isV6 = address.includes(":");
  const canonical = canonicalHost(isV6 ? `[${address}]` : address);
  const bitsMax = isV6 ? 128 : 32;
  const isAddress = canonical !== null && (isV6 || (canonical === address && /^[\d.]+$/.test(address)));
  const isRange = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax);
  if (!isAddress || !isRange || rest.length > 0) {
    return {
      ok: false,
      fault: `"${shorten(text)}" is not a range of addresses: write one such as "10.0.0.0/8"`,
    };
  }
  return { ok: true, value: `${withoutBrackets(canonical)}/${Number(bits ?? bitsMax)}` };
}

/** The highest number of a Redis database that is taken; how many there are, the server decides. */
export const DATABASE_MAX = 65_535;

/** What a Redis URL says. */
export interface RedisUrl {
  readonly place:
    | { readonly kind: "single"; readonly node: RedisNode }
    | { readonly kind: "unix"; readonly path: string };
  readonly isTls: boolean;
  readonly database?: number;
  readonly username?: string;
  readonly password?: string;
}

const REDIS_PORT = 6379;
const URL_CHARS_MAX = 2048;
const URL_FORM =
  "write redis://host:port/database, rediss:// for TLS, or unix:/path, " +
  "and what is special in a user or a password percent-encoded";

/**
 * Reads `redis://`, `rediss://` and `redis+unix://` with an optional user and password, and `unix:/path`. The port is
 * 6379 when none is named. Faults repeat nothing of the text, which may hold a password. Source: the IANA registration
 * of the scheme `redis`; RFC 3986 section 3.2.1 for user and password.
 */
export function readRedisUrl(text: string): Reading<RedisUrl> {
  const parts =
    /^(rediss?):\/\/(?:([^@/?#]*)@)?(\[[^\]@/?#]*\]|[^:@/?#[\]]*)(?::(\d{1,6}))?(?:\/(\d{0,6}))?$/i.exec(
      text,
    );
  if (parts === null || text.length > URL_CHARS_MAX) return readUnixRedisUrl(text);
  const [, scheme = "", userinfo, host = "", port, database = ""] = parts;
  const login = readUserinfo(userinfo);
  if (!login.ok) return login;
  const node = nodeOf(host, port === undefined ? REDIS_PORT : Number(port));
  if (!node.ok) return node;
  if (Number(database) > DATABASE_MAX) return { ok: false, fault: `a database is 0 to ${DATABASE_MAX}` };
  const value: RedisUrl = {
    place: { kind: "single", node: node.value },
    isTls: scheme.toLowerCase() === "rediss",
    ...(database === "" ? {} : { database: Number(database) }),
    ...login.value,
  };
  return { ok: true, value };
}

function readUnixRedisUrl(text: string): Reading<RedisUrl> {
  const parts = /^(?:redis\+unix:\/\/(?:([^@/?#]*)@)?|unix:(?:\/\/)?)(\/[^?#\0]+)$/i.exec(text);
  const path = parts?.[2];
  if (path === undefined || text.length > URL_CHARS_MAX) return { ok: false, fault: URL_FORM };
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    return { ok: false, fault: `the path of a socket has at most ${SOCKET_PATH_BYTES_MAX} bytes` };
  }
  const login = readUserinfo(parts?.[1]);
  if (!login.ok) return login;
  return { ok: true, value: { place: { kind: "unix", path }, isTls: false, ...login.value } };
}

/** Reads `user:password`, each of which may be empty or left out. */
function readUserinfo(userinfo = ""): Reading<{ readonly username?: string; readonly password?: string }> {
  const colon = userinfo.indexOf(":");
  const written = colon === -1 ? [userinfo, ""] : [userinfo.slice(0, colon), userinfo.slice(colon + 1)];
  if (written.some((part) => !/^(?:[^%]|%[0-9a-f]{2})*$/i.test(part) || !isDecodable(part))) {
    return { ok: false, fault: "the user or the password is not percent-encoded" };
  }
  const [username = "", password = ""] = written.map(decodeURIComponent);
  return { ok: true, value: { ...(username && { username }), ...(password && { password }) } };
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

/** Reads `host:port` of a Redis or a sentinel. Faults repeat nothing of the text, which may hold a password. */
export function readRedisNode(text: string): Reading<RedisNode> {
  const parts = /^(\[[^\]]*\]|[^:[\]]*):(\d{1,6})$/.exec(text);
  if (parts === null) {
    return { ok: false, fault: 'write host:port, such as "10.0.0.1:6379", without user and password' };
  }
  return nodeOf(parts[1] ?? "", Number(parts[2]));
}

function nodeOf(host: string, port: number): Reading<RedisNode> {
  if (host === "") return { ok: false, fault: "there is no host before the port" };
  const canonical = canonicalHost(host);
  if (canonical === null) return { ok: false, fault: "the host is neither a name nor an address" };
  if (port < 1 || port > 65_535) return { ok: false, fault: "a port is 1 to 65535" };
  return { ok: true, value: { host: withoutBrackets(canonical), port } };
}

/** Why a text cannot be read as what it should be, or null. */
export function faultOf<Value>(read: (text: string) => Reading<Value>): (text: string) => string | null {
  return (value) => {
    const reading = read(value);
    return reading.ok ? null : reading.fault;
  };
}
