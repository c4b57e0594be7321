/** The sampler's totals as Prometheus text. Everything is computed when a scrape asks; nothing per request. */
import {
  Counter,
  Gauge,
  Histogram,
  Registry,
  type MetricObjectWithValues,
  type MetricValueWithName,
} from "prom-client";
import { FAULTS, Fault } from "../base/fault.ts";
import { stateOf } from "../control/rollout_move.ts";
import type { Comparisons } from "../control/comparisons.ts";
import type { Rollouts } from "../control/rollouts.ts";
import type { Sampler, Totals } from "../control/sampler.ts";
import { LATENCY_BOUNDS_US } from "../domain/latency.ts";
import { PHASES } from "../domain/rollout_words.ts";
import { SHARES_TOTAL, type Route } from "../domain/route.ts";
import { PRESSURE_LEVELS, type CellSnapshot } from "../shared/counters.ts";
import type { TableNow } from "./current.ts";
import { stepNumber } from "./rollout_view.ts";

/** The media type of a scrape. */
export const METRICS_TYPE: string = Registry.PROMETHEUS_CONTENT_TYPE;

/** Upper bounds in seconds. Each is also a bound of the cells' histogram, so nothing is interpolated. */
export const DURATION_BOUNDS_SECONDS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];

/** Each bound, and how many of the cells' buckets lie at or below it. */
const BUCKETS = DURATION_BOUNDS_SECONDS.map((seconds) => ({
  seconds,
  below: LATENCY_BOUNDS_US.indexOf(Math.round(seconds * 1e6)) + 1,
}));

/** What a scrape is made from. `current` throws Fault STORE_UNAVAILABLE. */
export interface MetricsSource {
  readonly sampler: Sampler;
  readonly rollouts: Pick<Rollouts, "verdict" | "rollbacks">;
  readonly comparisons: Pick<Comparisons, "own">;
  readonly current: () => Promise<TableNow>;
  readonly version: string;
}

/** A histogram whose buckets are set from cells instead of being observed one by one. */
class CellHistogram extends Histogram {
  readonly #name: string;
  /** Never observes anything: it knows the parts of the answer that are not values. */
  readonly #empty: Histogram;
  #cells: readonly CellSnapshot[] = [];

  constructor(name: string, help: string, registry: Registry) {
    super({ name, help, labelNames: ["route", "backend"], registers: [registry] });
    this.#name = name;
    this.#empty = new Histogram({ name, help, registers: [] });
  }

  set(cells: readonly CellSnapshot[]): void {
    this.#cells = cells;
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    const values = this.#cells.filter(({ finished }) => finished > 0).flatMap((cell) => this.#series(cell));
    return { ...(await this.#empty.get()), values };
  }

  /** The registry asks a histogram here, which the package's types do not show. */
  getForPromString(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    return this.get();
  }

  #series({ route, backend, finished, durationUsSum, latency }: CellSnapshot): MetricValueWithName<string>[] {
    const bucket = (le: number | string, value: number): MetricValueWithName<string> => ({
      metricName: `${this.#name}_bucket`,
      labels: { le, route, backend },
      value,
    });
    const values = BUCKETS.map(({ seconds, below }) =>
      bucket(
        seconds,
        latency.reduce((sum, [index, count]) => (index < below ? sum + count : sum), 0),
      ),
    );
    values.push(bucket("+Inf", finished));
    values.push({ metricName: `${this.#name}_sum`, labels: { route, backend }, value: durationUsSum / 1e6 });
    values.push({ metricName: `${this.#name}_count`, labels: { route, backend }, value: finished });
    return values;
  }
}

/** The metrics of this instance, in a registry of their own. */
export class Metrics {
  readonly #source: MetricsSource;
  readonly #registry = new Registry();
  #table: TableNow | null = null;
  readonly #requests = this.#counter("requests_total", "Requests that ended, by status", [
    "route",
    "backend",
    "code",
  ]);
  readonly #durations = new CellHistogram(
    "crossfade_request_duration_seconds",
    "Complete answers, from the request's first byte to the answer's last",
    this.#registry,
  );
  readonly #faults = this.#counter(
    "upstream_faults_total",
    "What went wrong between Crossfade and a backend",
    ["route", "backend", "fault"],
  );
  readonly #retries = this.#counter("retries_total", "Requests that were sent again", ["route", "backend"]);
  readonly #sampled = this.#counter("shadow_sampled_total", "Requests that were to have a copy", ["route"]);
  readonly #shadows = this.#counter("shadow_total", "What became of the copies of requests", [
    "route",
    "result",
  ]);
  readonly #comparisons = this.#counter(
    "comparisons_total",
    "What came of comparing the answers to mirrored requests",
    ["route", "result"],
  );
  readonly #started = this.#counter(
    "requests_started_total",
    "Requests that began: those of request_duration_seconds, aborted ones and those in flight",
    ["route", "backend"],
  );
  readonly #aborted = this.#counter(
    "requests_aborted_total",
    "Requests without a complete answer: the client left, the answer was cut, or their worker died",
    ["route", "backend"],
  );
  readonly #inFlight = this.#gauge("requests_in_flight", "Requests that have not ended", [
    "route",
    "backend",
  ]);
  readonly #connections = this.#gauge("connections", "Open connections", ["side"]);
  readonly #upstream = this.#gauge("upstream_connections", "Open connections to a backend", [
    "backend",
    "state",
  ]);
  readonly #accepted = this.#counter("connections_accepted_total", "Client connections that were accepted");
  readonly #refused = this.#counter(
    "connections_refused_total",
    "Client connections over a limit or without their PROXY header",
  );
  readonly #excess = this.#counter(
    "upstream_excess_total",
    "Connections closed for bytes behind a complete answer",
  );
  readonly #dropped = this.#counter("log_lines_dropped_total", "Access log lines that found no room");
  readonly #fields = this.#counter(
    "fields_dropped_total",
    "Header and trailer fields that were not passed on",
  );
  readonly #lookups = this.#counter("lookups_failed_total", "Lookups of endpoint names that gave no address");
  readonly #split = this.#gauge("split_ratio", "Configured share of a backend, 0 to 1", ["route", "backend"]);
  readonly #share = this.#gauge("share_ratio", "Observed share of a backend in the last 60 s", [
    "route",
    "backend",
  ]);
  readonly #rollbacks = this.#counter(
    "rollbacks_total",
    "Times that this instance took a route back to legacy by itself",
    ["route", "cause"],
  );
  readonly #evidence = this.#gauge("evidence", "What speaks against a candidate, 0 to 10; 10 rolls back", [
    "route",
    "signal",
  ]);
  readonly #step = this.#gauge("rollout_step", "The step whose weight is set; 0: legacy has all traffic", [
    "route",
  ]);
  readonly #phase = this.#gauge("rollout_phase", "1 for the phase that a rollout is in", ["route", "phase"]);
  readonly #revision = this.#gauge("table_revision", "The current revision of the table");
  readonly #loops = this.#gauge("worker_event_loop_utilization", "How busy a worker's thread is, 0 to 1", [
    "worker",
  ]);
  readonly #pressure = this.#gauge(
    "worker_pressure",
    "What a worker gives up, 0 for nothing to 3 for clients",
    ["worker"],
  );
  readonly #build = this.#gauge("build_info", "Always 1; the labels say what runs", ["version", "node"]);

  constructor(source: MetricsSource) {
    this.#source = source;
  }

  /** The text of a scrape. While the store is away the table is the last one seen. */
  async scrape(): Promise<string> {
    try {
      this.#table = await this.#source.current();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
    }
    // Everything is set in one turn, so that two scrapes at once cannot mix.
    const totals = this.#source.sampler.totals();
    this.#registry.resetMetrics();
    this.#setCells(totals);
    this.#setShadows();
    this.#setConnections(totals);
    this.#setTable(this.#table);
    for (const { route, cause, count } of this.#source.rollouts.rollbacks()) {
      this.#rollbacks.inc({ route, cause }, count);
    }
    this.#build.set({ version: this.#source.version, node: process.versions.node }, 1);
    return this.#registry.metrics();
  }

  #setCells(totals: Totals): void {
    for (const { route, backend, started, aborted, codes, faults, retries } of totals.cells) {
      this.#started.inc({ route, backend }, started);
      this.#aborted.inc({ route, backend }, aborted);
      for (const [code, count] of codes) this.#requests.inc({ route, backend, code }, count);
      for (const [fault, count] of faults) {
        if (FAULTS[fault].side !== "downstream") this.#faults.inc({ route, backend, fault }, count);
      }
      this.#retries.inc({ route, backend }, retries);
    }
    this.#durations.set(totals.cells);
    for (const { route, backend, requests } of totals.inFlight)
      this.#inFlight.set({ route, backend }, requests);
  }

  #setShadows(): void {
    for (const [route, { sampled, results }] of this.#source.sampler.shadows.all()) {
      this.#sampled.inc({ route }, sampled);
      for (const [result, count] of results) this.#shadows.inc({ route, result }, count);
    }
    for (const [route, { pairs }] of this.#source.comparisons.own()) {
      const { matched, mismatched, notCompared } = pairs;
      for (const [result, count] of Object.entries({ matched, mismatched, ...notCompared })) {
        if (count > 0) this.#comparisons.inc({ route, result: result.replaceAll(" ", "_") }, count);
      }
    }
  }

  #setConnections(totals: Totals): void {
    const sides = { downstream: 0, upstream: 0 };
    const loops = new Map<string, number>();
    const pressures = new Map<string, number>();
    for (const [key, worker] of totals.workers) {
      sides.downstream += worker.connectionsOpenNow;
      for (const [backend, idle, busy] of worker.upstreamNow) {
        sides.upstream += idle + busy;
        this.#upstream.inc({ backend, state: "idle" }, idle);
        this.#upstream.inc({ backend, state: "busy" }, busy);
      }
      // A slot has two workers while one of them drains: the busier one counts.
      const slot = key.replace(/\..*/, "");
      loops.set(slot, Math.max(loops.get(slot) ?? 0, worker.loopUtilization));
      const level = PRESSURE_LEVELS.indexOf(worker.pressure ?? "none");
      pressures.set(slot, Math.max(pressures.get(slot) ?? 0, level));
    }
    for (const [side, count] of Object.entries(sides)) this.#connections.set({ side }, count);
    for (const [worker, utilization] of loops) this.#loops.set({ worker }, utilization);
    for (const [worker, level] of pressures) this.#pressure.set({ worker }, level);
    this.#accepted.inc(totals.connectionsAccepted);
    this.#refused.inc(totals.connectionsRefused);
    this.#excess.inc(totals.upstreamExcess);
    this.#dropped.inc(totals.logLinesDropped);
    this.#fields.inc(totals.fieldsDropped);
    this.#lookups.inc(totals.lookupsFailed);
  }

  #setTable(table: TableNow | null): void {
    if (table === null) return;
    this.#revision.set(table.revision);
    for (const route of table.document.routes) {
      const ratio = route.candidateShares / SHARES_TOTAL;
      const observed = this.#source.sampler.observed(route);
      for (const role of ["legacy", "candidate"] as const) {
        const labels = { route: route.id, backend: route.cutover[role] };
        this.#split.set(labels, role === "legacy" ? 1 - ratio : ratio);
        if (observed !== null) this.#share.set(labels, observed[role] / 100);
      }
      this.#setRollout(table, route);
    }
  }

  #setRollout({ document }: TableNow, route: Route): void {
    const known = this.#source.rollouts.verdict(route.id);
    const scores = Object.entries(known?.verdict.figures.rollback ?? {});
    for (const [signal, score] of scores) this.#evidence.set({ route: route.id, signal }, score);
    const state = stateOf(document, route.id);
    if (state === null) return;
    this.#step.set({ route: route.id }, stepNumber(state));
    for (const phase of PHASES) this.#phase.set({ route: route.id, phase }, phase === state.phase ? 1 : 0);
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name: `crossfade_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name: `crossfade_${name}`, help, labelNames, registers: [this.#registry] });
  }
}
