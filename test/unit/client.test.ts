/** The admin API's client against scripted servers: answers, refusals, silence, and a stream that breaks off. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { AdminClient, ApiFailure, parseEvents, type ServerEvent } from "../../src/client.ts";

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function serve(
  listener: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server: Server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function clientFor(url: string, more: { token?: string; timeoutMs?: number } = {}): AdminClient {
  const client = new AdminClient({ url, timeoutMs: 20_000, ...more });
  closers.push(() => client.close());
  return client;
}

async function failureOf(work: Promise<unknown>): Promise<ApiFailure> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ApiFailure);
  return error as ApiFailure;
}

function json(response: ServerResponse, status: number, body: unknown, type = "application/json"): void {
  response.writeHead(status, { "content-type": type });
  response.end(JSON.stringify(body));
}

describe("a call", () => {
  it("sends token, query, headers and JSON, and gives the parsed answer", async () => {
    const seen: { method?: string; url?: string; headers?: IncomingMessage["headers"]; body?: string } = {};
    const url = await serve((request, response) => {
      let body = "";
      request.on("data", (piece: Buffer) => (body += piece.toString()));
      request.on("end", () => {
        Object.assign(seen, { method: request.method, url: request.url, headers: request.headers, body });
        json(response, 200, { revision: 7 });
      });
    });
    const answer = await clientFor(`${url}/behind/`, { token: "s3cret" }).call({
      method: "PUT",
      path: "/v1/routes/shop/split",
      query: { wait: "applied", dry_run: undefined },
      headers: { "if-match": '"6"', "x-absent": undefined },
      body: { legacy: 95, new: 5 },
    });
    expect(answer).toEqual({ status: 200, body: { revision: 7 } });
    expect(seen.method).toBe("PUT");
    expect(seen.url).toBe("/behind/v1/routes/shop/split?wait=applied");
    expect(seen.headers).toMatchObject({
      authorization: "Bearer s3cret",
      "if-match": '"6"',
      "content-type": "application/json",
    });
    expect(seen.headers).not.toHaveProperty("x-absent");
    expect(seen.body).toBe('{"legacy":95,"new":5}');
  });

  it("throws a refusal with its code and every problem", async () => {
    const url = await serve((_, response) =>
      json(
        response,
        422,
        {
          title: "The input has problems; nothing was changed",
          detail: "2 problems",
          code: "INVALID",
          errors: [
            { path: "/routes/0", message: "first" },
            { path: "/routes/1", message: "second" },
          ],
        },
        "application/problem+json",
      ),
    );
    const failure = await failureOf(clientFor(url).call({ method: "GET", path: "/v1/table" }));
    expect(failure).toMatchObject({ kind: "refused", status: 422, code: "INVALID", message: "2 problems" });
    expect(failure.problems).toEqual([
      { path: "/routes/0", message: "first" },
      { path: "/routes/1", message: "second" },
    ]);
  });

  it("takes a status that the caller accepts for an answer", async () => {
    const url = await serve((_, response) => json(response, 503, { ready: false }));
    const answer = await clientFor(url).call({ method: "GET", path: "/readyz", accept: [503] });
    expect(answer).toEqual({ status: 503, body: { ready: false } });
  });

  it("says unavailable when nobody listens", async () => {
    const url = await serve((_, response) => response.end());
    await closers.pop()?.();
    const failure = await failureOf(clientFor(url).call({ method: "GET", path: "/v1/table" }));
    expect(failure.kind).toBe("unavailable");
    expect(failure.message).toContain(url);
    expect(failure.message).toContain("ECONNREFUSED");
  });

  it("says unavailable when no answer comes in time", async () => {
    const url = await serve(() => undefined);
    const failure = await failureOf(
      clientFor(url, { timeoutMs: 50 }).call({ method: "GET", path: "/v1/table" }),
    );
    expect(failure.kind).toBe("unavailable");
    expect(failure.message).toContain("no answer within 0.05 s");
  });

  it("says unreadable when something else answers", async () => {
    const url = await serve((request, response) => {
      if (request.url === "/v1/broken") {
        response.writeHead(200, { "content-type": "application/json" });
        response.end("{");
      } else {
        response.writeHead(404, { "content-type": "text/html" });
        response.end("<h1>nginx</h1>");
      }
    });
    const client = clientFor(url);
    expect((await failureOf(client.call({ method: "GET", path: "/v1/broken" }))).kind).toBe("unreadable");
    expect((await failureOf(client.call({ method: "GET", path: "/v1/table" }))).kind).toBe("unreadable");
  });

  it("refuses an address that is no URL of the web", () => {
    expect(() => new AdminClient({ url: "ftp://127.0.0.1", timeoutMs: 1 })).toThrow(TypeError);
    expect(() => new AdminClient({ url: "127.0.0.1:9900", timeoutMs: 1 })).toThrow(TypeError);
  });
});

describe("the event stream", () => {
  it("goes on after a lost connection from the last event that was seen", async () => {
    const asked: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      asked.push(request.headers["last-event-id"] as string | undefined);
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (asked.length === 1)
        response.end('retry: 1\n\nid: a.1\nevent: table.changed\ndata: {"revision":2}\n\n');
      else response.write("id: a.2\nevent: draining\ndata: {}\n\n");
    });
    const lost: string[] = [];
    const events: ServerEvent[] = [];
    for await (const event of clientFor(url).events({ onLost: (reason) => lost.push(reason) })) {
      events.push(event);
      if (events.length === 2) break;
    }
    expect(asked).toEqual([undefined, "a.1"]);
    expect(lost).toHaveLength(1);
    expect(events).toEqual([
      { id: "a.1", type: "table.changed", data: { revision: 2 } },
      { id: "a.2", type: "draining", data: {} },
    ]);
  });

  it("goes on after a connection that was cut in the middle of an event", async () => {
    let asked = 0;
    const url = await serve((_, response) => {
      asked++;
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (asked > 1) response.write("data: 2\n\n");
      else response.write("retry: 1\n\ndata: 1\n\ndata: half", () => response.destroy());
    });
    const events: unknown[] = [];
    for await (const event of clientFor(url).events()) {
      events.push(event.data);
      if (events.length === 2) break;
    }
    expect(events).toEqual([1, 2]);
  });

  it("starts after the event that the caller names", async () => {
    let asked = "";
    const url = await serve((request, response) => {
      asked = String(request.headers["last-event-id"]);
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
    });
    const stream = clientFor(url).events({ after: "x.9" });
    expect((await stream.next()).value).toEqual({ id: "x.9", type: "message", data: 1 });
    await stream.return();
    expect(asked).toBe("x.9");
  });

  it("ends when its signal says so, even while it waits to reconnect", async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end("retry: 999999\n\ndata: 1\n\n");
    });
    const controller = new AbortController();
    const events: ServerEvent[] = [];
    const onLost = (): void => controller.abort();
    for await (const event of clientFor(url).events({ signal: controller.signal, onLost }))
      events.push(event);
    expect(events).toHaveLength(1);
  });

  it("fails when the first connection fails or is refused", async () => {
    const url = await serve((_, response) =>
      json(response, 401, { detail: "A valid token is needed", code: "X" }),
    );
    const refused = await failureOf(clientFor(url).events().next());
    expect(refused).toMatchObject({ kind: "refused", status: 401 });
    await closers.shift()?.();
    expect((await failureOf(clientFor(url).events().next())).kind).toBe("unavailable");
  });
});

describe("parseEvents", () => {
  const TEXT = [
    ": heartbeat\r\n\r\n",
    'id: 1\r\nevent: a\r\ndata: {"x":\ndata: "\u20ac"}\n\n',
    "unknown: 1\ndata\n\n",
    "event: b\n\n",
    "id: 2\ndata: plain\n\n",
  ].join("");

  async function parsed(pieces: readonly string[]): Promise<ServerEvent[]> {
    const events: ServerEvent[] = [];
    async function* source(): AsyncGenerator<string> {
      yield* pieces;
    }
    for await (const event of parseEvents(source(), { id: "", retryMs: 1 })) events.push(event);
    return events;
  }

  it("gives the same events however the text is cut", async () => {
    const whole = await parsed([TEXT]);
    expect(whole).toEqual([
      { id: "1", type: "a", data: { x: "\u20ac" } },
      { id: "1", type: "message", data: "" },
      { id: "2", type: "message", data: "plain" },
    ]);
    for (let at = 1; at < TEXT.length; at++) {
      expect(await parsed([TEXT.slice(0, at), TEXT.slice(at)])).toEqual(whole);
    }
    expect(await parsed(TEXT.split(""))).toEqual(whole);
  });

  it("refuses a line without end", async () => {
    await expect(parsed(["data: ", "x".repeat((1 << 20) + 1)])).rejects.toBeInstanceOf(ApiFailure);
  });
});
