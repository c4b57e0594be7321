/** Endpoints that move a migration to another store: all of it as one document, and back from one. */
import { writeExport } from "../control/export.ts";
import { answer, refusal } from "./answers.ts";
import { endpoint, noQuery, type Endpoint } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";
import { answerCommitted, waitQuery } from "./writes.ts";

/** The longest document that is taken: whatever an export can have, and room for white space. */
export const IMPORT_BYTES_MAX = 32 << 20;

/** GET /v1/export and POST /v1/import. */
export function exportApi(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/export",
      access: "viewer",
      summary: "The table with its history and audit log as one document, to be imported elsewhere",
      query: noQuery,
      answers: {
        200: { description: "The document, without idempotency keys", shape: "Export", etag: true },
      },
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle() {
        const { store, version, clock } = parts;
        const document = await writeExport(store, { version, wallMs: clock.wallMs() });
        const newest = document?.revisions.at(-1);
        if (newest === undefined)
          return refusal("NOT_FOUND", "The store is empty: there is nothing to export");
        return answer(document, { revision: newest.revision });
      },
    }),
    endpoint({
      method: "post",
      path: "/v1/import",
      access: "admin",
      summary: "Fill an empty store with an exported document",
      query: waitQuery,
      body: { shape: "Export", required: true, bytesMax: IMPORT_BYTES_MAX },
      writes: true,
      answers: { 200: { description: "What was imported", shape: "ImportAnswer", etag: true } },
      faults: ["STORE_UNAVAILABLE"],
      async handle(call) {
        const { ifMatch, idempotency } = call;
        const outcome = await parts.commands.importHistory(call.body, {
          ...(ifMatch === undefined ? {} : { ifMatch }),
          ...(idempotency === undefined ? {} : { idempotency }),
        });
        if (!outcome.ok) return refusal(outcome.code, outcome.detail, { errors: outcome.problems });
        const { revision, revisions } = outcome;
        return answerCommitted(parts, call, { revision, revisions });
      },
    }),
  ];
}
