/** Heads: found, parsed and written again, as each request and each answer is. */
import { test } from "vitest";
import { requestForward, responseForward } from "../../src/http/forward.ts";
import { parseRequestHead, parseResponseHead } from "../../src/http/parse.ts";
import { requestHeadLength } from "../../src/http/scan.ts";
import { PLAIN_WORKLOADS } from "../proxies/workloads.ts";

const RESPONSE =
  "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Oct 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n" +
  'Cache-Control: no-store\r\nETag: "0123456789"\r\nContent-Length: 128\r\n\r\n';

const CONTEXT = {
  peerAddress: "192.0.2.7",
  isPeerTrusted: false,
  requestId: "0190b0a0-0000-7000-8000-000000000000",
  isUpgrade: false,
};

const ANSWER = { body: "length", keepsLength: false, isLast: false, clientMinor: 1, added: "" } as const;

/** A value that is there for sure: what comes first in the workloads is parsed by the tests too. */
function sound<Value>(value: Value | string): Value {
  if (typeof value === "string") throw new Error(`the head is refused: ${value}`);
  return value;
}

test("request heads", async ({ bench }) => {
  for (const name of ["small GET", "100 headers", "2 KB of cookies"]) {
    const workload = PLAIN_WORKLOADS.find((one) => one.name === name);
    const text = workload?.request(0).toString("latin1") ?? "";
    const head = sound(parseRequestHead(text));
    await bench(`find the end: ${name}`, () => requestHeadLength(text)).run();
    await bench(`parse: ${name}`, () => parseRequestHead(text)).run();
    await bench(`write: ${name}`, () => requestForward(head, CONTEXT)).run();
  }
});

test("response heads", async ({ bench }) => {
  const head = sound(parseResponseHead(RESPONSE));
  await bench("parse", () => parseResponseHead(RESPONSE)).run();
  await bench("write", () => responseForward(head, ANSWER)).run();
});
