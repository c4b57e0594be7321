/** The description of the admin API: OpenAPI 3.1, generated from the endpoints and the shapes that serve them. */
import { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { FAULTS } from "../base/fault.ts";
import { PROBLEM_TYPE } from "./answers.ts";
import { faultsOf, type AnswerSpec, type Endpoint } from "./endpoint.ts";
import { shapes, type ShapeName } from "./shapes.ts";

type Registry = OpenAPIHono["openAPIRegistry"];
type PathConfig = Parameters<Registry["registerPath"]>[0];
type Responses = PathConfig["responses"];

/** The description as a JSON object. */
export function describeApi(endpoints: readonly Endpoint[], version: string): object {
  const app = new OpenAPIHono();
  const registry = app.openAPIRegistry;
  registry.registerComponent("securitySchemes", "token", { type: "http", scheme: "bearer" });
  for (const [name, schema] of Object.entries(schemasByName())) {
    registry.registerComponent("schemas", name, schema as never);
  }
  for (const spec of endpoints) registry.registerPath(pathOf(spec));
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Crossfade admin API",
      version,
      description: "Shifts live traffic between two backends. Percentages have at most three decimals.",
    },
  });
}

/** The JSON Schemas of all shapes; those that are part of others are referred to by name. */
function schemasByName(): Record<string, unknown> {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(shapes)) registry.add(schema as z.ZodType, { id });
  const { schemas } = z.toJSONSchema(registry, { io: "input", uri: (id) => `#/components/schemas/${id}` });
  return Object.fromEntries(
    Object.entries(schemas).map(([name, { $id: _id, $schema: _dialect, ...schema }]) => [name, schema]),
  );
}

function pathOf(spec: Endpoint): PathConfig {
  const responses: Responses = {};
  for (const [status, answer] of Object.entries(spec.answers)) responses[status] = responseOf(answer);
  const byStatus = Map.groupBy(faultsOf(spec), (code) => FAULTS[code].status);
  for (const [status, codes] of byStatus) {
    responses[status] = refusalOf(codes.map((code) => `${code}: ${FAULTS[code].meaning}`).join("; "));
  }
  responses[500] = refusalOf("INTERNAL: a bug; the log has the details");
  return {
    method: spec.method,
    path: spec.path,
    summary: spec.summary,
    operationId: operationOf(spec),
    security: spec.access === "anyone" ? [] : [{ token: [] }],
    parameters: parametersOf(spec),
    ...(spec.body === undefined ? {} : { request: { body: bodyOf(spec.body) } }),
    responses,
    "x-role": spec.access,
  } as PathConfig;
}

function responseOf(answer: AnswerSpec): Responses[string] {
  const content =
    answer.shape === undefined
      ? { [answer.type ?? "text/plain"]: { schema: { type: "string" as const } } }
      : { "application/json": { schema: referenceTo(answer.shape) } };
  const headers = { ETag: { description: "The revision of the table", schema: { type: "string" as const } } };
  return { description: answer.description, content, ...(answer.etag === true ? { headers } : {}) };
}

function refusalOf(description: string): Responses[string] {
  return { description, content: { [PROBLEM_TYPE]: { schema: referenceTo("Problem") } } };
}

function bodyOf(body: { readonly shape: ShapeName; readonly required: boolean }) {
  return { required: body.required, content: { "application/json": { schema: referenceTo(body.shape) } } };
}

function referenceTo(shape: ShapeName): { $ref: string } {
  return { $ref: `#/components/schemas/${shape}` };
}

function parametersOf(spec: Endpoint): object[] {
  const inPath = [...spec.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: name === "revision" ? { type: "integer", minimum: 1 } : { type: "string" },
  }));
  const fields = Object.entries(spec.query.shape);
  const inQuery = fields.map(([name, field]) => {
    const { $schema: _dialect, description, ...schema } = z.toJSONSchema(field, { io: "input" });
    return {
      name,
      in: "query",
      required: false,
      ...(description === undefined ? {} : { description }),
      schema,
    };
  });
  const inHeader = headersOf(spec).map(([name, description]) => ({
    name,
    in: "header",
    required: false,
    description,
    schema: { type: "string" },
  }));
  return [...inPath, ...inQuery, ...inHeader];
}

function headersOf(spec: Endpoint): [name: string, description: string][] {
  const headers: [string, string][] = [];
  if (spec.writes === true) headers.push(["If-Match", "The revision that must be current; 412 otherwise"]);
  if (spec.writes === true && spec.method === "post") {
    headers.push([
      "Idempotency-Key",
      "1 to 128 visible characters: the same call again gives the first outcome",
    ]);
  }
  if (spec.path === "/v1/events") headers.push(["Last-Event-ID", "Resume behind this event"]);
  return headers;
}

/** Such as `putRoutesIdSplit`. */
function operationOf(spec: Endpoint): string {
  const words = spec.path.split(/[^a-z]+/i).filter((word) => word !== "" && word !== "v");
  return spec.method + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}
