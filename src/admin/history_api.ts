/** Endpoints of the past: every table there was, who changed it and why, and the way back to one. */
import { z } from "zod";
import { closed } from "../domain/examine.ts";
import { withoutStates } from "../domain/stored.ts";
import { HISTORY_PAGE_MAX, type AuditEntry } from "../store/store.ts";
import { answer, refusal } from "./answers.ts";
import { endpoint, invalid, type Endpoint, noQuery } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";
import { answerWrite, readAuthor, writeAnswers, writeQuery } from "./writes.ts";

/** Entries of a page unless told otherwise. */
const PAGE_DEFAULT = 50;

const limitMessage = `write a whole number from 1 to ${HISTORY_PAGE_MAX}`;

const pageQuery = closed({
  before: z
    .string()
    .regex(/^[1-9]\d{0,14}$/, { error: "write a revision: only those below it are shown" })
    .optional()
    .meta({ description: "Only revisions below this one" }),
  limit: z
    .string()
    .refine((text) => /^[1-9]\d{0,3}$/.test(text) && Number(text) <= HISTORY_PAGE_MAX, {
      error: limitMessage,
    })
    .optional()
    .meta({ description: limitMessage, default: String(PAGE_DEFAULT) }),
});

/** /v1/history, /v1/audit and what restores. */
export function historyApi(parts: AdminParts): Endpoint[] {
  return [
    page(parts, "/v1/history", "Every past revision, newest first", "HistoryPage", encodeEntry),
    page(parts, "/v1/audit", "Who changed what and why, newest first", "AuditPage", encodeAudit),
    endpoint({
      method: "get",
      path: "/v1/history/{revision}",
      access: "viewer",
      summary: "One past revision with its table",
      query: noQuery,
      answers: { 200: { description: "The revision", shape: "PastTable", etag: true } },
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle(call) {
        const revision = revisionOf(call.param("revision"));
        const stored = revision === null ? null : await parts.store.at(revision);
        if (stored === null) return noSuchRevision(call.param("revision"));
        return answer(
          { ...encodeAudit(stored), table: withoutStates(stored.document) },
          { revision: stored.revision },
        );
      },
    }),
    endpoint({
      method: "post",
      path: "/v1/history/{revision}/restore",
      access: "operator",
      summary: "Make a past table the current one, as a new revision",
      query: writeQuery,
      body: { shape: "ReasonBody", required: false },
      writes: true,
      answers: writeAnswers,
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle(call) {
        const revision = revisionOf(call.param("revision"));
        if (revision === null) return noSuchRevision(call.param("revision"));
        const author = readAuthor(call);
        if (!author.ok) return invalid(author.problems);
        const outcome = await parts.commands.restore(revision, author.value);
        return answerWrite(parts, call, outcome);
      },
    }),
  ];
}

function page(
  parts: AdminParts,
  path: string,
  summary: string,
  shape: "HistoryPage" | "AuditPage",
  encode: (entry: AuditEntry) => unknown,
): Endpoint {
  return endpoint({
    method: "get",
    path,
    access: "viewer",
    summary,
    query: pageQuery,
    answers: { 200: { description: "A page", shape } },
    faults: ["STORE_UNAVAILABLE"],
    async handle({ query }) {
      const limit = query.limit === undefined ? PAGE_DEFAULT : Number(query.limit);
      const before = query.before === undefined ? {} : { before: Number(query.before) };
      const entries = await parts.store.history({ ...before, limit });
      const last = entries.length < limit ? undefined : entries.at(-1);
      return answer({
        entries: entries.map(encode),
        next_before: last === undefined || last.revision <= 1 ? null : last.revision,
      });
    },
  });
}

function encodeEntry(entry: AuditEntry): Record<string, unknown> {
  return {
    revision: entry.revision,
    from_revision: entry.fromRevision,
    at: new Date(entry.atMs).toISOString(),
    actor: entry.actor,
    action: entry.action,
    reason: entry.reason,
  };
}

function encodeAudit(entry: AuditEntry): Record<string, unknown> {
  return { ...encodeEntry(entry), difference: entry.difference };
}

function revisionOf(text: string): number | null {
  return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;
}

function noSuchRevision(text: string): Response {
  return refusal("NOT_FOUND", `There is no revision ${text.slice(0, 20)}, or it is forgotten`);
}
