/** Routes that can never match are found, and those that can are left alone. */
import { describe, expect, test } from "vitest";
import { decodeDocument } from "../../../src/domain/document.ts";
import { problemsOf, SHOP, tableWith } from "../../support/table.ts";

describe("routes that leave nothing to others", () => {
  const route = (id: string, match: unknown) => ({ ...SHOP, id, match });

  test("make a later one with the same match impossible", () => {
    const table = tableWith(
      route("a", { path: "/x", methods: ["GET", "PUT"] }),
      route("b", { path: "/x", methods: ["PUT", "GET"] }),
    );
    expect(problemsOf(decodeDocument(table))).toEqual([
      {
        path: "/routes/1",
        message: 'this route can never match: route "a" is tried first and takes every request',
      },
    ]);
  });

  test("are the later ones of those that are equally specific; an expression beside them lives", () => {
    const table = tableWith(
      route("first", { path: "/api", methods: ["GET", "PUT"] }),
      route("second", { path: "/api", methods: ["PUT", "GET"] }),
      route("expression", { regex: "/api/v[0-9]+" }),
    );
    const [problem] = problemsOf(decodeDocument(table));
    expect(problem?.path).toBe("/routes/1");
    expect(problem?.message).toContain('route "first" is tried first');
  });

  test("are named per host when others of the route are free", () => {
    const table = tableWith(route("a", { hosts: ["one", "two"] }), route("b", { hosts: ["three", "two"] }));
    expect(problemsOf(decodeDocument(table))).toEqual([
      {
        path: "/routes/1/match/hosts/1",
        message: 'this host of the route can never match: route "a" is tried first and takes every request',
      },
    ]);
  });

  test.each([
    [{ path: "/" }, { path: "/x" }],
    [{ path: "/" }, { regex: "/v[0-9]/.*" }],
    [{ path: "/x" }, { exact: "/x" }],
    [{ path: "/x" }, { path: "/x/" }],
    [{ path: "/x" }, { regex: "/xy.*" }],
    [{ path: "/x/" }, { regex: "/x/?" }],
    [{ path: "/x/" }, { regex: "/x/a|/y" }],
    [{ hosts: ["*.x.org"] }, { hosts: ["a.x.org"] }],
    [{}, { hosts: ["x.org"] }],
    [{}, { headers: { a: true } }],
    [{ headers: { a: true } }, { headers: { a: "1" } }],
    [{ headers: { a: "1" } }, { headers: { a: "2" } }],
    [{ headers: { a: true } }, { cookies: { a: true } }],
    [{ methods: ["GET", "PUT"] }, { methods: ["GET"] }],
    [{ methods: ["GET"] }, {}],
  ])("%j and %j live together in either order", (one, other) => {
    expect(decodeDocument(tableWith(route("a", one), route("b", other))).ok).toBe(true);
    expect(decodeDocument(tableWith(route("a", other), route("b", one))).ok).toBe(true);
  });
});
