/** Where a head ends in bytes that arrive piece by piece, and whether it can still become a good one. */
import type { FaultCode } from "../base/fault.ts";
import { LIMITS } from "./head.ts";

const END = "\r\n\r\n";
/** A line feed without its carriage return: no further byte can mend it. */
const BARE_LF = /(?<!\r)\n/;

/**
 * The length of the request head that `text` begins with, 0 while it is not complete, or why it never will be.
 * The verdict on a head is the same however it is split, since the first thing wrong with it is found first.
 */
export function requestHeadLength(text: string): number | FaultCode {
  const end = text.indexOf(END);
  if (end !== -1 && end + END.length <= LIMITS.requestHeadBytes) return end + END.length;
  if (end !== -1 || text.length >= LIMITS.requestHeadBytes) return "HEAD_TOO_LARGE";
  if (BARE_LF.test(text)) return "BAD_REQUEST_LINE";
  return text.length > LIMITS.requestLineBytes && !text.includes("\r\n") ? "TARGET_TOO_LONG" : 0;
}

/** The same for a response head. */
export function responseHeadLength(text: string): number | "BAD_RESPONSE" | "RESPONSE_TOO_LARGE" {
  const end = text.indexOf(END);
  if (end !== -1 && end + END.length <= LIMITS.responseHeadBytes) return end + END.length;
  if (end !== -1 || text.length >= LIMITS.responseHeadBytes) return "RESPONSE_TOO_LARGE";
  return BARE_LF.test(text) ? "BAD_RESPONSE" : 0;
}
