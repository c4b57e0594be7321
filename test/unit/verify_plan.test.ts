/** What is replayed against what, as the table that is served says it. */
import { describe, expect, test } from "vitest";
import { DEFAULT_COMPARE } from "../../src/domain/compare_policy.ts";
import type { RecordedRequest } from "../../src/verify_input.ts";
import { planVerify, type Field, type VerifyPlan } from "../../src/verify_plan.ts";

const BACKENDS = {
  old: { endpoints: ["http://10.0.0.1:8080"] },
  fresh: { endpoints: ["unix:/run/fresh.sock"] },
};
const CUTOVER = { legacy: "old", candidate: "fresh" };

function table(...routes: readonly object[]): object {
  return { backends: BACKENDS, routes: routes.map((route) => ({ cutover: CUTOVER, ...route })) };
}

function planned(served: object, fields: readonly Field[] = []): VerifyPlan {
  const planning = planVerify(served, 7, "shop", fields);
  if (planning.result !== "planned") throw new Error(planning.result);
  return planning.plan;
}

function recorded(target: string, more: Partial<RecordedRequest> = {}): RecordedRequest {
  return { method: "GET", target, host: null, route: null, isQueryLost: false, ...more };
}

const SHOP = { id: "shop", match: { path: "/" } };

describe("a plan", () => {
  test("has both backends of the route, and compares as its mirror says, or as mirrors do", () => {
    const plain = planned(table(SHOP));
    expect([plain.legacy.id, plain.candidate.id, plain.revision]).toEqual(["old", "fresh", 7]);
    expect([plain.policy, plain.isPolicyOwn]).toEqual([DEFAULT_COMPARE, false]);
    const off = planned(table({ ...SHOP, mirror: { to: "fresh", percent: 1, compare: "off" } }));
    expect([off.policy, off.isPolicyOwn]).toEqual([DEFAULT_COMPARE, false]);
    const mirror = { to: "old", percent: 1, compare: { body: "bytes" } };
    const own = planned(table({ ...SHOP, mirror }));
    expect([own.policy.body, own.isPolicyOwn, own.legacy.id]).toEqual(["bytes", true, "old"]);
    expect(own.basis).not.toBe(plain.basis);
  });

  test("is refused for a route that is not there and for a table that can't be read", () => {
    expect(planVerify(table(SHOP), 7, "shpo", [])).toEqual({ result: "no route", known: ["shop"] });
    expect(planVerify(table({ ...SHOP, later: true }), 7, "shop", [])).toMatchObject({
      result: "unreadable",
      problems: [{ path: "/routes/0/later" }],
    });
  });
});

describe("what is sent", () => {
  const fieldsOf = (plan: VerifyPlan, request: RecordedRequest): readonly Field[] => {
    const sent = plan.toSend(request);
    if (typeof sent === "string") throw new Error(sent);
    return sent.fields;
  };

  test("has the host that was recorded, else the route's own, else legacy's address", () => {
    const hosted = { ...SHOP, match: { path: "/", hosts: ["*.shop.example", "shop.example"] } };
    const host = (plan: VerifyPlan, request: RecordedRequest): string | undefined =>
      fieldsOf(plan, request).find(([name]) => name === "Host")?.[1];
    expect(host(planned(table(hosted)), recorded("/"))).toBe("shop.example");
    expect(host(planned(table(hosted)), recorded("/", { host: "a.shop.example:81" }))).toBe(
      "a.shop.example:81",
    );
    expect(host(planned(table(SHOP)), recorded("/"))).toBe("10.0.0.1:8080");
    const local = { ...SHOP, cutover: { legacy: "fresh", candidate: "old" } };
    expect(host(planned(table(local)), recorded("/"))).toBe("localhost");
  });

  test("has the given fields, which win, and is marked", () => {
    const given: Field[] = [
      ["host", "given.example"],
      ["Accept", "text/html"],
      ["Cookie", "uid=7"],
    ];
    const fields = fieldsOf(planned(table(SHOP), given), recorded("/", { host: "other.example" }));
    expect(fields).toEqual([...given, ["Crossfade-Shadow", "1"]]);
  });

  test("is only what the route takes, as the log or the table says", () => {
    const served = table(
      { id: "cart", match: { path: "/cart" } },
      { id: "beta", match: { path: "/beta", headers: { "x-beta": true } } },
      SHOP,
    );
    const plan = planned(served);
    expect(plan.toSend(recorded("/cart/7"))).toBe("another route");
    expect(plan.toSend(recorded("/cart/7", { route: "shop" }))).toMatchObject({ target: "/cart/7" });
    expect(plan.toSend(recorded("/a", { route: "cart" }))).toBe("another route");
    expect(plan.toSend(recorded("/beta?x=1"))).toMatchObject({ target: "/beta?x=1" });
    expect(planned(served, [["X-Beta", "1"]]).toSend(recorded("/beta"))).toBe("another route");
  });

  test("is never a path that Crossfade refuses", () => {
    expect(planned(table(SHOP)).toSend(recorded("/a/../b"))).toBe("ambiguous");
    expect(planned(table(SHOP)).toSend(recorded("/a%2Fb", { route: "shop" }))).toBe("ambiguous");
  });
});
