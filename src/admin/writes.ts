/** What all writes of the admin API share: who, why and on what condition; the outcome; waiting for the workers. */
import { z } from "zod";
import { Fault } from "../base/fault.ts";
import type { Author, Outcome } from "../control/commands.ts";
import { closed } from "../domain/examine.ts";
import { readDuration } from "../domain/quantity.ts";
import { answer, refusal } from "./answers.ts";
import type { AnswerSpec, Call } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";
import { reasonSchema } from "./shapes.ts";

/** How long a write waits for the workers unless told otherwise. */
const WAIT_DEFAULT_MS = 5_000;
const WAIT_MAX_MS = 60_000;

const timeoutMessage = "write a duration from 1ms to 60s, such as 500ms or 5s";

const writeParameters = {
  wait: z
    .literal("applied", { error: 'write "applied" or leave it out' })
    .optional()
    .meta({ description: "Answer when every live worker has the revision" }),
  timeout: z
    .string()
    .refine((text) => isBetween(readDuration(text), 1, WAIT_MAX_MS), { error: timeoutMessage })
    .optional()
    .meta({ description: "How long to wait, at most 60s", default: "5s" }),
  reason: reasonSchema.optional().meta({ description: "Why, for the audit log" }),
};

/** The parameters of every write. */
export const writeQuery = closed(writeParameters);

/** Those of a write that can be tried without effect. */
export const dryWriteQuery = closed({
  ...writeParameters,
  dry_run: z
    .enum(["true", "false"])
    .optional()
    .meta({ description: "Only check it and show the difference" }),
});

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

/** Answers with the outcome of a command, after the workers have it if the caller wants to wait. */
export async function answerWrite(
  parts: AdminParts,
  call: Call<WriteQuery>,
  outcome: Outcome,
): Promise<Response> {
  if (!outcome.ok) return refusal(outcome.code, outcome.detail, { errors: outcome.problems });
  const { revision, changed, difference } = outcome;
  const isDry = call.query.dry_run === "true";
  const { method } = call.request;
  const path = new URL(call.request.url).pathname;
  parts.log.info({ actor: call.actor, method, path, revision, changed, dryRun: isDry }, "admin write");
  const said = { revision, changed, difference };
  if (isDry) return answer({ ...said, dry_run: true }, { revision });
  if (call.query.wait === undefined) return answer(said, { revision });
  const timeoutMs = readDuration(call.query.timeout ?? "") ?? WAIT_DEFAULT_MS;
  const headers = { etag: `"${revision}"` };
  try {
    const applied = await parts.publisher.waitApplied(revision, timeoutMs);
    // From the call, not from the commit: it is what the caller waited for.
    const appliedMs = rounded(parts.clock.nowMs() - call.arrivedMs);
    if (applied.applied) return answer({ ...said, applied_ms: appliedMs }, { revision });
    const { missing } = applied;
    const detail = `Revision ${revision} is committed, but not every worker has it yet: ${missing.join("; ")}`;
    return refusal("NOT_APPLIED", detail, { members: { ...said, missing }, headers });
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    // The commit stands, whatever became of the waiting: the answer must say so.
    const detail = `Revision ${revision} is committed, but its way to the workers cannot be followed: ${error.message}`;
    return refusal(error.code, detail, { members: said, headers });
  }
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function isBetween(value: number | null, least: number, most: number): boolean {
  return value !== null && value >= least && value <= most;
}
