/** Bodies through a real data plane: Expect, trailers, slow senders, streams of events, retries that are rationed. */
import { afterEach, describe, expect, test } from "vitest";
import { GET, OK, PlaneStage, cellOf, closedPort } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { answering } from "../support/wire.ts";

const EXPECT = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

describe("Expect: 100-continue", () => {
  test("is passed on, and the body follows the backend's word", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 100 Continue\r\n\r\n");
      if (received.endsWith("hello")) socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(EXPECT);
    await one.sees(/^HTTP\/1.1 100 Continue\r\n\r\n$/);
    one.send("hello");
    await one.sees(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n.*ok$/s);
    expect(legacy.received).toContain("Expect: 100-continue\r\n");
  });

  test("that the backend ignores is answered after a second", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("hello")) socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(EXPECT);
    await until("the head arrives", () => legacy.received.endsWith("\r\n\r\n"));
    expect(one.received).toBe("");
    started.pass(1100);
    await one.sees(/^HTTP\/1.1 100 /);
    one.send("hello");
    await one.sees(/ok$/);
  });

  test("of a client that does not wait: nothing is sent before the backend's word", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (received.endsWith("hello")) socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(`${EXPECT}hello`);
    await until("the head arrives", () => legacy.received.endsWith("\r\n\r\n"));
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    expect(legacy.received).not.toContain("hello");
    legacy.connections[0]?.socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    await one.sees(/ok$/);
  });

  test("that the backend declines: the answer is passed on, the body is not", async () => {
    const legacy = await stage.backend(answering("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(EXPECT);
    await one.sees(/^HTTP\/1.1 417 No\r\n.*Connection: close/s);
    one.send("hello");
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
    expect(legacy.received).not.toContain("hello");
  });
});

describe("trailers", () => {
  const answer =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n";
  const upload =
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nHost: x\r\n\r\n";

  test("of an answer reach a client that takes them, without those that mean something else", async () => {
    const legacy = await stage.backend(answering(answer));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers, deflate\r\n\r\n");
    await one.sees(/\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n$/);
    expect(legacy.received).toMatch(/\r\nConnection: TE\r\nTE: trailers\r\n/);
    const two = stage.client(started.port);
    two.send(GET);
    await two.sees(/\r\n2\r\nok\r\n0\r\n\r\n$/);
  });

  test("of a request are passed on only where the route says so", async () => {
    const legacy = await stage.backend(({ socket, received }) => {
      if (/0\r\n(X-Sum: 7\r\n)?\r\n$/.test(received)) socket.write(OK);
    });
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(upload);
    await one.sees(/ok$/);
    expect(legacy.received).toMatch(/\r\n1\r\na\r\n0\r\n\r\n$/);
    expect(started.plane.fieldsDropped).toBe(1);
    started.serve({ trailers: true }, { legacy: [legacy.port] });
    const two = stage.client(started.port);
    two.send(upload);
    await two.sees(/ok$/);
    expect(legacy.received).toMatch(/\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n$/);
  });
});

describe("time", () => {
  test("a body that stops is answered 408, and is no failure of the backend", async () => {
    const legacy = await stage.backend(() => {});
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    await until("it arrives", () => legacy.received.endsWith("he"));
    started.pass(61_000);
    expect(await one.seesEnd()).toMatch(/^HTTP\/1.1 408 .*BODY_TIMEOUT/s);
    expect(cellOf(started)).toMatchObject({ failures: 0, faults: [["BODY_TIMEOUT", 1]] });
    await until("the backend's connection ends", () => legacy.connections[0]?.isEnded);
  });

  test("a body that trickles is answered 408, however regularly", async () => {
    const legacy = await stage.backend(() => {});
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
    let sent = 0;
    await until("it is refused", async () => {
      if (one.received !== "") return true;
      one.send("x");
      sent++;
      await until(
        "the byte arrives",
        () => legacy.received.endsWith("x".repeat(sent)) || one.received !== "",
      );
      started.pass(3000);
      return false;
    });
    expect(one.received).toMatch(/^HTTP\/1.1 408 /);
    expect(sent).toBeLessThan(8);
  });

  test("an answer given before the end of the request may take as long as it does", async () => {
    const legacy = await stage.backend(({ socket, received }, piece) => {
      if (received === piece) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla");
    });
    const timeouts = { connectMs: 3000, responseMs: 60_000, idleMs: 0 };
    const started = await stage.plane({ legacy: [legacy.port] }, { timeouts });
    const one = stage.client(started.port);
    one.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\npart");
    await one.sees(/Connection: close\r\n.*la$/s);
    started.pass(200_000);
    legacy.connections[0]?.socket.write("te");
    await one.sees(/late$/);
  });

  test("a stream of events may be silent for as long as it likes, another answer may not", async () => {
    const events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: 1\n\n";
    const legacy = await stage.backend(answering(events));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/data: 1\n\n/);
    started.pass(3_000_000);
    expect(one.isEnded).toBe(false);
    legacy.connections[0]?.socket.write("data: 2\n\n");
    await one.sees(/data: 2\n\n/);
    legacy.script = answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow");
    const two = stage.client(started.port);
    two.send(GET);
    await two.sees(/slow$/);
    started.pass(61_000);
    await two.seesEnd();
  });

  test("off means no limit: a long poll waits, and then its body may pause", async () => {
    const legacy = await stage.backend(() => {});
    const timeouts = { connectMs: 3000, responseMs: 0, idleMs: 0 };
    const started = await stage.plane({ legacy: [legacy.port] }, { timeouts });
    const one = stage.client(started.port);
    one.send(GET);
    await until("it arrives", () => legacy.received.endsWith("\r\n\r\n"));
    started.pass(5_000_000);
    legacy.connections[0]?.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla");
    await one.sees(/la$/);
    started.pass(5_000_000);
    legacy.connections[0]?.socket.write("te");
    await one.sees(/late$/);
  });
});

describe("limits", () => {
  test("one address holds only its share of connections", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] }, {}, { connectionsPerAddressMax: 1 });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    expect(await stage.client(started.port).seesEnd()).toMatch(/^HTTP\/1.1 503 /);
    one.close();
    await until("its place is free", () => started.listener.open === 0);
    const two = stage.client(started.port);
    two.send(GET);
    await two.sees(/ok$/);
  });

  test("one address may begin only so many requests without finishing their heads", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] }, {}, { headsPerAddressMax: 1 });
    const slow = stage.client(started.port);
    slow.send("GET / HTTP/1.1\r\n");
    await until("it has begun", () => started.listener.open === 1);
    const other = stage.client(started.port);
    await until("the other one is there", () => started.listener.open === 2);
    other.send("GET");
    expect(await other.seesEnd()).toMatch(/^HTTP\/1.1 503 /);
    slow.send("Host: h\r\n\r\n");
    await slow.sees(/ok$/);
    const third = stage.client(started.port);
    third.send("GET /a HTTP/1.1\r\nHo");
    await until("the third has begun", () => started.listener.accepted === 3);
    third.send("st: h\r\n\r\n");
    await third.sees(/ok$/);
  });

  test("names that pass for forwarding fields are dropped and counted", async () => {
    const legacy = await stage.backend(answering(OK));
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(
      "GET / HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: 1.1.1.1\r\nx.real.ip: 1.1.1.1\r\nX_Other: 2\r\n\r\n",
    );
    await one.sees(/ok$/);
    expect(legacy.received).not.toContain("1.1.1.1");
    expect(legacy.received).toContain("X_Other: 2\r\n");
    expect(started.plane.fieldsDropped).toBe(2);
  });

  test("retries to a backend that is down are rationed", async () => {
    const dead = await Promise.all([closedPort(), closedPort()]);
    const retries = { attempts: 1, bodyBytesMax: 0 };
    const started = await stage.plane({ legacy: dead }, { retries });
    const clients = Array.from({ length: 30 }, () => stage.client(started.port).send(GET));
    await Promise.all(clients.map((one) => one.sees(/^HTTP\/1.1 502 /)));
    const { retries: retried, finished } = cellOf(started);
    expect(finished).toBe(30);
    expect(retried).toBeGreaterThan(0);
    expect(retried).toBeLessThanOrEqual(30);
  });
});
