/** A whole Crossfade that is told to stop: what it accepted is finished, each kind of client in the way of its own. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { until } from "../support/wait.ts";
import { EchoServer } from "../support/websocket.ts";
import { RawClient } from "../support/wire.ts";

const SLOW_MS = 2_500;
/** Long enough for what is checked on the way, on a machine that has better things to do. */
const DRAIN = { grace: "2s", spread: "1s", idle: "1s", deadline: "20s", tunnels: "20s" };

interface Fleet {
  readonly workers: readonly {
    readonly state: string;
    readonly drain?: {
      readonly open: Readonly<Record<"idle" | "requests" | "tunnels" | "streams", number>>;
      readonly requests_until: string;
    };
  }[];
}

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

/** Answers `/slow` late and whole, `/events` with a stream, and everything else at once. */
async function shop(): Promise<string> {
  const server: Server = createServer((request, response) => {
    if (request.url === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const ticker = setInterval(() => response.write(`data: ${"x".repeat(100)}\n\n`), 50);
      response.on("close", () => clearInterval(ticker));
      return;
    }
    let bytes = 0;
    request.on("data", (piece: Buffer) => (bytes += piece.length));
    request.on("end", () => {
      setTimeout(() => response.end(`${bytes} bytes, done`), request.url === "/slow" ? SLOW_MS : 0);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function start(): Promise<Crossfade> {
  const echo = new EchoServer();
  const port = await echo.listen();
  ends.push(() => echo.close());
  const url = await shop();
  const endpoints = (address: string): object => ({ endpoints: [address] });
  const table = {
    backends: { shop: endpoints(url), echo: endpoints(`http://127.0.0.1:${port}`), spare: endpoints(url) },
    routes: [
      { id: "chat", match: { path: "/chat" }, cutover: { legacy: "echo", candidate: "spare" } },
      { id: "shop", cutover: { legacy: "shop", candidate: "spare" } },
    ],
  };
  const crossfade = await startCrossfade({ legacy: url, new: url }, { table, settings: { drain: DRAIN } });
  ends.push(() => crossfade.stop());
  await crossfade.servingWorkers(2);
  return crossfade;
}

function client(crossfade: Crossfade): RawClient {
  const one = new RawClient(Number(new URL(crossfade.url).port));
  ends.push(() => one.close());
  return one;
}

test("every kind of client is finished in its own way, in order, and it says what is still open", async () => {
  const crossfade = await start();
  const [slow, posting, idle, events] = Array.from({ length: 4 }, () => client(crossfade)) as [
    RawClient,
    RawClient,
    RawClient,
    RawClient,
  ];
  const socket = new WebSocket(`${crossfade.url.replace("http", "ws")}/chat`);
  let closedWith = 0;
  const heard: unknown[] = [];
  socket.addEventListener("close", ({ code }) => (closedWith = code));
  socket.addEventListener("message", ({ data }) => heard.push(data));
  await until("the WebSocket opens", () => socket.readyState === WebSocket.OPEN);
  idle.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n");
  await idle.sees(/done/);
  events.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
  await events.sees(/data: x/);
  posting.send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").send("x".repeat(50_000));
  slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");

  crossfade.signal("SIGTERM");
  await until("it is not ready any more", async () => {
    return (await fetch(`${crossfade.adminUrl}/readyz`)).status === 503;
  });
  // Load balancers have not noticed yet: they are served, on new connections too.
  const late = client(crossfade);
  late.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n");
  await late.sees(/done/);
  const open = await until("the workers say what is open", async () => {
    const { workers } = await crossfade.admin<Fleet>("GET", "/v1/fleet");
    const drains = workers.flatMap(({ drain }) => (drain === undefined ? [] : [drain]));
    const sum = (kind: "tunnels" | "streams"): number =>
      drains.reduce((all, { open: { [kind]: count } }) => all + count, 0);
    return drains.length === 2 && sum("tunnels") === 1 && sum("streams") === 1 ? drains : null;
  });
  expect(open.every(({ requests_until: moment }) => Date.parse(moment) > systemClock.wallMs())).toBe(true);
  posting.send("x".repeat(50_000));
  await posting.sees(/100000 bytes, done/);
  await slow.sees(/0 bytes, done/);
  await idle.seesEnd();
  socket.send("still here");
  await until("the WebSocket still works", () => heard.length === 1);
  const stream = await events.seesEnd();
  expect(stream.endsWith("\n\n\r\n0\r\n\r\n")).toBe(true);
  await until("the WebSocket is closed", () => closedWith !== 0);
  expect(closedWith).toBe(1001);
  expect(await crossfade.exitCode()).toBe(0);
  expect([slow, posting, idle, late, events].map(({ isReset }) => isReset)).not.toContain(true);
});
