/** WebSockets and streams of events that must end: each in the way of its protocol, by a drain or for a new table. */
import { afterEach, describe, expect, test } from "vitest";
import type { Route } from "../../src/domain/route.ts";
import { PlaneStage, cellOf, type TestPlane } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { EchoServer } from "../support/websocket.ts";
import type { RawBackend } from "../support/wire.ts";

let stage = new PlaneStage();
const servers: EchoServer[] = [];
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
  for (const server of servers.splice(0)) await server.close();
});

const DRAIN = { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 10_000, tunnelsMs: 10_000 };
const STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const ASK = "GET /events HTTP/1.1\r\nHost: h\r\nX-User: ann\r\n\r\n";
const SHAKE =
  "GET /chat HTTP/1.1\r\nHost: h\r\nX-User: ann\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const GOODBYE = "\u0088\u0002\u0003\u00e9";

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

async function echo(): Promise<EchoServer & { readonly port: number }> {
  const server = new EchoServer();
  const port = await server.listen();
  servers.push(server);
  return Object.assign(server, { port });
}

async function browser(
  port: number,
): Promise<{ readonly socket: WebSocket; readonly ended: { code: number } }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`);
  const ended = { code: 0 };
  socket.addEventListener("close", ({ code }) => (ended.code = code));
  await until("the WebSocket opens", () => socket.readyState === WebSocket.OPEN);
  return { socket, ended };
}

/** Sweeps on for so long, in steps. */
function passBy(started: TestPlane, ms: number): void {
  for (let gone = 0; gone < ms; gone += 250) started.pass(250);
}

type Backend = RawBackend & { readonly port: number };

async function streaming(
  route: Partial<Route> = {},
): Promise<{ started: TestPlane; legacy: Backend; candidate: Backend }> {
  const script: RawBackend["script"] = ({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.write(STREAM + chunk("data: 1\n\n"));
  };
  const [legacy, candidate] = [await stage.backend(script), await stage.backend(script)];
  const started = await stage.plane({ legacy: [legacy.port], candidate: [candidate.port] }, route);
  return { started, legacy, candidate };
}

describe("a drain", () => {
  test("closes a WebSocket with 1001, on both sides, before its time is over", async () => {
    const server = await echo();
    const started = await stage.plane({ legacy: [server.port] });
    const { ended } = await browser(started.port);
    let isDrained = false;
    started.listener.drain(DRAIN, () => (isDrained = true));
    passBy(started, 8_750);
    expect(ended.code).toBe(0);
    passBy(started, 1_250);
    await until("it is closed", () => ended.code !== 0);
    expect(ended.code).toBe(1001);
    await until("the backend's side is closed", () => server.open.size === 0);
    passBy(started, 3_000);
    await until("it is drained", () => isDrained);
  });

  test("says goodbye only between frames, and passes on nothing after it", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.write(`${SWITCH}\u0082\u0004ab`, "latin1");
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(SHAKE);
    await one.sees(/ab$/);
    started.listener.drain({ ...DRAIN, tunnelsMs: 20_000 }, () => {});
    passBy(started, 19_500);
    const backend = legacy.connections[0];
    await until(
      "the backend has our goodbye",
      () => backend?.received.endsWith("\u0088\u0082\0\0\0\0\u0003\u00e9") === true,
    );
    expect(one.received.endsWith("ab")).toBe(true);
    backend?.socket.write("cd\u0082\u0001x", "latin1");
    await one.sees(/cd/);
    await until("the client has it", () => one.received.endsWith(`cd${GOODBYE}`));
    passBy(started, 3_000);
    await one.seesEnd();
    expect(one.received.endsWith(`cd${GOODBYE}`)).toBe(true);
  });

  test("ends a stream of events after an event, with the last chunk", async () => {
    const { started, legacy } = await streaming();
    const one = stage.client(started.port);
    one.send(ASK);
    await one.sees(/data: 1/);
    legacy.connections[0]?.socket.write(chunk("data: 2"));
    await one.sees(/data: 2/);
    let isDrained = false;
    started.listener.drain(DRAIN, () => (isDrained = true));
    passBy(started, 9_750);
    expect(one.isEnded).toBe(false);
    legacy.connections[0]?.socket.write(chunk("\n\n"));
    const text = await one.seesEnd();
    expect(text.endsWith(`${chunk("data: 1\n\n")}${chunk("data: 2")}${chunk("\n\n")}0\r\n\r\n`)).toBe(true);
    await until("the backend's connection is closed", () => legacy.connections[0]?.isEnded === true);
    expect(cellOf(started)).toMatchObject({ finished: 1, aborted: 0, failures: 0 });
    passBy(started, 2_000);
    await until("it is drained", () => isDrained);
  });

  test("tells what is still open, by what it is at", async () => {
    const { started } = await streaming();
    const [stream, idle] = [stage.client(started.port), stage.client(started.port)];
    stream.send(ASK);
    await stream.sees(/data: 1/);
    idle.send("G");
    await until("both are there", () => started.listener.open === 2);
    await until("both are known", () => started.listener.openNow.requests === 1);
    expect(started.listener.openNow).toEqual({ idle: 0, requests: 1, tunnels: 0, streams: 1 });
  });
});

describe("a new table", () => {
  const moved = { candidateShares: 100_000 } as const;

  test("cuts nothing that is under way, whatever it changes", async () => {
    const { started, legacy, candidate } = await streaming();
    const one = stage.client(started.port);
    one.send(ASK);
    await one.sees(/data: 1/);
    started.serve(moved, { legacy: [legacy.port], candidate: [candidate.port] });
    started.listener.evacuate();
    started.serve({}, { legacy: [candidate.port] });
    started.listener.evacuate();
    legacy.connections[0]?.socket.write(chunk("data: 2\n\n"));
    await one.sees(/data: 2/);
    expect(one.isEnded).toBe(false);
  });

  test("ends streams of clients that belong to the other side now, where the route says so", async () => {
    const { started, legacy, candidate } = await streaming({ evacuate: "cut" });
    const one = stage.client(started.port);
    one.send(ASK);
    await one.sees(/data: 1/);
    const ports = { legacy: [legacy.port], candidate: [candidate.port] };
    started.serve({ evacuate: "cut", timeouts: { connectMs: 1, responseMs: 1, idleMs: 1 } }, ports);
    started.listener.evacuate();
    legacy.connections[0]?.socket.write(chunk("data: 2\n\n"));
    await one.sees(/data: 2/);
    started.serve({ evacuate: "cut", ...moved }, ports);
    started.listener.evacuate();
    expect((await one.seesEnd()).endsWith("0\r\n\r\n")).toBe(true);
    const again = stage.client(started.port);
    again.send(ASK);
    await again.sees(/data: 1/);
    expect(candidate.connections).toHaveLength(1);
  });

  test("closes their WebSockets with 1001, and leaves downloads and pinned clients alone", async () => {
    const server = await echo();
    const slow = await stage.backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    });
    const started = await stage.plane({ legacy: [server.port], candidate: [slow.port] }, { evacuate: "cut" });
    const { ended } = await browser(started.port);
    const ports = { legacy: [server.port], candidate: [slow.port] };
    started.serve({ evacuate: "cut", ...moved }, ports);
    started.listener.evacuate();
    await until("it is closed", () => ended.code !== 0);
    expect(ended.code).toBe(1001);
    const one = stage.client(started.port);
    one.send(ASK);
    await one.sees(/ab$/);
    started.serve({ evacuate: "cut" }, ports);
    started.listener.evacuate();
    slow.connections[0]?.socket.write("cd");
    await one.sees(/abcd$/);
  });
});
