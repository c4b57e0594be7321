/** The inbox of a client connection: heads taken out whole, whatever pieces they come in. */
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../../src/http/head.ts";
import { parseRequestHead } from "../../../src/http/parse.ts";
import { Inbox, type NextHead } from "../../../src/plane/inbox.ts";

const HEAD = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/** As a read brings it: at the beginning of a buffer that other connections were read into before. */
function push(inbox: Inbox, text: string): void {
  inbox.push(Buffer.from(`${text}\r\nothers\n`, "latin1"), text.length);
  inbox.keep();
}

function inboxWith(text: string): Inbox {
  const inbox = new Inbox();
  push(inbox, text);
  return inbox;
}

/** What the inbox says after each byte. */
function bytewise(text: string): NextHead["kind"][] {
  const inbox = new Inbox();
  return Array.from(text, (byte) => {
    push(inbox, byte);
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
      push(inbox, text.slice(at, at + 7));
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

test("what was lent is copied before its buffer is read into again", () => {
  const inbox = new Inbox();
  const buffer = Buffer.from(`${HEAD}GET / HTTP`);
  inbox.push(buffer, buffer.length);
  expect(inbox.nextHead()).toEqual({ kind: "head", text: HEAD });
  inbox.keep();
  buffer.fill("#");
  inbox.push(Buffer.from("/1.1\r\nHost: h\r\n\r\nbody"), 21);
  expect(inbox.nextHead()).toEqual({ kind: "head", text: HEAD });
  const body = inbox.take();
  expect(body.toString()).toBe("body");
});

test("what is taken out of a lent buffer is a copy", () => {
  const inbox = new Inbox();
  const buffer = Buffer.from("body and more");
  inbox.push(buffer, 4);
  const body = inbox.take();
  buffer.fill("#");
  expect(body.toString()).toBe("body");
});
