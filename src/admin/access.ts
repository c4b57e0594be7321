/** Who may do what: bearer tokens with roles, and what stands in for them on a loopback listener without tokens. */
import { createHash, timingSafeEqual } from "node:crypto";

/** What a token allows; each role allows what the ones before it do. */
export type Role = "viewer" | "operator" | "admin";

/** Who may call an endpoint. */
export type Access = Role | "anyone";

/** A configured token: the hexadecimal SHA-256 of its text, never the text. */
export interface AdminToken {
  readonly name: string;
  readonly role: Role;
  readonly sha256: string;
}

/** Who calls. `name` goes into the audit log. */
export interface Caller {
  readonly name: string;
  readonly role: Role;
}

const RANKS: Readonly<Record<Role, number>> = { viewer: 1, operator: 2, admin: 3 };

/** Who calls when there are no tokens: whoever can reach the loopback address may do everything. */
const LOOPBACK: Caller = { name: "loopback", role: "admin" };

/** Longer tokens are not looked at, so that hashing has a bound. */
const TOKEN_LENGTH_MAX = 512;

/** Whether a role allows what needs `access`. */
export function isAllowed(role: Role, access: Access): boolean {
  return access === "anyone" || RANKS[role] >= RANKS[access];
}

/**
 * Who calls, or null when a token is needed and the field names none that is known.
 *
 * Takes the Authorization field (RFC 6750 section 2.1). Every token is compared, in constant time.
 */
export function authenticate(authorization: string | null, tokens: readonly AdminToken[]): Caller | null {
  if (tokens.length === 0) return LOOPBACK;
  const parts = /^bearer +([\x21-\x7e]+)$/i.exec(authorization ?? "");
  const text = parts?.[1] ?? "";
  if (text === "" || text.length > TOKEN_LENGTH_MAX) return null;
  const given = createHash("sha256").update(text).digest();
  let caller: Caller | null = null;
  for (const token of tokens) {
    const known = Buffer.from(token.sha256, "hex");
    if (known.length === given.length && timingSafeEqual(known, given)) {
      caller = { name: token.name, role: token.role };
    }
  }
  return caller;
}

/**
 * What is wrong with where a request without tokens comes from, or null.
 *
 * A web page that the operator visits can send requests to the loopback address. Its own name in Host (DNS rebinding)
 * and its Origin on anything that is not a plain read give it away.
 */
export function strangeOrigin(request: Request): string | null {
  const host = request.headers.get("host") ?? new URL(request.url).host;
  if (!isLoopback(host)) {
    const name = printable(host);
    return `without tokens only loopback names are served, not "${name}"; call 127.0.0.1 or configure tokens`;
  }
  const origin = request.headers.get("origin");
  if (origin === null || request.method === "GET" || request.method === "HEAD") return null;
  if (origin === `http://${host}` || origin === `https://${host}`) return null;
  return "without tokens a page of another origin may not change anything";
}

/** Whether the host of a Host field is `localhost`, in 127.0.0.0/8 or `[::1]`. */
function isLoopback(host: string): boolean {
  const name = host.replace(/:\d{1,5}$/, "").toLowerCase();
  return name === "localhost" || name === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(name);
}

function printable(text: string): string {
  return text.slice(0, 100).replace(/[^\x20-\x7e]/g, "?");
}
