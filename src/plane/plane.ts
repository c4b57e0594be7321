/** What the parts of one worker share: the table that is served now, the pool, counters, options. */
import { StepClock, type Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import type { TableSpec } from "../domain/route.ts";
import { compileTable, type CompiledRoute, type RouteTable } from "../domain/table.ts";
import {
  CounterBook,
  NOBODY,
  PRESSURE_LEVELS,
  type Cell,
  type PressureCause,
  type PressureLevel,
} from "../shared/counters.ts";
import type { PlaneOptions } from "../shared/messages.ts";
import { AddressCaps } from "./caps.ts";
import { Copies } from "./copies.ts";
import { Deadlines } from "./deadlines.ts";
import type { Drain } from "./drain.ts";
import { DryRun } from "./dry_run.ts";
import { FailedClients } from "./failed_clients.ts";
import { AccessLog } from "./log.ts";
import { TrustedPeers } from "./peer.ts";
import { Pool } from "./pool.ts";
import { Pressure, type Load } from "./pressure.ts";
import { Resolver, systemLookup, type Lookup } from "./resolver.ts";
import { RetryBudget } from "./retry.ts";
import { SharedReads } from "./shared_reads.ts";
import { Shadows } from "./shadows.ts";

/** Every read from a backend lands in a buffer of this size. */
const READ_BYTES = 64 * 1024;

function ignore(): void {}

const SILENT: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** A compiled table with the counter cells of its routes. An exchange keeps the one it began with. */
export interface Serving {
  readonly table: RouteTable;
  /** By route index: the cells of legacy and candidate. */
  readonly cells: readonly (readonly [Cell, Cell])[];
}

/** What a plane may be given from outside: how names are resolved, and where it says what went wrong with that. */
export interface PlaneParts {
  readonly lookup?: Lookup;
  readonly log?: Logger;
}

/** The shared state of one worker. */
export class Plane {
  readonly clock: StepClock;
  readonly random: Random;
  readonly deadlines = new Deadlines();
  readonly counters = new CounterBook();
  readonly failedClients = new FailedClients();
  readonly resolver: Resolver;
  readonly pool: Pool;
  readonly dryRun: DryRun;
  /** Copies of requests; they share none of what requests are carried by. */
  readonly shadows: Shadows;
  readonly log: AccessLog;
  /** Null until the first table has arrived; the worker does not listen before. */
  serving: Serving | null = null;
  trusted = new TrustedPeers([]);
  connectionsMax = 1;
  /** No more than there are descriptors for, those of backends included, whatever the settings say. */
  connectionsCap = Infinity;
  readonly caps = new AddressCaps();
  readonly copies = new Copies();
  readonly reads: SharedReads;
  /** Header and trailer fields that were not passed on because they could pass for others. */
  fieldsDropped = 0;
  readonly #budgets = new Map<string, RetryBudget>();
  /** What the worker gives up for now. */
  pressure: PressureLevel = "none";
  pressedBy: PressureCause | null = null;
  readonly #pressure = new Pressure();
  /** While the worker stops. */
  drain: Drain | null = null;
  /** Requests that matched no route, or were refused before routing. */
  readonly unrouted: Cell;

  constructor(time: Clock, random: Random, parts: PlaneParts = {}) {
    const clock = new StepClock(time);
    this.clock = clock;
    this.reads = new SharedReads(clock);
    this.random = random;
    this.unrouted = this.counters.cell(NOBODY, NOBODY);
    this.log = new AccessLog((below) => random.draw(below));
    this.resolver = new Resolver({
      clock,
      deadlines: this.deadlines,
      lookup: parts.lookup ?? systemLookup,
      log: parts.log ?? SILENT,
      onGone: (host) => {
        this.pool.closeGone(host);
        this.shadows.pool.closeGone(host);
      },
    });
    this.pool = new Pool({
      clock,
      deadlines: this.deadlines,
      resolver: this.resolver,
      readBuffer: Buffer.allocUnsafeSlow(READ_BYTES),
    });
    this.dryRun = new DryRun(clock, random, parts.log ?? SILENT);
    const { deadlines, resolver, dryRun } = this;
    this.shadows = new Shadows({ clock, random, deadlines, resolver, dryRun });
  }

  /** Gives what does not work although requests do, or null. */
  configure(options: PlaneOptions): string | null {
    this.trusted = new TrustedPeers(options.trustedProxies);
    this.connectionsMax = Math.min(options.connectionsMax, this.connectionsCap);
    this.caps.connectionsMax = options.connectionsPerAddressMax;
    this.caps.headsMax = options.headsPerAddressMax;
    this.dryRun.configure(options.dryRunSecret ?? null);
    return this.log.configure(options.accessLog);
  }

  /** Compiles a table and serves it from the next request on. Throws when it does not compile; then nothing changes. */
  follow(spec: TableSpec): void {
    const table = compileTable(spec);
    const cells = table.routes.map(
      ({ route }) =>
        [
          this.counters.cell(route.id, route.cutover.legacy),
          this.counters.cell(route.id, route.cutover.candidate),
        ] as const,
    );
    this.serving = { table, cells };
    this.pool.follow(spec.backends);
    this.shadows.follow(spec.backends);
  }

  /** Takes how the worker does, and gives up what it has to, or takes it up again. */
  feel(load: Load): void {
    const pressed = this.#pressure.feel(load, this.clock.nowMs());
    this.pressure = pressed?.level ?? "none";
    this.pressedBy = pressed?.cause ?? null;
    const level = PRESSURE_LEVELS.indexOf(this.pressure);
    const gives = (what: PressureLevel): boolean => level >= PRESSURE_LEVELS.indexOf(what);
    this.shadows.shed({ mirrors: gives("mirrors"), comparisons: gives("comparisons") });
  }

  /** The retries to one backend. Bound: one per backend that was ever in the table. */
  budgetOf(backendId: string): RetryBudget {
    let budget = this.#budgets.get(backendId);
    if (budget === undefined) {
      budget = new RetryBudget();
      this.#budgets.set(backendId, budget);
    }
    return budget;
  }

  /** The cell of a request: one of the route's own two, or that of the backend it was pinned to. */
  cellOf(serving: Serving, compiled: CompiledRoute, backendId: string): Cell {
    const [legacy, candidate] = serving.cells[compiled.index] as readonly [Cell, Cell];
    if (backendId === candidate.backend) return candidate;
    return backendId === legacy.backend ? legacy : this.counters.cell(compiled.route.id, backendId);
  }
}
