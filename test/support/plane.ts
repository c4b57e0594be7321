/** A whole data plane in the test's own process: real sockets on loopback, scripted backends, a clock moved by hand. */
import { BoundSocket, type AddressInfo } from "node:net";
import type { Clock } from "../../src/base/clock.ts";
import { systemRandom } from "../../src/base/random.ts";
import type { BackendId, Route, RouteId, TableSpec } from "../../src/domain/route.ts";
import { Listener } from "../../src/plane/listener.ts";
import { Plane } from "../../src/plane/plane.ts";
import type { PlaneOptions } from "../../src/shared/messages.ts";

const OPTIONS: PlaneOptions = {
  accessLog: { format: "off", samplePercent: 100 },
  drain: { graceMs: 0, idleMs: 0, deadlineMs: 0 },
  trustedProxies: [],
  connectionsMax: 1000,
};

/** A clock that stands until it is moved. */
class StandingClock implements Clock {
  ms = 1_000_000;
  nowMs(): number {
    return this.ms;
  }
  wallMs(): number {
    return Date.UTC(2026, 0, 1) + this.ms;
  }
}

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
  const clock = new StandingClock();
  const plane = new Plane(clock, systemRandom());
  plane.configure({ ...OPTIONS, ...options });
  const listener = new Listener(plane);
  let revision = 0;
  const serve: TestPlane["serve"] = (change, to) => plane.follow(tableOf(++revision, change, to));
  serve(route, ports);
  const bound = new BoundSocket({ host: "127.0.0.1", port: 0 });
  const { port } = bound.address() as AddressInfo;
  await listener.listen(bound.fd());
  return {
    plane,
    listener,
    port,
    serve,
    pass(ms) {
      clock.ms += ms;
      plane.deadlines.sweep(clock.ms);
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
