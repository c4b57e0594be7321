/** The inbox of a client connection: heads taken out whole, whatever pieces they come in. */
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../../src/http/head.ts";
import { parseRequestHead } from "../../../src/http/parse.ts";
import { Inbox, type NextHead } from "../../../src/plane/inbox.ts";

const HEAD = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

function inboxWith(text: string): Inbox {
  const inbox = new Inbox();
  inbox.push(Buffer.from(text, "latin1"));
  return inbox;
}

/** What the inbox says after each byte. */
function bytewise(text: string): NextHead["kind"][] {
  const inbox = new Inbox();
  return Array.from(text, (byte) => {
    inbox.push(Buffer.from(byte, "latin1"));
    return inbox.nextHead().kind;
  });
}

describe("a head", () => {
  test("is taken out whole, and what follows stays", () => {
    const inbox = inboxWith(`${HEAD}REST`);
    expect(inbox.nextHead()).toEqual({ kind: "head", text: HEAD });
    expect(inbox.take().toString()).toBe("REST");
    expect(inbox.length).toBe(0);
  });

  test("is found at its last byte, not before", () => {
    const kinds = bytewise(HEAD);
    expect(kinds.slice(0, -1).every((kind) => kind === "part")).toBe(true);
    expect(kinds.at(-1)).toBe("head");
  });

  test("may have one empty line before it, in any pieces", () => {
    expect(inboxWith(`\r\n${HEAD}`).nextHead()).toEqual({ kind: "head", text: HEAD });
    const kinds = bytewise(`\r\n${HEAD}`);
    expect(kinds.slice(0, 2)).toEqual(["none", "none"]);
    expect(kinds.at(-1)).toBe("head");
  });

  test("after a second empty line is left to the parser, which refuses it", () => {
    const next = inboxWith(`\r\n\r\n${HEAD}`).nextHead();
    expect(next).toEqual({ kind: "head", text: `\r\n${HEAD}` });
    expect(parseRequestHead(`\r\n${HEAD}`)).toBe("BAD_REQUEST_LINE");
  });

  test("may have an empty line before it again once one was read", () => {
    const inbox = inboxWith(`\r\n${HEAD}\r\n${HEAD}`);
    expect([inbox.nextHead().kind, inbox.nextHead().kind, inbox.nextHead().kind]).toEqual([
      "head",
      "head",
      "none",
    ]);
  });

  test("with a bare line feed is refused at that byte", () => {
    const kinds = bytewise("GET / HTTP/1.1\r\nHost: h\n");
    expect(kinds.slice(0, -1)).not.toContain("fault");
    expect(kinds.at(-1)).toBe("fault");
  });

  test.each([
    ["a request line", `GET /${"a".repeat(LIMITS.requestLineBytes)}`, "TARGET_TOO_LONG"],
    ["a head", `GET / HTTP/1.1\r\nX: ${"a".repeat(LIMITS.requestHeadBytes)}`, "HEAD_TOO_LARGE"],
  ])("over the limit is refused while it arrives: %s", (_, text, code) => {
    expect(inboxWith(text).nextHead()).toMatchObject({ kind: "fault", code });
    const inbox = new Inbox();
    let last: NextHead = { kind: "none" };
    for (let at = 0; at < text.length && last.kind !== "fault"; at += 7) {
      inbox.push(Buffer.from(text.slice(at, at + 7)));
      last = inbox.nextHead();
    }
    expect(last).toMatchObject({ kind: "fault", code });
  });
});

test("what was not used goes back, and an empty inbox keeps nothing", () => {
  const inbox = inboxWith("body-and-more");
  const bytes = inbox.take();
  inbox.putBack(bytes, 5);
  expect(inbox.text).toBe("and-more");
  inbox.putBack(bytes, bytes.length);
  expect(inbox.length).toBe(0);
});
