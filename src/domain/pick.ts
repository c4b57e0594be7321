/** Which backend of its route a request goes to: pins first, then the client's bucket against the weights. */
import type { Random } from "../base/random.ts";
import { SHARES_TOTAL, type Backend, type StickyKey } from "./route.ts";
import { bucketOf, isInCohort } from "./split.ts";
import { cookieValue, meets, type CompiledRoute, type RequestView, type RouteTable } from "./table.ts";

/** The first-party cookie that holds an issued identity. */
export const ISSUED_COOKIE = "crossfade_id";

/** Identities longer than this are cut, so that hashing has a bound. */
const KEY_LENGTH_MAX = 512;
/** A longer credential is not looked into. */
const TOKEN_LENGTH_MAX = 8192;

/** Where a request goes and why. */
export interface Pick {
  readonly backend: Backend;
  readonly why: "pin" | "cohort" | "draw";
  /** 0 to SHARES_TOTAL - 1; -1 for pins. */
  readonly bucket: number;
  /** Where the identity came from, such as `cookie:uid`; empty for pins and draws. */
  readonly keyFrom: string;
  /** The identity to hand out in ISSUED_COOKIE; empty when there is none to issue. */
  readonly issued: string;
  /** Who asks, as far as it is known: the identity that the client brought, else its address. */
  readonly client: string;
}

/**
 * Picks the backend for a request that matched `compiled`.
 *
 * Keys are tried in the route's order; `issue` makes a new identity when the client brought none. A client without any
 * key is known by `clientAddress`. Routes without keys draw anew for every request.
 */
export function pick(
  table: RouteTable,
  compiled: CompiledRoute,
  view: RequestView,
  client: { readonly address: string; readonly random: Random },
): Pick {
  const { route } = compiled;
  for (const pin of route.pins) {
    if (!meets(pin.when, view)) continue;
    const backend = table.backends.get(pin.to);
    if (backend !== undefined) {
      return { backend, why: "pin", bucket: -1, keyFrom: "", issued: "", client: client.address };
    }
  }
  if (route.sticky.keys.length === 0) {
    const bucket = client.random.draw(SHARES_TOTAL);
    const backend = sideOf(compiled, bucket);
    return { backend, why: "draw", bucket, keyFrom: "", issued: "", client: client.address };
  }
  for (const key of route.sticky.keys) {
    const found = valueOf(key, view, client.address);
    if (found !== undefined && found !== "") return byKey(compiled, found, nameOf(key));
    if (key.from === "issue") {
      const issued = client.random.id();
      return byKey(compiled, issued, "issue", client.address);
    }
  }
  return byKey(compiled, client.address, "address");
}

/** `issuedTo`: the address of the client for whom the key was made just now. */
function byKey(compiled: CompiledRoute, key: string, keyFrom: string, issuedTo: string | null = null): Pick {
  const cut = key.length > KEY_LENGTH_MAX ? key.slice(0, KEY_LENGTH_MAX) : key;
  const bucket = bucketOf(compiled.route.sticky.salt, cut);
  return {
    backend: sideOf(compiled, bucket),
    why: "cohort",
    bucket,
    keyFrom,
    issued: issuedTo === null ? "" : key,
    client: issuedTo ?? cut,
  };
}

function sideOf(compiled: CompiledRoute, bucket: number): Backend {
  return isInCohort(bucket, compiled.route.candidateShares) ? compiled.candidate : compiled.legacy;
}

function valueOf(key: StickyKey, view: RequestView, clientAddress: string): string | undefined {
  switch (key.from) {
    case "cookie":
      return cookieValue(view.field("cookie"), key.name);
    case "header":
      return view.field(key.name);
    case "claim":
      return claimOf(view.field("authorization"), key.name);
    case "issue":
      return cookieValue(view.field("cookie"), ISSUED_COOKIE);
    case "address":
      return clientAddress;
  }
}

function nameOf(key: StickyKey): string {
  return "name" in key ? `${key.from}:${key.name}` : key.from;
}

/** A text or number claim of a bearer JWT (RFC 7519), not verified: good for routing, proof of nothing. */
function claimOf(authorization: string | undefined, name: string): string | undefined {
  if (authorization === undefined || authorization.length > TOKEN_LENGTH_MAX) return undefined;
  const found = /^bearer [\w-]+\.([\w-]+)\.[\w-]*$/i.exec(authorization);
  if (found === null) return undefined;
  const claims = parseObject(Buffer.from(found[1] as string, "base64url").toString("utf8"));
  const value = claims?.[name];
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // Not a JWT after all: the next key is tried. Anything but a syntax error is a bug.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}
