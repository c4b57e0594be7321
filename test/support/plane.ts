/** A whole data plane in the test's own process: real sockets on loopback, scripted backends, a clock moved by hand. */
import { BoundSocket } from "node:net";
import { systemRandom } from "../../src/base/random.ts";
import type { BackendId, Route, RouteId, TableSpec } from "../../src/domain/route.ts";
import { Listener } from "../../src/plane/listener.ts";
import { Plane } from "../../src/plane/plane.ts";
import type { CellSnapshot } from "../../src/shared/counters.ts";
import type { PlaneOptions } from "../../src/shared/messages.ts";
import { ManualClock } from "./clock.ts";
import { RawBackend, RawClient } from "./wire.ts";

/** The answer of a backend that has nothing to say. */
export const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/** A request without anything special. */
export const GET = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

const OPTIONS: PlaneOptions = {
  accessLog: { format: "off", samplePercent: 100 },
  drain: { graceMs: 0, idleMs: 0, deadlineMs: 0 },
  trustedProxies: [],
  connectionsMax: 1000,
};

/** A listening plane. */
export interface TestPlane {
  readonly plane: Plane;
  readonly listener: Listener;
  readonly port: number;
  /** Moves the clock and looks at all deadlines. */
  pass(ms: number): void;
  /** Serves another table with one route. */
  serve(route: Partial<Route>, ports: { legacy: number[]; candidate?: number[] }): void;
  close(): Promise<void>;
}

/** Starts a plane with one route for everything, all of it on legacy unless `route` says otherwise. */
export async function startPlane(
  ports: { legacy: number[]; candidate?: number[] },
  route: Partial<Route> = {},
  options: Partial<PlaneOptions> = {},
): Promise<TestPlane> {
  const clock = new ManualClock();
  const plane = new Plane(clock, systemRandom());
  plane.configure({ ...OPTIONS, ...options });
  const listener = new Listener(plane);
  let revision = 0;
  const serve: TestPlane["serve"] = (change, to) => plane.follow(tableOf(++revision, change, to));
  serve(route, ports);
  const bound = new BoundSocket({ host: "127.0.0.1", port: 0 });
  const { port } = bound.address();
  await listener.listen(bound.fd());
  return {
    plane,
    listener,
    port,
    serve,
    pass(ms) {
      clock.advance(ms);
      plane.deadlines.sweep(clock.nowMs());
    },
    close: () =>
      new Promise((resolve) => {
        plane.pool.closeIdle();
        listener.drain({ graceMs: 0, idleMs: 0, deadlineMs: 0 }, () => {
          bound.close();
          resolve();
        });
      }),
  };
}

function tableOf(
  revision: number,
  change: Partial<Route>,
  ports: { legacy: number[]; candidate?: number[] },
): TableSpec {
  const endpoint = (port: number) => ({ address: `http://127.0.0.1:${port}`, host: "127.0.0.1", port });
  const route: Route = {
    id: "all" as RouteId,
    match: { hosts: [], path: { kind: "prefix", value: "/" }, methods: [], conditions: [] },
    cutover: { legacy: "legacy" as BackendId, candidate: "new" as BackendId },
    candidateShares: 0,
    sticky: { keys: [{ from: "header", name: "x-user" }], salt: "s" },
    pins: [],
    timeouts: { connectMs: 3000, responseMs: 60_000, idleMs: 60_000 },
    retries: { attempts: 1, bodyBytesMax: 65_536 },
    expose: false,
    ...change,
  };
  const backends = [
    { id: "legacy" as BackendId, endpoints: ports.legacy.map(endpoint) },
    { id: "new" as BackendId, endpoints: (ports.candidate ?? ports.legacy).map(endpoint) },
  ];
  return { revision, backends, routes: [route] };
}

/** Everything that one test started, to be ended in reverse order. */
export class PlaneStage {
  readonly #cleanups: (() => Promise<void> | void)[] = [];

  /** A scripted backend on a port of its own. */
  async backend(script: RawBackend["script"]): Promise<RawBackend & { readonly port: number }> {
    const raw = new RawBackend();
    raw.script = script;
    const port = await raw.listen();
    this.#cleanups.push(() => raw.close());
    return Object.assign(raw, { port });
  }

  async plane(...args: Parameters<typeof startPlane>): Promise<TestPlane> {
    const started = await startPlane(...args);
    this.#cleanups.push(() => started.close());
    return started;
  }

  client(port: number): RawClient {
    const raw = new RawClient(port);
    this.#cleanups.push(() => raw.close());
    return raw;
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).toReversed()) await cleanup();
  }
}

/** The counters of the route for everything. */
export function cellOf(started: TestPlane, backend = "legacy"): CellSnapshot {
  return started.plane.counters.cell("all", backend).snapshot();
}

/** A port on which nobody listens. */
export async function closedPort(): Promise<number> {
  const raw = new RawBackend();
  const port = await raw.listen();
  await raw.close();
  return port;
}
