/** Heads and bodies under every split: what is written is what is read, wherever the network cuts it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BodyReader } from "../../src/http/body.ts";
import { requestForward } from "../../src/http/forward.ts";
import { FIELD_STRIDE, type RequestHead } from "../../src/http/head.ts";
import { parseRequestHead } from "../../src/http/parse.ts";
import { chunkSize, lastChunk } from "../../src/http/write.ts";

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/);
const value = fc.stringMatching(
  /^(?:[\x21-\x7e\xa0-\xff](?:[\t \x21-\x7e\xa0-\xff]{0,40}[\x21-\x7e\xa0-\xff])?)?$/,
);
/** Fields that mean nothing to a proxy. */
const field = fc.tuple(
  token.map((name) => `X-${name}`),
  value,
);

function parsed(text: string): RequestHead {
  const head = parseRequestHead(text);
  if (typeof head === "string") throw new Error(`refused with ${head}: ${JSON.stringify(text)}`);
  return head;
}

function fieldsOf(head: RequestHead): [string, string][] {
  const found: [string, string][] = [];
  for (let i = 0; i < head.fields.length; i += FIELD_STRIDE) {
    const name = head.text.slice(head.fields[i + 1], head.fields[i + 2]);
    found.push([name, head.text.slice(head.fields[i + 3], head.fields[i + 4])]);
  }
  return found;
}

describe("a request head", () => {
  test("is read as it was written: names, values, order", () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 30 }), fc.boolean(), (fields, isPadded) => {
        const pad = isPadded ? " \t" : "";
        const lines = fields.map(([name, text]) => `${name}:${pad}${text}${pad}\r\n`).join("");
        const head = parsed(`GET /p?q HTTP/1.1\r\nHost: h\r\n${lines}\r\n`);
        expect(fieldsOf(head).slice(1)).toEqual(fields);
      }),
    );
  });

  test("is forwarded with every such field unchanged, and what is forwarded is a valid head again", () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 30 }), (fields) => {
        const lines = fields.map(([name, text]) => `${name}: ${text}\r\n`).join("");
        const head = parsed(`POST /p?q HTTP/1.1\r\nHost: h\r\n${lines}Content-Length: 3\r\n\r\n`);
        const context = { peerAddress: "::1", isPeerTrusted: false, requestId: "r", isUpgrade: false };
        const again = parsed(requestForward(head, context));
        expect(fieldsOf(again).slice(1, 1 + fields.length)).toEqual(fields);
        expect(again).toMatchObject({ method: "POST", target: "/p?q", body: "length", contentLength: 3 });
      }),
    );
  });

  test("of any bytes is either understood or refused with a code", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii", maxLength: 200 }), (noise) => {
        const head = parseRequestHead(`GET / HTTP/1.1\r\nHost: h\r\n${noise}\r\n\r\n`);
        expect(typeof head === "string" ? head : head.method).toMatch(/^[A-Z_]+$/);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a chunked body", () => {
  const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 12 });
  const cuts = fc.array(fc.nat({ max: 4000 }), { maxLength: 12 });

  test("is read as it was written, however the bytes are cut, and what follows is left alone", () => {
    fc.assert(
      fc.property(chunks, cuts, fc.string({ maxLength: 20 }), (pieces, places, rest) => {
        const parts = pieces.flatMap((piece) => [chunkSize(piece.length), Buffer.from(piece), "\r\n"]);
        const wire = Buffer.concat(
          [...parts, lastChunk(""), rest].map((part) => Buffer.from(part as Buffer)),
        );
        const reader = new BodyReader("chunked", 0);
        const read: Buffer[] = [];
        const sink = { onBody: (bytes: Buffer) => void read.push(Buffer.from(bytes)) };
        let at = 0;
        const ends = [...places.filter((place) => place < wire.length), wire.length].toSorted(
          (a, b) => a - b,
        );
        for (const end of ends) {
          if (reader.isDone || end <= at) continue;
          at += reader.read(wire.subarray(at, end), 0, sink);
        }
        expect(reader.fault).toBeNull();
        expect(reader.isDone).toBe(true);
        expect(Buffer.concat(read)).toEqual(Buffer.concat(pieces.map((piece) => Buffer.from(piece))));
        expect(wire.subarray(at).toString()).toBe(rest);
      }),
    );
  });
});
