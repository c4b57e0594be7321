/** Properties of PROXY headers: pieces change nothing, and what is written is read as it was meant. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readProxyHeader, writeProxyHeader, type Place } from "../../src/http/proxy_protocol.ts";

const v4Place = place(fc.ipV4());
const v6Place = place(fc.ipV6());

function place(address: fc.Arbitrary<string>): fc.Arbitrary<Place> {
  return fc.record({ address, port: fc.nat({ max: 65_535 }) });
}

const pairs = fc.oneof(fc.tuple(v4Place, v4Place), fc.tuple(v6Place, v6Place));
const versions = fc.constantFrom("v1" as const, "v2" as const);
const written = fc
  .tuple(versions, pairs)
  .map(([version, [client, destination]]) => writeProxyHeader(version, client, destination));

/** Headers with some bytes changed, and bytes that never were a header. */
const damaged = fc
  .tuple(written, fc.array(fc.tuple(fc.nat({ max: 60 }), fc.nat({ max: 255 })), { maxLength: 3 }))
  .map(([header, changes]) => {
    const bytes = Buffer.concat([header, Buffer.from("GET / HTTP/1.1\r\n")]);
    for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
    return bytes;
  });
const inputs = fc.oneof(
  damaged,
  fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
);

describe("any header", () => {
  test("has one verdict, whatever pieces it comes in", () => {
    fc.assert(
      fc.property(inputs, (bytes) => {
        const whole = readProxyHeader(bytes);
        for (let end = 0; end <= bytes.length; end++) {
          const verdict = readProxyHeader(bytes.subarray(0, end));
          if (verdict === "more") continue;
          expect(verdict).toEqual(whole);
          return;
        }
        expect(whole).toBe("more");
      }),
      { numRuns: 300 },
    );
  });

  test("never takes more bytes than its bound", () => {
    fc.assert(
      fc.property(inputs, (bytes) => {
        const padded = Buffer.concat([bytes, Buffer.alloc(536)]);
        const verdict = readProxyHeader(padded);
        expect(verdict).not.toBe("more");
        if (typeof verdict !== "string") expect(verdict.bytes).toBeLessThanOrEqual(536);
      }),
    );
  });

  test("that was written is read as it was meant", () => {
    fc.assert(
      fc.property(versions, pairs, (version, [client, destination]) => {
        const header = writeProxyHeader(version, client, destination);
        const read = readProxyHeader(Buffer.concat([header, Buffer.from("x")]));
        expect(read).toMatchObject({ bytes: header.length, client: { port: client.port } });
        // Read again from its own form it is the same address, so the short form loses nothing.
        const again = typeof read === "string" || read.client === null ? null : read.client;
        expect(writeProxyHeader(version, again as Place, destination).length).toBeGreaterThan(0);
        expect(readProxyHeader(writeProxyHeader("v2", again as Place, again as Place))).toMatchObject({
          client: again,
        });
        if (client.address.includes(".") && !client.address.includes(":")) expect(again).toEqual(client);
      }),
    );
  });
});
