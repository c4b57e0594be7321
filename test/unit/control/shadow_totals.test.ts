/** What workers report of copies, added up: sampled is always the sum of what became of them. */
import { describe, expect, test } from "vitest";
import { SHADOW_ROUTES_MAX, ShadowTotals } from "../../../src/control/shadow_totals.ts";
import type { ShadowCount } from "../../../src/shared/counters.ts";

const first: ShadowCount[] = [
  ["shop", "sampled", 10],
  ["shop", "answered", 6],
  ["shop", "busy", 1],
];

describe("the copies of all workers", () => {
  test("are added up from what each counted since it began, however often it says so", () => {
    const totals = new ShadowTotals();
    totals.report("0.10", first);
    totals.report("0.10", first);
    totals.report("1.11", [["shop", "sampled", 2]]);
    totals.report("0.10", [["shop", "answered", 8]]);
    expect(totals.of("shop")).toEqual({
      sampled: 12,
      results: new Map([
        ["answered", 8],
        ["busy", 1],
      ]),
      inFlight: 3,
    });
    expect(totals.of("other")).toEqual({ sampled: 0, results: new Map(), inFlight: 0 });
  });

  test("of a worker that is gone were stopped where they were under way", () => {
    const totals = new ShadowTotals();
    totals.report("0.10", first);
    totals.retire("0.10");
    totals.retire("0.10");
    expect(Object.fromEntries(totals.of("shop").results)).toEqual({ answered: 6, busy: 1, stopped: 3 });
    expect(totals.of("shop").inFlight).toBe(0);
    totals.report("0.12", first);
    expect(totals.of("shop").sampled).toBe(20);
  });

  test("of routes beyond the bound are dropped, those first that changed longest ago", () => {
    const totals = new ShadowTotals();
    const many = Array.from({ length: SHADOW_ROUTES_MAX }, (_, i): ShadowCount => [`r${i}`, "sampled", 1]);
    totals.report("0.10", many);
    totals.report("0.10", [["r0", "sampled", 2]]);
    totals.report("0.10", [["new", "sampled", 1]]);
    expect(totals.all()).toHaveLength(SHADOW_ROUTES_MAX);
    expect([totals.of("r0").sampled, totals.of("r1").sampled, totals.of("new").sampled]).toEqual([2, 0, 1]);
  });
});
