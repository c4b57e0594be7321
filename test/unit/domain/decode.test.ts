/** Content codings are taken off as far as they are known, and never beyond the bound. */
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeBody } from "../../../src/domain/decode.ts";

const CODERS = {
  gzip: gzipSync,
  "x-gzip": gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
};
const TEXT = Buffer.from("a text that is long enough to be worth a coding, and again: long enough");

describe("a body", () => {
  test.each(Object.entries(CODERS))("in %s is what it was", (name, encode) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        const encoded = encode(bytes);
        const decoding = decodeBody(encoded, name.toUpperCase(), 2000);
        expect(decoding.result).toBe("decoded");
        expect(decoding.result === "decoded" && Buffer.compare(decoding.body, bytes)).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test("in deflate without its format is read too", () => {
    expect(decodeBody(deflateRawSync(TEXT), "deflate", 1000)).toMatchObject({
      result: "decoded",
      body: TEXT,
    });
  });

  test.each(["", " ", "identity", "Identity, identity"])(
    "with the codings %j is left as it is",
    (codings) => {
      expect(decodeBody(TEXT, codings, TEXT.length)).toEqual({ result: "decoded", body: TEXT });
      expect(decodeBody(TEXT, codings, TEXT.length - 1)).toEqual({ result: "too large" });
    },
  );

  test("with two codings loses the last one first", () => {
    const encoded = brotliCompressSync(gzipSync(TEXT));
    expect(decodeBody(encoded, "gzip, br", 1000)).toMatchObject({ result: "decoded", body: TEXT });
    expect(decodeBody(encoded, "br, gzip", 1000)).toEqual({ result: "broken" });
    expect(decodeBody(encoded, "gzip, gzip, br", 1000)).toEqual({ result: "unknown coding" });
  });

  test("of no bytes is none, whatever its head says", () => {
    expect(decodeBody(Buffer.alloc(0), "gzip", 1000)).toMatchObject({ result: "decoded" });
  });

  test.each([
    ["compress", TEXT, "unknown coding"],
    ["gzip", TEXT, "broken"],
    ["gzip", gzipSync(TEXT).subarray(0, -5), "broken"],
    ["br", brotliCompressSync(TEXT).subarray(0, 10), "broken"],
    ["zstd", TEXT, "broken"],
    ["deflate", TEXT, "broken"],
  ])("in %s that is no such thing is not read", (codings, bytes, result) => {
    expect(decodeBody(bytes, codings, 1000)).toEqual({ result });
  });

  test.each(Object.entries(CODERS))("that grows beyond the bound in %s is given up there", (name, encode) => {
    const bomb = encode(Buffer.alloc(8 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(64 * 1024);
    expect(decodeBody(bomb, name, 64 * 1024)).toEqual({ result: "too large" });
  });
});
