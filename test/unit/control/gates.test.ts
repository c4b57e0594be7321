/** Asking gates, with a real HTTP server on the other side. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { askGate } from "../../../src/control/gates.ts";
import type { CallGate } from "../../../src/domain/rollout_event.ts";

const STORY = { route: "shop", legacy: "old", candidate: "fresh", weight: 5, reason: "the step begins" };

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(
  handle: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<string> {
  const server = createServer((request, response) => void handle(request, response));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/gate`;
}

function callTo(url: string, timeoutMs = 10_000): CallGate {
  const gate = { at: "before-step", url, timeoutMs, retries: 0, onTimeout: "hold", steps: [] } as const;
  return { type: "callGate", runId: 2, step: 3, point: "before-step", call: 7, gate };
}

test("a gate hears where the rollout is, and 2xx passes", async () => {
  const heard: unknown[] = [];
  const url = await serve(async (request, response) => {
    heard.push(request.method, request.headers["idempotency-key"], JSON.parse(await text(request)));
    response.writeHead(204).end();
  });
  expect(await askGate(callTo(url), STORY)).toEqual({ outcome: "passed", detail: "" });
  expect(heard).toEqual([
    "POST",
    "shop-2-3-before-step-7",
    { point: "before-step", run: 2, step: 3, ...STORY },
  ]);
});

test.each([
  ['{"reason":"the ledger does not balance"}', "it answered 409: the ledger does not balance"],
  ["not today", "it answered 409: not today"],
  ["", "it answered 409"],
])("another status fails, with what the answer %j says", async (body, detail) => {
  const url = await serve((_, response) => response.writeHead(409).end(body));
  expect(await askGate(callTo(url), STORY)).toEqual({ outcome: "failed", detail });
});

test("a redirection is no yes", async () => {
  const url = await serve((_, response) => response.writeHead(302, { location: "/elsewhere" }).end());
  expect(await askGate(callTo(url), STORY)).toMatchObject({ outcome: "failed" });
});

test("an endless answer is read up to a bound", async () => {
  const url = await serve((_, response) => {
    const more = (): void => {
      while (response.write("x".repeat(10_000)));
      response.once("drain", more);
    };
    response.writeHead(500);
    more();
  });
  const { outcome, detail } = await askGate(callTo(url), STORY);
  expect(outcome).toBe("failed");
  expect(detail.length).toBeLessThan(400);
});

test("silence, a refused connection and a broken one are no answer", async () => {
  const silent = await serve(() => undefined);
  expect(await askGate(callTo(silent, 50), STORY)).toEqual({
    outcome: "timeout",
    detail: "no answer in 50 ms",
  });
  const broken = await serve((request) => request.socket.destroy());
  expect(await askGate(callTo(broken), STORY)).toMatchObject({ outcome: "timeout" });
  const [server] = servers.splice(0, 1);
  server?.close();
  server?.closeAllConnections();
  expect(await askGate(callTo(silent), STORY)).toMatchObject({ outcome: "timeout" });
});
