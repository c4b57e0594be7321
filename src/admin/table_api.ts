/** Endpoints of the whole table: read it, replace it. */
import { encodeDocument } from "../domain/document.ts";
import { answer } from "./answers.ts";
import { readCurrent } from "./current.ts";
import { endpoint, noQuery, type Endpoint } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";
import { answerWrite, authorOf, dryWriteQuery, writeAnswers } from "./writes.ts";

/** GET and PUT /v1/table. */
export function tableApi(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/table",
      access: "viewer",
      summary: "The whole table",
      query: noQuery,
      answers: { 200: { description: "The table", shape: "TableAnswer", etag: true } },
      faults: ["STORE_UNAVAILABLE"],
      async handle() {
        const { revision, document } = await readCurrent(parts.commands);
        return answer({ revision, table: encodeDocument(document) }, { revision });
      },
    }),
    endpoint({
      method: "put",
      path: "/v1/table",
      access: "admin",
      summary: "Replace the whole table, or only show what would change",
      query: dryWriteQuery,
      body: { shape: "Table", required: true },
      writes: true,
      answers: writeAnswers,
      faults: ["STORE_UNAVAILABLE"],
      async handle(call) {
        const outcome = await parts.commands.replaceTable(call.body, authorOf(call));
        return answerWrite(parts, call, outcome);
      },
    }),
  ];
}
