/** The description of the API: complete, resolvable, and in agreement with what is served. */
import { describe, expect, test } from "vitest";
import { adminStage } from "../../support/admin_stage.ts";

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly security: readonly object[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: object }[];
  readonly requestBody?: { readonly required: boolean };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: object }>>;
}

interface Description {
  readonly openapi: string;
  readonly info: { readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

async function describing(): Promise<Description> {
  const { app } = await adminStage();
  const response = await app.request("http://127.0.0.1:9900/openapi.json");
  return (await response.json()) as Description;
}

/** Every value under the key `$ref`, wherever it stands. */
function references(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "$ref" && typeof inner === "string" ? [inner] : references(inner),
  );
}

// Every call: 401 and 403 for who asks, 422 for the query, 500 for a bug.
const READ = "200 401 403 422 500";
const STORED = "200 401 403 422 500 503";
const FOUND = "200 401 403 404 422 500 503";
const WRITE = "200 400 401 403 409 412 413 422 500 503 504";
const WRITE_FOUND = "200 400 401 403 404 409 412 413 422 500 503 504";

describe("the description", () => {
  test.each([
    ["get", "/v1/table", STORED],
    ["put", "/v1/table", WRITE],
    ["get", "/v1/routes", STORED],
    ["get", "/v1/routes/{id}", FOUND],
    ["put", "/v1/routes/{id}", WRITE],
    ["delete", "/v1/routes/{id}", WRITE_FOUND],
    ["put", "/v1/routes/{id}/split", WRITE_FOUND],
    ["post", "/v1/routes/{id}/rollback", WRITE_FOUND],
    ["get", "/v1/routes/{id}/health", FOUND],
    ["get", "/v1/routes/{id}/differences", FOUND],
    ["get", "/v1/routes/{id}/rollout", FOUND],
    ["put", "/v1/routes/{id}/rollout", WRITE_FOUND],
    ["delete", "/v1/routes/{id}/rollout", WRITE_FOUND],
    ["post", "/v1/routes/{id}/rollout/start", WRITE_FOUND],
    ["post", "/v1/routes/{id}/rollout/pause", WRITE_FOUND],
    ["post", "/v1/routes/{id}/rollout/resume", WRITE_FOUND],
    ["post", "/v1/routes/{id}/rollout/promote", WRITE_FOUND],
    ["post", "/v1/routes/{id}/rollout/abort", WRITE_FOUND],
    ["post", "/v1/routes/{id}/rollout/decommission", WRITE_FOUND],
    ["get", "/v1/history", STORED],
    ["get", "/v1/audit", STORED],
    ["get", "/v1/history/{revision}", FOUND],
    ["post", "/v1/history/{revision}/restore", WRITE_FOUND],
    ["get", "/v1/export", FOUND],
    ["post", "/v1/import", WRITE],
    ["post", "/v1/explain", "200 400 401 403 413 422 500 503"],
    ["get", "/v1/fleet", READ],
    ["post", "/v1/fleet/recycle", "200 400 401 403 413 422 500"],
    ["post", "/v1/upgrade", "200 400 401 403 409 413 422 500"],
    ["get", "/v1/store", "200 401 403 422 500"],
    ["post", "/v1/store/reseed", WRITE_FOUND],
    ["get", "/v1/events", STORED],
    ["get", "/livez", "200 403 422 500"],
    ["get", "/readyz", "200 403 422 500 503"],
    ["get", "/metrics", "200 403 422 500"],
    ["get", "/openapi.json", READ],
  ])("%s %s has its statuses", async (method, path, statuses) => {
    const { paths } = await describing();
    const operation = paths[path]?.[method];
    expect(Object.keys(operation?.responses ?? {}).join(" ")).toBe(statuses);
    expect(operation?.summary).toMatch(/\w/);
  });

  test("has nothing else", async () => {
    const { paths } = await describing();
    expect(Object.values(paths).flatMap((path) => Object.keys(path))).toHaveLength(36);
  });

  test("is OpenAPI 3.1 of this version", async () => {
    const { openapi, info } = await describing();
    expect([openapi, info.version]).toEqual(["3.1.0", "0.0.0-test"]);
  });

  test("every reference resolves, and every schema is used", async () => {
    const description = await describing();
    const known = Object.keys(description.components.schemas).map((name) => `#/components/schemas/${name}`);
    const used = new Set(references(description));
    expect([...used].filter((reference) => !known.includes(reference))).toEqual([]);
    expect(known.filter((reference) => !used.has(reference))).toEqual([]);
  });

  test("operations have names of their own, and refusals are problem documents", async () => {
    const { paths } = await describing();
    const operations = Object.values(paths).flatMap((path) => Object.values(path));
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    for (const { responses } of operations) {
      for (const [status, { content }] of Object.entries(responses)) {
        const types = Object.keys(content ?? {});
        expect(types).toHaveLength(1);
        if (Number(status) >= 400) expect(types).toEqual(["application/problem+json"]);
      }
    }
  });

  test("probes need no token, everything else does", async () => {
    const { paths } = await describing();
    const open = Object.entries(paths).filter(([, path]) =>
      Object.values(path).some(({ security }) => security.length === 0),
    );
    expect(open.map(([path]) => path).toSorted()).toEqual(["/livez", "/metrics", "/readyz"]);
  });

  test("parameters of the path are all declared, and writes take their conditions", async () => {
    const { paths } = await describing();
    for (const [path, operations] of Object.entries(paths)) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const { parameters } of Object.values(operations)) {
        const declared = (parameters ?? [])
          .filter((parameter) => parameter.in === "path")
          .map(({ name }) => name);
        expect(declared).toEqual(inPath);
      }
    }
    const names = (path: string, method: string): string[] =>
      (paths[path]?.[method]?.parameters ?? []).map(({ name }) => name);
    expect(names("/v1/table", "put")).toEqual(["wait", "timeout", "reason", "dry_run", "If-Match"]);
    expect(names("/v1/routes/{id}/rollback", "post")).toEqual([
      "id",
      "wait",
      "timeout",
      "reason",
      "If-Match",
      "Idempotency-Key",
    ]);
    expect(paths["/v1/table"]?.["put"]?.requestBody?.required).toBe(true);
    expect(paths["/v1/routes/{id}/rollback"]?.["post"]?.requestBody?.required).toBe(false);
  });
});
