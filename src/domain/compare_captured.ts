/** Two answers as they came: the codings of their bodies taken off, and then compared. */
import { Buffer } from "node:buffer";
import { compare } from "./compare.ts";
import type { AnswerSummary, CapturedAnswer, ComparePolicy, Comparison, Mismatch } from "./compare_words.ts";
import { decodeBody } from "./decode.ts";

const SERVER_ERROR = 500;

/** An answer without its coding, and why that could not be taken off. */
interface Decoded {
  readonly summary: AnswerSummary;
  readonly trouble: "unknown coding" | "broken" | null;
}

/**
 * Compares legacy's answer with the candidate's, as `compare` does, whatever content coding each came in.
 *
 * A body that grows over the policy's bound counts as cut. A coding that is unknown or broken can't be looked into:
 * then what else there is decides, and without a mismatch there the answers are not compared. Only a candidate whose
 * body is broken where legacy's is not has a mismatch in its body.
 */
export function compareCaptured(
  legacy: CapturedAnswer,
  candidate: CapturedAnswer,
  policy: ComparePolicy,
): Comparison {
  if (policy.body === "off") return compare(without(legacy), without(candidate), policy);
  const [left, right] = [decode(legacy, policy), decode(candidate, policy)];
  if (left.trouble === null && right.trouble === null) return compare(left.summary, right.summary, policy);
  const comparison = compare(left.summary, right.summary, { ...policy, body: "off" });
  if (comparison.result !== "matched") return comparison;
  if (left.trouble === null && right.trouble === "broken") {
    return { result: "mismatched", fields: [brokenBody(candidate.codings)], isFailure: false };
  }
  return { result: "not compared", reason: "not decoded" };
}

/** Whether two good answers are the same to the last byte: then they match by any policy, and need no decoding. */
export function isSameAnswer(a: CapturedAnswer, b: CapturedAnswer): boolean {
  if (a.fault !== null || b.fault !== null || a.status !== b.status || a.status >= SERVER_ERROR) return false;
  if (a.codings !== b.codings) return false;
  if (a.bytes === null || b.bytes === null || a.bytes.length !== b.bytes.length) return false;
  if (a.fields.length !== b.fields.length) return false;
  const isSameField = ([name, value]: readonly [string, string], index: number): boolean =>
    name === b.fields[index]?.[0] && value === b.fields[index][1];
  return a.fields.every(isSameField) && Buffer.compare(a.bytes, b.bytes) === 0;
}

function decode(answer: CapturedAnswer, policy: ComparePolicy): Decoded {
  const { bytes, codings } = answer;
  if (bytes === null) return { summary: without(answer), trouble: null };
  const decoding = decodeBody(bytes, codings, policy.bodyBytesMax);
  if (decoding.result === "decoded") {
    const { body } = decoding;
    return {
      summary: { ...without(answer), body, bodyLength: body.length, isBodyWhole: true },
      trouble: null,
    };
  }
  return {
    summary: without(answer),
    trouble: decoding.result === "too large" ? null : decoding.result,
  };
}

/** An answer of whose body nothing is known. */
function without({ status, fields, fault }: CapturedAnswer): AnswerSummary {
  return { status, fields, fault, body: null, bodyLength: 0, isBodyWhole: false };
}

function brokenBody(codings: string): Mismatch {
  return { field: "body", kind: "type", left: "decoded", right: `broken ${codings.slice(0, 32)}` };
}
