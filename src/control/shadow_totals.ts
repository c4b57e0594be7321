/** The copies of requests that all workers counted, added up per route. */
import type { ShadowCount, ShadowResult } from "../shared/counters.ts";

/** The copies of one route: sampled = all results + in flight, whatever became of the workers. */
export interface ShadowTotal {
  readonly sampled: number;
  readonly results: ReadonlyMap<ShadowResult, number>;
  readonly inFlight: number;
}

type Counts = Map<ShadowCount[1], number>;

/** Routes with totals. Over it the one whose copies changed longest ago is dropped: its series ends. */
export const SHADOW_ROUTES_MAX = 2_000;

/** Adds up what workers report of their copies. Reports are cumulative, so a lost one is harmless. */
export class ShadowTotals {
  /** worker -> route -> its last report */
  readonly #workers = new Map<string, Map<string, Counts>>();
  /** The route whose copies changed longest ago comes first. */
  readonly #totals = new Map<string, Counts>();

  /** Takes what one worker reports; routes that it leaves out are as they were. */
  report(worker: string, counts: readonly ShadowCount[]): void {
    if (counts.length === 0) return;
    const routes = this.#workers.get(worker) ?? new Map<string, Counts>();
    this.#workers.set(worker, routes);
    for (const [route, what, count] of counts) {
      const known = routes.get(route) ?? new Map<ShadowCount[1], number>();
      routes.set(route, known);
      const before = known.get(what) ?? 0;
      known.set(what, Math.max(before, count));
      if (count > before) this.#add(route, what, count - before);
    }
  }

  /** Forgets a worker whose process is gone. What it had under way is stopped. */
  retire(worker: string): void {
    for (const [route, counts] of this.#workers.get(worker) ?? []) {
      const lost = inFlightOf(counts);
      if (lost > 0) this.#add(route, "stopped", lost);
    }
    this.#workers.delete(worker);
  }

  /** What was counted of one route since this control process started. */
  of(route: string): ShadowTotal {
    return totalOf(this.#totals.get(route) ?? new Map());
  }

  /** Every route that ever had a copy. */
  all(): [route: string, ShadowTotal][] {
    return [...this.#totals].map(([route, counts]) => [route, totalOf(counts)]);
  }

  #add(route: string, what: ShadowCount[1], count: number): void {
    const total: Counts = this.#totals.get(route) ?? new Map();
    total.set(what, (total.get(what) ?? 0) + count);
    this.#totals.delete(route);
    this.#totals.set(route, total);
    if (this.#totals.size <= SHADOW_ROUTES_MAX) return;
    for (const oldest of this.#totals.keys()) {
      this.#totals.delete(oldest);
      return;
    }
  }
}

function totalOf(counts: Counts): ShadowTotal {
  const results = new Map<ShadowResult, number>();
  for (const [what, count] of counts) if (what !== "sampled") results.set(what, count);
  return { sampled: counts.get("sampled") ?? 0, results, inFlight: inFlightOf(counts) };
}

function inFlightOf(counts: Counts): number {
  let inFlight = 0;
  for (const [what, count] of counts) inFlight += what === "sampled" ? count : -count;
  return inFlight;
}
