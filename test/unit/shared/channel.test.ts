/** The channel over a real Unix socket: whole messages in order, whatever the pieces, and an end to everything else. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  FRAME_BYTES_MAX,
  OUTGOING_BYTES_MAX,
  openChannel,
  type Channel,
} from "../../../src/shared/channel.ts";
import { until } from "../../support/wait.ts";

interface Note {
  readonly type: string;
  readonly text?: string;
}

/** One side of a channel, with what it heard. */
class Side {
  readonly heard: Note[] = [];
  readonly causes: string[] = [];
  readonly channel: Channel<Note>;

  constructor(socket: Socket) {
    this.channel = openChannel<Note, Note>(socket, {
      onMessage: (note) => void this.heard.push(note),
      onClose: (cause) => void this.causes.push(cause),
    });
  }
}

let directory: string;
let server: Server;
const sockets: Socket[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "crossfade-channel-"));
  server = createServer();
  await new Promise<void>((resolve) => server.listen({ path: join(directory, "s") }, resolve));
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true });
});

/** Two connected sockets. */
async function pair(): Promise<readonly [Socket, Socket]> {
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const near = connect({ path: join(directory, "s") });
  const far = await accepted;
  sockets.push(near, far);
  return [near, far];
}

/** The bytes of a message, as another implementation would write them. */
function frame(json: string): Buffer {
  const body = Buffer.from(json, "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

describe("messages", () => {
  test("arrive whole and in order, both ways", async () => {
    const [near, far] = (await pair()).map((socket) => new Side(socket)) as [Side, Side];
    for (let n = 0; n < 100; n++)
      expect(near.channel.send({ type: `n${n}`, text: "ä".repeat(n) })).toBe(true);
    far.channel.send({ type: "hello" });
    await until("all are there", () => far.heard.length === 100 && near.heard.length === 1);
    expect(far.heard.map(({ type }) => type)).toEqual(Array.from({ length: 100 }, (_, n) => `n${n}`));
    expect(far.heard[99]?.text).toBe("ä".repeat(99));
  });

  test("arrive whole from any pieces", async () => {
    const bytes = Buffer.concat([
      frame('{"type":"one"}'),
      frame('{"type":"two","text":"ü"}'),
      frame('{"type":"three"}'),
    ]);
    for (let size = 1; size <= bytes.length; size++) {
      const [raw, socket] = await pair();
      const side = new Side(socket);
      raw.setNoDelay(true);
      for (let at = 0; at < bytes.length; at += size) {
        // Waiting for the write makes it likely that every piece is a read of its own.
        await new Promise((resolve) => raw.write(bytes.subarray(at, at + size), resolve));
      }
      await until("all are there", () => side.heard.length === 3);
      expect(side.heard).toEqual([{ type: "one" }, { type: "two", text: "ü" }, { type: "three" }]);
      raw.destroy();
    }
  });

  test("may be as long as a large table", async () => {
    const [near, far] = (await pair()).map((socket) => new Side(socket)) as [Side, Side];
    const text = "x".repeat(8 * 1024 * 1024);
    near.channel.send({ type: "table", text });
    near.channel.send({ type: "after" });
    await until("both are there", () => far.heard.length === 2);
    expect(far.heard[0]?.text?.length).toBe(text.length);
  });

  test("sent before an end still arrive, and none can be sent after it", async () => {
    const [near, far] = (await pair()).map((socket) => new Side(socket)) as [Side, Side];
    near.channel.send({ type: "last" });
    near.channel.end();
    expect(near.channel.send({ type: "late" })).toBe(false);
    await until("both sides have ended", () => near.causes.length === 1 && far.causes.length === 1);
    expect(far.heard).toEqual([{ type: "last" }]);
  });
});

describe("a channel closes with its reason", () => {
  test.each([
    ["no JSON", frame("{"), "not JSON"],
    ["no object", frame('"hello"'), "not a message"],
    ["no type", frame('{"kind":"hello"}'), "not a message"],
    ["nothing", frame(""), "not JSON"],
  ])("on a frame that holds %s", async (_, bytes, reason) => {
    const [raw, socket] = await pair();
    const side = new Side(socket);
    raw.write(bytes);
    await until("it is closed", () => side.causes.length === 1);
    expect(side.causes[0]).toContain(reason);
    expect(side.heard).toEqual([]);
  });

  test("on a frame that is announced too long, before its bytes come", async () => {
    const [raw, socket] = await pair();
    const side = new Side(socket);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(FRAME_BYTES_MAX + 1);
    raw.write(length);
    await until("it is closed", () => side.causes.length === 1);
    expect(side.causes[0]).toContain(`${FRAME_BYTES_MAX + 1} bytes`);
  });

  test("when the peer leaves in the middle of a frame", async () => {
    const [raw, socket] = await pair();
    const side = new Side(socket);
    raw.end(frame('{"type":"one"}').subarray(0, 9));
    await until("it is closed", () => side.causes.length === 1);
    expect(side.causes).toEqual(["the peer closed the channel"]);
    expect(side.heard).toEqual([]);
  });

  test("when the peer does not read and too much waits for it", async () => {
    const [raw, socket] = await pair();
    raw.pause();
    const side = new Side(socket);
    const text = "x".repeat(OUTGOING_BYTES_MAX / 8);
    let sent = 0;
    while (side.channel.send({ type: "more", text })) sent++;
    expect(sent).toBeGreaterThan(4);
    expect(side.channel.isOpen()).toBe(false);
    await until("it is closed", () => side.causes.length === 1);
    expect(side.causes).toEqual(["the peer does not read what it is sent"]);
  });

  test("by its owner, once, and hears nothing after that", async () => {
    const [near, far] = (await pair()).map((socket) => new Side(socket)) as [Side, Side];
    far.channel.send({ type: "one" });
    near.channel.close("enough");
    near.channel.close("again");
    await until("both sides are closed", () => near.causes.length === 1 && far.causes.length === 1);
    expect(near.causes).toEqual(["enough"]);
    expect(near.heard).toEqual([]);
    expect(near.channel.send({ type: "late" })).toBe(false);
  });
});
