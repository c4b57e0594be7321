/** Who the client is: what trusted peers say, and nothing that strangers say. */
import { describe, expect, test } from "vitest";
import type { RequestHead } from "../../../src/http/head.ts";
import { parseRequestHead } from "../../../src/http/parse.ts";
import { TrustedPeers, plainAddress } from "../../../src/plane/peer.ts";

const peers = new TrustedPeers(["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"]);

function headWith(...lines: string[]): RequestHead {
  const head = parseRequestHead(
    `GET / HTTP/1.1\r\nHost: h\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`,
  );
  if (typeof head === "string") throw new Error(head);
  return head;
}

test.each([
  ["10.1.2.3", true],
  ["11.1.2.3", false],
  ["192.168.1.7", true],
  ["192.168.1.8", false],
  ["fd00::1", true],
  ["fe80::1", false],
  ["unix", false],
  ["not an address", false],
])("%s is trusted: %s", (address, isTrusted) => {
  expect(peers.isTrusted(address)).toBe(isTrusted);
});

describe("the client behind a trusted peer", () => {
  test.each<[string, string[], string]>([
    ["the only address", ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1"],
    ["the right-most one that is not trusted", ["X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.0.0.9"], "1.1.1.1"],
    [
      "found over several fields",
      ["X-Forwarded-For: 6.6.6.6, 1.1.1.1", "x-forwarded-for: 10.0.0.9"],
      "1.1.1.1",
    ],
    ["the first hop when all are trusted", ["X-Forwarded-For: 10.0.0.8, 10.0.0.9"], "10.0.0.8"],
    ["the peer when it says nothing", [], "10.0.0.1"],
    ["the peer when it says nonsense", ["X-Forwarded-For: 1.1.1.1, unknown"], "10.0.0.1"],
    ["an IPv6 address", ["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"],
  ])("is %s", (_, lines, client) => {
    expect(peers.clientAddress(headWith(...lines), "10.0.0.1")).toBe(client);
  });
});

test("an IPv4 address is written without its mapping into IPv6", () => {
  expect(plainAddress("::ffff:1.2.3.4")).toBe("1.2.3.4");
  expect(plainAddress("::1")).toBe("::1");
  expect(plainAddress(undefined)).toBe("unknown");
});
