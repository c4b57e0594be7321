/** The counter cells of one worker: written in place by the plane, reported as cumulative snapshots. */
import type { FaultCode } from "../base/fault.ts";
import { LATENCY_BUCKETS, latencyBucket } from "../domain/latency.ts";
import type { Judged } from "../domain/window.ts";

/** HTTP status codes have three digits; slot 0 of the array stands for 100. */
const CODE_FIRST = 100;
const CODE_SLOTS = 900;

/** What a cell that belongs to no route or no backend is called. */
export const NOBODY = "-";

/** What may become of a copy of a request: exactly one of them. */
export const SHADOW_RESULTS = [
  /** The shadow answered; of a long answer only the beginning was read. */
  "answered",
  /** Not sent: as many copies as may be were under way. */
  "busy",
  /** Not sent: the worker had enough to do with the requests themselves. */
  "overload",
  /** Not sent: the request's body is longer than the mirror takes. */
  "body_too_large",
  /** Not sent: the copies under way held all the memory that they may. */
  "memory",
  /** Not sent: the request itself never arrived whole, or was answered before it had. */
  "incomplete",
  /** No endpoint of the shadow took a connection. */
  "no_connection",
  /** The time was over before the answer was. */
  "timeout",
  /** The shadow closed the connection before it had answered whole. */
  "reset",
  /** What the shadow sent is no answer. */
  "malformed",
  /** Not sent: it might write, and the shadow has not proved that it would only pretend to. */
  "unproved",
  /** The worker ended. */
  "stopped",
] as const;

/** One of them. */
export type ShadowResult = (typeof SHADOW_RESULTS)[number];

/**
 * One number about the copies of a route, cumulative since the worker started.
 *
 * `sampled` counts the requests that were to have a copy: all results and those under way add up to it.
 */
export type ShadowCount = readonly [route: string, what: "sampled" | ShadowResult, count: number];

/**
 * One cell's cumulative totals since the worker started.
 *
 * `codes`: [status, requests]. `latency`: [bucket of domain/latency, requests]. `faults`: [fault code, times].
 * Pairs with a count of zero are left out. `started` = `finished` + `aborted` + those in flight.
 */
export interface CellSnapshot {
  readonly route: string;
  readonly backend: string;
  readonly started: number;
  /** Answered completely, by the backend or by Crossfade. */
  readonly finished: number;
  /** Given up: the client left or the answer was cut. */
  readonly aborted: number;
  /** Exchanges that the backend failed: 5xx, refused, reset, timed out, malformed, truncated. At most one each. */
  readonly failures: number;
  readonly retries: number;
  readonly durationUsSum: number;
  readonly codes: readonly (readonly [number, number])[];
  readonly latency: readonly (readonly [number, number])[];
  readonly faults: readonly (readonly [FaultCode, number])[];
  /** What a judge may use of all that; see Account in plane/account.ts. */
  readonly judged: Judged;
}

/** What a pressed worker gives up, in this order; each level includes the ones before it. */
export const PRESSURE_LEVELS = ["none", "mirrors", "comparisons", "connections"] as const;

/** One of them. */
export type PressureLevel = (typeof PRESSURE_LEVELS)[number];

/** What presses: a thread that is late or busy, a heap or a table of descriptors that fills. */
export const PRESSURE_CAUSES = ["lag", "busy", "heap", "files"] as const;

/** One of them. */
export type PressureCause = (typeof PRESSURE_CAUSES)[number];

/** The client connections of a worker by what they are at. */
export interface OpenConnections {
  /** Between requests, or before the first. */
  readonly idle: number;
  /** With a request that is arriving or being answered. */
  readonly requests: number;
  /** WebSockets. */
  readonly tunnels: number;
  /** Streams of events. */
  readonly streams: number;
}

/** How far a worker that stops is, and until when what is open may be, in Unix milliseconds. */
export interface DrainProgress {
  readonly open: OpenConnections;
  /** Everything but WebSockets. */
  readonly requestsUntilMs: number;
  readonly tunnelsUntilMs: number;
}

/** What one worker reports about itself. Cumulative unless it says "now". */
export interface WorkerSnapshot {
  readonly connectionsAccepted: number;
  readonly connectionsRefused: number;
  readonly connectionsOpenNow: number;
  /** [backend, idle now, in use now] */
  readonly upstreamNow: readonly (readonly [string, number, number])[];
  /** Upstream connections closed because bytes came after a complete response. */
  readonly upstreamExcess: number;
  readonly logLinesDropped: number;
  /** Header and trailer fields not passed on because they could pass for others, or do not belong into trailers. */
  readonly fieldsDropped: number;
  /** Questions for the addresses of an endpoint's name that got no answer. */
  readonly lookupsFailed: number;
  /** 0 to 1, since the last snapshot. */
  readonly loopUtilization: number;
  readonly rssBytes: number;
  /** Absent from workers of an earlier version. */
  readonly pressure?: PressureLevel;
  /** Absent without pressure. */
  readonly pressedBy?: PressureCause;
  /** While it drains. */
  readonly drain?: DrainProgress;
}

/** The totals of one route and backend. Only the worker that owns it writes it. */
export class Cell {
  readonly route: string;
  readonly backend: string;
  started = 0;
  finished = 0;
  aborted = 0;
  failures = 0;
  retries = 0;
  durationUsSum = 0;
  judgedRequests = 0;
  judgedFailures = 0;
  /** Set by every write, cleared when reported, so that a quiet cell costs nothing per tick. */
  changed = false;
  readonly #codes = new Float64Array(CODE_SLOTS);
  readonly #latency = new Float64Array(LATENCY_BUCKETS);
  readonly #faults = new Map<FaultCode, number>();
  readonly #judgedLatency = new Float64Array(LATENCY_BUCKETS);

  constructor(route: string, backend: string) {
    this.route = route;
    this.backend = backend;
  }

  /** Counts a complete answer. */
  finish(status: number, durationUs: number): void {
    this.finished++;
    this.durationUsSum += durationUs;
    this.#count(status, durationUs);
  }

  /** Counts an exchange that ended without a complete answer. `status` is what the log says, such as 499. */
  abort(status: number): void {
    this.aborted++;
    this.#codes[status - CODE_FIRST] = (this.#codes[status - CODE_FIRST] ?? 0) + 1;
    this.changed = true;
  }

  /** Counts a fault by its code. */
  fault(code: FaultCode): void {
    this.#faults.set(code, (this.#faults.get(code) ?? 0) + 1);
    this.changed = true;
  }

  /** Counts a request as evidence. `durationUs`: of the whole answer; -1 when there was none. */
  judge(isFailure: boolean, durationUs: number): void {
    this.judgedRequests++;
    if (isFailure) this.judgedFailures++;
    this.changed = true;
    if (durationUs < 0) return;
    const bucket = latencyBucket(durationUs);
    this.#judgedLatency[bucket] = (this.#judgedLatency[bucket] ?? 0) + 1;
  }

  snapshot(): CellSnapshot {
    return {
      route: this.route,
      backend: this.backend,
      started: this.started,
      finished: this.finished,
      aborted: this.aborted,
      failures: this.failures,
      retries: this.retries,
      durationUsSum: this.durationUsSum,
      codes: nonZero(this.#codes, CODE_FIRST),
      latency: nonZero(this.#latency, 0),
      faults: [...this.#faults],
      judged: {
        requests: this.judgedRequests,
        failures: this.judgedFailures,
        latency: nonZero(this.#judgedLatency, 0),
      },
    };
  }

  #count(status: number, durationUs: number): void {
    const slot = status - CODE_FIRST;
    this.#codes[slot] = (this.#codes[slot] ?? 0) + 1;
    const bucket = latencyBucket(durationUs);
    this.#latency[bucket] = (this.#latency[bucket] ?? 0) + 1;
    this.changed = true;
  }
}

/** All cells of one worker. A cell outlives the route that made it: totals never go back. */
export class CounterBook {
  readonly #cells = new Map<string, Cell>();

  /** The cell of a route and backend, made when first asked for. Bound: one per pair that was ever in the table. */
  cell(route: string, backend: string): Cell {
    const key = `${route} ${backend}`;
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = new Cell(route, backend);
      this.#cells.set(key, cell);
    }
    return cell;
  }

  /** Snapshots of the cells that changed since the last call, or of all of them. */
  report(all: boolean): CellSnapshot[] {
    const snapshots: CellSnapshot[] = [];
    for (const cell of this.#cells.values()) {
      if (!all && !cell.changed) continue;
      cell.changed = false;
      snapshots.push(cell.snapshot());
    }
    return snapshots;
  }
}

/** The copies of one route. Only the worker that owns it writes it. */
export class ShadowCell {
  readonly route: string;
  /** Set by every write, cleared when reported. */
  changed = false;
  /** Copies under way. */
  inFlight = 0;
  readonly #counts = new Map<ShadowCount[1], number>();

  constructor(route: string) {
    this.route = route;
  }

  add(what: ShadowCount[1]): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
    this.inFlight += what === "sampled" ? 1 : -1;
    this.changed = true;
  }

  counts(): ShadowCount[] {
    return [...this.#counts].map(([what, count]) => [this.route, what, count] as const);
  }
}

function nonZero(counts: Float64Array, first: number): [number, number][] {
  const pairs: [number, number][] = [];
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number;
    if (count > 0) pairs.push([first + i, count]);
  }
  return pairs;
}
