/** PROXY headers through a real data plane: from load balancers to us, and from us to backends. */
import { afterEach, describe, expect, test } from "vitest";
import { writeProxyHeader } from "../../src/http/proxy_protocol.ts";
import { GET, OK, PlaneStage, cellOf, type TestPlane } from "../support/plane.ts";
import { until } from "../support/wait.ts";
import { answering, type RawBackend } from "../support/wire.ts";

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

const NAMED = "PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n";
const TRUSTING = { trustedProxies: ["127.0.0.0/8"] };

/** A plane whose clients must begin with a header. */
async function proxied(
  options = {},
  route = {},
): Promise<{ legacy: RawBackend & { port: number }; started: TestPlane }> {
  const legacy = await stage.backend(answering(OK));
  const around = { takesProxyHeader: true };
  const started = await stage.plane({ legacy: [legacy.port] }, route, { ...TRUSTING, ...options }, around);
  return { legacy, started };
}

describe("a listener that takes PROXY headers", () => {
  test("takes the client's address from it, with whatever follows in the same packet", async () => {
    const { legacy, started } = await proxied();
    const one = stage.client(started.port);
    one.send(NAMED + GET);
    await one.sees(/ok$/);
    one.received = "";
    one.send(GET);
    await one.sees(/ok$/);
    expect(legacy.received.match(/X-Forwarded-For: 192\.0\.2\.7\r\n/g)).toHaveLength(2);
    expect(legacy.received).not.toContain("PROXY");
  });

  test("answers a client that has sent all it wants by then", async () => {
    const { legacy, started } = await proxied();
    const one = stage.client(started.port);
    one.send(NAMED + GET).halfClose();
    expect(await one.seesEnd()).toMatch(/ok$/);
    expect(legacy.received).toContain("X-Forwarded-For: 192.0.2.7\r\n");
  });

  test("takes it in single bytes, in both versions", async () => {
    const { legacy, started } = await proxied();
    const client = { address: "2001:db8::7", port: 4000 };
    for (const version of ["v1", "v2"] as const) {
      const one = stage.client(started.port);
      const header = writeProxyHeader(version, client, { address: "::1", port: 80 });
      for (const byte of Buffer.concat([header, Buffer.from(GET)])) {
        one.send(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      await one.sees(/ok$/);
    }
    expect(legacy.received.match(/X-Forwarded-For: 2001:db8::7\r\n/g)).toHaveLength(2);
  });

  test("takes the peer's own address when the header names nobody", async () => {
    const { legacy, started } = await proxied();
    const one = stage.client(started.port);
    one.send(`PROXY UNKNOWN\r\n${GET}`);
    await one.sees(/ok$/);
    const two = stage.client(started.port);
    two.send(Buffer.from("0d0a0d0a000d0a515549540a20000000", "hex")).send(GET);
    await two.sees(/ok$/);
    expect(legacy.received.match(/X-Forwarded-For: 127\.0\.0\.1\r\n/g)).toHaveLength(2);
  });

  test("does not believe the forwarding fields of a client behind it", async () => {
    const { legacy, started } = await proxied();
    const one = stage.client(started.port);
    one.send(`${NAMED}GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n`);
    await one.sees(/ok$/);
    expect(legacy.received).toContain("X-Forwarded-For: 192.0.2.7\r\n");
    expect(legacy.received).not.toContain("198.51.100.1");
  });

  test("believes those of a trusted proxy behind it", async () => {
    const { legacy, started } = await proxied();
    const one = stage.client(started.port);
    const header = NAMED.replace("192.0.2.7", "127.0.0.9");
    one.send(`${header}GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n`);
    await one.sees(/ok$/);
    expect(legacy.received).toContain("X-Forwarded-For: 198.51.100.1\r\n");
    expect(legacy.received).toContain("X-Forwarded-For: 127.0.0.9\r\n");
  });

  test.each([
    ["without a header", GET],
    ["with half a header", "PROXY TCP4 192.0.2.7\r\n"],
    ["that names a datagram", Buffer.from("0d0a0d0a000d0a515549540a2112000c", "hex")],
  ])("closes connections %s, silently and counted", async (_, bytes) => {
    const { legacy, started } = await proxied();
    const one = stage.client(started.port);
    one.send(bytes);
    expect(await one.seesEnd()).toBe("");
    expect(started.listener).toMatchObject({ accepted: 0, refused: 1, open: 0 });
    expect(legacy.connections).toHaveLength(0);
  });

  test("closes connections from peers that are not trusted", async () => {
    const { started } = await proxied({ trustedProxies: ["192.0.2.0/24"] });
    const one = stage.client(started.port);
    one.send(NAMED + GET);
    expect(await one.seesEnd()).toBe("");
    expect(started.listener).toMatchObject({ accepted: 0, refused: 1, open: 0 });
  });

  test("waits 10 s for the header; a check that only connects is not counted", async () => {
    const { started } = await proxied();
    const check = stage.client(started.port);
    await until("it is connected", () => started.listener.open === 1);
    check.close();
    await until("it is gone", () => started.listener.open === 0);
    expect(started.listener.refused).toBe(0);
    const slow = stage.client(started.port);
    slow.send("PROXY TCP4 ");
    await until("it is connected", () => started.listener.open === 1);
    started.pass(9_999);
    expect(slow.isEnded).toBe(false);
    started.pass(1);
    expect(await slow.seesEnd()).toBe("");
    expect(started.listener.refused).toBe(1);
  });

  test("counts connections per client, not per load balancer", async () => {
    const { started } = await proxied({ connectionsPerAddressMax: 1 });
    const one = stage.client(started.port);
    one.send(NAMED + GET);
    await one.sees(/ok$/);
    const two = stage.client(started.port);
    two.send(NAMED + GET);
    expect(await two.seesEnd()).toMatch(/^HTTP\/1.1 503 /);
    const other = stage.client(started.port);
    other.send(NAMED.replace("192.0.2.7", "192.0.2.8") + GET);
    await other.sees(/ok$/);
  });

  test("lets go of connections that still owe a header when it drains", async () => {
    const { started } = await proxied();
    const one = stage.client(started.port);
    await until("it is connected", () => started.listener.open === 1);
    let isDrained = false;
    const order = { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 60_000, tunnelsMs: 60_000 };
    started.listener.drain(order, () => (isDrained = true));
    expect(await one.seesEnd()).toBe("");
    await until("it is drained", () => isDrained);
  });
});

describe("a backend that is told its clients' addresses", () => {
  /** Answers requests behind a header, which stands alone at the start of a connection. */
  const behindHeader: RawBackend["script"] = ({ socket }, piece) => {
    if (piece.endsWith("\r\n\r\n")) socket.write(OK);
  };

  async function greeted(version: "v1" | "v2") {
    const legacy = await stage.backend(behindHeader);
    const ports = { legacy: [legacy.port], proxyProtocol: version };
    const started = await stage.plane(ports, {}, TRUSTING, { takesProxyHeader: true });
    return { legacy, started };
  }

  /** A client behind the load balancer that has been answered once. */
  async function clientAt(address: string, started: TestPlane) {
    const one = stage.client(started.port);
    one.send(NAMED.replace("192.0.2.7", address) + GET);
    await one.sees(/ok$/);
    return one;
  }

  test.each(["v1", "v2"] as const)("gets one header per connection, version %s", async (version) => {
    const { legacy, started } = await greeted(version);
    const one = await clientAt("192.0.2.7", started);
    one.received = "";
    one.send(GET);
    await one.sees(/ok$/);
    const from = { address: "192.0.2.7", port: 0 };
    const header = writeProxyHeader(version, from, { address: "127.0.0.1", port: legacy.port });
    expect(legacy.connections).toHaveLength(1);
    const received = Buffer.from(legacy.received, "latin1");
    expect(received.subarray(0, header.length)).toEqual(header);
    expect(received.indexOf(header, header.length)).toBe(-1);
    expect(received.subarray(header.length, header.length + 4).toString()).toBe("GET ");
  });

  test("gets the requests of two addresses on two connections, those of one on one", async () => {
    const { legacy, started } = await greeted("v1");
    for (let i = 0; i < 3; i++) {
      await clientAt("192.0.2.7", started);
      await clientAt("192.0.2.8", started);
    }
    expect(legacy.connections).toHaveLength(2);
    for (const { received } of legacy.connections) {
      const named = /^PROXY TCP4 (\S+) /.exec(received)?.[1];
      const forwarded = new Set([...received.matchAll(/X-Forwarded-For: (\S+)/g)].map((found) => found[1]));
      expect(forwarded).toEqual(new Set([named]));
    }
    expect(cellOf(started)).toMatchObject({ finished: 6, failures: 0 });
  });

  test("sees idle connections of one client closed soon", async () => {
    const { legacy, started } = await greeted("v1");
    await clientAt("192.0.2.7", started);
    started.pass(1_000);
    await until("its connection is closed", () => legacy.connections[0]?.isEnded);
  });

  test("gives an answer to everybody when many clients come at once", async () => {
    const { legacy, started } = await greeted("v2");
    const addresses = Array.from({ length: 40 }, (_, i) => `192.0.2.${i % 8}`);
    await Promise.all(addresses.map((address) => clientAt(address, started)));
    expect(cellOf(started)).toMatchObject({ finished: 40, failures: 0 });
    expect(legacy.connections.length).toBeLessThanOrEqual(40);
  });

  test("gets other connections once it asks for the header", async () => {
    const legacy = await stage.backend(behindHeader);
    const started = await stage.plane({ legacy: [legacy.port] });
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/ok$/);
    started.serve({}, { legacy: [legacy.port], proxyProtocol: "v1" });
    one.received = "";
    one.send(GET);
    await one.sees(/ok$/);
    await until("the first connection is closed", () => legacy.connections[0]?.isEnded);
    expect(legacy.connections).toHaveLength(2);
    expect(legacy.connections[0]?.received).toMatch(/^GET /);
    expect(legacy.connections[1]?.received).toMatch(/^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 0 \d+\r\nGET /);
  });
});
