/** One side of a replay: answers as they come, faults by their codes, and bounds. Backends that write bytes as told. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { Backend, BackendId, Endpoint } from "../../src/domain/route.ts";
import { Side } from "../../src/verify_client.ts";
import type { ReplayedRequest } from "../../src/verify_plan.ts";
import { until } from "../support/wait.ts";

const BODY_BYTES_MAX = 100;
const GET: ReplayedRequest = { method: "GET", target: "/a?b=c", fields: [["Host", "shop.example"]] };
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** What a backend does with the bytes of a connection; `turn` counts the requests on it, from 1. */
type Script = (socket: Socket, bytes: Buffer, turn: number) => void;

async function listen(script: Script, at: object = { port: 0, host: "127.0.0.1" }): Promise<Server> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let turn = 0;
    // A client that has seen enough may reset the connection.
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes: Buffer) => script(socket, bytes, ++turn));
  });
  server.listen(at);
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server;
}

function endpointOf(server: Server): Endpoint {
  const { port } = server.address() as AddressInfo;
  return { address: `http://127.0.0.1:${port}`, host: "127.0.0.1", port };
}

function sideOf(endpoints: readonly Endpoint[], more: Partial<Backend> = {}, timeoutMs = 20_000): Side {
  const backend: Backend = { id: "old" as BackendId, endpoints, ...more };
  const side = new Side(backend, { timeoutMs, bodyBytesMax: BODY_BYTES_MAX, connectionsMax: 4 });
  closers.push(() => side.close());
  return side;
}

async function scripted(script: Script, timeoutMs?: number): Promise<Side> {
  return sideOf([endpointOf(await listen(script))], {}, timeoutMs);
}

describe("an answer", () => {
  test("has its fields as they came, its codings and its body", async () => {
    const asked: string[] = [];
    const side = await scripted((socket, bytes) => {
      asked.push(bytes.toString("latin1"));
      const fields =
        "X-A: 1\r\nX-A: 2\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\nContent-Length: 2";
      socket.write(`HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\n${fields}\r\n\r\nhi`);
    });
    expect(await side.answer(GET)).toEqual({
      status: 404,
      fields: [
        ["X-A", "1"],
        ["X-A", "2"],
        ["Content-Encoding", "gzip"],
        ["Content-Encoding", "br"],
        ["Content-Length", "2"],
      ],
      codings: "gzip, br",
      bytes: Buffer.from("hi"),
      fault: null,
    });
    expect(asked).toEqual([expect.stringMatching(/^GET \/a\?b=c HTTP\/1\.1\r\nHost: shop\.example\r\n/)]);
  });

  test("to HEAD has no body, whatever length it tells", async () => {
    const side = await scripted((socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"));
    expect(await side.answer({ ...GET, method: "HEAD" })).toMatchObject({
      bytes: Buffer.alloc(0),
      fault: null,
    });
  });

  test("with a body over the bound is known without it, and nothing more is read", async () => {
    const side = await scripted((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + "x".repeat(BODY_BYTES_MAX + 1));
    });
    expect(await side.answer(GET)).toMatchObject({ status: 200, bytes: null, fault: null });
  });

  test("that ends with its connection is whole", async () => {
    const side = await scripted((socket) => socket.end("HTTP/1.0 200 OK\r\n\r\nall of it"));
    expect(await side.answer(GET)).toMatchObject({ bytes: Buffer.from("all of it"), fault: null });
  });
});

describe("a fault", () => {
  test.each<[string, Script, string]>([
    ["closes without an answer", (socket) => socket.end(), "UPSTREAM_RESET"],
    ["resets the connection", (socket) => socket.resetAndDestroy(), "UPSTREAM_RESET"],
    ["speaks no HTTP", (socket) => socket.end("SSH-2.0-OpenSSH\r\n"), "BAD_RESPONSE"],
    [
      "tells two lengths",
      (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
      "BAD_RESPONSE",
    ],
    [
      "sends a broken chunk",
      (socket) => socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhixx\r\n"),
      "BAD_RESPONSE",
    ],
    [
      "changes to another protocol",
      (socket) => socket.write("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
      "BAD_RESPONSE",
    ],
    [
      "sends a head without end",
      (socket) => socket.write(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(70_000)}\r\n\r\n`),
      "RESPONSE_TOO_LARGE",
    ],
    [
      "ends in the middle of a body",
      (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
      "RESPONSE_TRUNCATED",
    ],
  ])("is told of a backend that %s", async (_, script, fault) => {
    expect(await (await scripted(script)).answer(GET)).toEqual({
      status: 0,
      fields: [],
      codings: "",
      bytes: null,
      fault,
    });
  });

  test("is told of an answer that does not come, or not to its end", async () => {
    const silent = await scripted(() => undefined, 50);
    expect(await silent.answer(GET)).toMatchObject({ fault: "RESPONSE_TIMEOUT" });
    const stalled = await scripted(
      (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha"),
      200,
    );
    expect(await stalled.answer(GET)).toMatchObject({ fault: "RESPONSE_STALLED" });
  });

  test("is told of a backend that is not there", async () => {
    const server = await listen(() => undefined);
    const endpoint = endpointOf(server);
    server.close();
    await once(server, "close");
    expect(await sideOf([endpoint]).answer(GET)).toMatchObject({ fault: "CONNECT_FAILED" });
    const nowhere = { address: "unix:/nowhere/at/all.sock", path: "/nowhere/at/all.sock" };
    expect(await sideOf([nowhere]).answer(GET)).toMatchObject({ fault: "CONNECT_FAILED" });
    const unnamed = { address: "http://nobody.invalid:80", host: "nobody.invalid", port: 80 };
    expect(await sideOf([unnamed]).answer(GET)).toMatchObject({ fault: "NAME_UNRESOLVED" });
  });
});

describe("connections", () => {
  test("are used again, and one that dies then costs no answer", async () => {
    let connections = 0;
    const server = await listen((socket, _, turn) => {
      if (turn === 3) socket.destroy();
      else socket.write(OK);
    });
    server.on("connection", () => connections++);
    const side = sideOf([endpointOf(server)]);
    for (let request = 0; request < 3; request++) {
      expect(await side.answer(GET)).toMatchObject({ status: 200, fault: null });
    }
    expect(connections).toBe(2);
  });

  test("are given up when it is closed, and nothing is sent after that", async () => {
    let requests = 0;
    const server = await listen((socket) => {
      if (++requests === 1) socket.write(OK);
    });
    const side = sideOf([endpointOf(server)]);
    await side.answer(GET);
    const waiting = side.answer(GET);
    await until("it hangs on a kept connection", () => requests === 2);
    side.close();
    expect(await waiting).toMatchObject({ fault: "UPSTREAM_RESET" });
    expect(requests).toBe(2);
  });

  test("go to the endpoints in turn", async () => {
    const reached: number[] = [];
    const servers = await Promise.all(
      [1, 2].map((name) =>
        listen((socket) => {
          reached.push(name);
          socket.write(OK);
        }),
      ),
    );
    const side = sideOf(servers.map(endpointOf));
    for (let request = 0; request < 4; request++) await side.answer(GET);
    expect(reached).toEqual([1, 2, 1, 2]);
  });

  test("begin with a PROXY header once, where the backend wants one", async () => {
    for (const [version, header] of [
      ["v1", "PROXY UNKNOWN\r\n"],
      ["v2", "\r\n\r\n\0\r\nQUIT\n\u0020\0\0\0"],
    ] as const) {
      let got = "";
      const server = await listen((socket, bytes) => {
        got += bytes.toString("latin1");
        if (got.endsWith("\r\n\r\n")) socket.write(OK);
      });
      const side = sideOf([endpointOf(server)], { proxyProtocol: version });
      expect(await side.answer(GET)).toMatchObject({ status: 200 });
      expect(await side.answer(GET)).toMatchObject({ status: 200 });
      expect(got.startsWith(`${header}GET /a?b=c HTTP/1.1\r\n`)).toBe(true);
      expect(got.split(header)).toHaveLength(2);
    }
  });

  test("reach a Unix socket", async () => {
    const directory = mkdtempSync(join(tmpdir(), "crossfade-test-"));
    const path = join(directory, "old.sock");
    await listen((socket) => socket.write(OK), { path });
    expect(await sideOf([{ address: `unix:${path}`, path }]).answer(GET)).toMatchObject({ status: 200 });
    rmSync(directory, { recursive: true, force: true });
  });
});
