/** Endpoints of single routes: read, put, delete, shift traffic, roll back. */
import { encodeRoute } from "../domain/document.ts";
import { isMap } from "../domain/examine.ts";
import { answer } from "./answers.ts";
import { answerRoute, readCurrent } from "./current.ts";
import { endpoint, invalid, noQuery, type Endpoint } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";
import { answerWrite, authorOf, readAuthor, writeAnswers, writeQuery } from "./writes.ts";

/** /v1/routes, one route, its weights and its rollback. */
export function routesApi(parts: AdminParts): Endpoint[] {
  return [...readingRoutes(parts), ...writingRoutes(parts), ...movingTraffic(parts)];
}

function readingRoutes(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/routes",
      access: "viewer",
      summary: "All routes",
      query: noQuery,
      answers: {
        200: { description: "The routes, in the table's order", shape: "RoutesAnswer", etag: true },
      },
      faults: ["STORE_UNAVAILABLE"],
      async handle() {
        const { revision, document } = await readCurrent(parts.commands);
        return answer({ revision, routes: document.routes.map(encodeRoute) }, { revision });
      },
    }),
    endpoint({
      method: "get",
      path: "/v1/routes/{id}",
      access: "viewer",
      summary: "One route",
      query: noQuery,
      answers: { 200: { description: "The route", shape: "RouteAnswer", etag: true } },
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      handle: (call) =>
        answerRoute(parts.commands, call.param("id"), (route, { revision }) =>
          answer({ revision, route: encodeRoute(route) }, { revision }),
        ),
    }),
  ];
}

function writingRoutes(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "put",
      path: "/v1/routes/{id}",
      access: "operator",
      summary: "Add a route or replace it",
      query: writeQuery,
      body: { shape: "Route", required: true },
      writes: true,
      answers: writeAnswers,
      faults: ["STORE_UNAVAILABLE"],
      async handle(call) {
        const outcome = await parts.commands.putRoute(call.param("id"), call.body, authorOf(call));
        return answerWrite(parts, call, outcome);
      },
    }),
    endpoint({
      method: "delete",
      path: "/v1/routes/{id}",
      access: "admin",
      summary: "Remove a route",
      query: writeQuery,
      writes: true,
      answers: writeAnswers,
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle(call) {
        const outcome = await parts.commands.deleteRoute(call.param("id"), authorOf(call));
        return answerWrite(parts, call, outcome);
      },
    }),
  ];
}

function movingTraffic(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "put",
      path: "/v1/routes/{id}/split",
      access: "operator",
      summary: "Shift traffic between the two backends of a route",
      query: writeQuery,
      body: { shape: "Split", required: true },
      writes: true,
      answers: writeAnswers,
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle(call) {
        const { weights, reason } = splitBody(call.body);
        if (reason !== undefined && typeof reason !== "string") {
          return invalid([{ path: "/reason", message: "write the reason as text" }]);
        }
        const outcome = await parts.commands.shift(call.param("id"), weights, authorOf(call, reason));
        return answerWrite(parts, call, outcome);
      },
    }),
    endpoint({
      method: "post",
      path: "/v1/routes/{id}/rollback",
      access: "operator",
      summary: "Take all traffic of a route back to legacy, now",
      query: writeQuery,
      body: { shape: "ReasonBody", required: false },
      writes: true,
      answers: writeAnswers,
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle(call) {
        const author = readAuthor(call);
        if (!author.ok) return invalid(author.problems);
        return answerWrite(parts, call, await parts.commands.rollback(call.param("id"), author.value));
      },
    }),
  ];
}

/** Weights and reason share one object: no backend may be called "reason". */
function splitBody(body: unknown): { readonly weights: unknown; readonly reason?: unknown } {
  if (!isMap(body)) return { weights: body };
  const { reason, ...weights } = body;
  return { weights, reason };
}
