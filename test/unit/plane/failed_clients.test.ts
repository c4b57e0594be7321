/** Whose failures are evidence: once per client, cell and second, and no more of them than there is room for. */
import { describe, expect, test } from "vitest";
import { FAILED_CLIENTS_MAX, FailedClients } from "../../../src/plane/failed_clients.ts";
import { Cell } from "../../../src/shared/counters.ts";

const SHOP = new Cell("shop", "new");

/** Fills a second, and gives what was said of each client. */
function fill(failed: FailedClients, nowMs: number): boolean[] {
  return Array.from({ length: FAILED_CLIENTS_MAX }, (_, i) => failed.add(SHOP, `client ${i}`, nowMs));
}

describe("a client's failure", () => {
  test("counts once in a second, and not in the next one", () => {
    const failed = new FailedClients();
    const at: [number, boolean][] = [
      [0, true],
      [1, false],
      [999.9, false],
      [1000, false],
      [1500, false],
      [2000, true],
      [3000, false],
      [9000, true],
      [11_000, true],
    ];
    expect(at.map(([ms]) => failed.add(SHOP, "ann", ms))).toEqual(at.map(([, counts]) => counts));
  });

  test("has nothing to do with other clients, other backends and other routes", () => {
    const failed = new FailedClients();
    const cells = [SHOP, new Cell("shop", "legacy"), new Cell("cart", "new")];
    const first = cells.flatMap((cell) => ["ann", "bob"].map((client) => failed.add(cell, client, 5)));
    expect(first).toEqual([true, true, true, true, true, true]);
  });
});

describe("a second", () => {
  test("has room for so many clients, and the next one has room again", () => {
    const failed = new FailedClients();
    expect(failed.isFull(0)).toBe(false);
    // Two that share a hash are possible, and would have to be seen here.
    expect(fill(failed, 10)).not.toContain(false);
    expect(failed.isFull(999)).toBe(true);
    expect(failed.isFull(1000)).toBe(false);
    expect(failed.add(SHOP, "a newcomer", 1000)).toBe(true);
    expect(failed.isFull(1000)).toBe(false);
  });
});
