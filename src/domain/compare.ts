/** Two answers to one request: whether they are the same by a policy, and in what they differ. */
import { Buffer } from "node:buffer";
import {
  MISMATCHES_MAX,
  OTHER_FIELD,
  type AnswerSummary,
  type ComparePolicy,
  type Comparison,
  type Mismatch,
  type NotComparedReason,
} from "./compare_words.ts";
import { differencesOf } from "./json_difference.ts";
import { readJson } from "./json_text.ts";
import { headerSample } from "./mask.ts";
import { hashOf } from "./split.ts";

const MATCHED: Comparison = Object.freeze<Comparison>({ result: "matched" });
const SERVER_ERROR = 500;
/** A shorter body could be guessed from its hash. */
const HASHED_BYTES_MIN = 32;
const JSON_TYPE = /^[^/;]+\/(?:json|[^;]*\+json)$/;

/** The mismatches of two bodies, or why they were not compared. */
type BodyReport = readonly Mismatch[] | NotComparedReason;

/**
 * Compares legacy's answer with the candidate's, or with legacy's second answer to the same request.
 *
 * **Failures** come first: a fault, or a status from 500 on. Both failed, or legacy alone: there is nothing to compare
 * with. The candidate alone: the worst mismatch, whatever the policy leaves out, and nothing else is looked at.
 *
 * **Status**: answers of different status are answers of different kinds, so nothing more of them is compared.
 *
 * **Headers**: all values of a name in their order; of a content type neither case nor space nor the order of its
 * parameters matter.
 *
 * **Bodies** are the same when their bytes are. Else they are compared as JSON, as differencesOf does, or as bytes. A
 * body that was cut, or is longer than the policy allows, or is too much work, is not compared: then the answers are
 * mismatched if something else differs, and otherwise not compared. As JSON, a body that is none differs from one that
 * is; two that are none are compared as bytes.
 */
export function compare(legacy: AnswerSummary, candidate: AnswerSummary, policy: ComparePolicy): Comparison {
  if (hasFailed(legacy)) return notCompared(hasFailed(candidate) ? "both failed" : "legacy failed");
  if (hasFailed(candidate)) {
    return { result: "mismatched", fields: [failureOf(legacy, candidate)], isFailure: true };
  }
  if (policy.status && legacy.status !== candidate.status) {
    return { result: "mismatched", fields: [statusOf(legacy, candidate)], isFailure: false };
  }
  const headers = policy.headers.flatMap((name) => compareHeader(name, legacy, candidate));
  const body = compareBodies(legacy, candidate, policy);
  const fields = [...headers, ...(typeof body === "string" ? [] : body)];
  if (fields.length > 0) return { result: "mismatched", fields: bounded(fields), isFailure: false };
  return typeof body === "string" ? notCompared(body) : MATCHED;
}

function notCompared(reason: NotComparedReason): Comparison {
  return { result: "not compared", reason };
}

function hasFailed({ fault, status }: AnswerSummary): boolean {
  return fault !== null || status >= SERVER_ERROR;
}

function failureOf(legacy: AnswerSummary, candidate: AnswerSummary): Mismatch {
  const { fault } = candidate;
  if (fault === null) return statusOf(legacy, candidate);
  return { field: "fault", kind: "added", left: null, right: fault };
}

function statusOf(legacy: AnswerSummary, candidate: AnswerSummary): Mismatch {
  return { field: "status", kind: "value", left: String(legacy.status), right: String(candidate.status) };
}

function bounded(fields: readonly Mismatch[]): readonly Mismatch[] {
  if (fields.length <= MISMATCHES_MAX) return fields;
  const kept = fields.slice(0, MISMATCHES_MAX - 1);
  // How many more is not known: no more than some are looked for.
  const text = "more fields";
  return [...kept, { field: OTHER_FIELD, kind: "value", left: text, right: text }];
}

function compareHeader(name: string, legacy: AnswerSummary, candidate: AnswerSummary): readonly Mismatch[] {
  const [left, right] = [headerOf(legacy, name), headerOf(candidate, name)];
  if (left === right) return [];
  if (left !== null && right !== null && name === "content-type" && plainType(left) === plainType(right)) {
    return [];
  }
  const sample = (value: string | null): string | null => (value === null ? null : headerSample(name, value));
  const kind = left === null ? "added" : right === null ? "missing" : "value";
  return [{ field: `header ${name}`, kind, left: sample(left), right: sample(right) }];
}

/** All values of a field, joined as RFC 9110 section 5.3 does; null without any. `name` is in lower case. */
function headerOf({ fields }: AnswerSummary, name: string): string | null {
  const values = fields.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value.trim());
  return values.length === 0 ? null : values.join(", ");
}

/** A media type with what makes no difference made the same. Source: RFC 9110 section 8.3. */
function plainType(value: string): string {
  const [type = "", ...parameters] = value.toLowerCase().split(";");
  const plain = parameters.map((one) => one.trim().replaceAll('"', "")).filter((one) => one !== "");
  return [type.trim(), ...plain.toSorted()].join(";");
}

function compareBodies(legacy: AnswerSummary, candidate: AnswerSummary, policy: ComparePolicy): BodyReport {
  if (policy.body === "off") return [];
  const [left, right] = [wholeBody(legacy, policy), wholeBody(candidate, policy)];
  if (left === null || right === null) return "body cut";
  if (Buffer.compare(left, right) === 0) return [];
  const isJson =
    policy.body === "json" || (policy.body === "auto" && saysJson(legacy) && saysJson(candidate));
  return isJson ? compareAsJson(left, right, policy) : [bytesMismatch(left, right)];
}

function wholeBody(
  { body, bodyLength, isBodyWhole }: AnswerSummary,
  policy: ComparePolicy,
): Uint8Array | null {
  if (!isBodyWhole || bodyLength > policy.bodyBytesMax) return null;
  return body ?? (bodyLength === 0 ? new Uint8Array() : null);
}

function saysJson(answer: AnswerSummary): boolean {
  return JSON_TYPE.test(plainType(headerOf(answer, "content-type") ?? "").split(";")[0] ?? "");
}

function compareAsJson(left: Uint8Array, right: Uint8Array, policy: ComparePolicy): BodyReport {
  const [ours, theirs] = [readJson(left), readJson(right)];
  if (ours.result === "read" && theirs.result === "read") {
    const report = differencesOf(ours.value, theirs.value, policy);
    if (report.result !== "compared") return report.result;
    return report.differences.map(({ pointer, ...rest }) => ({
      field: pointer === "" ? "body" : `body ${pointer}`,
      ...rest,
    }));
  }
  for (const bound of ["too large", "too deep"] as const) {
    if (ours.result === bound || theirs.result === bound) return bound;
  }
  if (ours.result !== theirs.result) {
    const [one, other] = [ours, theirs].map(({ result }) => (result === "read" ? "JSON" : result));
    return [{ field: "body", kind: "type", left: one ?? null, right: other ?? null }];
  }
  return ours.result === "duplicate keys" ? ours.result : [bytesMismatch(left, right)];
}

function bytesMismatch(left: Uint8Array, right: Uint8Array): Mismatch {
  const kind = left.length === right.length ? "value" : "length";
  return { field: "body", kind, left: describeBytes(left), right: describeBytes(right) };
}

/** Says how long a body is and, for those who look for the same one again, a hash that tells nothing of it. */
function describeBytes(body: Uint8Array): string {
  if (body.length < HASHED_BYTES_MIN) return `${body.length} bytes`;
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("latin1");
  return `${body.length} bytes, hash ${hashOf("", text).toString(16).padStart(8, "0")}`;
}
