/** The compiled table against a plain scan: the index finds what reading all routes in order would find. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { compareSpecificity, entriesOf } from "../../src/domain/order.ts";
import type { Condition, Match, PathMatch, Route, RouteId } from "../../src/domain/route.ts";
import { compileTable, findRoute, type RequestView } from "../../src/domain/table.ts";
import { decodeDocument } from "../../src/domain/document.ts";
import { SHOP, tableWith, valueOf } from "../support/table.ts";

const HOSTS = ["", "a.org", "x.a.org", "y.x.a.org", "b.org"];
const PATTERNS = ["a.org", "x.a.org", "*.a.org", "*.x.a.org"];
const PATHS = ["/", "/a", "/a/", "/a/b", "/a/b/", "/a/bc", "/ab", "//", "/a//b", "*"];
const EXPRESSIONS = ["/a/.*", "/[ab]+", "/a|/ab"];

const path: fc.Arbitrary<PathMatch> = fc.oneof(
  fc.record({ kind: fc.constantFrom("prefix", "exact"), value: fc.constantFrom(...PATHS.slice(0, -1)) }),
  fc.record({ kind: fc.constant("regex"), value: fc.constantFrom(...EXPRESSIONS) }),
);
const condition: fc.Arbitrary<Condition> = fc.record({
  source: fc.constantFrom("header", "query", "cookie"),
  name: fc.constantFrom("k", "l"),
  value: fc.constantFrom("1", "2"),
});
const match: fc.Arbitrary<Match> = fc.record({
  hosts: fc.uniqueArray(fc.constantFrom(...PATTERNS), { maxLength: 2 }),
  path,
  methods: fc.uniqueArray(fc.constantFrom("GET", "POST"), { maxLength: 1 }),
  conditions: fc.array(condition, { maxLength: 2 }),
});
const view = fc
  .record({
    method: fc.constantFrom("GET", "POST"),
    host: fc.constantFrom(...HOSTS),
    path: fc.constantFrom(...PATHS),
    k: fc.constantFrom("1", "2", ""),
    l: fc.constantFrom("1", "2", ""),
  })
  .map((parts): RequestView => {
    const pairs = `k=${parts.k}&l=${parts.l}`;
    const fields = new Map([
      ["k", parts.k],
      ["l", parts.l],
      ["cookie", pairs.replace("&", "; ")],
    ]);
    return { ...parts, query: pairs, field: (name) => fields.get(name) };
  });

const base = valueOf(decodeDocument(tableWith(SHOP)));
const [template] = base.routes as [Route];

/** The reference: each part of a match spelled out, tried on every route in the order of specificity. */
function scan(routes: readonly Route[], seen: RequestView): string | null {
  for (const { host, route } of entriesOf(routes).toSorted(compareSpecificity)) {
    const wildcard =
      host.startsWith("*.") && seen.host.endsWith(host.slice(1)) && seen.host !== host.slice(1);
    const { methods, conditions } = route.match;
    const isMatch =
      (host === "" || host === seen.host || wildcard) &&
      matchesPath(route.match.path, seen.path) &&
      (methods.length === 0 || methods.includes(seen.method)) &&
      conditions.every(({ name, value }) => seen.field(name) === value);
    if (isMatch) return route.id;
  }
  return null;
}

function matchesPath({ kind, value }: PathMatch, seen: string): boolean {
  if (kind === "exact") return seen === value;
  if (kind === "regex") return new RegExp(`^(?:${value})$`).test(seen);
  if (value.endsWith("/")) return seen.startsWith(value);
  return seen === value || seen.startsWith(`${value}/`);
}

test("finding a route gives what a plain scan in the order of specificity gives", () => {
  const matches = fc.array(match, { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(matches, fc.array(view, { minLength: 10, maxLength: 30 }), (list, views) => {
      const routes = list.map((one, index) => ({ ...template, id: `r${index}` as RouteId, match: one }));
      const table = compileTable({ ...base, routes, revision: 1 });
      for (const seen of views) expect(findRoute(table, seen)?.route.id ?? null).toBe(scan(routes, seen));
    }),
    { numRuns: 500 },
  );
});
