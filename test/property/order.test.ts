/** The order of routes against the router itself: what covers, takes; what is called shadowed, never answers. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareSpecificity, covers, entriesOf, findShadowed } from "../../src/domain/order.ts";
import type {
  Backend,
  BackendId,
  Condition,
  Match,
  PathMatch,
  Route,
  RouteId,
} from "../../src/domain/route.ts";
import { compileTable, findRoute, type RequestView } from "../../src/domain/table.ts";

const HOSTS = ["x.org", "a.x.org", "b.a.x.org", "y.org"];
const PATTERNS = ["x.org", "a.x.org", "*.x.org", "*.a.x.org"];
const PATHS = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/z"];
const METHODS = ["GET", "POST", "PUT"];
const VALUES = ["1", "2"];
const BACKENDS: readonly Backend[] = ["legacy", "new"].map((name) => ({
  id: name as BackendId,
  endpoints: [],
}));

const pathArbitrary: fc.Arbitrary<PathMatch> = fc.oneof(
  fc.constantFrom(...PATHS).map((value): PathMatch => ({ kind: "prefix", value })),
  fc.constantFrom(...PATHS).map((value): PathMatch => ({ kind: "exact", value })),
  fc
    .constantFrom("/a", "/a/.*", "/a/b?", "/ab*", "/.*", "/a|/z", "/a/b/c{0}", "(?:/a)+")
    .map((value): PathMatch => ({ kind: "regex", value })),
);
const conditionsArbitrary = fc
  .uniqueArray(fc.constantFrom("h", "i"))
  .chain((names) => fc.tuple(...names.map((name) => conditionArbitrary(name))));
const matchArbitrary: fc.Arbitrary<Match> = fc.record({
  hosts: fc.uniqueArray(fc.constantFrom(...PATTERNS), { maxLength: 2 }),
  path: pathArbitrary,
  methods: fc.uniqueArray(fc.constantFrom(...METHODS), { maxLength: 2 }),
  conditions: conditionsArbitrary,
});
const matchesArbitrary = fc.array(matchArbitrary, { minLength: 1, maxLength: 6 });
const viewArbitrary: fc.Arbitrary<RequestView> = fc
  .record({
    method: fc.constantFrom(...METHODS),
    host: fc.constantFrom(...HOSTS),
    path: fc.constantFrom(...PATHS),
    h: fc.constantFrom(undefined, ...VALUES),
    i: fc.constantFrom(undefined, ...VALUES),
  })
  .map(({ method, host, path, h, i }) => {
    const fields = new Map([
      ["h", h],
      ["i", i],
    ]);
    return { method, host, path, query: "", field: (name) => fields.get(name) };
  });
const viewsArbitrary = fc.array(viewArbitrary, { minLength: 20, maxLength: 60 });

function conditionArbitrary(name: string): fc.Arbitrary<Condition> {
  return fc
    .constantFrom(undefined, ...VALUES)
    .map((value) => (value === undefined ? { source: "header", name } : { source: "header", name, value }));
}

function routeOf(match: Match, position: number): Route {
  const [legacy, candidate] = ["legacy" as BackendId, "new" as BackendId];
  return {
    id: `r${position}` as RouteId,
    match,
    cutover: { legacy, candidate },
    candidateShares: 0,
    sticky: { keys: [], salt: "s" },
    pins: [],
    timeouts: { connectMs: 1, responseMs: 1, idleMs: 1 },
    retries: { attempts: 0, bodyBytesMax: 0 },
    websocket: true,
    trailers: false,
    evacuate: "keep",
    expose: false,
    rollback: null,
    mirror: null,
    rollout: null,
  };
}

function answering(matches: readonly Match[], view: RequestView): string | null {
  const table = compileTable({ revision: 1, backends: BACKENDS, routes: matches.map(routeOf) });
  return findRoute(table, view)?.route.id ?? null;
}

describe("the order of routes", () => {
  test("a match that covers another takes every request that the other takes", () => {
    let pairs = 0;
    fc.assert(
      fc.property(matchesArbitrary, viewsArbitrary, (matches, views) => {
        for (const a of matches) {
          for (const b of matches) {
            if (a === b || !covers(a, b)) continue;
            pairs++;
            for (const view of views)
              if (answering([b], view) !== null) expect(answering([a], view)).not.toBeNull();
          }
        }
      }),
      { numRuns: 1000 },
    );
    // Few matches cover another by chance, so many are tried.
    expect(pairs).toBeGreaterThan(10);
  });

  test("a match covers itself, and itself with more conditions", () => {
    fc.assert(
      fc.property(matchArbitrary, (match) => {
        expect(covers(match, match)).toBe(true);
        const narrower = {
          ...match,
          conditions: [...match.conditions, { source: "query", name: "q" } as const],
        };
        expect(covers(match, narrower)).toBe(true);
        expect(covers(narrower, match)).toBe(false);
      }),
    );
  });

  test("a shadowed entry never answers a request for its host", () => {
    fc.assert(
      fc.property(matchesArbitrary, viewsArbitrary, (matches, views) => {
        for (const { later } of findShadowed(matches.map(routeOf))) {
          const kept = matches.map((match, position) =>
            position === later.position ? { ...match, hosts: later.host === "" ? [] : [later.host] } : match,
          );
          for (const view of views) expect(answering(kept, view)).not.toBe(later.route.id);
        }
      }),
    );
  });

  test("whoever is called shadowed is covered by an entry of the same host that is tried first", () => {
    fc.assert(
      fc.property(matchesArbitrary, (matches) => {
        for (const { earlier, later } of findShadowed(matches.map(routeOf))) {
          expect(earlier.host).toBe(later.host);
          expect(compareSpecificity(earlier, later)).toBeLessThan(0);
          const narrow = (match: Match): Match => ({ ...match, hosts: [] });
          expect(covers(narrow(earlier.route.match), narrow(later.route.match))).toBe(true);
        }
      }),
    );
  });

  test("entries have one order, however they are shuffled", () => {
    const lists = matchesArbitrary.chain((matches) => {
      const entries = entriesOf(matches.map(routeOf));
      return fc.tuple(fc.constant(entries), fc.shuffledSubarray(entries, { minLength: entries.length }));
    });
    fc.assert(
      fc.property(lists, ([entries, shuffled]) => {
        const name = ({ host, position }: { host: string; position: number }): string =>
          `${host} ${position}`;
        // Two hosts of one route may tie: no request has both.
        const ranks = (list: typeof entries): number[] =>
          list.toSorted(compareSpecificity).map((entry) => entry.position);
        expect(shuffled.map(name).toSorted()).toEqual(entries.map(name).toSorted());
        expect(ranks(shuffled)).toEqual(ranks(entries));
      }),
    );
  });
});
