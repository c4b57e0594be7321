/** A backend of the demo: a small HTTP server in a process of its own that can be told to fail. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { systemRandom } from "./base/random.ts";

/** What the process is started with, as JSON in its first argument. */
export interface BackendOrder {
  /** Said in every answer, in the field `x-served-by`. */
  readonly name: string;
  /** An answer takes this long, plus up to half as much again. */
  readonly latencyMs: number;
}

/** What the process says to its parent once it listens. The control address is for the demo alone. */
export interface BackendReady {
  readonly address: string;
  readonly controlAddress: string;
}

/** What `GET /served` on the control address answers. */
export interface BackendServed {
  readonly requests: number;
}

/** More than the demo's clients and Crossfade's workers together ever open. */
const CONNECTIONS_MAX = 1_000;
/** Longer than the demo runs with idle connections, so that no answer is lost to a connection that just ended. */
const KEEP_ALIVE_MS = 600_000;

/** What the shop answers, and what its operator may do to it: `PUT /failing` with `true` or `false`. */
function backend(order: BackendOrder): { shop: RequestListener; control: RequestListener } {
  const random = systemRandom();
  const state = { requests: 0, isFailing: false };
  return {
    shop: (request, response) => {
      state.requests++;
      request.resume();
      const latencyMs = order.latencyMs + random.draw(order.latencyMs * 500) / 1000;
      setTimeout(() => {
        response.writeHead(state.isFailing ? 500 : 200, {
          "content-type": "application/json",
          "x-served-by": order.name,
        });
        response.end(
          JSON.stringify({ served_by: order.name, item: "teapot", in_stock: !state.isFailing }) + "\n",
        );
      }, latencyMs);
    },
    control: (request, response) => {
      if (request.method === "PUT" && request.url === "/failing") {
        let body = "";
        request.setEncoding("utf8");
        // Bound: only the demo speaks to this address, and it sends one word.
        request.on("data", (piece: string) => (body += piece));
        request.on("end", () => {
          state.isFailing = body === "true";
          response.end();
        });
        return;
      }
      const served: BackendServed = { requests: state.requests };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(served));
    },
  };
}

function listen(listener: RequestListener): Promise<Server> {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, listener);
  server.maxConnections = CONNECTIONS_MAX;
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(server));
  });
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Runs the backend of this process until the parent is gone. */
async function run(order: BackendOrder): Promise<void> {
  const { shop, control } = backend(order);
  const servers = await Promise.all([listen(shop), listen(control)]);
  // The channel ends with the parent, however that ended: a demo that was killed leaves no backend behind.
  process.on("disconnect", () => process.exit(0));
  const ready: BackendReady = { address: addressOf(servers[0]), controlAddress: addressOf(servers[1]) };
  process.send?.(ready);
}

if (import.meta.main) await run(JSON.parse(process.argv[2] ?? "") as BackendOrder);
