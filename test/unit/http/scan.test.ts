/** Heads as texts: no more of the bytes than the head, wherever it is and however long. */
import { describe, expect, test } from "vitest";
import { headText, responseHeadLength } from "../../../src/http/scan.ts";

const MAX = 64 * 1024;

function head(bytes: number): string {
  const start = "HTTP/1.1 200 OK\r\nX: ";
  return `${start}${"y".repeat(bytes - start.length - 4)}\r\n\r\n`;
}

describe("the text of a head", () => {
  test.each([100, 2047, 2048, 2049, 2050, 2051, 5000, MAX])("of %i bytes is all of it", (length) => {
    const text = head(length);
    const found = headText(Buffer.from(`before${text}body \xff\r\n\r\n`, "latin1"), 6, 6 + MAX);
    expect(found.startsWith(text)).toBe(true);
    expect(responseHeadLength(found)).toBe(length);
  });

  test("has nothing of the body after a head of usual length", () => {
    expect(headText(Buffer.from(`${head(300)}body`), 0, 304)).toBe(head(300));
  });

  test("is what there is while the head is not whole, and no more than may be", () => {
    const part = head(5000).slice(0, -1);
    expect(headText(Buffer.from(part), 0, MAX)).toBe(part);
    expect(headText(Buffer.from(part), 0, 3000)).toBe(part.slice(0, 3000));
    expect(headText(Buffer.from(part), 0, 100)).toBe(part.slice(0, 100));
  });

  test("goes on with what came before", () => {
    const text = head(300);
    const found = headText(Buffer.from(`${text.slice(150)}body`), 0, MAX, text.slice(0, 150));
    expect(responseHeadLength(found)).toBe(300);
  });
});
