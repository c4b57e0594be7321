/** WebSockets through a real data plane: handshakes, frames both ways, refusals, idle ends, drain. */
import { afterEach, describe, expect, test } from "vitest";
import { GET, OK, PlaneStage, cellOf } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { EchoServer } from "../support/websocket.ts";
import { answering } from "../support/wire.ts";

const HANDSHAKE = [
  "GET /chat HTTP/1.1",
  "Host: h",
  "Connection: keep-alive, Upgrade",
  "Upgrade: WebSocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

let stage = new PlaneStage();
const servers: EchoServer[] = [];
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
  for (const server of servers.splice(0)) await server.close();
});

async function echo(): Promise<EchoServer & { readonly port: number }> {
  const server = new EchoServer();
  const port = await server.listen();
  servers.push(server);
  return Object.assign(server, { port });
}

function lines(...changed: string[]): string {
  const names = changed.map((line) => line.split(":")[0]);
  const kept = HANDSHAKE.filter((line) => !names.includes(line.split(":")[0]));
  return `${[...kept, ...changed].join("\r\n")}\r\n\r\n`;
}

/** A browser's WebSocket, with everything it hears. */
async function browser(port: number) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`);
  socket.binaryType = "arraybuffer";
  const heard: (string | Buffer)[] = [];
  const ended = { code: 0 };
  socket.addEventListener("message", ({ data }) => {
    heard.push(typeof data === "string" ? data : Buffer.from(data as ArrayBuffer));
  });
  socket.addEventListener("close", ({ code }) => (ended.code = code));
  await until("the WebSocket opens", () => socket.readyState === WebSocket.OPEN);
  return { socket, heard, ended };
}

describe("a WebSocket", () => {
  test("carries text, binary and 1 MB messages both ways, and its close code", async () => {
    const server = await echo();
    const started = await stage.plane({ legacy: [server.port] });
    const { socket, heard, ended } = await browser(started.port);
    const binary = Buffer.from([0, 255, 13, 10, 13, 10]);
    const long = "0123456789abcdef".repeat(65_536);
    socket.send("héllo");
    socket.send(binary);
    socket.send(long);
    await until("all three come back", () => heard.length === 3);
    expect(heard).toEqual(["héllo", binary, long]);
    socket.close(4001, "enough");
    await until("it is closed", () => ended.code !== 0);
    expect(ended.code).toBe(4001);
    await until("the server's side is closed", () => server.open.size === 0);
    started.pass(2000);
    await until("it is counted", () => cellOf(started).finished === 1);
    expect(cellOf(started)).toMatchObject({ started: 1, aborted: 0, failures: 0, codes: [[101, 1]] });
  });

  test("holds back what follows the handshake until the backend agrees", async () => {
    const legacy = await stage.backend(() => {});
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(`${lines()}EARLY`);
    await until("the handshake arrives", () => legacy.received.endsWith("\r\n\r\n"));
    expect(legacy.received).toMatch(/Connection: Upgrade\r\nUpgrade: websocket\r\n/);
    expect(legacy.received.match(/^(connection|upgrade):/gim)).toHaveLength(2);
    legacy.connections[0]?.socket.write(`${SWITCH}HELLO`);
    await one.sees(/^HTTP\/1.1 101 Switching Protocols\r\n.*Upgrade: websocket\r\n\r\nHELLO$/s);
    await until("the early bytes follow", () => legacy.received.endsWith("\r\n\r\nEARLY"));
  });

  test("that the backend refuses stays HTTP, and the connection goes on", async () => {
    const legacy = await stage.backend(answering("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(lines() + GET);
    await until("both answers", () => one.received.split("\r\n\r\nno").length === 3);
    expect(legacy.received).toContain("GET /a HTTP/1.1");
  });

  test("is reset for the client when the backend dies", async () => {
    const server = await echo();
    const started = await stage.plane({ legacy: [server.port] });
    const { ended } = await browser(started.port);
    for (const socket of server.open) socket.destroy();
    await until("it is closed", () => ended.code !== 0);
    expect(ended.code).toBe(1006);
  });

  test("ends for the backend when the client leaves", async () => {
    const server = await echo();
    const started = await stage.plane({ legacy: [server.port] });
    const one = stage.client(started.port);
    one.send(lines());
    await one.sees(/^HTTP\/1.1 101 /);
    one.reset();
    await until("the server's side is closed", () => server.open.size === 0);
    expect(cellOf(started)).toMatchObject({ started: 1, aborted: 1, failures: 0 });
  });

  test("on which nothing passes for an hour is closed; one byte keeps it", async () => {
    const legacy = await stage.backend(({ socket, received }, piece) => {
      if (received === piece) socket.write(SWITCH);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(lines());
    await one.sees(/^HTTP\/1.1 101 /);
    started.pass(3_500_000);
    one.send("x");
    await until("the byte arrives", () => legacy.received.endsWith("x"));
    started.pass(3_500_000);
    expect(one.isEnded).toBe(false);
    started.pass(200_000);
    await one.seesEnd();
  });

  test("outlives the drain's deadline for requests, up to its own", async () => {
    const server = await echo();
    const started = await stage.plane({ legacy: [server.port] });
    const { socket, heard, ended } = await browser(started.port);
    let isDrained = false;
    const drain = { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 1, tunnelsMs: 60_000 };
    started.listener.drain(drain, () => (isDrained = true));
    started.pass(1);
    const late = stage.client(started.port);
    late.send(GET);
    await until("requests are cut", () => late.isEnded || late.received !== "");
    socket.send("still here");
    await until("it still answers", () => heard.length === 1);
    expect(isDrained).toBe(false);
    started.listener.drain({ ...drain, tunnelsMs: 1 }, () => (isDrained = true));
    started.pass(1);
    await until("it is cut", () => ended.code !== 0);
    await until("it is drained", () => isDrained);
  });
});

describe("a handshake", () => {
  test.each([
    ["of another method", lines().replace("GET", "POST"), "400"],
    ["with a list of protocols", lines("Upgrade: websocket, h2c"), "400"],
    ["without key", lines("Sec-WebSocket-Key: "), "400"],
    ["with a key of the wrong length", lines("Sec-WebSocket-Key: abcd"), "400"],
    ["with a body", lines("Content-Length: 1"), "400"],
    ["of another version", lines("Sec-WebSocket-Version: 8"), "426"],
  ])("is refused: %s", async (_, text, status) => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(text);
    await one.sees(new RegExp(`^HTTP/1.1 ${status} `));
    if (status === "426") expect(one.received).toContain("Sec-WebSocket-Version: 13\r\n");
    expect(legacy.connections).toHaveLength(0);
  });

  test.each([
    ["another protocol", lines("Upgrade: h2c"), {}],
    ["a Connection field that does not name it", lines("Connection: keep-alive"), {}],
    ["a route without WebSockets", lines(), { websocket: false }],
  ])("is an ordinary request for %s", async (_, text, route) => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] }, route);
    const one = stage.client(started.port);
    one.send(text);
    await one.sees(/ok$/);
    expect(legacy.received).not.toMatch(/^(upgrade|connection):/im);
  });

  test("that the backend answers with another protocol is answered 502", async () => {
    const legacy = await stage.backend(answering(SWITCH.replace("websocket", "h2c")));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(lines());
    await one.sees(/^HTTP\/1.1 502 /);
  });

  test("that nobody asked for is answered 502", async () => {
    const legacy = await stage.backend(answering(SWITCH));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/^HTTP\/1.1 502 /);
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
  });
});
