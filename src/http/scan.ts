/** Where a head ends in bytes that arrive piece by piece, and whether it can still become a good one. */
import type { FaultCode } from "../base/fault.ts";
import { LIMITS } from "./head.ts";

const END = "\r\n\r\n";
/** A line feed without its carriage return: no further byte can mend it. */
const BARE_LF = /(?<!\r)\n/;

/** Most heads are shorter. */
const USUAL_BYTES = 2048;

/**
 * The head at `start` as text, one character a byte: no more than the head when all of it is there, else all before
 * `end`. What follows a head is not made a text: it may be long, and none of it is looked at. `before`: a part of the
 * head that came before these bytes, and whose end may only show together with them.
 */
export function headText(bytes: Buffer, start: number, end: number, before = ""): string {
  if (before !== "") return before + bytes.toString("latin1", start, end);
  const usual = bytes.toString("latin1", start, Math.min(end, start + USUAL_BYTES));
  const found = usual.indexOf(END);
  if (found === -1) return end - start <= usual.length ? usual : bytes.toString("latin1", start, end);
  const length = found + END.length;
  // Not a slice: reading one, character by character, takes far longer.
  return length === usual.length ? usual : bytes.toString("latin1", start, start + length);
}

/**
 * The length of the request head that `text` begins with, 0 while it is not complete, or why it never will be.
 *
 * The verdict is the same however the bytes are split: what comes first in the bytes decides. A complete head may
 * still hold a bare line feed: `parseRequestHead` refuses it with the same fault.
 */
export function requestHeadLength(text: string): number | FaultCode {
  const found = text.indexOf(END);
  const lineEnd = text.indexOf("\r\n");
  const length = found + END.length;
  if (found !== -1 && length <= LIMITS.requestHeadBytes && lineEnd <= LIMITS.requestLineBytes) return length;
  const head = found === -1 ? text : text.slice(0, length);
  // One byte more than the limit may be the CR of the line's end.
  const isLineLong =
    lineEnd > LIMITS.requestLineBytes || (lineEnd === -1 && head.length > LIMITS.requestLineBytes + 1);
  const lineFeed = head.search(BARE_LF);
  if (lineFeed !== -1 && !(isLineLong && lineFeed > LIMITS.requestLineBytes)) return lineFeedFault(head) ?? 0;
  if (isLineLong) return "TARGET_TOO_LONG";
  return text.length >= LIMITS.requestHeadBytes ? "HEAD_TOO_LARGE" : 0;
}

/** The fault of the first bare line feed in a request head, or null without one. RFC 9112 section 2.2. */
export function lineFeedFault(head: string): FaultCode | null {
  const lineFeed = head.search(BARE_LF);
  if (lineFeed === -1) return null;
  const lineEnd = head.indexOf("\r\n");
  return lineEnd === -1 || lineFeed < lineEnd ? "BAD_REQUEST_LINE" : "BAD_FIELD";
}

/** The length of the response head that `text` begins with, 0 while it is not complete, or why it never will be. */
export function responseHeadLength(text: string): number | "BAD_RESPONSE" | "RESPONSE_TOO_LARGE" {
  const found = text.indexOf(END);
  if (found !== -1 && found + END.length <= LIMITS.responseHeadBytes) return found + END.length;
  if (BARE_LF.test(text.slice(0, LIMITS.responseHeadBytes))) return "BAD_RESPONSE";
  return text.length >= LIMITS.responseHeadBytes ? "RESPONSE_TOO_LARGE" : 0;
}
