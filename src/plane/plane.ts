/** What the parts of one worker share: the table that is served now, the pool, counters, options. */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { TableSpec } from "../domain/route.ts";
import { compileTable, type CompiledRoute, type RouteTable } from "../domain/table.ts";
import { CounterBook, NOBODY, type Cell } from "../shared/counters.ts";
import type { PlaneOptions } from "../shared/messages.ts";
import { Deadlines } from "./deadlines.ts";
import { AccessLog } from "./log.ts";
import { TrustedPeers } from "./peer.ts";
import { Pool } from "./pool.ts";

/** Every read from a backend lands in a buffer of this size. */
const READ_BYTES = 64 * 1024;

/** A compiled table with the counter cells of its routes. An exchange keeps the one it began with. */
export interface Serving {
  readonly table: RouteTable;
  /** By route index: the cells of legacy and candidate. */
  readonly cells: readonly (readonly [Cell, Cell])[];
}

/** The shared state of one worker. */
export class Plane {
  readonly clock: Clock;
  readonly random: Random;
  readonly deadlines = new Deadlines();
  readonly counters = new CounterBook();
  readonly pool: Pool;
  readonly log: AccessLog;
  /** Null until the first table has arrived; the worker does not listen before. */
  serving: Serving | null = null;
  trusted = new TrustedPeers([]);
  connectionsMax = 1;
  /** Answers say `Connection: close` from now on. */
  isDraining = false;
  /** Requests that matched no route, or were refused before routing. */
  readonly unrouted: Cell;

  constructor(clock: Clock, random: Random) {
    this.clock = clock;
    this.random = random;
    this.unrouted = this.counters.cell(NOBODY, NOBODY);
    this.log = new AccessLog((below) => random.draw(below));
    this.pool = new Pool({
      clock,
      deadlines: this.deadlines,
      readBuffer: Buffer.allocUnsafeSlow(READ_BYTES),
    });
  }

  configure(options: PlaneOptions): void {
    this.trusted = new TrustedPeers(options.trustedProxies);
    this.connectionsMax = options.connectionsMax;
    this.log.configure(options.accessLog);
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
  }

  /** The cell of a request: one of the route's own two, or that of the backend it was pinned to. */
  cellOf(serving: Serving, compiled: CompiledRoute, backendId: string): Cell {
    const [legacy, candidate] = serving.cells[compiled.index] as readonly [Cell, Cell];
    if (backendId === candidate.backend) return candidate;
    return backendId === legacy.backend ? legacy : this.counters.cell(compiled.route.id, backendId);
  }
}
