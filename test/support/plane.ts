/** A whole data plane in the test's own process: real sockets on loopback, scripted backends, a clock moved by hand. */
import { BoundSocket, type BoundSocketOptions } from "node:net";
import { onTestFinished } from "vitest";
import { systemRandom } from "../../src/base/random.ts";
import { DEFAULT_ROLLBACK } from "../../src/domain/failure.ts";
import type { BackendId, Endpoint, Route, RouteId, TableSpec } from "../../src/domain/route.ts";
import { Listener } from "../../src/plane/listener.ts";
import { Plane } from "../../src/plane/plane.ts";
import type { Lookup } from "../../src/plane/resolver.ts";
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
  drain: { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 0, tunnelsMs: 0 },
  trustedProxies: [],
  connectionsMax: 1000,
  connectionsPerAddressMax: 1000,
  headsPerAddressMax: 100,
};

/** Where the two backends are: ports of this machine, or whole endpoints. */
export interface Backends {
  readonly legacy: readonly (number | Endpoint)[];
  readonly candidate?: readonly (number | Endpoint)[];
  /** For legacy. */
  readonly proxyProtocol?: "v1" | "v2";
}

/** What a plane may find around it: answers to names, a Unix socket instead of a port, PROXY headers. */
export interface Surroundings {
  readonly lookup?: Lookup;
  readonly path?: string;
  readonly takesProxyHeader?: boolean;
}

/** A listening plane. */
export interface TestPlane {
  readonly plane: Plane;
  readonly listener: Listener;
  /** 0 on a Unix socket. */
  readonly port: number;
  /** Moves the clock and looks at all deadlines. */
  pass(ms: number): void;
  /** Serves another table with one route. */
  serve(route: Partial<Route>, ports: Backends): void;
  close(): Promise<void>;
}

/** Starts a plane with one route for everything, all of it on legacy unless `route` says otherwise. */
export async function startPlane(
  ports: Backends,
  route: Partial<Route> = {},
  options: Partial<PlaneOptions> = {},
  around: Surroundings = {},
): Promise<TestPlane> {
  const clock = new ManualClock();
  const { lookup, path, takesProxyHeader = false } = around;
  const plane = new Plane(clock, systemRandom(), lookup === undefined ? {} : { lookup });
  plane.configure({ ...OPTIONS, ...options });
  const listener = new Listener(plane);
  let revision = 0;
  const serve: TestPlane["serve"] = (change, to) => plane.follow(tableOf(++revision, change, to));
  serve(route, ports);
  const unixOptions: BoundSocketOptions & { readonly path?: string } = path === undefined ? {} : { path };
  const bound = new BoundSocket(path === undefined ? { host: "127.0.0.1", port: 0 } : unixOptions);
  const port = path === undefined ? bound.address().port : 0;
  await listener.listen(bound.fd(), { isUnix: path !== undefined, takesProxyHeader });
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
        void plane.shadows.close();
        // The listener closes the descriptor: closing `bound` too could hit one that was opened since.
        listener.drain({ graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 0, tunnelsMs: 0 }, resolve);
      }),
  };
}

function tableOf(revision: number, change: Partial<Route>, ports: Backends): TableSpec {
  const endpoint = (one: number | Endpoint): Endpoint =>
    typeof one === "number" ? { address: `http://127.0.0.1:${one}`, host: "127.0.0.1", port: one } : one;
  const greeting = ports.proxyProtocol === undefined ? {} : { proxyProtocol: ports.proxyProtocol };
  const route: Route = {
    id: "all" as RouteId,
    match: { hosts: [], path: { kind: "prefix", value: "/" }, methods: [], conditions: [] },
    cutover: { legacy: "legacy" as BackendId, candidate: "new" as BackendId },
    candidateShares: 0,
    sticky: { keys: [{ from: "header", name: "x-user" }], salt: "s" },
    pins: [],
    timeouts: { connectMs: 3000, responseMs: 60_000, idleMs: 60_000 },
    retries: { attempts: 1, bodyBytesMax: 65_536 },
    websocket: true,
    trailers: false,
    evacuate: "keep",
    expose: false,
    rollback: DEFAULT_ROLLBACK,
    mirror: null,
    rollout: null,
    ...change,
  };
  const backends = [
    { id: "legacy" as BackendId, endpoints: ports.legacy.map(endpoint), ...greeting },
    { id: "new" as BackendId, endpoints: (ports.candidate ?? ports.legacy).map(endpoint) },
  ];
  return { revision, backends, routes: [route] };
}

/** Everything that one test started, to be ended in reverse order. */
export class PlaneStage {
  readonly #cleanups: (() => Promise<void> | void)[] = [];

  /** A scripted backend on a port of its own, or at another place. */
  async backend(
    script: RawBackend["script"],
    at?: Parameters<RawBackend["listen"]>[0],
  ): Promise<RawBackend & { readonly port: number }> {
    const raw = new RawBackend();
    raw.script = script;
    const port = await raw.listen(at);
    this.#cleanups.push(() => raw.close());
    return Object.assign(raw, { port });
  }

  async plane(...args: Parameters<typeof startPlane>): Promise<TestPlane> {
    const started = await startPlane(...args);
    this.#cleanups.push(() => started.close());
    return started;
  }

  client(to: number | string): RawClient {
    const raw = new RawClient(to);
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

/** A port on which nobody listens, and that nobody else gets while the test runs. */
export async function closedPort(): Promise<number> {
  const bound = new BoundSocket({ host: "127.0.0.1", port: 0 });
  onTestFinished(() => bound[Symbol.dispose]());
  return bound.address().port;
}
