/** Request and response heads: what is understood, and the fault of everything that is not. */
import { describe, expect, test } from "vitest";
import { fieldValue, responseBody, type RequestHead, type ResponseHead } from "../../../src/http/head.ts";
import { parseRequestHead, parseResponseHead } from "../../../src/http/parse.ts";

function request(...lines: string[]): RequestHead | string {
  return parseRequestHead(`${lines.join("\r\n")}\r\n\r\n`);
}

function accepted(...lines: string[]): RequestHead {
  const head = request(...lines);
  if (typeof head === "string") throw new Error(`refused with ${head}`);
  return head;
}

function response(...lines: string[]): ResponseHead | string {
  return parseResponseHead(`${lines.join("\r\n")}\r\n\r\n`);
}

const GET = "GET / HTTP/1.1";
const HOST = "Host: shop.example.com";

describe("a request head that is understood", () => {
  test("gives method, target, path, query, host and framing", () => {
    const head = accepted("POST /a/b?c=d&e HTTP/1.1", "Host: Shop.Example.com:8080", "Content-Length: 12");
    expect(head).toMatchObject({
      method: "POST",
      target: "/a/b?c=d&e",
      path: "/a/b",
      query: "c=d&e",
      authority: "Shop.Example.com:8080",
      host: "shop.example.com",
      body: "length",
      contentLength: 12,
      keepAlive: true,
    });
  });

  test("keeps order, case, duplicates and bytes above 127 of fields", () => {
    const head = accepted(GET, HOST, "X-A: 1", "x-a:  zwei \t", "X-B: caf\xe9");
    expect(head.text).toContain("X-A: 1\r\nx-a:  zwei \t\r\nX-B: caf\xe9\r\n");
    expect(fieldValue(head, "x-a")).toBe("1");
    expect(fieldValue(head, "x-b")).toBe("caf\xe9");
    expect(fieldValue(head, "x-c")).toBeUndefined();
  });

  test("takes the absolute form when it agrees with Host, and turns it into origin form", () => {
    expect(accepted("GET http://SHOP.example.com:80/x?y HTTP/1.1", HOST).target).toBe("/x?y");
    expect(accepted("GET http://shop.example.com?y HTTP/1.1", HOST).target).toBe("/?y");
  });

  test("decodes unreserved characters for matching and forwards the target as it came", () => {
    const head = accepted("GET /%61pi/%7euser/%20 HTTP/1.1", HOST);
    expect(head.path).toBe("/api/~user/%20");
    expect(head.target).toBe("/%61pi/%7euser/%20");
  });

  test("takes the asterisk for OPTIONS only", () => {
    expect(accepted("OPTIONS * HTTP/1.1", HOST)).toMatchObject({ target: "*", path: "/" });
    expect(accepted("OPTIONS http://shop.example.com HTTP/1.1", HOST).target).toBe("*");
    expect(request("GET * HTTP/1.1", HOST)).toBe("BAD_TARGET");
  });

  test.each([
    [["GET / HTTP/1.1", HOST], true],
    [["GET / HTTP/1.1", HOST, "Connection: close"], false],
    [["GET / HTTP/1.1", HOST, "Connection: x-a, CLOSE"], false],
    [["GET / HTTP/1.0", HOST], false],
    [["GET / HTTP/1.0", HOST, "Connection: keep-alive"], true],
    [["GET / HTTP/1.0", HOST, "Connection: keep-alive, close"], false],
  ])("knows whether the connection stays open: %j", (lines, keepAlive) => {
    expect(accepted(...lines).keepAlive).toBe(keepAlive);
  });

  test("takes IPv6 literals, ports and a final dot in Host", () => {
    expect(accepted(GET, "Host: [::1]:8080").host).toBe("[::1]");
    expect(accepted(GET, "Host: example.com.").host).toBe("example.com");
    expect(accepted(GET, "Host: 127.0.0.1:1").host).toBe("127.0.0.1");
  });
});

describe("a request head that is refused", () => {
  const long = "a".repeat(8200);
  test.each<[string, string[], string]>([
    ["two spaces", ["GET  / HTTP/1.1", HOST], "BAD_REQUEST_LINE"],
    ["a tab as separator", ["GET\t/ HTTP/1.1", HOST], "BAD_REQUEST_LINE"],
    ["the 0.9 form", ["GET /", HOST], "BAD_REQUEST_LINE"],
    ["a method that is no token", ["GE(T / HTTP/1.1", HOST], "BAD_REQUEST_LINE"],
    ["a method of 33 letters", [`${"A".repeat(33)} / HTTP/1.1`, HOST], "BAD_REQUEST_LINE"],
    ["TRACE", ["TRACE / HTTP/1.1", HOST], "METHOD_REFUSED"],
    ["CONNECT", ["CONNECT a:1 HTTP/1.1", "Host: a:1"], "METHOD_REFUSED"],
    ["version 1.2", ["GET / HTTP/1.2", HOST], "VERSION_UNKNOWN"],
    ["the HTTP/2 preface", ["PRI * HTTP/2.0"], "VERSION_UNKNOWN"],
    ["a lower-case version", ["GET / http/1.1", HOST], "BAD_REQUEST_LINE"],
    ["a fragment", ["GET /#a HTTP/1.1", HOST], "BAD_TARGET"],
    ["a backslash", ["GET /a\\b HTTP/1.1", HOST], "BAD_TARGET"],
    ["a raw byte above 126", ["GET /\xe9 HTTP/1.1", HOST], "BAD_TARGET"],
    ["an incomplete escape", ["GET /%4 HTTP/1.1", HOST], "BAD_TARGET"],
    ["an escaped NUL", ["GET /a%00 HTTP/1.1", HOST], "BAD_TARGET"],
    ["dot segments", ["GET /a/../b HTTP/1.1", HOST], "BAD_TARGET"],
    ["escaped dot segments", ["GET /a/%2E%2e/b HTTP/1.1", HOST], "BAD_TARGET"],
    ["a final dot segment", ["GET /a/.. HTTP/1.1", HOST], "BAD_TARGET"],
    ["an escaped slash", ["GET /a%2Fb HTTP/1.1", HOST], "BAD_TARGET"],
    ["an escaped backslash", ["GET /a%5cb HTTP/1.1", HOST], "BAD_TARGET"],
    ["a relative target", ["GET a HTTP/1.1", HOST], "BAD_TARGET"],
    ["an authority that differs from Host", ["GET http://other/ HTTP/1.1", HOST], "BAD_HOST"],
    ["no Host", [GET], "BAD_HOST"],
    ["two Hosts", [GET, HOST, HOST], "BAD_HOST"],
    ["an empty Host", [GET, "Host:"], "BAD_HOST"],
    ["user information in Host", [GET, "Host: a@b"], "BAD_HOST"],
    ["a list in Host", [GET, "Host: a,b"], "BAD_HOST"],
    ["a path in Host", [GET, "Host: a/b"], "BAD_HOST"],
    ["port 0", [GET, "Host: a:0"], "BAD_HOST"],
    ["port 65536", [GET, "Host: a:65536"], "BAD_HOST"],
    ["HTTP/1.0 without Host", ["GET / HTTP/1.0"], "BAD_HOST"],
    ["a space before the colon", [GET, HOST, "X : 1"], "BAD_FIELD"],
    ["an empty name", [GET, HOST, ": 1"], "BAD_FIELD"],
    ["a folded line", [GET, HOST, "X: 1", " 2"], "BAD_FIELD"],
    ["white space after the request line", [GET, " X: 1", HOST], "BAD_FIELD"],
    ["a line without colon", [GET, HOST, "X"], "BAD_FIELD"],
    ["a NUL in a value", [GET, HOST, "X: a\0b"], "BAD_FIELD"],
    ["a bare line feed", [GET, `${HOST}\nX: 1`], "BAD_FIELD"],
    ["a bare carriage return", [GET, HOST, "X: a\rb"], "BAD_FIELD"],
    ["101 fields", [GET, HOST, ...Array.from({ length: 100 }, () => "X: 1")], "HEAD_TOO_LARGE"],
    ["a request line over 8 KiB", [`GET /${long} HTTP/1.1`, HOST], "TARGET_TOO_LONG"],
    ["two lengths", [GET, HOST, "Content-Length: 1", "Content-Length: 1"], "BAD_FRAMING"],
    ["a list of lengths", [GET, HOST, "Content-Length: 1, 1"], "BAD_FRAMING"],
    ["a signed length", [GET, HOST, "Content-Length: +1"], "BAD_FRAMING"],
    ["a leading zero", [GET, HOST, "Content-Length: 01"], "BAD_FRAMING"],
    ["an empty length", [GET, HOST, "Content-Length:"], "BAD_FRAMING"],
    ["a length over 2^53", [GET, HOST, "Content-Length: 9007199254740993"], "BAD_FRAMING"],
    ["length and coding", [GET, HOST, "Content-Length: 1", "Transfer-Encoding: chunked"], "BAD_FRAMING"],
    ["chunked twice", [GET, HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "BAD_FRAMING"],
    ["a coding list", [GET, HOST, "Transfer-Encoding: gzip, chunked"], "BAD_FRAMING"],
    ["a disguised coding", [GET, HOST, "Transfer-Encoding: xchunked"], "BAD_FRAMING"],
    ["an unknown coding", [GET, HOST, "Transfer-Encoding: gzip"], "CODING_UNKNOWN"],
    ["a coding in HTTP/1.0", ["POST / HTTP/1.0", HOST, "Transfer-Encoding: chunked"], "BAD_FRAMING"],
    ["a body on GET in HTTP/1.0", ["GET / HTTP/1.0", HOST, "Content-Length: 1"], "BODY_REFUSED"],
    ["Connection naming Host", [GET, HOST, "Connection: host"], "BAD_FIELD"],
    ["Connection naming Content-Length", [GET, HOST, "Connection: content-length"], "BAD_FIELD"],
    ["Connection naming X-Forwarded-For", [GET, HOST, "Connection: X-Forwarded-For"], "BAD_FIELD"],
    ["two Authorizations", [GET, HOST, "Authorization: a", "Authorization: b"], "BAD_FIELD"],
    ["another expectation", [GET, HOST, "Expect: 200-ok"], "EXPECT_UNKNOWN"],
    ["a third pass through Crossfade", [GET, HOST, "Via: 1.1 crossfade, 1.1 crossfade"], "LOOP"],
  ])("because of %s", (_, lines, fault) => {
    expect(request(...lines)).toBe(fault);
  });
});

describe("a response head", () => {
  test("gives status, reason and framing, with and without a reason", () => {
    expect(
      response("HTTP/1.1 200 All right", "Content-Length: 3", "Keep-Alive: timeout=7, max=9"),
    ).toMatchObject({
      status: 200,
      reason: "All right",
      contentLength: 3,
      keepAlive: true,
      keepAliveSeconds: 7,
    });
    expect(response("HTTP/1.1 204 ")).toMatchObject({ status: 204, reason: "" });
    expect(response("HTTP/1.1 404")).toMatchObject({ status: 404, reason: "" });
    expect(response("HTTP/1.0 200 OK")).toMatchObject({ minor: 0, keepAlive: false });
  });

  test.each<[string, string[]]>([
    ["another protocol", ["HTTP/2 200 OK"]],
    ["a status of two digits", ["HTTP/1.1 20 OK"]],
    ["a status below 100", ["HTTP/1.1 099 OK"]],
    ["length and coding", ["HTTP/1.1 200 OK", "Content-Length: 1", "Transfer-Encoding: chunked"]],
    ["two lengths", ["HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2"]],
    ["a coding in HTTP/1.0", ["HTTP/1.0 200 OK", "Transfer-Encoding: chunked"]],
    ["a folded line", ["HTTP/1.1 200 OK", "X: 1", "\t2"]],
    ["a space before the colon", ["HTTP/1.1 200 OK", "X : 1"]],
    ["a bare line feed", ["HTTP/1.1 200 OK", "X: 1\nY: 2"]],
  ])("is refused for %s", (_, lines) => {
    expect(response(...lines)).toBe("BAD_RESPONSE");
  });

  test.each<[string, string[], string, string]>([
    ["HEAD has none, whatever it says", ["HTTP/1.1 200 OK", "Content-Length: 5"], "HEAD", "none"],
    ["304 has none", ["HTTP/1.1 304 Not Modified", "Content-Length: 5"], "GET", "none"],
    ["204 has none", ["HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"], "GET", "none"],
    ["chunked", ["HTTP/1.1 200 OK", "Transfer-Encoding: Chunked"], "GET", "chunked"],
    ["by length", ["HTTP/1.1 200 OK", "Content-Length: 0"], "GET", "length"],
    ["by the connection's end", ["HTTP/1.1 200 OK"], "GET", "close"],
  ])("tells how its body ends: %s", (_, lines, method, kind) => {
    expect(responseBody(response(...lines) as ResponseHead, method)).toBe(kind);
  });
});
