/** Endpoints of the store itself: how it is, and which table counts after it lost the one that is served. */
import type { z } from "zod";
import type { Reseed } from "../store/guard.ts";
import { answer } from "./answers.ts";
import { endpoint, invalid, noQuery, type Endpoint } from "./endpoint.ts";
import { readShape } from "./input.ts";
import type { AdminParts } from "./parts.ts";
import { reseedBody, type storeAnswer } from "./shapes.ts";
import { answerWrite, authorOf, writeAnswers, writeQuery } from "./writes.ts";

/** GET /v1/store and POST /v1/store/reseed. */
export function storeApi(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/store",
      access: "viewer",
      summary: "Where the table is kept, and whether what is there is in use",
      query: noQuery,
      answers: { 200: { description: "The store", shape: "StoreAnswer" } },
      faults: [],
      handle: () => answer(encode(parts)),
    }),
    endpoint({
      method: "post",
      path: "/v1/store/reseed",
      access: "admin",
      summary: "Say which table counts, after the store has lost the one that is served",
      query: writeQuery,
      body: { shape: "ReseedBody", required: true },
      writes: true,
      answers: writeAnswers,
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle(call) {
        const body = readShape(reseedBody, call.body);
        if (!body.ok) return invalid(body.problems);
        const which: Reseed = body.value.from;
        return answerWrite(
          parts,
          call,
          await parts.commands.reseed(which, authorOf(call, body.value.reason)),
        );
      },
    }),
  ];
}

function encode(parts: AdminParts): z.input<typeof storeAnswer> {
  const { kind, where, status, warnings } = parts.storeInfo();
  const served = parts.publisher.served();
  return {
    kind,
    where,
    condition: status.condition,
    detail: status.detail,
    since: new Date(status.sinceMs).toISOString(),
    store_revision: status.storeRevision,
    served_revision: served.revision,
    served_from: served.from,
    warnings: [...warnings],
  };
}
