/** The endpoint that tells where a request would go, and why. */
import { explain, type Explanation } from "../domain/explain.ts";
import { writePercent } from "../domain/quantity.ts";
import { compileTable, type RouteTable } from "../domain/table.ts";
import { answer } from "./answers.ts";
import { readCurrent } from "./current.ts";
import { endpoint, invalid, noQuery, type Endpoint } from "./endpoint.ts";
import { readShape } from "./input.ts";
import type { AdminParts } from "./parts.ts";
import { explainBody } from "./shapes.ts";

/** Whose address an explained request comes from unless told. */
const CLIENT_DEFAULT = "127.0.0.1";

/** POST /v1/explain. */
export function explainApi(parts: AdminParts): Endpoint[] {
  let compiled: RouteTable | null = null;
  return [
    endpoint({
      method: "post",
      path: "/v1/explain",
      access: "viewer",
      summary: "Which route and backend a request would get, and why",
      query: noQuery,
      body: { shape: "ExplainBody", required: true },
      answers: { 200: { description: "The decision, step by step", shape: "Explanation", etag: true } },
      faults: ["STORE_UNAVAILABLE"],
      async handle(call) {
        const body = readShape(explainBody, call.body);
        if (!body.ok) return invalid(body.problems);
        const { revision, document } = await readCurrent(parts.commands);
        // One compilation serves all questions about a revision.
        if (compiled?.revision !== revision) compiled = compileTable({ ...document, revision });
        const { method, url } = body.value;
        const headers = headerList(body.value.headers ?? {});
        const explanation = explain(compiled, { method, url, headers }, body.value.client ?? CLIENT_DEFAULT);
        return answer(encode(compiled, explanation), { revision });
      },
    }),
  ];
}

function headerList(headers: Readonly<Record<string, string | readonly string[]>>): [string, string][] {
  return Object.entries(headers).flatMap(([name, value]) =>
    (typeof value === "string" ? [value] : value).map((one): [string, string] => [name, one]),
  );
}

function encode(table: RouteTable, explanation: Explanation): unknown {
  const { revision, route, backend, reason, bucket, key, candidateShares, steps } = explanation;
  const target = [...table.backends.values()].find(({ id }) => id === backend);
  return {
    revision,
    route,
    backend,
    reason,
    bucket,
    key,
    candidate_percent: candidateShares === null ? null : writePercent(candidateShares),
    endpoints: (target?.endpoints ?? []).map(({ address }) => address),
    steps,
  };
}
