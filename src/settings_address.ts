/** Addresses in the settings: where to listen, where the admin API is, and whose forwarding fields are believed. */
import type { ListenAddress } from "./control/sockets.ts";
import { canonicalHost, shorten, withoutBrackets, type Reading } from "./domain/syntax.ts";

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

/** Reads `host:port` or `unix:PATH`. */
export function readListenAddress(text: string): Reading<ListenAddress> {
  if (text.startsWith("fd:")) {
    return { ok: false, fault: `"${shorten(text)}": inherited sockets are not supported by this version` };
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
