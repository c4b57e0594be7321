/** Bodies without their content codings, within bounds. */
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from "node:zlib";

/** More codings on one body than anybody applies. */
const CODINGS_MAX = 2;
/** The lower half of the first byte, where a body is in the zlib format. Source: RFC 1950 section 2.2. */
const ZLIB_METHOD = 8;
const UNKNOWN = "unknown coding";

/** A body, or why there is none. */
export type Decoding =
  | { readonly result: "decoded"; readonly body: Uint8Array }
  | { readonly result: "unknown coding" | "broken" | "too large" };

type Decoder = (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array;

/** By name in lower case. Source: RFC 9110 section 8.4.1, RFC 7932, RFC 8878. */
const DECODERS: ReadonlyMap<string, Decoder> = new Map<string, Decoder>([
  ["gzip", gunzipSync],
  ["x-gzip", gunzipSync],
  ["deflate", inflate],
  ["br", brotliDecompressSync],
  ["zstd", zstdDecompressSync],
]);

/**
 * Takes off the codings of a body, the last one first.
 *
 * `codings`: the value of Content-Encoding, empty for none. Without them it has at most `bytesMax` bytes; no more is
 * ever made of it. A body of no bytes has no coding, whatever its head says: answers to HEAD are such.
 */
export function decodeBody(bytes: Uint8Array, codings: string, bytesMax: number): Decoding {
  const names = codings
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "" && name !== "identity");
  if (bytes.length === 0 || names.length === 0) return bounded(bytes, bytesMax);
  if (names.length > CODINGS_MAX) return { result: UNKNOWN };
  let body = bytes;
  for (const name of names.toReversed()) {
    const decoder = DECODERS.get(name);
    if (decoder === undefined) return { result: UNKNOWN };
    try {
      body = decoder(body, { maxOutputLength: Math.max(1, bytesMax) });
    } catch (error) {
      return { result: isTooLarge(error) ? "too large" : "broken" };
    }
  }
  return bounded(body, bytesMax);
}

function bounded(body: Uint8Array, bytesMax: number): Decoding {
  return body.length > bytesMax ? { result: "too large" } : { result: "decoded", body };
}

/** Some servers send deflate without the zlib format around it, and everybody reads that. */
function inflate(bytes: Uint8Array, options: { readonly maxOutputLength: number }): Uint8Array {
  const isZlib = ((bytes[0] ?? 0) & 0x0f) === ZLIB_METHOD;
  return isZlib ? inflateSync(bytes, options) : inflateRawSync(bytes, options);
}

function isTooLarge(error: unknown): boolean {
  return error instanceof RangeError && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
}
