/** Copies of requests through a real data plane: what a shadow gets, and that nobody else ever notices it. */
import { afterEach, describe, expect, test } from "vitest";
import type { BackendId, Route } from "../../src/domain/route.ts";
import { GET, OK, cellOf } from "../support/plane.ts";
import { ALL, ShadowStage, counted, inFlight, settled } from "../support/shadow_stage.ts";
import { until } from "../support/wait.ts";
import { answering, type RawBackend } from "../support/wire.ts";

let stage = new ShadowStage();
afterEach(async () => {
  await stage.close();
  stage = new ShadowStage();
});

function linesOf(text: string): string[] {
  return text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n");
}

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

describe("a copy", () => {
  test("is the request as the backend gets it, with a mark and a span of its own", async () => {
    const { started, legacy, shadow } = await stage.mirrored(answering(OK));
    const trace = `traceparent: 00-${TRACE}-${SPAN}-01`;
    await stage.ask(
      started,
      `GET /a?${SPAN} HTTP/1.1\r\nHost: h\r\nX-User: ann\r\n${trace}\r\nCookie: a=b\r\n\r\n`,
    );
    expect(await settled(started)).toEqual({ sampled: 1, answered: 1 });
    const copy = linesOf(shadow.received);
    expect(
      copy
        .filter((line) => line !== "Crossfade-Shadow: 1")
        .map((line) => line.replace(/^(trace.*-)\w{16}-/, "$1S-")),
    ).toEqual(linesOf(legacy.received).map((line) => line.replace(`${SPAN}-01`, "S-01")));
    expect(copy).toContain("Crossfade-Shadow: 1");
    expect(copy).not.toContain(trace);
    expect(legacy.received).not.toContain("Shadow");
  });

  test.each([
    ["an invalid one", `00-${TRACE}-${"0".repeat(16)}-01`],
    ["one of a later version", `cc-${TRACE}-${SPAN}-01`],
    ["two of them", `00-${TRACE}-${SPAN}-01\r\ntraceparent: 00-${TRACE}-${SPAN}-00`],
  ])("keeps %s in traceparent as it came", async (_, value) => {
    const { started, shadow } = await stage.mirrored(answering(OK));
    await stage.ask(started, `GET / HTTP/1.1\r\nHost: h\r\ntraceparent: ${value}\r\n\r\n`);
    await settled(started);
    expect(shadow.received).toContain(`traceparent: ${value}\r\n`);
  });

  test("has the body byte for byte, by length and by chunks, whatever the pieces", async () => {
    const bytes = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
    const script: RawBackend["script"] = ({ socket, received }) => {
      if (received.length - received.indexOf("\r\n\r\n") - 4 >= bytes.length) socket.end(OK);
    };
    const { started, legacy, shadow } = await stage.mirrored(script);
    legacy.script = script;
    const one = stage.client(started.port);
    one.send(`OPTIONS / HTTP/1.1\r\nHost: h\r\nContent-Length: ${bytes.length}\r\n\r\n`);
    for (let at = 0; at < bytes.length; at += 9_999) {
      one.send(bytes.subarray(at, at + 9_999));
      await new Promise(setImmediate);
    }
    await one.sees(/ok$/);
    await settled(started);
    expect(shadow.received.split("\r\n\r\n").slice(1).join("\r\n\r\n")).toBe(bytes.toString("latin1"));

    const two = stage.client(started.port);
    two.send("OPTIONS / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const size of [1, 5_000, 1, 54_998]) {
      two
        .send(`${size.toString(16)};x=y\r\n`)
        .send(bytes.subarray(0, size))
        .send("\r\n");
      await new Promise(setImmediate);
    }
    two.send("0\r\nX: 1\r\n\r\n");
    await two.sees(/ok$/);
    expect(await settled(started)).toEqual({ sampled: 2, answered: 2 });
    const chunks = [1, 5_000, 1, 54_998].map((size) => bytes.toString("latin1", 0, size)).join("");
    expect(shadow.connections[1]?.received).toContain(`\r\n\r\nea60\r\n${chunks}\r\n0\r\n\r\n`);
  });

  test("has no body where the request has an empty one in chunks", async () => {
    const { started, shadow } = await stage.mirrored(answering(OK));
    await stage.ask(started, "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect(await settled(started)).toEqual({ sampled: 1, answered: 1 });
    expect(shadow.received).toMatch(/\r\n\r\n0\r\n\r\n$/);
  });

  test("goes on when the client leaves after its request", async () => {
    const { started, shadow, legacy } = await stage.mirrored(() => {});
    legacy.script = () => {};
    const one = stage.client(started.port);
    one.send(GET);
    await until("both have it", () => legacy.received !== "" && shadow.received.endsWith("\r\n\r\n"));
    one.reset();
    await until("the request is over", () => cellOf(started).aborted === 1);
    expect(inFlight(started)).toBe(1);
    shadow.connections[0]?.socket.write(OK);
    expect(await settled(started)).toEqual({ sampled: 1, answered: 1 });
  });

  test("goes on when the next table has no mirror and no such backend", async () => {
    const { started, legacy, shadow } = await stage.mirrored(() => {});
    await stage.ask(started);
    started.serve({}, { legacy: [legacy.port] });
    await stage.ask(started);
    await until("the copy arrives", () => shadow.received.endsWith("\r\n\r\n"));
    shadow.connections[0]?.socket.write(OK);
    expect(await settled(started)).toEqual({ sampled: 1, answered: 1 });
  });

  test("uses a connection again that has just answered, and none of the requests' own", async () => {
    const { started, shadow } = await stage.mirrored(answering(OK));
    for (let i = 0; i < 3; i++) {
      await stage.ask(started);
      await settled(started);
    }
    expect(shadow.connections).toHaveLength(1);
    expect(started.plane.pool.now().map(([backend]) => backend)).toEqual(["legacy"]);
    expect(started.plane.shadows.pool.now()).toEqual([["new", 1, 0]]);
    started.pass(1_001);
    await stage.ask(started);
    await settled(started);
    expect(shadow.connections).toHaveLength(2);
  });

  test("goes to legacy where the candidate answers and legacy is the shadow", async () => {
    const {
      started,
      shadow: candidate,
      legacy,
    } = await stage.mirrored(answering(OK), { to: "legacy" as BackendId }, { candidateShares: 100_000 });
    await stage.ask(started);
    expect(await settled(started)).toEqual({ sampled: 1, answered: 1 });
    expect(candidate.received).not.toContain("Shadow");
    expect(legacy.received).toContain("Crossfade-Shadow: 1\r\n");
  });
});

describe("no copy is made", () => {
  const handshake =
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  test.each<[string, string, Partial<Route>]>([
    ["of a copy", "GET / HTTP/1.1\r\nHost: h\r\nCrossfade-Shadow: 1\r\n\r\n", {}],
    ["of a WebSocket's handshake", handshake, {}],
    ["of one that is no WebSocket here", handshake, { websocket: false }],
    ["of POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", {}],
    [
      "of what waits to be asked for",
      "OPTIONS / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
      {},
    ],
    [
      "of a pinned request",
      GET,
      {
        pins: [
          { when: { source: "query", name: "a" }, to: "legacy" as BackendId },
          { when: { source: "header", name: "host" }, to: "legacy" as BackendId },
        ],
      },
    ],
    ["of what the shadow answers itself", GET, { candidateShares: 100_000 }],
  ])("%s", async (_, text, route) => {
    const { started, legacy, shadow } = await stage.mirrored(answering(OK), {}, route);
    legacy.script = ({ socket, received }) => void (/\r\n\r\n/.test(received) && socket.write(OK));
    const one = stage.client(started.port);
    one.send(text);
    await one.sees(/ok$/);
    expect(counted(started)).toEqual({});
    expect(legacy.received + shadow.received).not.toContain("Shadow");
  });

  test("of what is refused at once", async () => {
    const slow = { address: "http://slow.example", host: "slow.example", port: 80 };
    const shadow = await stage.backend(answering(OK));
    const lookup = (): Promise<never> => new Promise(() => {});
    const ports = { legacy: [slow], candidate: [shadow.port] };
    const route = { mirror: ALL, retries: { attempts: 0, bodyBytesMax: 0 } };
    const started = await stage.plane(ports, route, {}, { lookup });
    const backend = { id: "legacy" as BackendId, endpoints: [slow] };
    const refused: string[] = [];
    const taker = { onConnection: (): void => {}, onNoConnection: (code: string) => void refused.push(code) };
    while (refused.length === 0)
      started.plane.pool.acquire(taker, { backend, connectMs: 3000, client: "", avoid: null, idleMsMax: 0 });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 503 /);
    expect(counted(started)).toEqual({});
    started.pass(5000);
  });
});

test("no client ever gets a byte of a shadow, in 5,000 requests at once and of every size", async () => {
  /** Answers each request in a way of its own, in pieces and out of step. */
  const answersAs =
    (name: string): RawBackend["script"] =>
    ({ socket }, piece) => {
      for (const [, id] of piece.matchAll(/GET \/(\d+) HTTP/g)) {
        const text = `<${name} ${id}>`.repeat(1 + (Number(id) % 50));
        const chunks = [
          `HTTP/1.1 200 OK\r\nX-Is: ${name}-${id}\r\nContent-Length: ${text.length}\r\n\r\n`,
          text.slice(0, 7),
          text.slice(7),
        ];
        const say = (): void => {
          const next = chunks.shift();
          if (next === undefined || socket.destroyed) return;
          socket.write(next);
          if (Number(id) % 3 === 0) setImmediate(say);
          else say();
        };
        if (name === "shadow" && Number(id) % 11 === 0) socket.destroy();
        else say();
      }
    };
  const { started, legacy } = await stage.mirrored(answersAs("shadow"), { inFlightMax: 1024 });
  legacy.script = answersAs("legacy");
  const each = 100;
  const talks = Array.from({ length: 50 }, async (_, number) => {
    const one = stage.client(started.port);
    for (let i = 0; i < each; i++) {
      const id = number * each + i;
      one.received = "";
      one.send(`GET /${id} HTTP/1.1\r\nHost: h\r\nX-User: u${number}\r\n\r\n`);
      const text = `<legacy ${id}>`.repeat(1 + (id % 50));
      await until(`answer ${id}`, () => one.received.length >= text.length && one.received.endsWith(text));
      expect(one.received).toContain(`X-Is: legacy-${id}\r\n`);
      expect(one.received.split("\r\n\r\n")[1]).toBe(text);
    }
  });
  await Promise.all(talks);
  const { sampled, ...results } = await settled(started);
  expect(sampled).toBe(5000);
  expect(Object.values(results).reduce((sum, count) => sum + count, 0)).toBe(5000);
  expect(results["answered"]).toBeGreaterThan(1000);
  expect(cellOf(started)).toMatchObject({
    started: 5000,
    finished: 5000,
    failures: 0,
    codes: [[200, 5000]],
    faults: [],
  });
});
