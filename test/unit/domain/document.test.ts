/** What a table may say, what it means, and what each refusal tells the operator. */
import { describe, expect, test } from "vitest";
import {
  decodeDocument,
  decodeRoute,
  decodeWeights,
  encodeDocument,
  encodeRoute,
} from "../../../src/domain/document.ts";
import type { Document } from "../../../src/domain/route.ts";
import {
  BACKENDS,
  SHOP,
  problemsOf,
  shopProblems,
  shopWith,
  tableWith,
  valueOf,
} from "../../support/table.ts";

describe("a route that says only what it must", () => {
  const route = shopWith({});

  test("matches every request", () => {
    const everything = { hosts: [], path: { kind: "prefix", value: "/" }, methods: [], conditions: [] };
    expect(route.match).toEqual(everything);
  });

  test("sends everything to legacy", () => {
    expect(route.candidateShares).toBe(0);
  });

  test("knows clients by a cookie of its own, in one cohort with the routes of the same cutover", () => {
    expect(route.sticky).toEqual({ keys: [{ from: "issue" }], salt: "legacy/new" });
  });

  test("has patient timeouts, one retry, and tells clients nothing", () => {
    expect(route.timeouts).toEqual({ connectMs: 3000, responseMs: 60_000, idleMs: 60_000 });
    expect(route.retries).toEqual({ attempts: 1, bodyBytesMax: 65_536 });
    expect(route.expose).toBe(false);
    expect(route.pins).toEqual([]);
  });

  test("is written without its defaults, but with its split", () => {
    expect(encodeRoute(route)).toEqual({ ...SHOP, split: { legacy: 100, new: 0 } });
  });
});

describe("a route that says everything", () => {
  const written = {
    id: "shop",
    match: {
      hosts: ["Shop.Example.com", "*.shop.example.com"],
      path: "/api/",
      methods: ["GET", "PURGE"],
      headers: { "X-Version": "2", "x-beta": true },
      query: { page: "1" },
      cookies: { Uid: true },
    },
    cutover: { legacy: "legacy", candidate: "new" },
    split: { legacy: 94.999, new: 5.001 },
    sticky: { keys: ["cookie:uid", "header:X-User", "claim:sub", "issue", "address"], salt: "pepper" },
    pins: [
      { header: "X-Pin", to: "new" },
      { cookie: "Side", value: "old", to: "legacy" },
      { query: "pin", to: "new" },
    ],
    timeouts: { connect: "250ms", response: "2m", idle: "1h" },
    retries: { attempts: 0, body: "1MiB" },
    expose: true,
    rollback: { on: ["latency", "errors"], tolerance: 2, false_alarm: 0.01, statuses: [503, "4xx"] },
  };
  const route = shopWith(written);

  test("matches hosts and header names in lower case, the rest to the letter", () => {
    expect(route.match).toEqual({
      hosts: ["shop.example.com", "*.shop.example.com"],
      path: { kind: "prefix", value: "/api/" },
      methods: ["GET", "PURGE"],
      conditions: [
        { source: "header", name: "x-version", value: "2" },
        { source: "header", name: "x-beta" },
        { source: "query", name: "page", value: "1" },
        { source: "cookie", name: "Uid" },
      ],
    });
  });

  test("is counted in shares, milliseconds and bytes", () => {
    expect(route.candidateShares).toBe(5001);
    expect(route.timeouts).toEqual({ connectMs: 250, responseMs: 120_000, idleMs: 3_600_000 });
    expect(route.retries).toEqual({ attempts: 0, bodyBytesMax: 1_048_576 });
  });

  test("keeps the order of its keys and pins", () => {
    expect(route.sticky).toEqual({
      keys: [
        { from: "cookie", name: "uid" },
        { from: "header", name: "x-user" },
        { from: "claim", name: "sub" },
        { from: "issue" },
        { from: "address" },
      ],
      salt: "pepper",
    });
    expect(route.pins).toEqual([
      { when: { source: "header", name: "x-pin" }, to: "new" },
      { when: { source: "cookie", name: "Side", value: "old" }, to: "legacy" },
      { when: { source: "query", name: "pin" }, to: "new" },
    ]);
  });

  test("is written as it was read", () => {
    expect(encodeRoute(route)).toEqual({
      ...written,
      match: {
        ...written.match,
        hosts: ["shop.example.com", "*.shop.example.com"],
        headers: { "x-version": "2", "x-beta": true },
      },
      sticky: { ...written.sticky, keys: ["cookie:uid", "header:x-user", "claim:sub", "issue", "address"] },
      pins: [{ header: "x-pin", to: "new" }, written.pins[1], written.pins[2]],
    });
  });
});

describe("a table", () => {
  test("keeps its backends and routes in their order", () => {
    const document: Document = valueOf(
      decodeDocument(tableWith({ ...SHOP, match: { path: "/a" } }, { ...SHOP, id: "b" })),
    );
    expect(document.backends.map(({ id }) => id)).toEqual(["legacy", "new", "other"]);
    expect(document.routes.map(({ id }) => id)).toEqual(["shop", "b"]);
    expect(decodeDocument(encodeDocument(document))).toEqual({ ok: true, value: document });
  });

  test("may be empty, but not by leaving things out", () => {
    expect(valueOf(decodeDocument({ backends: {}, routes: [] }))).toEqual({
      backends: [],
      routes: [],
      rollouts: [],
    });
    expect(problemsOf(decodeDocument({}))).toEqual([
      { path: "/backends", message: '"backends" is missing' },
      { path: "/routes", message: '"routes" is missing' },
    ]);
  });

  test.each([
    [null, "write a map here, not nothing"],
    [undefined, "write a map here, not nothing"],
    [[], "write a map here, not a list"],
    ["backends", "write a map here, not text"],
    [7, "write a map here, not a number"],
  ])("that is %j is refused", (input, message) => {
    expect(problemsOf(decodeDocument(input))).toEqual([{ path: "", message }]);
  });

  test("with faults all over reports every one of them", () => {
    const table = {
      backends: { legacy: { endpoints: ["ftp://x"] }, new: BACKENDS.new, "a b": BACKENDS.other },
      routes: [
        { ...SHOP, spilt: {}, timeouts: { connect: "5" } },
        { ...SHOP, id: "two", split: { legacy: 90, new: 5 }, pins: [{ header: "x", to: "nwe" }] },
        { id: "three", cutover: { legacy: "legcy", candidate: "new" } },
        { id: "two", match: { path: "/two" }, cutover: { legacy: "legacy" } },
        "four",
      ],
    };
    expect(
      problemsOf(decodeDocument(table))
        .map(({ path }) => path)
        .toSorted(),
    ).toEqual([
      "/backends/a b",
      "/backends/legacy/endpoints/0",
      "/routes/0/spilt",
      "/routes/0/timeouts/connect",
      "/routes/1/pins/0/to",
      "/routes/1/split",
      "/routes/2/cutover/legacy",
      "/routes/3/cutover/candidate",
      "/routes/3/id",
      "/routes/4",
    ]);
  });

  test("with more faults than anybody reads reports a thousand and counts the others", () => {
    const split = Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`b${i}`, "x"]));
    const problems = problemsOf(decodeDocument(tableWith({ ...SHOP, split })));
    expect(problems).toHaveLength(1001);
    expect(problems.at(-1)?.message).toBe("and 2000 more problems");
  });

  test("has at most 200 backends and 1,000 routes", () => {
    const backends = Object.fromEntries(Array.from({ length: 201 }, (_, i) => [`b${i}`, BACKENDS.other]));
    const routes = Array.from({ length: 1001 }, (_, i) => ({ ...SHOP, id: `r${i}` }));
    expect(problemsOf(decodeDocument({ backends, routes }))).toEqual([
      { path: "/routes", message: "at most 1000 entries are allowed" },
      { path: "/backends", message: "a table has at most 200 backends" },
    ]);
  });

  test("hides no key named __proto__, wherever it stands", () => {
    const table: unknown = JSON.parse(
      '{"__proto__":1,"backends":{"__proto__":{"endpoints":[]}},"routes":[{"match":{"headers":{"__proto__":"x"}}}]}',
    );
    const paths = problemsOf(decodeDocument(table)).map(({ path }) => path);
    expect(paths).toContain("/__proto__");
    expect(paths).toContain("/backends/__proto__");
    expect(paths).toContain("/routes/0/match/headers/__proto__");
  });

  test("nested without end is refused, not followed", () => {
    const input: unknown = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);
    expect(problemsOf(decodeDocument({ backends: input, routes: input })).length).toBeGreaterThan(0);
  });
});

describe("names", () => {
  test.each(["-", ".", "..", "", "a b", "a/b", "é", "x".repeat(65)])("%j names nothing", (name) => {
    const problems = problemsOf(
      decodeDocument({ backends: { [name]: BACKENDS.other }, routes: [{ ...SHOP, id: name }] }),
    );
    expect(problems.map(({ path }) => path)).toContain("/routes/0/id");
    expect(problems.some(({ path }) => path.startsWith("/backends/"))).toBe(true);
  });

  test.each(["a", "7", "constructor", "A.b_c-d", "--", "x".repeat(64)])("%j is a name", (name) => {
    expect(decodeDocument({ backends: { [name]: BACKENDS.other }, routes: [] }).ok).toBe(true);
  });

  test("of routes stand once in a table", () => {
    const problems = problemsOf(decodeDocument(tableWith({ ...SHOP, match: { path: "/a" } }, SHOP)));
    expect(problems).toEqual([{ path: "/routes/1/id", message: 'routes/0 is called "shop" too' }]);
  });
});

describe("unknown keys", () => {
  test("are answered with the nearest key that exists", () => {
    expect(shopProblems({ spilt: {}, stiky: {}, match: { pth: "/" } })).toEqual({
      spilt: 'unknown key "spilt"; did you mean "split"?',
      stiky: 'unknown key "stiky"; did you mean "sticky"?',
      "match/pth": 'unknown key "pth"; did you mean "path"?',
    });
  });

  test("that resemble nothing are answered with what is allowed", () => {
    expect(shopProblems({ cutover: { ...SHOP.cutover, banana: 1 } })).toEqual({
      "cutover/banana": 'unknown key "banana"; allowed here: legacy, candidate',
    });
  });

  test("of a later version are called that", () => {
    const message = (key: string) => `"${key}" is not supported by this version`;
    const backends = { one: { endpoints: ["http://h"], health: {} } };
    expect(problemsOf(decodeDocument({ backends, routes: [] }))).toEqual([
      { path: "/backends/one/health", message: message("health") },
    ]);
  });
});

describe("the split", () => {
  test("may leave out who has nothing", () => {
    expect(shopWith({ split: { new: 100 } }).candidateShares).toBe(100_000);
    expect(shopWith({ split: { legacy: 100 } }).candidateShares).toBe(0);
  });

  test("adds up exactly where floating point would not", () => {
    expect(shopWith({ split: { legacy: 99.9, new: 0.1 } }).candidateShares).toBe(100);
    expect(shopWith({ split: { legacy: 33.333, new: 66.667 } }).candidateShares).toBe(66_667);
  });

  test("says what it adds up to when that is not 100", () => {
    const wrong = "the weights add up to 95.5 %; they must add up to 100 %";
    expect(shopProblems({ split: { legacy: 90.5, new: 5 } })).toEqual({ split: wrong });
    expect(shopProblems({ split: {} })).toEqual({ split: wrong.replace("95.5", "0") });
  });

  test.each([-1, 100.001, 5.0001, Number.NaN, Infinity, "5", "5%", null, [5]])(
    "has no weight of %j",
    (weight) => {
      expect(Object.keys(shopProblems({ split: { legacy: 95, new: weight } }))).toEqual(["split/new"]);
    },
  );

  test("names only the two backends of the route's cutover", () => {
    expect(shopProblems({ split: { legacy: 95, nwe: 5 } })).toEqual({
      "split/nwe": `"nwe" is not a backend of this route's cutover; did you mean "new"?`,
    });
    expect(shopProblems({ split: { legacy: 95, other: 5 } })).toEqual({
      "split/other": `"other" is not a backend of this route's cutover; use legacy or new`,
    });
  });

  test("alone is read for its route", () => {
    const route = shopWith({});
    expect(decodeWeights({ legacy: 75, new: 25 }, route)).toEqual({ ok: true, value: 25_000 });
    expect(problemsOf(decodeWeights({ legacy: 75, other: 20 }, route)).map(({ path }) => path)).toEqual([
      "/other",
      "",
    ]);
    expect(problemsOf(decodeWeights(25, route))).toEqual([
      { path: "", message: "write a map here, not a number" },
    ]);
  });
});

describe("the cutover", () => {
  test("is between two different backends", () => {
    expect(shopProblems({ cutover: { legacy: "new", candidate: "new" } })).toEqual({
      "cutover/candidate": "legacy and candidate must be two different backends",
    });
  });

  test("names backends of the table", () => {
    expect(shopProblems({ cutover: { legacy: "legcay", candidate: "nowhere" } })).toEqual({
      "cutover/legacy": 'unknown backend "legcay"; did you mean "legacy"?',
      "cutover/candidate": 'unknown backend "nowhere"; add it to the backends of the table first',
    });
  });

  test("is not blamed for a backend that has faults of its own", () => {
    const backends = { ...BACKENDS, legacy: { endpoints: [] } };
    const problems = problemsOf(decodeDocument({ backends, routes: [SHOP] }));
    expect(problems.map(({ path }) => path)).toEqual(["/backends/legacy/endpoints"]);
  });
});

describe("a route alone", () => {
  const { backends } = valueOf(decodeDocument(tableWith()));

  test("gets its id from where it is put", () => {
    const { cutover } = SHOP;
    expect(valueOf(decodeRoute("shop", { cutover }, backends)).id).toBe("shop");
    expect(valueOf(decodeRoute("shop", SHOP, backends)).id).toBe("shop");
  });

  test("does not go under another id than its own", () => {
    expect(problemsOf(decodeRoute("till", SHOP, backends))).toEqual([
      { path: "/id", message: 'the route is called "till"; leave its id out or repeat it' },
    ]);
    expect(
      problemsOf(decodeRoute("a b", { cutover: SHOP.cutover }, backends)).map(({ path }) => path),
    ).toEqual(["/id"]);
  });

  test("names backends that there are", () => {
    const cutover = { legacy: "legacy", candidate: "nwe" };
    expect(problemsOf(decodeRoute("shop", { cutover }, backends))).toEqual([
      { path: "/cutover/candidate", message: 'unknown backend "nwe"; did you mean "new"?' },
    ]);
    expect(problemsOf(decodeRoute("shop", null, backends))).toEqual([
      { path: "", message: "write a map here, not nothing" },
    ]);
  });
});

describe("the plan of a route", () => {
  test("may be empty, is a plan then, and is written as it was", () => {
    const route = shopWith({ rollout: {} });
    expect(route.rollout?.steps).toHaveLength(9);
    expect(encodeRoute(route)).toMatchObject({ rollout: {} });
    expect(shopWith({}).rollout).toBeNull();
  });

  test("is pending when a table is read, whatever traffic the route has", () => {
    const document = valueOf(
      decodeDocument(tableWith({ ...SHOP, split: { legacy: 80, new: 20 }, rollout: {} })),
    );
    expect(document.rollouts).toMatchObject([
      { route: "shop", state: { phase: "pending", candidateShares: 0 } },
    ]);
    expect(document.routes[0]?.candidateShares).toBe(20_000);
  });

  test("is told all its problems with their places", () => {
    const rollout = { steps: [5, 200, { weight: 3, bake: "long" }], bakes: "5m", gates: [{ at: "noon" }] };
    expect(Object.keys(shopProblems({ rollout }))).toEqual([
      "rollout/bakes",
      "rollout/steps/1",
      "rollout/steps/2/bake",
      "rollout/gates/0/at",
      "rollout/gates/0/url",
      "rollout/gates/0/timeout",
    ]);
    expect(shopProblems({ rollout: null })).toEqual({ rollout: "write a map here, not nothing" });
  });

  test("comes without its state: the key of states says how a rollout is moved instead", () => {
    const table = { backends: BACKENDS, routes: [{ ...SHOP, rollout: {} }], rollouts: {} };
    expect(problemsOf(decodeDocument(table))).toEqual([
      {
        path: "/rollouts",
        message: "where rollouts are is not for writing; move one with `crossfade rollout`",
      },
    ]);
  });
});
