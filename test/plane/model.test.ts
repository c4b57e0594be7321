/** Every failure point of an exchange, with every kind of failure, against a model of what may happen there. */
import { afterEach, describe, expect, test } from "vitest";
import type { Endpoint } from "../../src/domain/route.ts";
import { OK, PlaneStage, cellOf, closedPort, type TestPlane } from "../support/plane.ts";
import {
  BODIES,
  KINDS,
  POINTS,
  bodyOf,
  requestOf,
  runFailure,
  turnUntil,
  turns,
  type Body,
  type Failure,
  type Kind,
  type Observation,
} from "../support/failure_stage.ts";
import { StepBackend, readMessage } from "../support/stepwise.ts";
import { until } from "../support/wait.ts";

const METHODS = ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"] as const;
const IDEMPOTENT: readonly string[] = ["GET", "HEAD", "PUT", "DELETE"];

/** Points at which the client has not sent all of its body; they exist only with one. */
const BODY_OUTSTANDING: readonly string[] = ["request head", "part of the request body", "interim 100"];
/** Points at which nothing of an answer has been sent. */
const UNANSWERED: readonly string[] = POINTS.slice(0, 5);

/** A connection attempt is given up after so long. */
const CONNECT_MS = 3_100;
/** A name that is never resolved: a connection to it is under way until it is given up. */
const NOWHERE: Endpoint = { address: "http://nowhere.test:80", host: "nowhere.test", port: 80 };

/** Whether the head of an answer has been sent at this point, and not all of its body. */
function isAnswering(point: Failure["point"]): boolean {
  return point.startsWith("response head,") || point.startsWith("part of the response,");
}

/** Whether a case can be: some points need a body, some kinds of failure are none at some points. */
function exists({ method, body, point, kind }: Failure): boolean {
  if (BODY_OUTSTANDING.includes(point) && body === "none") return false;
  if (isAnswering(point) && method === "HEAD") return false;
  // Whatever bytes come inside such a body are part of it.
  if (isAnswering(point) && kind === "malformed") return point.endsWith("chunks");
  return point !== "response" || (kind !== "silence" && kind !== "abort");
}

function seen(client: Observation["client"], differs: Partial<Observation> = {}): Observation {
  const isComplete = typeof client === "number";
  const ends = {
    finished: isComplete ? 1 : 0,
    aborted: isComplete ? 0 : 1,
    logged: isComplete ? client : 502,
  };
  return { client, sent: 1, failures: 1, retries: 0, excess: 0, ...ends, ...differs };
}

/** The model: what everybody sees when this fails there. */
function expected({ method, body, isReused, point, kind }: Failure): Observation {
  const sent = point === "accepted" ? 0 : 1;
  if (point === "response") return seen(200, { failures: 0, excess: kind === "malformed" ? 1 : 0 });
  if (kind === "abort")
    return seen(isAnswering(point) ? "cut" : "nothing", { sent, failures: 0, logged: 499 });
  if (isAnswering(point)) {
    const isWhole = kind === "close" && point.endsWith("close");
    return isWhole ? seen(200, { failures: 0 }) : seen("cut", { logged: kind === "silence" ? 504 : 502 });
  }
  if (kind === "silence") {
    // Whoever was to speak next is at fault.
    return BODY_OUTSTANDING.includes(point) ? seen(408, { failures: 0 }) : seen(504, { sent });
  }
  const isHeld = body !== "large" || point === "request head";
  const mayRepeat = isReused && IDEMPOTENT.includes(method) && isHeld && UNANSWERED.includes(point);
  if (kind !== "malformed" && mayRepeat) return seen(200, { sent: sent + 1, retries: 1 });
  return seen(502, { sent });
}

function casesOf(kind: Kind): Failure[] {
  return METHODS.flatMap((method) =>
    BODIES.flatMap((body) =>
      [false, true].flatMap((isReused) => POINTS.map((point) => ({ method, body, isReused, point, kind }))),
    ),
  ).filter(exists);
}

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

describe("an exchange ends as the model says, at whatever point", () => {
  test.each(KINDS)("comes %s", async (kind) => {
    const cases = casesOf(kind);
    for (const failure of cases) {
      const got: unknown = await runFailure(stage, failure).catch(String);
      expect({ failure, saw: got }).toEqual({ failure, saw: expected(failure) });
    }
    process.stdout.write(`failure model, ${kind}: ${cases.length} cases\n`);
  });
});

/** How no connection comes about: it is refused, never opens, or the client leaves while it is being opened. */
const OBSTACLES = ["refused", "silence", "abort"] as const;
type Obstacle = (typeof OBSTACLES)[number];

async function meet(obstacle: Obstacle, started: TestPlane, request: string): Promise<string> {
  const before = cellOf(started);
  const client = stage.client(started.port);
  client.send(request);
  await turnUntil("the exchange begins", () => cellOf(started).started > before.started);
  await turns();
  if (obstacle === "silence") started.pass(CONNECT_MS);
  if (obstacle === "abort") client.reset();
  await turnUntil("the exchange ends", () => {
    const { started: begun, finished, aborted } = cellOf(started);
    return begun === finished + aborted;
  });
  const isHead = request.startsWith("HEAD ");
  if (obstacle !== "abort")
    await turnUntil("the answer", () => readMessage(client.received, isHead) !== null);
  client.reset();
  return client.received.slice(9, 12);
}

async function obstruct(obstacle: Obstacle): Promise<Endpoint> {
  if (obstacle !== "refused") return NOWHERE;
  const port = await closedPort();
  return { address: `http://127.0.0.1:${port}`, host: "127.0.0.1", port };
}

/** Names are never resolved. */
const around = { lookup: () => new Promise<never>(() => {}) };

const REQUESTS = METHODS.flatMap((method) => BODIES.map((body) => [method, body] as const));

describe("a connection that does not come about", () => {
  test.each(OBSTACLES)("is answered with 502 or 504, whatever the request: %s", async (obstacle) => {
    for (const [method, body] of REQUESTS) {
      const started = await stage.plane({ legacy: [await obstruct(obstacle)] }, {}, {}, around);
      const got = await meet(obstacle, started, requestOf({ method, body, point: "request" }));
      const status = { refused: "502", silence: "504", abort: "" }[obstacle];
      expect([method, body, got]).toEqual([method, body, status]);
      expect(cellOf(started)).toMatchObject({
        failures: obstacle === "abort" ? 0 : 1,
        retries: 0,
        codes: [[obstacle === "abort" ? 499 : Number(status), 1]],
      });
      await stage.close();
    }
    process.stdout.write(`failure model, connection ${obstacle}: ${REQUESTS.length} cases\n`);
  });

  test.each(["refused", "silence"] as const)(
    "is rescued by the other endpoint, whatever the request: %s",
    async (obstacle) => {
      for (const [method, body] of REQUESTS)
        expect([method, body, await rescue(obstacle, method, body)]).toEqual([method, body, ["200", "200"]]);
      process.stdout.write(`failure model, two endpoints, ${obstacle}: ${REQUESTS.length} cases\n`);
    },
  );
});

/** Two requests to two endpoints: one of them meets the one that is out of order. Gives what was answered. */
async function rescue(obstacle: Obstacle, method: string, body: Body): Promise<string[]> {
  const backend = new StepBackend();
  const port = await backend.listen();
  const started = await stage.plane({ legacy: [await obstruct(obstacle), port] }, {}, {}, around);
  const request = requestOf({ method, body, point: "request" });
  const answers = [await meet(obstacle, started, request), await meet(obstacle, started, request)];
  expect(cellOf(started)).toMatchObject({ failures: 1, retries: 1, codes: [[200, 2]] });
  const received = backend.connections.map((one) => one.received).join("");
  expect(received.split(" /case ")).toHaveLength(3);
  expect(received.endsWith(body === "chunked" ? "0\r\n\r\n" : bodyOf(body))).toBe(true);
  await stage.close();
  backend.close();
  return answers;
}

describe("a final answer instead of 100 Continue", () => {
  test("leaves no connection behind on which the rest of the body is owed", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    // It does not wait with the first half, which is held back; the second comes when the answer is under way.
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\nhello");
    await one.sees(/ab$/);
    one.send("world");
    await turns();
    legacy.connections[0]?.socket.write("cd");
    await one.sees(/abcd$/);
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
    expect(legacy.received).not.toContain("world");
  });
});

describe("a request that is sent again", () => {
  test("goes on a fresh connection, not on another that may have died with the first", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (!received.endsWith("\r\n\r\n")) return;
      // Connections live for one request, which nobody is told.
      if (received.indexOf("\r\n\r\n") < received.length - 4) socket.destroy();
      else if (received.includes("/last")) socket.write(OK);
      else if (legacy.received.split("\r\n\r\n").length === 3)
        for (const one of legacy.connections) one.socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const both = [1, 2].map(() => stage.client(started.port).send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    for (const one of both) await one.sees(/^HTTP\/1.1 200 /);
    const last = stage.client(started.port).send("GET /last HTTP/1.1\r\nHost: h\r\n\r\n");
    await last.sees(/^HTTP\/1.1 \d/);
    expect(last.received).toMatch(/^HTTP\/1.1 200 /);
    expect(cellOf(started)).toMatchObject({ retries: 1, failures: 1 });
  });
});
