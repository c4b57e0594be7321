/** The messages between the control process and its workers, and the options that workers get. */
import type { ComparisonCounts } from "../domain/comparison_counts.ts";
import type { TableSpec } from "../domain/route.ts";
import type { CellSnapshot, ShadowCount, WorkerSnapshot } from "./counters.ts";

/**
 * Both sides must speak the same version; a worker of another one is drained and replaced.
 *
 * 2: cells report what a judge may use. A worker that can't would leave its traffic without automatic rollback.
 */
export const PROTOCOL = 2;

/** How often workers report their counters, in milliseconds. */
export const TICK_MS = 250;

/** What a worker must know of a listening socket besides its descriptor. */
export interface Listening {
  /** Its clients have no IP address. */
  readonly isUnix: boolean;
  /** Every connection must begin with a PROXY header. */
  readonly takesProxyHeader: boolean;
}

const PROXY_HEADER_MARK = "proxy_protocol ";

/** A listening address in one text, as workers get it and as fleets recognise it. No address begins with the mark. */
export function writeListening(address: string, takesProxyHeader: boolean): string {
  return takesProxyHeader ? PROXY_HEADER_MARK + address : address;
}

/** What that text says. */
export function readListening(text: string): Listening & { readonly address: string } {
  const takesProxyHeader = text.startsWith(PROXY_HEADER_MARK);
  const address = takesProxyHeader ? text.slice(PROXY_HEADER_MARK.length) : text;
  return { isUnix: address.startsWith("unix:"), takesProxyHeader, address };
}

/** How a worker writes its access log. */
export interface AccessLogOptions {
  readonly format: "json" | "combined" | "off";
  /** Percent of the requests that are logged; server errors always are. */
  readonly samplePercent: number;
  /** A file to append to; standard output when absent. */
  readonly path?: string;
}

/** How a worker stops. All in milliseconds, counted from the order to drain. */
export interface DrainOptions {
  /** Goes on accepting for this long, so that load balancers can notice. */
  readonly graceMs: number;
  /** From the end of the grace on more and more answers end their connection, and after this all of them. */
  readonly spreadMs: number;
  /** Idle kept-alive connections may still bring one request for this long after the grace. */
  readonly idleMs: number;
  /** Whatever is still open is cut then, except WebSockets. */
  readonly deadlineMs: number;
  /** WebSockets that are still open are cut then. */
  readonly tunnelsMs: number;
}

/** What the workers need of the settings. Reloadable at any time. */
export interface PlaneOptions {
  readonly accessLog: AccessLogOptions;
  readonly drain: DrainOptions;
  /** CIDR ranges whose forwarding fields are believed. */
  readonly trustedProxies: readonly string[];
  /** Client connections one worker holds at most; more are answered 503 and closed. */
  readonly connectionsMax: number;
  /** Connections of one client address in one worker at most; more are answered 503. Trusted proxies may hold more. */
  readonly connectionsPerAddressMax: number;
  /** Requests of one client address that have begun to arrive and are not readable yet, at most. */
  readonly headsPerAddressMax: number;
  /** By what backends prove that they only pretend to write; absent: none can. */
  readonly dryRunSecret?: string;
}

/** From the control process to a worker. */
export type ControlMessage =
  | { readonly type: "configure"; readonly options: PlaneOptions }
  | { readonly type: "table"; readonly spec: TableSpec }
  /** `now` cuts what is open instead of waiting for it. */
  | { readonly type: "drain"; readonly options: DrainOptions; readonly now: boolean }
  /**
   * Starts another worker with the same listening sockets: for a control process that does not hold them. Without a
   * file and its version, which are those of the control process, from its own.
   */
  | { readonly type: "spawn"; readonly worker: number; readonly file?: string; readonly version?: string };

/** What one worker has compared of one route, as totals since it began to on this basis. */
export interface ComparisonReport {
  readonly route: string;
  /** As comparisonBasis gives it. Counts of another basis begin anew, and never mix. */
  readonly basis: string;
  /** Who has counted: an id that the worker has given itself. */
  readonly worker: string;
  readonly counts: ComparisonCounts;
}

/** From a worker to the control process. */
export type WorkerMessage =
  | {
      readonly type: "hello";
      readonly protocol: number;
      readonly version: string;
      readonly pid: number;
      /** The slot in the fleet, 0 and up. */
      readonly worker: number;
      /** The listening addresses, as the settings write them. */
      readonly listen: readonly string[];
      /** The revision it serves now; 0 for none. */
      readonly revision: number;
      readonly draining: boolean;
    }
  /** It accepts connections. */
  | { readonly type: "ready" }
  | { readonly type: "applied"; readonly revision: number }
  /** The table could not be compiled; the last one is still served. */
  | { readonly type: "refused"; readonly revision: number; readonly reason: string }
  | {
      readonly type: "counters";
      readonly worker: WorkerSnapshot;
      /** Only the cells that changed; all of them in the first report on a connection. */
      readonly cells: readonly CellSnapshot[];
      /** Of the routes whose copies changed, or of all; absent without any, and from workers that make no copies. */
      readonly shadows?: readonly ShadowCount[];
      /** Of the routes whose comparisons changed, once a second at most, or of all; absent without any. */
      readonly comparisons?: readonly ComparisonReport[];
    }
  /** It stopped accepting; so many connections are still open. */
  | { readonly type: "draining"; readonly open: number };
