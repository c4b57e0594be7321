/** What each command makes of a table, and where it says that an input is wrong. */
import { describe, expect, it } from "vitest";
import {
  withoutRollout,
  withoutRoute,
  withRollout,
  withRoute,
  withWeights,
  type Decision,
} from "../../../src/control/change.ts";
import { withoutCandidate } from "../../../src/control/rollout_move.ts";
import { decodeDocument } from "../../../src/domain/document.ts";
import type { Document } from "../../../src/domain/route.ts";
import { SHOP, tableWith, valueOf } from "../../support/table.ts";

const CART = { ...SHOP, id: "cart", match: { path: "/cart/" }, split: { legacy: 60, new: 40 } };

function tableOf(...routes: readonly unknown[]): Document {
  return valueOf(decodeDocument(tableWith(...routes)));
}

/** What a person wants who takes a route back. */
const BACK = { type: "rolledBack", nowMs: 0, reason: "" } as const;

/** Weight of each route's candidate in shares, in the order of the table; or the refusal. */
function sharesOf(decision: Decision): unknown {
  if (!decision.ok) return decision;
  return decision.document.routes.map((route) => [route.id, route.candidateShares]);
}

describe("withRoute", () => {
  it("adds a new route at the end", () => {
    expect(sharesOf(withRoute(tableOf(CART), "shop", SHOP))).toEqual([
      ["cart", 40_000],
      ["shop", 0],
    ]);
  });

  it("replaces a known route where it stands, whether or not the input repeats its name", () => {
    const { id: _, ...nameless } = { ...CART, split: { new: 100 } };
    expect(sharesOf(withRoute(tableOf(CART, SHOP), "cart", nameless))).toEqual([
      ["cart", 100_000],
      ["shop", 0],
    ]);
  });

  it("refuses with every problem of the route, with paths into the route", () => {
    const decision = withRoute(tableOf(SHOP), "cart", { ...CART, splitt: {}, timeouts: { connect: "soon" } });
    expect(decision).toMatchObject({ ok: false, code: "INVALID" });
    expect(decision.ok || decision.problems.map((problem) => problem.path)).toEqual([
      "/timeouts/connect",
      "/splitt",
    ]);
  });

  it("refuses a route that could never match, with a path into the route", () => {
    const decision = withRoute(tableOf(SHOP), "late", { ...SHOP, id: "late" });
    expect(decision).toMatchObject({ ok: false, code: "INVALID", problems: [{ path: "" }] });
    expect(decision.ok || decision.problems[0]?.message).toContain('route "shop" is tried first');
  });

  it("refuses a route that would leave nothing to another, and names the other", () => {
    const hosts = ["a.example.com", "b.example.com"];
    const narrow = { ...SHOP, id: "narrow", match: { path: "/x", hosts } };
    const decision = withRoute(tableOf(SHOP, narrow), "shop", {
      ...SHOP,
      match: { path: "/x", hosts: [hosts[1]] },
    });
    expect(decision).toMatchObject({ ok: false, code: "INVALID", problems: [{ path: "" }] });
    expect(decision.ok || decision.problems[0]?.message).toMatch(/^route "narrow" would be wrong then: /);
  });

  it("refuses one route more than a table holds", () => {
    const routes = Array.from({ length: 1000 }, (_, index) => ({
      ...SHOP,
      id: `r${index}`,
      match: { exact: `/${index}` },
    }));
    expect(withRoute(tableOf(...routes), "shop", SHOP)).toMatchObject({ ok: false, code: "INVALID" });
  });
});

describe("withoutRoute", () => {
  it("removes one route, the last one too", () => {
    expect(sharesOf(withoutRoute(tableOf(CART, SHOP), "cart"))).toEqual([["shop", 0]]);
    expect(sharesOf(withoutRoute(tableOf(CART), "cart"))).toEqual([]);
  });
});

describe("withWeights", () => {
  it("moves the weight of one route and leaves the others", () => {
    expect(sharesOf(withWeights(tableOf(CART, SHOP), "shop", { legacy: 75, new: 25 }))).toEqual([
      ["cart", 40_000],
      ["shop", 25_000],
    ]);
  });

  it.each([
    ["that do not add up to 100", { legacy: 75, new: 20 }, ""],
    ["of a backend outside the cutover", { legacy: 75, other: 25 }, "/other"],
    ["that are no numbers", { legacy: "75", new: 25 }, "/legacy"],
    ["that are no map", [75, 25], ""],
  ])("refuses weights %s", (_, weights, path) => {
    const decision = withWeights(tableOf(SHOP), "shop", weights);
    expect(decision).toMatchObject({ ok: false, code: "INVALID" });
    expect(decision.ok || decision.problems.map((problem) => problem.path)).toContain(path);
  });
});

describe("the plan of a route", () => {
  it("is given and taken without touching the weight", () => {
    const given = withRollout(tableOf(CART), "cart", { steps: [5, 100] });
    expect(given.ok && given.document.routes[0]).toMatchObject({
      rollout: { steps: [{ shares: 5_000 }, { shares: 100_000 }] },
      candidateShares: 40_000,
    });
    const taken = given.ok && withoutRollout(given.document, "cart");
    expect(taken && taken.ok && taken.document.routes).toEqual(tableOf(CART).routes);
  });

  it("is refused with problems that point into it", () => {
    const decision = withRollout(tableOf(CART), "cart", { steps: [5, 3] });
    expect(decision.ok || decision.problems.map(({ path }) => path)).toEqual(["/steps/1"]);
  });

  it("is refused when it waits for differences that nobody will know", () => {
    const decision = withRollout(tableOf(CART), "cart", { differences: { below: 1 } });
    expect(decision.ok || decision.problems.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      expect.stringMatching(
        /^\/differences: nothing is known of differences, because the route has no mirror/,
      ),
    ]);
  });

  it("cannot be taken from a route that has none", () => {
    expect(withoutRollout(tableOf(CART), "cart")).toMatchObject({
      code: "NOT_FOUND",
      detail: 'Route "cart" has no plan; give it one with `crossfade rollout cart set FILE`',
    });
  });
});

describe("withoutCandidate", () => {
  it("gives all weight to legacy", () => {
    expect(sharesOf(withoutCandidate(tableOf(CART), "cart", BACK))).toEqual([["cart", 0]]);
  });
});

describe("a route that is not in the table", () => {
  it.each([
    ["removing", (table: Document, id: string) => withoutRoute(table, id)],
    ["shifting", (table: Document, id: string) => withWeights(table, id, { legacy: 100 })],
    ["planning", (table: Document, id: string) => withRollout(table, id, {})],
    ["taking the plan of", (table: Document, id: string) => withoutRollout(table, id)],
    ["rolling back", (table: Document, id: string) => withoutCandidate(table, id, BACK)],
  ])("%s is refused with the nearest name", (_, change) => {
    const table = tableOf(CART, SHOP);
    expect(change(table, "shpo")).toEqual({
      ok: false,
      code: "NOT_FOUND",
      detail: 'There is no route "shpo"; did you mean "shop"?',
      problems: [],
    });
    expect(change(table, "unlike")).toMatchObject({
      code: "NOT_FOUND",
      detail: 'There is no route "unlike"',
    });
  });
});
