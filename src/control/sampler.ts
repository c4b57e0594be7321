/** The counters of all workers added up: totals that never go back, and windows of the last seconds everywhere. */
import type { Clock } from "../base/clock.ts";
import { writePercent } from "../domain/quantity.ts";
import { SHARES_TOTAL, type Route } from "../domain/route.ts";
import {
  deltaOf,
  inFlightOf,
  NO_FIGURES,
  NO_SAMPLE,
  SecondRing,
  sumOf,
  WINDOW_SECONDS_MAX,
  type Sample,
  type WindowFigures,
} from "../domain/window.ts";
import type { ComparisonReport } from "../shared/messages.ts";
import type { CellSnapshot, ShadowCount, WorkerSnapshot } from "../shared/counters.ts";
import { ComparisonTotals } from "./comparison_totals.ts";
import { ShadowTotals } from "./shadow_totals.ts";

/** Requests of one route and backend that have not ended. */
export interface InFlight {
  readonly route: string;
  readonly backend: string;
  readonly requests: number;
}

/** Everything counted since this control process started, over all workers there were. */
export interface Totals {
  readonly cells: readonly CellSnapshot[];
  /** Of the workers that live now; pairs without any are left out. */
  readonly inFlight: readonly InFlight[];
  /** The last report of each worker that lives now, by its key. */
  readonly workers: ReadonlyMap<string, WorkerSnapshot>;
  readonly connectionsAccepted: number;
  readonly connectionsRefused: number;
  readonly upstreamExcess: number;
  readonly logLinesDropped: number;
  readonly fieldsDropped: number;
  readonly lookupsFailed: number;
}

/** What happened at one route and backend between two reports. */
export interface Addition {
  readonly route: string;
  readonly backend: string;
  readonly delta: Sample;
}

/** Hears of everything that enters a window. `isOwn`: counted by this instance's workers, not by another instance's. */
export type AdditionListener = (addition: Addition, isOwn: boolean) => void;

/** How one backend of a route is doing. */
export interface BackendHealth {
  readonly backend: string;
  readonly role: "legacy" | "candidate";
  readonly shareConfiguredPercent: number;
  /** Of the route's requests in the last 60 s, pinned ones included; null when there were none. */
  readonly shareObservedPercent: number | null;
  readonly windows: { readonly "10s": WindowFigures; readonly "60s": WindowFigures };
}

/** How a route is doing: legacy first. */
export interface RouteHealth {
  readonly route: string;
  readonly backends: readonly BackendHealth[];
}

/** Pairs of route and backend with totals. Over it the one that was idle longest is dropped: its series ends. */
export const TOTALS_MAX = 10_000;
/** Pairs with a window, at 36 KiB at most. Over it the one that was idle longest loses its window. */
export const RINGS_MAX = 2_000;

const WINDOW_SECONDS_SHORT = 10;

interface Pair {
  readonly route: string;
  readonly backend: string;
  total: Sample;
}

interface Worker {
  snapshot: WorkerSnapshot;
  readonly cells: Map<string, CellSnapshot>;
}

type Sums = Pick<
  Totals,
  | "connectionsAccepted"
  | "connectionsRefused"
  | "upstreamExcess"
  | "logLinesDropped"
  | "fieldsDropped"
  | "lookupsFailed"
>;

/**
 * Adds up what workers report, and into the windows also what other instances say that theirs did.
 *
 * Totals are this instance's own: whoever collects metrics from all instances adds up by itself.
 *
 * Reports are cumulative, so a lost one is harmless. The difference to a worker's report before is what happened since:
 * it goes into the totals and into the current second. Of a worker's first report only the totals take anything: a
 * worker that is taken over from another control process has counted for hours, and a window must not show that as one
 * second. What a new worker counts before its first report is missed by the windows for that reason, one tick at most.
 */
export class Sampler {
  /** The copies of requests, this instance's own. */
  readonly shadows = new ShadowTotals();
  /** What was compared, this instance's own. */
  readonly comparisons = new ComparisonTotals();
  readonly #clock: Clock;
  readonly #workers = new Map<string, Worker>();
  /** Both maps have the pair that was idle longest first. */
  readonly #pairs = new Map<string, Pair>();
  readonly #rings = new Map<string, SecondRing>();
  readonly #listeners = new Set<AdditionListener>();
  #retired: Sums = {
    connectionsAccepted: 0,
    connectionsRefused: 0,
    upstreamExcess: 0,
    logLinesDropped: 0,
    fieldsDropped: 0,
    lookupsFailed: 0,
  };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Takes one report: what the worker says of itself, and those of its cells and copies that changed.
   *
   * `worker` is unique per worker process, `<slot>.<pid>`. Cells that the report leaves out are as they were.
   */
  report(
    worker: string,
    snapshot: WorkerSnapshot,
    cells: readonly CellSnapshot[],
    shadows: readonly ShadowCount[] = [],
    comparisons: readonly ComparisonReport[] = [],
  ): void {
    this.shadows.report(worker, shadows);
    this.comparisons.report(worker, comparisons, this.#clock.wallMs());
    let known = this.#workers.get(worker);
    const isFirst = known === undefined;
    if (known === undefined) {
      known = { snapshot, cells: new Map() };
      this.#workers.set(worker, known);
    }
    known.snapshot = snapshot;
    for (const cell of cells) {
      const key = keyOf(cell.route, cell.backend);
      const delta = deltaOf(cell, known.cells.get(key) ?? NO_SAMPLE);
      known.cells.set(key, cell);
      if (!hasHappened(delta)) continue;
      this.#addToTotals(key, cell, delta);
      if (!isFirst) this.#addToWindow({ route: cell.route, backend: cell.backend, delta }, true);
    }
  }

  /** Takes what happened in other instances: it counts in the windows, as if it happened now, and in no total. */
  addOthers(additions: readonly Addition[]): void {
    for (const addition of additions) if (hasHappened(addition.delta)) this.#addToWindow(addition, false);
  }

  /** Calls `listener` with everything that enters a window. Gives what ends it. Listeners must not throw. */
  watch(listener: AdditionListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Forgets a worker whose process is gone. Its totals stay in the sum; what it has "now" goes. Requests that it had
   * not ended were cut with it, so they count as aborted: what was started always adds up.
   */
  retire(worker: string): void {
    this.shadows.retire(worker);
    this.comparisons.retire(worker);
    const known = this.#workers.get(worker);
    if (known === undefined) return;
    this.#retired = sumsOf(this.#retired, known.snapshot);
    for (const [key, cell] of known.cells) {
      const aborted = inFlightOf(cell);
      if (aborted > 0) this.#addToTotals(key, cell, { ...NO_SAMPLE, aborted });
    }
    this.#workers.delete(worker);
  }

  /** Everything counted so far. Pairs that were only ever in the table are left out. */
  totals(): Totals {
    const workers = new Map([...this.#workers].map(([key, worker]) => [key, worker.snapshot] as const));
    let sums = this.#retired;
    for (const snapshot of workers.values()) sums = sumsOf(sums, snapshot);
    const cells = [...this.#pairs.values()].map(({ route, backend, total }) => ({
      ...total,
      route,
      backend,
    }));
    return { cells, inFlight: this.#inFlight(), workers, ...sums };
  }

  /** Called every tick. Frees the windows of pairs that were idle for longer than the longest window. */
  tick(): void {
    const oldest = this.#second() - WINDOW_SECONDS_MAX;
    for (const [key, ring] of this.#rings) {
      if (ring.newestSecond >= oldest) return;
      this.#rings.delete(key);
    }
  }

  /** The percentages of a route's requests in the last 60 s that each backend got, or null when there were none. */
  observed(route: Route): { readonly legacy: number; readonly candidate: number } | null {
    const second = this.#second();
    const requestsOf = (backend: string): number =>
      this.#ringOf(route, backend)?.requests(second, WINDOW_SECONDS_MAX) ?? 0;
    const [legacy, candidate] = [requestsOf(route.cutover.legacy), requestsOf(route.cutover.candidate)];
    const all = legacy + candidate;
    return all === 0 ? null : { legacy: (100 * legacy) / all, candidate: (100 * candidate) / all };
  }

  /** How a route's two backends are doing. A window of N s is the current second and the N whole ones before it. */
  health(route: Route): RouteHealth {
    const second = this.#second();
    const observed = this.observed(route);
    const healthOf = (role: BackendHealth["role"], shares: number): BackendHealth => {
      const backend = route.cutover[role];
      const ring = this.#ringOf(route, backend);
      return {
        backend,
        role,
        shareConfiguredPercent: writePercent(shares),
        shareObservedPercent: observed?.[role] ?? null,
        windows: {
          "10s": ring?.figures(second, WINDOW_SECONDS_SHORT) ?? NO_FIGURES,
          "60s": ring?.figures(second, WINDOW_SECONDS_MAX) ?? NO_FIGURES,
        },
      };
    };
    const { candidateShares } = route;
    return {
      route: route.id,
      backends: [healthOf("legacy", SHARES_TOTAL - candidateShares), healthOf("candidate", candidateShares)],
    };
  }

  #ringOf(route: Route, backend: string): SecondRing | undefined {
    return this.#rings.get(keyOf(route.id, backend));
  }

  #second(): number {
    return Math.floor(this.#clock.nowMs() / 1000);
  }

  #addToTotals(key: string, cell: CellSnapshot, delta: Sample): void {
    const pair = this.#pairs.get(key) ?? { route: cell.route, backend: cell.backend, total: NO_SAMPLE };
    pair.total = sumOf(pair.total, delta);
    moveToEnd(this.#pairs, key, pair, TOTALS_MAX);
  }

  /** The only way into a window, for what happened here and elsewhere. */
  #addToWindow(addition: Addition, isOwn: boolean): void {
    const key = keyOf(addition.route, addition.backend);
    const ring = this.#rings.get(key) ?? new SecondRing();
    ring.add(this.#second(), addition.delta);
    moveToEnd(this.#rings, key, ring, RINGS_MAX);
    for (const listener of this.#listeners) listener(addition, isOwn);
  }

  #inFlight(): InFlight[] {
    const sums = new Map<string, InFlight>();
    for (const worker of this.#workers.values()) {
      for (const [key, cell] of worker.cells) {
        const requests = inFlightOf(cell);
        if (requests === 0) continue;
        const { route, backend } = cell;
        sums.set(key, { route, backend, requests: requests + (sums.get(key)?.requests ?? 0) });
      }
    }
    return [...sums.values()];
  }
}

/** One text for a pair: the names of routes and backends hold no spaces. */
export function keyOf(route: string, backend: string): string {
  return `${route} ${backend}`;
}

function hasHappened(delta: Sample): boolean {
  const { started, finished, aborted, failures, retries, faults, judged } = delta;
  return started + finished + aborted + failures + retries + faults.length + judged.requests > 0;
}

/** Puts an entry last. Over `max` entries the first one, idle longest, goes. */
export function moveToEnd<Value>(map: Map<string, Value>, key: string, value: Value, max: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= max) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

function sumsOf(sums: Sums, snapshot: WorkerSnapshot): Sums {
  return {
    connectionsAccepted: sums.connectionsAccepted + snapshot.connectionsAccepted,
    connectionsRefused: sums.connectionsRefused + snapshot.connectionsRefused,
    upstreamExcess: sums.upstreamExcess + snapshot.upstreamExcess,
    logLinesDropped: sums.logLinesDropped + snapshot.logLinesDropped,
    fieldsDropped: sums.fieldsDropped + snapshot.fieldsDropped,
    lookupsFailed: sums.lookupsFailed + snapshot.lookupsFailed,
  };
}
