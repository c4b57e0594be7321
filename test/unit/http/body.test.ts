/** Bodies: where they end in any split of the bytes, and which chunked bodies are refused. */
import { describe, expect, test } from "vitest";
import { BodyReader } from "../../../src/http/body.ts";
import type { BodyKind } from "../../../src/http/head.ts";

interface Outcome {
  readonly body: string;
  readonly isDone: boolean;
  readonly fault: string | null;
  /** What was left after the end of the body. */
  readonly rest: string;
}

/** Feeds `text` in pieces of `step` bytes. */
function read(kind: BodyKind, length: number, text: string, step: number): Outcome {
  const reader = new BodyReader(kind, length);
  const bytes = Buffer.from(text, "latin1");
  let body = "";
  const sink = { onBody: (piece: Buffer) => void (body += piece.toString("latin1")) };
  let at = 0;
  while (at < bytes.length && !reader.isDone && reader.fault === null) {
    const piece = bytes.subarray(at, at + step);
    at += reader.read(piece, 0, sink);
  }
  return { body, isDone: reader.isDone, fault: reader.fault, rest: reader.fault ? "" : text.slice(at) };
}

/** The same outcome in one piece and at every other step, or the test fails. */
function readAnyhow(kind: BodyKind, length: number, text: string): Outcome {
  const whole = read(kind, length, text, text.length);
  for (let step = 1; step < text.length; step++) {
    const split = read(kind, length, text, step);
    // A refused body may have given more or less of its bytes before the refusal.
    const comparable = whole.fault === null ? whole : { ...whole, body: split.body };
    expect({ step, ...split }).toEqual({ step, ...comparable });
  }
  return whole;
}

describe("a body by length", () => {
  test("ends after its bytes and leaves the rest", () => {
    expect(readAnyhow("length", 5, "helloGET /")).toMatchObject({
      body: "hello",
      isDone: true,
      rest: "GET /",
    });
  });

  test("of no bytes is complete at once", () => {
    expect(new BodyReader("length", 0).isDone).toBe(true);
    expect(new BodyReader("none", 0).isDone).toBe(true);
  });

  test("is not complete when the connection ends early", () => {
    const reader = new BodyReader("length", 3);
    reader.read(Buffer.from("ab"), 0, { onBody: () => {} });
    expect(reader.close()).toBe(false);
  });
});

describe("a body that ends with the connection", () => {
  test("takes everything and is complete when told so", () => {
    const reader = new BodyReader("close", 0);
    expect(reader.read(Buffer.from("abc"), 0, { onBody: () => {} })).toBe(3);
    expect(reader.isDone).toBe(false);
    expect(reader.close()).toBe(true);
  });
});

describe("a chunked body", () => {
  test.each([
    ["one chunk", "5\r\nhello\r\n0\r\n\r\nNEXT", "hello"],
    ["two chunks and upper-case hex", "A\r\n0123456789\r\n3\r\nabc\r\n0\r\n\r\nNEXT", "0123456789abc"],
    ["leading zeros", "0005\r\nhello\r\n00\r\n\r\nNEXT", "hello"],
    ["extensions", '5;a;b=c; d = "e;\\"f"\r\nhello\r\n0;last\r\n\r\nNEXT', "hello"],
    ["trailers", "1\r\nx\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\nNEXT", "x"],
    ["no data", "0\r\n\r\nNEXT", ""],
    ["data that looks like chunks", "7\r\n0\r\n\r\nab\r\n0\r\n\r\nNEXT", "0\r\n\r\nab"],
  ])("is read in any split: %s", (_, text, body) => {
    expect(readAnyhow("chunked", 0, text)).toMatchObject({ body, isDone: true, fault: null, rest: "NEXT" });
  });

  test.each([
    ["no size", "\r\nhello\r\n"],
    ["a sign", "+5\r\nhello\r\n0\r\n\r\n"],
    ["a hex prefix", "0x5\r\nhello\r\n0\r\n\r\n"],
    ["an underscore", "1_0\r\n"],
    ["a leading space", " 5\r\nhello\r\n0\r\n\r\n"],
    ["a trailing space", "5 \r\nhello\r\n0\r\n\r\n"],
    ["14 digits", "00000000000005\r\nhello\r\n0\r\n\r\n"],
    ["a bare line feed after the size", "5\nhello\r\n0\r\n\r\n"],
    ["a bare carriage return in the size line", "5\rX\r\nhello\r\n"],
    ["too much data", "5\r\nhelloo\r\n0\r\n\r\n"],
    ["a line feed alone after the data", "5\r\nhello\n0\r\n\r\n"],
    ["an extension without name", "5;\r\nhello\r\n0\r\n\r\n"],
    ["an open quote", '5;a="b\r\nhello\r\n0\r\n\r\n'],
    ["a control character in an extension", "5;a=\x01\r\nhello\r\n0\r\n\r\n"],
    ["a size line over the limit", `5;${"a".repeat(300)}\r\nhello\r\n0\r\n\r\n`],
    ["a trailer with a space before the colon", "0\r\nX : 1\r\n\r\n"],
    ["a folded trailer", "0\r\nX: 1\r\n 2\r\n\r\n"],
    ["a bare line feed after a trailer", "0\r\nX: 1\n\r\n"],
    ["too many trailers", `0\r\n${"X: 1\r\n".repeat(33)}\r\n`],
  ])("is refused in any split: %s", (_, text) => {
    expect(readAnyhow("chunked", 0, text)).toMatchObject({ isDone: false, fault: "BAD_CHUNK" });
  });

  test("bounds its extensions over all chunks together", () => {
    const chunk = `1;${"a".repeat(200)}\r\nx\r\n`;
    expect(read("chunked", 0, chunk.repeat(20), 4096).fault).toBeNull();
    expect(read("chunked", 0, chunk.repeat(21), 4096).fault).toBe("BAD_CHUNK");
  });

  test("bounds its trailer section", () => {
    expect(read("chunked", 0, `0\r\nX: ${"a".repeat(9000)}\r\n\r\n`, 1000).fault).toBe("BAD_CHUNK");
  });
});
