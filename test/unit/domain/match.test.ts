/** What a match and the smaller parts of a route refuse and take. */
import { describe, expect, test } from "vitest";
import { shopProblems, shopWith } from "../../support/table.ts";

describe("a match", () => {
  test.each([
    [{ hosts: ["shop.example.com:8080"] }, "match/hosts/0", /leave the port out/],
    [{ hosts: ["*"] }, "match/hosts/0", /leave "hosts" out/],
    [{ hosts: ["shop.*.com"] }, "match/hosts/0", /is not a host/],
    [{ hosts: ["shop.example.com."] }, "match/hosts/0", /is not a host/],
    [{ hosts: ["[0::1]"] }, "match/hosts/0", /write it as "\[::1\]"/],
    [{ hosts: ["a", "A"] }, "match/hosts/1", /same as entry 0/],
    [{ path: "api" }, "match/path", /starts with/],
    [{ path: "/api/*" }, "match/path", /leave the "\*" out/],
    [{ path: "/a?b" }, "match/path", /no "\?"/],
    [{ path: "/a b" }, "match/path", /percent-encoded/],
    [{ path: "/a/../b" }, "match/path", /never match/],
    [{ exact: "/a%2fb" }, "match/exact", /never match/],
    [{ exact: "/%41" }, "match/exact", /write it as "\/A"/],
    [{ path: "/a", exact: "/a" }, "match/exact", /keep one/],
    [{ regex: "(" }, "match/regex", /^this is not a regular expression: /],
    [{ regex: "x".repeat(513) }, "match/regex", /at most 512/],
    [{ methods: ["get"] }, "match/methods/0", /write "GET"/],
    [{ methods: ["CONNECT"] }, "match/methods/0", /never forwarded/],
    [{ methods: ["GET", "GET"] }, "match/methods/1", /same as entry 0/],
    [{ headers: { "x y": "1" } }, "match/headers/x y", /is not a name/],
    [{ headers: { "X-A": "1", "x-a": "2" } }, "match/headers/x-a", /stands here twice/],
    [{ headers: { a: 1 } }, "match/headers/a", /in quotes, or true/],
    [{ headers: { a: false } }, "match/headers/a", /in quotes, or true/],
    [{ headers: { a: " b" } }, "match/headers/a", /no space around/],
    [{ headers: { a: "b\r\nc" } }, "match/headers/a", /control characters/],
    [{ query: { "a=b": true } }, "match/query/a=b", /query parameter/],
    [{ cookies: { "a;b": true } }, "match/cookies/a;b", /is not a name/],
  ])("refuses %j", (match, path, message) => {
    expect(shopProblems({ match })[path]).toMatch(message);
  });

  test("takes an exact path or an expression instead of a prefix", () => {
    expect(shopWith({ match: { exact: "/a/b" } }).match.path).toEqual({ kind: "exact", value: "/a/b" });
    expect(shopWith({ match: { regex: "/v[0-9]+/.*" } }).match.path).toEqual({
      kind: "regex",
      value: "/v[0-9]+/.*",
    });
  });
});

describe("stickiness, pins, timeouts and retries", () => {
  test.each([
    [
      { sticky: { keys: ["cokie:uid"] } },
      "sticky/keys/0",
      'unknown key "cokie:uid"; did you mean "cookie:uid"?',
    ],
    [{ sticky: { keys: ["isue"] } }, "sticky/keys/0", 'unknown key "isue"; did you mean "issue"?'],
    [{ sticky: { keys: ["cookie:"] } }, "sticky/keys/0", 'name the cookie: "cookie:NAME"'],
    [{ sticky: { keys: ["issue", "issue"] } }, "sticky/keys/1", "the same as entry 0 of this list"],
    [{ sticky: { salt: "" } }, "sticky/salt", "a salt has 1 to 128 visible ASCII characters"],
    [{ pins: [{ to: "new" }] }, "pins/0", "a pin names one header, one cookie or one query parameter"],
    [
      { pins: [{ header: "a", cookie: "b", to: "new" }] },
      "pins/0",
      "a pin names one header, one cookie or one query parameter",
    ],
    [{ pins: [{ header: "a" }] }, "pins/0/to", '"to" is missing'],
    [
      { pins: [{ header: "a", to: "other" }] },
      "pins/0/to",
      `"other" is not a backend of this route's cutover; use legacy or new`,
    ],
    [{ retries: { attempts: 4 } }, "retries/attempts", "write a whole number from 0 to 3"],
    [{ retries: { attempts: 0.5 } }, "retries/attempts", "write a whole number from 0 to 3"],
    [{ retries: { body: "2MiB" } }, "retries/body", 'write a size up to 1MiB, such as "64KiB" or "512"'],
    [{ retries: { body: -1 } }, "retries/body", 'write a size up to 1MiB, such as "64KiB" or "512"'],
    [{ expose: "yes" }, "expose", "write true or false here, not text"],
  ])("refuse %j", (keys, path, message) => {
    expect(shopProblems(keys)).toEqual({ [path]: message });
  });

  test.each([5, "5", "5 s", "1.5s", "-1s", "0s", "25h", "1d", "", null])(
    "take no duration of %j",
    (connect) => {
      expect(shopProblems({ timeouts: { connect } })["timeouts/connect"]).toMatch(
        /^write a duration from 1ms to 24h/,
      );
    },
  );

  test("take sizes with and without a unit", () => {
    const bytes = (body: unknown): number => shopWith({ retries: { body } }).retries.bodyBytesMax;
    expect([bytes("64KiB"), bytes("512"), bytes(512), bytes(0), bytes("1MiB")]).toEqual([
      65_536, 512, 512, 0, 1_048_576,
    ]);
  });

  test("may draw every request anew", () => {
    expect(shopWith({ sticky: { keys: [] } }).sticky.keys).toEqual([]);
  });
});
