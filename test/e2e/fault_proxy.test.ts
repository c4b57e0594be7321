/** The proxy that tests put between two programs does exactly the harm it is told to do. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { FaultProxy, startFaultProxy } from "../support/fault_proxy.ts";
import { until } from "../support/wait.ts";
import { RawBackend, RawClient } from "../support/wire.ts";

const MEGABYTE = 1024 * 1024;

let backend: RawBackend;
let proxy: FaultProxy;
const clients: RawClient[] = [];

beforeEach(async () => {
  backend = new RawBackend();
  backend.script = ({ socket }, piece) => void socket.write(`<${piece}>`);
  proxy = await startFaultProxy(await backend.listen());
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await proxy[Symbol.asyncDispose]();
  await backend.close();
});

function connect(): RawClient {
  const client = new RawClient(proxy.port);
  clients.push(client);
  return client;
}

/** A client that has had an answer. */
async function acquainted(): Promise<RawClient> {
  const client = connect().send("hello");
  await client.sees(/^<hello>$/);
  client.received = "";
  return client;
}

test("without faults every byte passes both ways, and so does the end of one way alone", async () => {
  const client = await acquainted();
  const bytes = "x".repeat(MEGABYTE);
  client.send(bytes).halfClose();
  await until("all of it came", () => backend.received.length === MEGABYTE + 5);
  await until("its end came", () => backend.connections[0]?.isEnded);
  expect(client.isEnded).toBe(false);
  backend.connections[0]?.socket.end("bye");
  expect((await client.seesEnd()).endsWith("bye")).toBe(true);
  await until("the proxy has forgotten the connection", () => proxy.counts.open === 0);
  expect(proxy.counts).toMatchObject({ accepted: 1, cut: 0, bytesUp: MEGABYTE + 5 });
});

test("a cut resets both sides, and whoever comes next is served", async () => {
  const client = await acquainted();
  expect(proxy.cut()).toBe(1);
  await until("the client is reset", () => client.isReset);
  await until("the backend is reset", () => backend.connections[0]?.isEnded);
  await acquainted();
  expect(proxy.counts).toMatchObject({ accepted: 2, open: 1, cut: 1 });
});

test("refused connections fail, open ones go on, and the port is the same afterwards", async () => {
  const client = await acquainted();
  await proxy.refuse(true);
  const refused = connect();
  await until("it is refused", () => refused.isReset);
  client.send("still");
  await client.sees(/<still>/);
  expect(proxy.counts.accepted).toBe(1);
  await proxy.refuse(false);
  await acquainted();
});

test("a stall holds what is sent, within bounds, and lets all of it go in order", async () => {
  const client = await acquainted();
  const passed = proxy.counts.bytesUp;
  proxy.stall(true);
  const numbers = Array.from({ length: MEGABYTE / 4 }, (_, index) => String(index).padStart(8, "0")).join("");
  client.send(numbers);
  connect().send("waits too");
  await until("both connections are there", () => proxy.counts.accepted === 2);
  expect(proxy.counts.bytesUp).toBe(passed);
  proxy.stall(false);
  await until("all of it came", () => backend.connections[0]?.received.length === numbers.length + 5);
  expect(backend.connections[0]?.received).toBe(`hello${numbers}`);
});

test("a target that does not read is not read ahead of", async () => {
  const client = await acquainted();
  backend.connections[0]?.socket.pause();
  client.send("x".repeat(32 * MEGABYTE));
  let last = -1;
  await until("nothing flows any more", () => {
    const isStill = proxy.counts.bytesUp === last && last > 5;
    last = proxy.counts.bytesUp;
    return isStill;
  });
  expect(last).toBeLessThan(32 * MEGABYTE);
});

test("an answer is cut after so many bytes, once", async () => {
  const client = await acquainted();
  proxy.truncateNextAnswer(3);
  client.send("request");
  await until("it is reset", () => client.isReset);
  expect([client.received, backend.received]).toEqual(["<re", "hellorequest"]);
  await acquainted();
});

test("an order to cut an answer passes on when its connection ends before", async () => {
  const first = await acquainted();
  proxy.truncateNextAnswer(4);
  first.send("a");
  await first.sees(/^<a>$/);
  first.close();
  backend.connections[0]?.socket.end();
  await until("the proxy has forgotten the connection", () => proxy.counts.open === 0);
  const second = connect().send("b");
  await until("the client is reset", () => second.isReset);
  expect(second.received).toBe("<");
  expect(proxy.counts.cut).toBe(1);
});

test("answers are lost when told so: requests arrive, and their connections are reset", async () => {
  const client = await acquainted();
  proxy.dropAnswers(true);
  client.send("request");
  await until("it is reset", () => client.isReset);
  expect([client.received, backend.received]).toEqual(["", "hellorequest"]);
  await proxy.heal();
  await acquainted();
});

test("late and slow bytes arrive whole and in order", async () => {
  const client = await acquainted();
  proxy.delay(20);
  client.send("one");
  await until("it came", () => backend.received === "helloone");
  proxy.bandwidth(20_000);
  client.send("y".repeat(1000)).halfClose();
  await until("the end came", () => backend.connections[0]?.isEnded);
  expect(backend.received).toBe(`helloone${"y".repeat(1000)}`);
});

test("the client of a target that vanished hears nothing, until it is healed and cut", async () => {
  const client = await acquainted();
  proxy.vanish();
  await until("the target's side is gone", () => backend.connections[0]?.isEnded);
  client.send("anybody?");
  await acquainted();
  expect([client.isEnded, client.received, backend.received]).toEqual([false, "", "hellohello"]);
  await proxy.heal();
  proxy.cut();
  await client.seesEnd();
});

test("the end of one side reaches the other late", async () => {
  const client = await acquainted();
  proxy.closeLate(60_000);
  backend.connections[0]?.socket.end("last");
  await client.sees(/last$/);
  expect(client.isEnded).toBe(false);
  await proxy.heal();
  await client.seesEnd();
  expect(client.isReset).toBe(false);
});

test("a target that is not there resets its clients", async () => {
  await backend.close();
  const client = connect();
  await until("it is reset", () => client.isReset);
  expect(proxy.counts).toMatchObject({ accepted: 1, open: 0, cut: 1 });
});
