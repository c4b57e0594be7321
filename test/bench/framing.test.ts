/** Answers as the load finds them, whole and in pieces. */
import { describe, expect, test } from "vitest";
import { AnswerFraming, type Answer } from "../../bench/proxies/framing.ts";

const LENGTH = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const EMPTY = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const NO_CHUNK = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

/** The answers in a text that comes in pieces of so many bytes, one answer at a time. */
function answersIn(texts: readonly string[], size: number): Answer[] {
  const framing = new AnswerFraming();
  const answers: Answer[] = [];
  for (const text of texts) {
    for (let at = 0; at < text.length; at += size) {
      const bytes = Buffer.from(text.slice(at, at + size), "latin1");
      const answer = framing.take(bytes, bytes.length);
      if (answer !== null) answers.push(answer);
    }
  }
  return answers;
}

describe("answers", () => {
  test.each([1, 2, 3, 7, 1000])("are found in pieces of %i bytes, one after the other", (size) => {
    expect(answersIn([LENGTH, CHUNKED, NO_CHUNK, LENGTH, EMPTY], size)).toEqual([
      { status: 200, bodyBytes: 5, isLast: false },
      { status: 200, bodyBytes: 15, isLast: false },
      { status: 200, bodyBytes: 5, isLast: false },
      { status: 200, bodyBytes: 5, isLast: false },
      { status: 404, bodyBytes: 0, isLast: true },
    ]);
  });

  test("one that is not whole is none", () => {
    expect(answersIn([LENGTH.slice(0, -1)], 1000)).toEqual([]);
    expect(answersIn([CHUNKED.slice(0, -1)], 1000)).toEqual([]);
  });
});
