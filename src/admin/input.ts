/** Reads what a request brings: its query, its conditional fields and its bounded JSON body. All problems at once. */
import { createHash } from "node:crypto";
import type { z } from "zod";
import type { Result } from "../base/fault.ts";
import { examine } from "../domain/examine.ts";
import { findProtoKeys, Findings, resultOf } from "../domain/problems.ts";
import type { IdempotencyMark } from "../store/store.ts";
import { refusal } from "./answers.ts";
import { parseJson } from "./json.ts";

/** The longest body that is read, unless an endpoint takes longer ones. */
export const BODY_BYTES_MAX = 1 << 20;

/** Something that was read, or the answer that says why it was not. */
export type Read<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly response: Response };

/** Reads the query by its schema. Unknown and repeated parameters are problems; paths are `?name`. */
export function readQuery<Value>(schema: z.ZodType<Value>, url: string): Result<Value> {
  const findings = new Findings();
  const values: Record<string, string> = {};
  for (const [name, value] of new URL(url).searchParams) {
    if (name === "__proto__") findings.add([name], "this name cannot be used", "key");
    else if (Object.hasOwn(values, name)) findings.add([name], "give this parameter once", "key");
    else values[name] = value;
  }
  const read = resultOf(examine(schema, values, [], findings) ?? null, findings);
  if (read.ok) return read;
  return {
    ok: false,
    problems: read.problems.map(({ path, message }) => ({ path: `?${path.slice(1)}`, message })),
  };
}

/** Reads a body by its schema. Paths are JSON pointers. */
export function readShape<Value>(schema: z.ZodType<Value>, body: unknown): Result<Value> {
  const findings = new Findings();
  findProtoKeys(body, findings);
  return resultOf(examine(schema, body, [], findings) ?? null, findings);
}

/**
 * The revision that If-Match names; undefined when there is none or any will do (`*`).
 *
 * Takes `"7"`, `W/"7"` (a proxy that compresses weakens tags) and the bare number. Source: RFC 9110 section 13.1.1.
 */
export function readIfMatch(request: Request): Read<number | undefined> {
  const field = request.headers.get("if-match");
  if (field === null || field.trim() === "*") return { ok: true, value: undefined };
  const parts = /^\s*(?:(?:W\/)?"(\d{1,15})"|(\d{1,15}))\s*$/.exec(field);
  if (parts !== null) return { ok: true, value: Number(parts[1] ?? parts[2]) };
  const message = 'name one revision, such as "7", or *';
  const errors = [{ path: "If-Match", message }];
  return { ok: false, response: refusal("MALFORMED", `If-Match cannot be read: ${message}`, { errors }) };
}

/** The idempotency key of a request and the fingerprint of what it asks for; undefined without a key. */
export function readIdempotency(request: Request, body: Uint8Array): Read<IdempotencyMark | undefined> {
  const key = request.headers.get("idempotency-key");
  if (key === null) return { ok: true, value: undefined };
  if (!/^[\x21-\x7e]{1,128}$/.test(key)) {
    const message = "use 1 to 128 visible ASCII characters, without spaces";
    const errors = [{ path: "Idempotency-Key", message }];
    return {
      ok: false,
      response: refusal("MALFORMED", `Idempotency-Key cannot be read: ${message}`, { errors }),
    };
  }
  const asked = `${request.method}\n${new URL(request.url).pathname}\n`;
  const fingerprint = createHash("sha256").update(asked).update(body).digest("hex");
  return { ok: true, value: { key, fingerprint } };
}

/** The bytes of a body, at most `bytesMax`. */
export async function readBytes(request: Request, bytesMax: number): Promise<Read<Uint8Array>> {
  const tooLarge = (): Read<never> => ({
    ok: false,
    response: refusal("BODY_REFUSED", `The body is larger than ${bytesMax} bytes`),
  });
  if (Number(request.headers.get("content-length") ?? 0) > bytesMax) return tooLarge();
  if (request.body === null) return { ok: true, value: new Uint8Array(0) };
  const pieces: Uint8Array[] = [];
  let length = 0;
  const reader = request.body.getReader();
  for (;;) {
    const piece = await reader.read();
    if (piece.done) return { ok: true, value: Buffer.concat(pieces, length) };
    pieces.push(piece.value);
    length += piece.value.length;
    if (length <= bytesMax) continue;
    await reader.cancel();
    return tooLarge();
  }
}

/** The JSON in the bytes of a body; undefined when it is empty. Only `application/json` in UTF-8 is taken. */
export function readJson(request: Request, bytes: Uint8Array): Read<unknown> {
  if (bytes.length === 0) return { ok: true, value: undefined };
  const type = request.headers.get("content-type") ?? "";
  // Asking for the type also keeps out what a foreign page can send without a preflight.
  if (!/^application\/json\s*(?:;\s*charset="?utf-8"?\s*)?$/i.test(type)) {
    return unreadable("Content-Type", "send the body as application/json in UTF-8");
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return unreadable("", "the body is not valid UTF-8");
  }
  const parsed = parseJson(text);
  if (parsed.ok) return parsed;
  return { ok: false, response: refusal("MALFORMED", parsed.detail, { errors: [parsed.problem] }) };
}

function unreadable(path: string, message: string): Read<never> {
  const detail = `The body cannot be read: ${message}`;
  return { ok: false, response: refusal("MALFORMED", detail, { errors: [{ path, message }] }) };
}
