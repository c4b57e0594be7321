/** One copy between a pool and a shadow that the test plays: that it ends once, and keeps nothing. */
import { expect, test } from "vitest";
import type { BackendId } from "../../../src/domain/route.ts";
import type { ResponseHead } from "../../../src/http/head.ts";
import type { ConnectionTaker, Pool } from "../../../src/plane/pool.ts";
import { Room } from "../../../src/plane/room.ts";
import { Shadow } from "../../../src/plane/shadow.ts";
import type { UpstreamConnection } from "../../../src/plane/upstream.ts";
import type { ShadowResult } from "../../../src/shared/counters.ts";

interface Played {
  readonly shadow: Shadow;
  readonly written: string[];
  readonly told: string[];
  readonly results: ShadowResult[];
  readonly held: () => number;
}

/** A copy whose connection is there at once and takes so many writes before it is behind. */
function playing(writesMax: number, isChunked = false): Played {
  const [written, told, results]: [string[], string[], ShadowResult[]] = [[], [], []];
  const connection = {
    send: ({ text }: { text: string }) => void written.push(text),
    write: (bytes: Buffer | string) => written.push(bytes.toString("latin1")) <= writesMax,
    endRequest: () => void told.push("endRequest"),
    destroy: () => void told.push("destroy"),
  };
  const pool = {
    acquire: (taker: ConnectionTaker) => taker.onConnection(connection as unknown as UpstreamConnection),
    cancel: () => void told.push("cancel"),
  } as unknown as Pool;
  const room = new Room(1_000_000);
  const shadow = new Shadow(
    {
      text: "HEAD",
      method: "GET",
      isChunked,
      backend: { id: "new" as BackendId, endpoints: [] },
      bodyBytesMax: 10_000,
      answerBytesMax: 10_000,
      capture: null,
      dryRun: null,
      connectMs: 1,
      deadlineMs: 5,
      client: "",
    },
    { pool, room, onOver: (_, result) => void results.push(result) },
  );
  return { shadow, written, told, results, held: () => room.held };
}

test("an answer that comes before the shadow has taken the request ends the connection", () => {
  for (const isBehind of [true, false]) {
    const { shadow, told, results, held } = playing(1);
    shadow.start(false, 3);
    expect(held()).toBe(7);
    shadow.onBody(Buffer.from("abc"));
    shadow.onBodyEnd("");
    if (!isBehind) shadow.onDrain();
    shadow.onHead({ status: 200 } as ResponseHead);
    expect([told, results]).toEqual([
      isBehind ? ["endRequest", "destroy"] : ["endRequest"],
      isBehind ? ["answered"] : [],
    ]);
    if (!isBehind) shadow.onEnd();
    expect(results).toEqual(["answered"]);
    expect(held()).toBe(0);
  }
});

test("a body of unknown length is kept in room that doubles up to the bound, and sent in one piece", () => {
  const { shadow, written, results, held } = playing(99, true);
  shadow.start(false, 0);
  const rooms = [1, 4_096, 4_000, 1_000].map((size) => {
    shadow.onBody(Buffer.alloc(size, "x"));
    return held() - 4;
  });
  expect(rooms).toEqual([4_096, 8_192, 8_192, 10_000]);
  shadow.onBodyEnd("T: 1\r\n");
  expect(written).toEqual(["HEAD", "2389\r\n", "x".repeat(9_097), "\r\n", "0\r\nT: 1\r\n\r\n"]);
  shadow.onFault("BAD_RESPONSE");
  shadow.onPrimaryOver();
  expect(results).toEqual(["malformed"]);
  expect(held()).toBe(0);
});

test("it keeps bytes of its own: what becomes of the request's buffers does not matter", () => {
  const { shadow, written } = playing(99);
  const bytes = Buffer.from("abc");
  shadow.start(false, 3);
  shadow.onBody(bytes);
  bytes.fill("x");
  shadow.onBodyEnd("");
  expect(written).toEqual(["HEAD", "abc"]);
});
