/** Properties of reading what is to be replayed: lines in any pieces, and requests in any of the formats. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readLine, type Reading } from "../../src/verify_input.ts";
import { LINE_BYTES_MAX, linesOf, type InputLine } from "../../src/verify_lines.ts";

async function* cutAt(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  for (let at = 1; at < places.length; at++) yield bytes.subarray(places[at - 1], places[at]);
}

async function linesIn(bytes: Buffer, cuts: readonly number[] = []): Promise<InputLine[]> {
  const lines: InputLine[] = [];
  for await (const line of linesOf(cutAt(bytes, cuts))) lines.push(line);
  return lines;
}

const line = fc.oneof(
  fc.string({ unit: fc.constantFrom("a", "/", " ", "\r", "\u00e4", "\t"), maxLength: 20 }),
  fc.constantFrom("x".repeat(LINE_BYTES_MAX), "x".repeat(LINE_BYTES_MAX + 1), "x".repeat(3 * LINE_BYTES_MAX)),
);

describe("lines", () => {
  it("are the same however the bytes are cut, numbered, and without their breaks", async () => {
    const cuts = fc.array(fc.nat(), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 6 }),
        cuts,
        fc.boolean(),
        async (texts, places, isEnded) => {
          const input = texts.join("\n") + (isEnded ? "\n" : "");
          const whole = input.split("\n");
          if (whole.at(-1) === "") whole.pop();
          const expected = whole.map((text, at) => ({
            number: at + 1,
            text: text.length > LINE_BYTES_MAX ? null : text.replace(/\r$/, ""),
          }));
          expect(await linesIn(Buffer.from(input, "latin1"), places)).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** What a target may be, of characters that mean something somewhere. */
const target = fc
  .array(
    fc.constantFrom("a", "Z", "0", "-", "~", "/", "?", "=", "&", "%2F", "%c3%a4", "[", "]", "'", "*", ":"),
    {
      maxLength: 12,
    },
  )
  .map((parts) => `/${parts.join("")}`);
const host = fc.constantFrom("shop.example", "127.0.0.1:8080", "[::1]:81", "a-b.c_d");

function requestIn(reading: Reading): unknown {
  return reading.kind === "request" ? reading.request : reading;
}

describe("a request", () => {
  const listed = { route: null, isQueryLost: false };

  it("is read back from a list, as a path or a URL", () => {
    fc.assert(
      fc.property(target, host, fc.constantFrom("GET", "HEAD"), (path, name, method) => {
        const request = { method: "GET", target: path, host: null, ...listed };
        expect(requestIn(readLine(path))).toEqual(request);
        expect(requestIn(readLine(`${method} ${path}`))).toEqual({ ...request, method });
        expect(requestIn(readLine(` http://${name}${path}#part `))).toEqual({ ...request, host: name });
      }),
    );
  });

  it("is read back from the access logs of web servers", () => {
    const user = fc.constantFrom("-", "alice", "a b");
    const rest = fc.constantFrom(
      "",
      ' "-" "-"',
      ' "https://a/\\"b" "Mozilla/5.0 [en] \\"x\\""',
      " - 0.002 up=1",
    );
    const version = fc.constantFrom("1.0", "1.1", "2.0", "3");
    fc.assert(
      fc.property(
        target,
        user,
        rest,
        version,
        fc.option(fc.constant("shop:443")),
        (path, who, more, http, vhost) => {
          const prefix = vhost === null ? "" : `${vhost} `;
          const head = `${prefix}10.0.0.1 - ${who} [21/Aug/2026:14:03:11 +0000]`;
          const text = `${head} "GET ${path} HTTP/${http}" 200 12${more}`;
          expect(requestIn(readLine(text))).toEqual({ method: "GET", target: path, host: vhost, ...listed });
        },
      ),
    );
  });

  it("is read back from Crossfade's own access log, which has no queries", () => {
    const path = target.map((text) => text.replaceAll("?", ""));
    fc.assert(
      fc.property(path, host, (text, name) => {
        const logged = { time: "2026-08-21T14:03:11.000Z", client: "10.0.0.1", method: "GET", host: name };
        const reading = readLine(JSON.stringify({ ...logged, path: text, status: 200, route: "shop" }));
        const known = { route: "shop", isQueryLost: true };
        expect(requestIn(reading)).toEqual({ method: "GET", target: text, host: name, ...known });
      }),
    );
  });

  it("is never one that could not be sent", () => {
    const anything = fc
      .integer({ min: 0, max: 0xffff })
      .map((code) => String.fromCharCode(code % 300, code >> 8));
    fc.assert(
      fc.property(fc.string({ unit: anything, maxLength: 15 }), (text) => {
        for (const one of [text, `/${text}`, `1 - - [t] "GET /${text} HTTP/1.1" 200 1`, `http://${text}`]) {
          const reading = readLine(one);
          if (reading.kind !== "request") continue;
          expect(reading.request.target).toMatch(/^\/[\u0021-\u007e]*$/);
          expect(reading.request.host ?? "a").toMatch(/^[\w.~:[\]-]+$/);
        }
      }),
      { numRuns: 500 },
    );
  });
});
