/** The words of routing: backends, routes, what they match and how traffic is split. */
import type { ComparePolicy } from "./compare_words.ts";
import type { RolloutPlan, RolloutState } from "./rollout_words.ts";

declare const brand: unique symbol;
type Branded<Name> = string & { readonly [brand]: Name };

/** The name of a route, unique in its table. */
export type RouteId = Branded<"RouteId">;
/** The name of a backend, unique in its table. */
export type BackendId = Branded<"BackendId">;

/** Weights are whole shares of this many. One share is 0.001 %. */
export const SHARES_TOTAL = 100_000;

/** An endpoint that is reached over TCP. `address` is its origin as written: `http://host:port`. */
interface TcpEndpoint {
  readonly address: string;
  /** Name or IP literal, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** An endpoint that is a Unix socket on this machine. `address` is `unix:` and the path. */
interface UnixEndpoint {
  readonly address: string;
  /** Absolute. */
  readonly path: string;
}

/** One address of a backend. No two of a backend lead to the same place. */
export type Endpoint = TcpEndpoint | UnixEndpoint;

/** A named set of endpoints that answer alike. */
export interface Backend {
  readonly id: BackendId;
  readonly endpoints: readonly Endpoint[];
  /** Each connection to it begins with a header that names the client, and then carries that client's requests only. */
  readonly proxyProtocol?: "v1" | "v2";
}

/** How the path of a request is matched, on its normalised form without the query. */
export interface PathMatch {
  /**
   * `prefix` matches whole segments: `/api` takes `/api` and `/api/x`, not `/apix`; `/api/` takes only what
   * starts with it. `regex` must match the whole path.
   */
  readonly kind: "prefix" | "exact" | "regex";
  readonly value: string;
}

/** One condition on a header, query parameter or cookie. Without `value`, presence is enough. */
export interface Condition {
  readonly source: "header" | "query" | "cookie";
  /** Header names are lower case; the others are taken to the letter. */
  readonly name: string;
  readonly value?: string;
}

/** What a route matches. An empty list allows everything; all parts must match. */
export interface Match {
  /** Lower case, without port; `*.example.com` matches any name below example.com. */
  readonly hosts: readonly string[];
  readonly path: PathMatch;
  readonly methods: readonly string[];
  readonly conditions: readonly Condition[];
}

/** Where a client's stable identity is looked for. */
export type StickyKey =
  | { readonly from: "cookie" | "header" | "claim"; readonly name: string }
  /** A first-party cookie that Crossfade hands out. */
  | { readonly from: "issue" }
  | { readonly from: "address" };

/** Stickiness of a route. No keys: every request is drawn at random. */
export interface Sticky {
  readonly keys: readonly StickyKey[];
  /** Routes with the same salt put a client into the same bucket. */
  readonly salt: string;
}

/** A condition that sends whoever meets it to one backend, whatever the weights say. */
export interface Pin {
  readonly when: Condition;
  readonly to: BackendId;
}

/** The two roles of a cutover. */
export interface Cutover {
  readonly legacy: BackendId;
  readonly candidate: BackendId;
}

/** How long parts of an exchange with a backend may take, in milliseconds. */
export interface Timeouts {
  readonly connectMs: number;
  /** From the last byte of the request to the response head. 0: as long as it takes. */
  readonly responseMs: number;
  /** Between two pieces of a body. 0: as long as it takes. */
  readonly idleMs: number;
}

/** When a request may be sent again. `attempts` counts the extra ones. */
export interface Retries {
  readonly attempts: number;
  /** A body up to this many bytes is held so that it can be sent again. */
  readonly bodyBytesMax: number;
}

/** What can speak against the candidate, the weightier first. */
export const ROLLBACK_SIGNALS = ["errors", "latency"] as const;

/** Statuses that count as failures: one, or all of a class. */
export type FailureStatus = "4xx" | "5xx" | number;

/** When a route goes back to legacy by itself. */
export interface RollbackPolicy {
  /** What may cause it, at least one. */
  readonly on: readonly (typeof ROLLBACK_SIGNALS)[number][];
  /** The candidate may fail this many times as often as legacy, 1 to 10. */
  readonly tolerance: number;
  /** The probability of a rollback without a cause, per planned stage. */
  readonly falseAlarm: number;
  /** The answers that are failures besides those that don't come: at least one status, none of them twice. */
  readonly statuses: readonly FailureStatus[];
}

/** Methods that change nothing, so that a request may have a copy. Source: RFC 9110 section 9.2.1. */
export const MIRRORED_METHODS = ["GET", "HEAD", "OPTIONS"] as const;

/** Methods that may change something, and may have copies all the same, if their route says so. */
export const MIRRORED_WRITES = ["POST", "PUT", "PATCH", "DELETE"] as const;

/**
 * Which requests of a route are sent to a second backend too, the shadow, whose answers nobody gets.
 *
 * Those that `to` answers anyway have no copy.
 */
export interface MirrorPolicy {
  /** Any backend of the table. */
  readonly to: BackendId;
  /** How many of the requests that match, 0 to SHARES_TOTAL. */
  readonly shares: number;
  /** `bucket`: all requests of some clients; `random`: some requests of every client. */
  readonly by: "bucket" | "random";
  /** At least one, none twice. */
  readonly methods: readonly (typeof MIRRORED_METHODS)[number][];
  /** Methods that may change something: their copies are sent only where the shadow proved that it pretends. */
  readonly writes: readonly (typeof MIRRORED_WRITES)[number][];
  /** What a request of the route must have besides. */
  readonly match: Pick<Match, "path" | "conditions">;
  /** A request with a longer body has no copy. */
  readonly bodyBytesMax: number;
  /** From the request's head to the end of the shadow's answer; the route's own limit for an answer if that is less. */
  readonly timeoutMs: number;
  /** Copies of the route that one worker has under way at most. */
  readonly inFlightMax: number;
  /** How the two answers are compared; null: they are not. */
  readonly compare: ComparePolicy | null;
}

/** Which requests, split how, sent where. */
export interface Route {
  readonly id: RouteId;
  readonly match: Match;
  readonly cutover: Cutover;
  /** The candidate's weight, 0 to SHARES_TOTAL; legacy has the rest. */
  readonly candidateShares: number;
  readonly sticky: Sticky;
  readonly pins: readonly Pin[];
  readonly timeouts: Timeouts;
  readonly retries: Retries;
  /** Whether a WebSocket handshake is passed on as one; otherwise it is an ordinary request. */
  readonly websocket: boolean;
  /** Whether trailers of requests are passed on. */
  readonly trailers: boolean;
  /** What becomes of WebSockets and streams of events whose client belongs to the other side by a new table. */
  readonly evacuate: "keep" | "cut";
  /** Whether responses name the backend and the revision that answered. */
  readonly expose: boolean;
  /** Null: only people take it back. */
  readonly rollback: RollbackPolicy | null;
  /** Null: requests have no copies. */
  readonly mirror: MirrorPolicy | null;
  /** Null: its weights move by hand alone. */
  readonly rollout: RolloutPlan | null;
}

/** Where the rollout of a route is. */
export interface RolloutOf {
  readonly route: RouteId;
  readonly state: RolloutState;
}

/**
 * The routing table as it is stored, without a revision.
 *
 * While a rollout is started and not pending, its state decides over the weight: `candidateShares` of the route are
 * those of the state. Before that, and without a plan, the weight is the operator's.
 */
export interface Document {
  readonly backends: readonly Backend[];
  readonly routes: readonly Route[];
  /** One for each route that has a plan, in the order of the routes. */
  readonly rollouts: readonly RolloutOf[];
}

/** The routing table as workers get it: plain weights, every `rollout` null. */
export interface TableSpec extends Omit<Document, "rollouts"> {
  readonly revision: number;
}
