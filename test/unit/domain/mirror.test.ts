/** The mirror policy of a route: what it says when it says little, what it may say, and which requests have a copy. */
import { describe, expect, test } from "vitest";
import { DEFAULT_COMPARE } from "../../../src/domain/compare_policy.ts";
import { encodeRoute } from "../../../src/domain/document.ts";
import { pick } from "../../../src/domain/pick.ts";
import { isSampled } from "../../../src/domain/sampling.ts";
import { compileTable, type RequestView } from "../../../src/domain/table.ts";
import { SHARES_TOTAL, type MirrorPolicy, type TableSpec } from "../../../src/domain/route.ts";
import { seededRandom } from "../../support/random.ts";
import { SHOP, shopProblems, shopWith } from "../../support/table.ts";

const SPLIT = { legacy: 100, new: 0 };
const LEAST = { to: "new", percent: 10 };

describe("a route", () => {
  test("has no mirror unless it says so", () => {
    expect(shopWith({}).mirror).toBeNull();
    expect(encodeRoute(shopWith({}))).toEqual({ ...SHOP, split: SPLIT });
  });

  test("that names backend and percent has the defaults for the rest", () => {
    const route = shopWith({ mirror: LEAST });
    expect(route.mirror).toEqual({
      to: "new",
      shares: 10_000,
      by: "bucket",
      methods: ["GET", "HEAD", "OPTIONS"],
      writes: [],
      match: { path: { kind: "prefix", value: "/" }, conditions: [] },
      bodyBytesMax: 65_536,
      timeoutMs: 10_000,
      inFlightMax: 256,
      compare: DEFAULT_COMPARE,
    });
    expect(encodeRoute(route)).toEqual({ ...SHOP, split: SPLIT, mirror: LEAST });
  });

  test("whose clients are not sticky draws", () => {
    const route = shopWith({ sticky: { keys: [] }, mirror: LEAST });
    expect(route.mirror?.by).toBe("random");
    expect(encodeRoute(route)).toMatchObject({ mirror: LEAST });
  });

  test.each([
    [{ ...LEAST, percent: 0.001, by: "random" }],
    [{ ...LEAST, to: "other", methods: ["HEAD"], max_body: "1MiB", timeout: "250ms", concurrency: 1024 }],
    [{ ...LEAST, compare: "off" }],
    [{ ...LEAST, writes: ["POST", "DELETE"] }],
    [{ ...LEAST, compare: { ignore: ["/updatedAt", "/items/*/id"], noise: 100 } }],
    [{ ...LEAST, match: { path: "/a", headers: { "x-a": "1", "x-b": true } } }],
    [{ ...LEAST, match: { regex: "/a|/b", query: { q: true }, cookies: { c: "d" } } }],
  ])("may say %j", (mirror) => {
    const route = shopWith({ mirror });
    expect(encodeRoute(route)).toMatchObject({ mirror });
    expect(shopWith({ mirror: (encodeRoute(route) as { mirror: unknown }).mirror })).toEqual(route);
  });

  const safe = "only requests that change nothing have copies: write GET, HEAD, OPTIONS";
  test.each<[unknown, string, string]>([
    ["new", "mirror", "write a map here, not text"],
    [{ percent: 1 }, "mirror/to", '"to" is missing'],
    [{ to: "new" }, "mirror/percent", '"percent" is missing'],
    [{ ...LEAST, to: "nwe" }, "mirror/to", 'unknown backend "nwe"; did you mean "new"?'],
    [{ ...LEAST, percent: 0.0001 }, "mirror/percent", "write 0 to 100 percent with at most 3 decimals"],
    [{ ...LEAST, by: "client" }, "mirror/by", 'unknown choice "client"; write one of bucket, random'],
    [{ ...LEAST, methods: ["POST"] }, "mirror/methods/0", safe],
    [{ ...LEAST, methods: ["GET", "GET"] }, "mirror/methods/1", "the same as entry 0 of this list"],
    [{ ...LEAST, writes: true }, "mirror/writes", "write a list here, not true or false"],
    [
      { ...LEAST, writes: ["GET"] },
      "mirror/writes/0",
      'unknown choice "GET"; write one of POST, PUT, PATCH, DELETE',
    ],
    [{ ...LEAST, writes: ["PUT", "PUT"] }, "mirror/writes/1", "the same as entry 0 of this list"],
    [{ ...LEAST, compare: { ignore: ["a"] } }, "mirror/compare/ignore/0", expect.stringMatching(/"\/"/)],
    [{ ...LEAST, compare: "on" }, "mirror/compare", expect.stringMatching(/^write "off" or a map/)],
    [
      { ...LEAST, match: { path: "/a", exact: "/b" } },
      "mirror/match/exact",
      '"path" says already what the path must be; keep one of them',
    ],
    [
      { ...LEAST, match: { hosts: ["h"] } },
      "mirror/match/hosts",
      'unknown key "hosts"; allowed here: path, exact, regex, headers, query, cookies',
    ],
    [{ ...LEAST, timeout: "0ms" }, "mirror/timeout", expect.stringMatching(/^write a duration from 1ms/)],
    [{ ...LEAST, concurrency: 1025 }, "mirror/concurrency", "write a whole number from 1 to 1024"],
    [{ ...LEAST, max_body: "2MiB" }, "mirror/max_body", expect.stringMatching(/^write a size up to 1MiB/)],
  ])("may not say %j", (mirror, place, message) => {
    expect(shopProblems({ mirror })).toEqual({ [place]: message });
  });

  test.each([
    [{}, "has no mirror"],
    [{ mirror: { ...LEAST, compare: "off" } }, 'has a mirror that says "compare: off"'],
  ])("that knows nothing of differences has no plan that waits for them: %j", (part, what) => {
    const rollout = { differences: { below: 0.1 } };
    const why = `nothing is known of differences, because the route ${what}`;
    expect(shopProblems({ ...part, rollout })).toEqual({
      "rollout/differences": `${why}; let it compare, or leave this out`,
    });
    expect(shopWith({ mirror: LEAST, rollout }).rollout?.differences).toEqual({
      aboveShares: 0,
      belowPercent: 0.1,
    });
  });

  test("without sticky clients has no buckets to go by", () => {
    expect(shopProblems({ sticky: { keys: [] }, mirror: { ...LEAST, by: "bucket" } })).toEqual({
      "mirror/by": 'clients have no buckets where "sticky.keys" is empty; write random, or leave it out',
    });
  });
});

const random = seededRandom(7);
const draw = (below: number): number => random.draw(below);

function sampled(
  change: object,
  request: Partial<RequestView> & { user?: string; mark?: string } = {},
): boolean {
  const { mirror, ...rest } = { mirror: {}, ...change };
  const route = shopWith({
    sticky: { keys: ["header:x-user"] },
    ...rest,
    mirror: { to: "new", percent: 100, ...mirror },
  });
  const ids = ["legacy", "new", "other"] as TableSpec["backends"][number]["id"][];
  const table = compileTable({
    revision: 1,
    backends: ids.map((id) => ({ id, endpoints: [] })),
    routes: [route],
  });
  const fields = new Map([
    ["x-user", request.user ?? "ann"],
    ...(request.mark === undefined ? [] : [["crossfade-shadow", request.mark] as const]),
  ]);
  const view = {
    method: "GET",
    host: "h",
    path: "/",
    query: "",
    field: (name: string) => fields.get(name),
    ...request,
  };
  const [compiled] = table.routes;
  if (compiled === undefined || compiled.mirror === null) return false;
  const picked = pick(table, compiled, view, { address: "10.0.0.1", random });
  return isSampled(compiled.mirror, picked, view, draw);
}

/** Of a thousand users, those whose requests have a copy. */
function usersWith(change: object): string[] {
  return Array.from({ length: 1000 }, (_, i) => `u${i}`).filter((user) => sampled(change, { user }));
}

describe("a request", () => {
  test("has a copy by its client: always the same ones, and more of them with more percent", () => {
    const few = usersWith({ mirror: { percent: 10 } });
    expect(usersWith({ mirror: { percent: 10 } })).toEqual(few);
    expect(few.length).toBeGreaterThan(60);
    expect(few.length).toBeLessThan(140);
    expect(usersWith({ mirror: { percent: 20 } })).toEqual(expect.arrayContaining(few));
    expect(usersWith({ mirror: { percent: 100 } })).toHaveLength(1000);
    expect(usersWith({ mirror: { percent: 0 } })).toEqual([]);
  });

  test("for the candidate still has its copy while others move there, and none once it goes there itself", () => {
    const before = usersWith({ mirror: { percent: 30 } });
    expect(usersWith({ split: { legacy: 30, new: 70 }, mirror: { percent: 30 } })).toEqual(before);
    expect(usersWith({ split: { legacy: 0, new: 100 }, mirror: { percent: 30 } })).toEqual([]);
  });

  test("that moved has its copy at legacy where that is mirrored to", () => {
    expect(usersWith({ mirror: { to: "legacy" } })).toEqual([]);
    expect(usersWith({ split: { legacy: 0, new: 100 }, mirror: { to: "legacy" } })).toHaveLength(1000);
    expect(usersWith({ split: { legacy: 50, new: 50 }, mirror: { to: "other" } })).toHaveLength(1000);
  });

  test("has a copy by chance where that decides, whoever sends it", () => {
    const change = { mirror: { percent: 25, by: "random" } };
    const copies = Array.from({ length: 4000 }, () => sampled(change)).filter(Boolean).length;
    expect(copies).toBeGreaterThan(800);
    expect(copies).toBeLessThan(1200);
  });

  test.each<[string, Parameters<typeof sampled>, boolean]>([
    ["GET", [{}], true],
    ["POST", [{}, { method: "POST" }], false],
    ["a method that was left out", [{ mirror: { methods: ["GET"] } }, { method: "HEAD" }], false],
    ["a pinned client", [{ pins: [{ header: "x-user", to: "legacy" }] }], false],
    ["a copy", [{}, { mark: "1" }], false],
    ["below a prefix", [{ mirror: { match: { path: "/a" } } }, { path: "/a/b" }], true],
    ["beside a prefix", [{ mirror: { match: { path: "/a" } } }, { path: "/ab" }], false],
    ["below a prefix with a slash", [{ mirror: { match: { path: "/a/" } } }, { path: "/a/b" }], true],
    ["at an exact path", [{ mirror: { match: { exact: "/a" } } }, { path: "/a" }], true],
    ["below an exact path", [{ mirror: { match: { exact: "/a" } } }, { path: "/a/" }], false],
    ["by an expression", [{ mirror: { match: { regex: "/a|/b" } } }, { path: "/b" }], true],
    ["by half an expression", [{ mirror: { match: { regex: "/a|/b" } } }, { path: "/bc" }], false],
    ["with a field", [{ mirror: { match: { headers: { "X-User": "ann" } } } }], true],
    ["without a field", [{ mirror: { match: { headers: { "X-User": "bob" } } } }], false],
  ])("%s: has a copy or not", (_, [change, request], isCopied) => {
    expect(sampled(change, request)).toBe(isCopied);
  });

  test("of a table without the key, as earlier versions send it, has none", () => {
    const { mirror: _, ...route } = shopWith({});
    const backends = (["legacy", "new"] as TableSpec["backends"][number]["id"][]).map((id) => ({
      id,
      endpoints: [],
    }));
    const table = compileTable({ revision: 1, backends, routes: [route] } as unknown as TableSpec);
    expect(table.routes[0]?.mirror).toBeNull();
  });
});

test("the shares of a mirror are those of its percent", () => {
  const mirror: MirrorPolicy | null = shopWith({ mirror: { ...LEAST, percent: 33.333 } }).mirror;
  expect(mirror?.shares).toBe((SHARES_TOTAL * 33_333) / 100_000);
});
