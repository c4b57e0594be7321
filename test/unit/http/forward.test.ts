/** What a relay changes in heads, and that it changes nothing else. */
import { describe, expect, test } from "vitest";
import { interimForward, requestForward, responseForward } from "../../../src/http/forward.ts";
import type { ResponseHead } from "../../../src/http/head.ts";
import { parseRequestHead, parseResponseHead } from "../../../src/http/parse.ts";

const STRANGER = { peerAddress: "10.1.2.3", isPeerTrusted: false, requestId: "id-1", isUpgrade: false };
const TRUSTED = { ...STRANGER, isPeerTrusted: true };

function forwarded(lines: string[], context = STRANGER): string[] {
  const head = parseRequestHead(`${lines.join("\r\n")}\r\n\r\n`);
  if (typeof head === "string") throw new Error(head);
  const text = requestForward(head, context);
  expect(text.endsWith("\r\n\r\n")).toBe(true);
  return text.slice(0, -4).split("\r\n");
}

function relayed(lines: string[], change: Partial<Parameters<typeof responseForward>[1]> = {}): string[] {
  const head = parseResponseHead(`${lines.join("\r\n")}\r\n\r\n`);
  if (typeof head === "string") throw new Error(head);
  const context = { body: "length", keepsLength: false, isLast: false, clientMinor: 1, added: "" } as const;
  return responseForward(head, { ...context, ...change })
    .slice(0, -4)
    .split("\r\n");
}

describe("a forwarded request", () => {
  test("keeps other fields byte by byte and in order, and adds where it came from", () => {
    expect(
      forwarded(["GET /a?b HTTP/1.1", "X-One:  1 ", "Host: h:80", "x-ONE: \xe9", "Cookie: a=b"]),
    ).toEqual([
      "GET /a?b HTTP/1.1",
      "X-One:  1 ",
      "Host: h:80",
      "x-ONE: \xe9",
      "Cookie: a=b",
      "Via: 1.1 crossfade",
      "X-Forwarded-For: 10.1.2.3",
      "X-Forwarded-Proto: http",
      "X-Forwarded-Host: h:80",
      "X-Request-Id: id-1",
    ]);
  });

  test("loses what belongs to the connection, nominated fields included", () => {
    const lines = forwarded([
      "GET / HTTP/1.1",
      "Host: h",
      "Connection: keep-alive, X-Gone",
      "Keep-Alive: timeout=5",
      "X-Gone: 1",
      "Proxy-Connection: x",
      "Proxy-Authorization: Basic x",
      "TE: trailers",
      "Upgrade: h2c",
      "HTTP2-Settings: x",
      "Trailer: X",
      "X-Stays: 1",
    ]);
    expect(lines.slice(1, 4)).toEqual(["Host: h", "X-Stays: 1", "Via: 1.1 crossfade"]);
  });

  test("frames its body anew", () => {
    const sized = forwarded(["POST / HTTP/1.1", "content-length: 7", "Host: h"]);
    expect(sized.filter((line) => /content-length/i.test(line))).toEqual(["Content-Length: 7"]);
    const chunked = forwarded(["POST / HTTP/1.1", "transfer-encoding: CHUNKED", "Host: h"]);
    expect(chunked.filter((line) => /transfer-encoding/i.test(line))).toEqual(["Transfer-Encoding: chunked"]);
    expect(forwarded(["POST / HTTP/1.1", "Host: h", "Content-Length: 0"])).toContain("Content-Length: 0");
  });

  test("of a stranger loses what it says about itself", () => {
    const lines = forwarded([
      "GET / HTTP/1.1",
      "Host: h",
      "X-Forwarded-For: 1.1.1.1",
      "Forwarded: for=1.1.1.1",
      "X-Real-IP: 1.1.1.1",
      "X-Request-Id: mine",
      "Crossfade-Shadow: 1",
    ]);
    expect(lines.join("\n")).not.toMatch(/1\.1\.1\.1|mine|Shadow/);
    expect(lines).toContain("X-Forwarded-For: 10.1.2.3");
  });

  test("of a trusted peer keeps it and adds the peer", () => {
    const lines = forwarded(
      [
        "GET / HTTP/1.1",
        "Host: h",
        "X-Forwarded-For: 1.1.1.1",
        "X-Forwarded-Proto: https",
        "X-Request-Id: theirs",
      ],
      TRUSTED,
    );
    expect(lines.filter((line) => line.startsWith("X-"))).toEqual([
      "X-Forwarded-For: 1.1.1.1",
      "X-Forwarded-Proto: https",
      "X-Request-Id: theirs",
      "X-Forwarded-For: 10.1.2.3",
      "X-Forwarded-Host: h",
    ]);
  });
});

describe("a relayed response", () => {
  test("keeps status, reason, duplicates and order", () => {
    expect(
      relayed(["HTTP/1.1 200 Fine", "Set-Cookie: a", "X: 1", "Set-Cookie: b", "Content-Length: 3"]),
    ).toEqual([
      "HTTP/1.1 200 Fine",
      "Set-Cookie: a",
      "X: 1",
      "Set-Cookie: b",
      "Content-Length: 3",
      "Via: 1.1 crossfade",
    ]);
  });

  test("loses what belongs to the connection and what only Crossfade says", () => {
    const lines = relayed(
      [
        "HTTP/1.1 200 OK",
        "Connection: close, X-Gone",
        "X-Gone: 1",
        "Keep-Alive: x",
        "Crossfade-Backend: evil",
      ],
      { body: "chunked" },
    );
    expect(lines).toEqual(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Via: 1.1 crossfade"]);
  });

  test("keeps the length of an answer to HEAD, drops it from 204", () => {
    const head = ["HTTP/1.1 200 OK", "Content-Length: 9"];
    expect(relayed(head, { body: "none", keepsLength: true })).toContain("Content-Length: 9");
    expect(relayed(["HTTP/1.1 204 x", "Content-Length: 9"], { body: "none" }).join()).not.toContain("Length");
  });

  test("tells the client whether the connection stays open", () => {
    expect(relayed(["HTTP/1.1 200 OK"], { isLast: true })).toContain("Connection: close");
    expect(relayed(["HTTP/1.1 200 OK"], { clientMinor: 0 })).toContain("Connection: keep-alive");
    expect(relayed(["HTTP/1.1 200 OK"]).join()).not.toContain("Connection");
  });

  test("that is interim stays as it is", () => {
    const head = parseResponseHead("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") as ResponseHead;
    expect(interimForward(head)).toBe("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  });
});
