/** Event streams: what a subscriber gets, what it may leave unread, how a stream ends. */
import { describe, expect, test } from "vitest";
import {
  EventStreams,
  SUBSCRIBERS_MAX,
  UNREAD_BYTES_MAX,
  UNREAD_EVENTS_MAX,
  type Subscription,
} from "../../../src/admin/event_stream.ts";
import { EVENTS_MAX, Journal } from "../../../src/control/journal.ts";
import { ManualClock } from "../../support/clock.ts";

type Reader = ReadableStreamDefaultReader<Uint8Array>;

function stage(heartbeatMs?: number): { journal: Journal; streams: EventStreams } {
  const journal = new Journal(new ManualClock(1_000));
  return { journal, streams: new EventStreams(journal, heartbeatMs) };
}

function open(streams: EventStreams, subscription: Partial<Subscription> = {}): Reader {
  const body = streams.open({ lastEventId: null, ...subscription });
  if (body === null) throw new Error("there was no room for this stream");
  return body.getReader();
}

async function next(reader: Reader): Promise<string> {
  const { done, value } = await reader.read();
  return done ? "<end>" : new TextDecoder().decode(value);
}

describe("a subscriber", () => {
  test("is told how long to wait before it comes back, then what happens from now on", async () => {
    const { journal, streams } = stage();
    journal.append("worker.started", { worker: 0 });
    const reader = open(streams);
    expect(await next(reader)).toBe("retry: 1000\n\n");
    journal.append("table.changed", { revision: 2, reason: "line\nbreak" });
    expect(await next(reader)).toBe(
      "id: 1000.2\nevent: table.changed\n" +
        'data: {"revision":2,"reason":"line\\nbreak","at":"1970-01-01T00:00:01.000Z"}\n\n',
    );
    await reader.cancel();
  });

  test("gets what it missed since its last event, without a gap", async () => {
    const { journal, streams } = stage();
    for (const type of ["a", "b", "c"]) journal.append(type, {});
    const reader = open(streams, { lastEventId: "1000.1" });
    const opening = await next(reader);
    expect(opening.match(/^(?:id|event): .*/gm)).toEqual([
      "id: 1000.2",
      "event: b",
      "id: 1000.3",
      "event: c",
    ]);
    journal.append("d", {});
    expect(await next(reader)).toContain("event: d\n");
    await reader.cancel();
  });

  test("hears of a gap first when its last event is of another run", async () => {
    const { journal, streams } = stage();
    journal.append("a", {});
    const reader = open(streams, { lastEventId: "999.7" });
    expect(await next(reader)).toBe(
      'retry: 1000\n\nevent: gap\ndata: {"after":"999.7"}\n\n' +
        'id: 1000.1\nevent: a\ndata: {"at":"1970-01-01T00:00:01.000Z"}\n\n',
    );
    await reader.cancel();
  });

  test("gets a heartbeat when nothing happens", async () => {
    const { streams } = stage(5);
    const reader = open(streams);
    await next(reader);
    expect(await next(reader)).toBe(": heartbeat\n\n");
    await reader.cancel();
  });
});

describe("a stream ends", () => {
  test("when its reader leaves: then nobody listens any more", async () => {
    const { journal, streams } = stage();
    const reader = open(streams);
    expect(streams.count).toBe(1);
    await reader.cancel();
    expect(streams.count).toBe(0);
    journal.append("a", {});
    expect(streams.count).toBe(0);
  });

  test("properly when the listener closes", async () => {
    const { streams } = stage();
    const closing = new AbortController();
    const reader = open(streams, { closing: closing.signal });
    await next(reader);
    const waiting = next(reader);
    closing.abort();
    expect(await waiting).toBe("<end>");
    expect(streams.count).toBe(0);
  });

  test("at once when the listener has closed already", async () => {
    const { streams } = stage();
    const reader = open(streams, { closing: AbortSignal.abort() });
    expect(await next(reader)).toBe("<end>");
    expect(streams.count).toBe(0);
  });
});

describe("bounds", () => {
  test("one subscriber more than there is room for is refused, until another one leaves", async () => {
    const { streams } = stage();
    const readers = Array.from({ length: SUBSCRIBERS_MAX }, () => open(streams));
    expect(streams.open({ lastEventId: null })).toBeNull();
    await readers[0]?.cancel();
    expect(streams.open({ lastEventId: null })).not.toBeNull();
  });

  test("a subscriber that leaves too many events unread is cut, and the others are not", async () => {
    const { journal, streams } = stage();
    let cuts = 0;
    const slow = open(streams, { cut: () => cuts++ });
    const quick = open(streams);
    await next(quick);
    for (let n = 1; n <= UNREAD_EVENTS_MAX + 1; n++) {
      journal.append("a", { n });
      expect(await next(quick)).toContain(`"n":${n},`);
    }
    expect(cuts).toBe(1);
    expect(streams.count).toBe(1);
    expect(await next(slow)).toBe("<end>");
    await quick.cancel();
  });

  test("a subscriber that leaves too many bytes unread is cut", async () => {
    const { journal, streams } = stage();
    let cuts = 0;
    const slow = open(streams, { cut: () => cuts++ });
    const large = { text: "x".repeat(UNREAD_BYTES_MAX / 4) };
    for (let n = 0; n < 3; n++) journal.append("a", large);
    expect(cuts).toBe(0);
    journal.append("a", large);
    expect(cuts).toBe(1);
    expect(await next(slow)).toBe("<end>");
  });

  test("what the journal remembers can always be caught up on, however large it is", async () => {
    const { journal, streams } = stage();
    for (let n = 0; n < EVENTS_MAX; n++) journal.append("a", { text: "x".repeat(2_000) });
    const reader = open(streams, { lastEventId: "1.1" });
    for (const type of ["first", "second"]) journal.append(type, {});
    expect(await next(reader)).toContain("event: gap");
    expect(await next(reader)).toContain("event: first");
    expect(await next(reader)).toContain("event: second");
    expect(streams.count).toBe(1);
    await reader.cancel();
  });
});
