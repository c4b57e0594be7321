/** What all writes of the admin API share: who, why and on what condition; the outcome; waiting for the workers. */
import { z } from "zod";
import { Fault, type Result } from "../base/fault.ts";
import type { Author, Outcome } from "../control/attempt.ts";
import { closed } from "../domain/examine.ts";
import { readDuration } from "../domain/quantity.ts";
import { answer, refusal } from "./answers.ts";
import type { AnswerSpec, Call } from "./endpoint.ts";
import { readShape } from "./input.ts";
import type { AdminParts } from "./parts.ts";
import { reasonBody, reasonSchema } from "./shapes.ts";

/** How long a write waits for the workers of all instances unless told otherwise. */
const WAIT_DEFAULT_MS = 5_000;
const WAIT_MAX_MS = 60_000;

const timeoutMessage = "write a duration from 1ms to 60s, such as 500ms or 5s";

const waitParameters = {
  wait: z
    .literal("applied", { error: 'write "applied" or leave it out' })
    .optional()
    .meta({ description: "Answer when every worker of every live instance has the revision" }),
  timeout: z
    .string()
    .refine((text) => isBetween(readDuration(text), 1, WAIT_MAX_MS), { error: timeoutMessage })
    .optional()
    .meta({ description: "How long to wait, at most 60s", default: "5s" }),
};

const writeParameters = {
  ...waitParameters,
  reason: reasonSchema.optional().meta({ description: "Why, for the audit log" }),
};

/** The parameters of a write that brings its reasons along. */
export const waitQuery = closed(waitParameters);

/** The parameters of every other write. */
export const writeQuery = closed(writeParameters);

/** Those of a write that can be tried without effect. */
export const dryWriteQuery = closed({
  ...writeParameters,
  dry_run: z
    .enum(["true", "false"])
    .optional()
    .meta({ description: "Only check it and show the difference" }),
});

type WaitQuery = z.infer<typeof waitQuery>;
type WriteQuery = z.infer<typeof dryWriteQuery>;

/** What a write that was carried out answers. */
export const writeAnswers: Readonly<Record<number, AnswerSpec>> = {
  200: {
    description: "What changed; nothing when the table is like that already",
    shape: "WriteAnswer",
    etag: true,
  },
};

/** Who makes a change and on what condition. A reason in the body counts more than one in the query. */
export function authorOf(call: Call<WriteQuery>, bodyReason?: string): Author {
  return {
    actor: call.actor,
    reason: bodyReason ?? call.query.reason ?? "",
    ...(call.ifMatch === undefined ? {} : { ifMatch: call.ifMatch }),
    ...(call.idempotency === undefined ? {} : { idempotency: call.idempotency }),
    ...(call.query.dry_run === "true" ? { dryRun: true } : {}),
  };
}

/** The same for a write whose body holds a reason and nothing else, or is left out. */
export function readAuthor(call: Call<WriteQuery>): Result<Author> {
  const body = readShape(reasonBody, call.body ?? {});
  return body.ok ? { ok: true, value: authorOf(call, body.value.reason) } : body;
}

/**
 * Answers with the outcome of a change, after the workers have it if the caller wants to wait.
 *
 * `lines`: what people are told besides.
 */
export async function answerWrite(
  parts: AdminParts,
  call: Call<WriteQuery>,
  outcome: Outcome,
  lines?: readonly string[],
): Promise<Response> {
  if (!outcome.ok) return refusal(outcome.code, outcome.detail, { errors: outcome.problems });
  const { revision, changed, difference } = outcome;
  const said = { revision, changed, difference, ...(lines === undefined ? {} : { lines }) };
  if (call.query.dry_run !== "true") return answerCommitted(parts, call, said);
  logWrite(parts, call, { revision, changed, dryRun: true });
  return answer({ ...said, dry_run: true }, { revision });
}

/** Answers with what was committed, after the workers have its revision if the caller wants to wait. */
export async function answerCommitted(
  parts: AdminParts,
  call: Call<WaitQuery>,
  said: Readonly<Record<string, unknown>> & { readonly revision: number },
): Promise<Response> {
  const { revision, difference: _difference, lines: _lines, ...facts } = said;
  logWrite(parts, call, { revision, ...facts, dryRun: false });
  if (call.query.wait === undefined) return answer(said, { revision });
  const timeoutMs = readDuration(call.query.timeout ?? "") ?? WAIT_DEFAULT_MS;
  const headers = { etag: `"${revision}"` };
  try {
    const applied = await parts.members.waitApplied(revision, timeoutMs);
    // From the call, not from the commit: it is what the caller waited for.
    const appliedMs = rounded(parts.clock.nowMs() - call.arrivedMs);
    if (applied.applied) return answer({ ...said, applied_ms: appliedMs }, { revision });
    const { missing } = applied;
    const detail = `Revision ${revision} is committed, but not every instance has it yet: ${missing.join("; ")}`;
    return refusal("NOT_APPLIED", detail, { members: { ...said, missing }, headers });
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    // The commit stands, whatever became of the waiting: the answer must say so.
    const detail = `Revision ${revision} is committed, but its way to the workers cannot be followed: ${error.message}`;
    return refusal(error.code, detail, { members: said, headers });
  }
}

function logWrite(
  parts: AdminParts,
  { actor, request }: Call,
  facts: Readonly<Record<string, unknown>>,
): void {
  const path = new URL(request.url).pathname;
  parts.log.info({ actor, method: request.method, path, ...facts }, "admin write");
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function isBetween(value: number | null, least: number, most: number): boolean {
  return value !== null && value >= least && value <= most;
}
