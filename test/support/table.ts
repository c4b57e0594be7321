/** Tables for tests: a shop between two backends, and what decoding says about it. */
import { assert, type Problem, type Result } from "../../src/base/fault.ts";
import { decodeDocument } from "../../src/domain/document.ts";
import type { Route } from "../../src/domain/route.ts";

/** Two backends for a cutover and a third one. */
export const BACKENDS = {
  legacy: { endpoints: ["http://127.0.0.1:9001"] },
  new: { endpoints: ["http://127.0.0.1:9002", "http://127.0.0.1:9003"] },
  other: { endpoints: ["http://127.0.0.1:9004"] },
};

/** The shortest route there is. */
export const SHOP = { id: "shop", cutover: { legacy: "legacy", candidate: "new" } };

/** The value of a result that must be good. */
export function valueOf<Value>(result: Result<Value>): Value {
  assert(result.ok, JSON.stringify(result));
  return result.value;
}

/** The problems of a result that must be a refusal. */
export function problemsOf(result: Result<unknown>): readonly Problem[] {
  assert(!result.ok, "it is refused");
  return result.problems;
}

/** A table of BACKENDS and these routes, in the operator's form. */
export function tableWith(...routes: readonly unknown[]): unknown {
  return { backends: BACKENDS, routes };
}

/** The problems of a table whose only route is the shop with these keys, by their paths below the route. */
export function shopProblems(keys: Readonly<Record<string, unknown>>): Record<string, string> {
  const problems = problemsOf(decodeDocument(tableWith({ ...SHOP, ...keys })));
  return Object.fromEntries(problems.map(({ path, message }) => [path.replace("/routes/0/", ""), message]));
}

/** The shop with these keys, decoded. */
export function shopWith(keys: Readonly<Record<string, unknown>>): Route {
  const [route] = valueOf(decodeDocument(tableWith({ ...SHOP, ...keys }))).routes;
  assert(route !== undefined, "the table has a route");
  return route;
}
