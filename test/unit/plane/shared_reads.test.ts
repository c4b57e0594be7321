/** Accepted connections that are read into one buffer. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StepClock } from "../../../src/base/clock.ts";
import { SharedReads } from "../../../src/plane/shared_reads.ts";
import { ManualClock } from "../../support/clock.ts";
import { until } from "../../support/wait.ts";

let server: Server;
const sockets: Socket[] = [];
beforeEach(async () => {
  server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.close();
});

async function pair(): Promise<{ readonly client: Socket; readonly accepted: Socket }> {
  const accepting = once(server, "connection") as Promise<[Socket]>;
  const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
  const [accepted] = await accepting;
  sockets.push(client, accepted);
  return { client, accepted };
}

/** All that `accepted` brings, and the buffers that it came in. */
function readAll(reads: SharedReads, accepted: Socket): { text: string; readonly buffers: Set<Buffer> } {
  const seen = { text: "", buffers: new Set<Buffer>() };
  reads.begin(accepted, (buffer, length) => {
    seen.text += buffer.toString("latin1", 0, length);
    seen.buffers.add(buffer);
  });
  return seen;
}

describe("connections that are read together", () => {
  test("share one buffer, and each gets its own bytes", async () => {
    const reads = new SharedReads(new StepClock(new ManualClock()));
    // If this fails with a new Node, requests still work, and cost more: find out where it keeps `onread` now.
    expect(reads.isPossible).toBe(true);
    const [one, other] = [await pair(), await pair()];
    const seen = [readAll(reads, one.accepted), readAll(reads, other.accepted)] as const;
    one.client.write("one");
    await until("the first bytes", () => seen[0].text === "one");
    other.client.write("other");
    await until("those of the other", () => seen[1].text === "other");
    one.client.write("!");
    await until("more of the first", () => seen[0].text === "one!");
    expect(new Set([...seen[0].buffers, ...seen[1].buffers]).size).toBe(1);
  });

  test("wait while they are paused, and say when they end", async () => {
    const reads = new SharedReads(new StepClock(new ManualClock()));
    const { client, accepted } = await pair();
    const seen = readAll(reads, accepted);
    const ended = once(accepted, "end");
    accepted.pause();
    client.end("x".repeat(300_000));
    // Another connection shows that the bytes had their time to arrive.
    const other = await pair();
    const seenOther = readAll(reads, other.accepted);
    other.client.write("y");
    await until("the other is read", () => seenOther.text === "y");
    expect(seen.text).toBe("");
    accepted.resume();
    await ended;
    expect(seen.text).toBe("x".repeat(300_000));
  });
});

test("a connection that was read before is read on as it was, with what it holds first", async () => {
  const reads = new SharedReads(new StepClock(new ManualClock()));
  const { client, accepted } = await pair();
  client.write("header");
  const [header] = (await once(accepted, "data")) as [Buffer];
  accepted.unshift(header.subarray(4));
  const seen = readAll(reads, accepted);
  client.write("more");
  await until("all of it", () => seen.text === "ermore");
});
