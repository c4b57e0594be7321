/** Counter cells: what is written is what is reported, cumulative, and only when it changed. */
import { describe, expect, test } from "vitest";
import { latencyBucket } from "../../../src/domain/latency.ts";
import { CounterBook } from "../../../src/shared/counters.ts";

describe("a cell", () => {
  test("reports cumulative totals, and leaves out what is zero", () => {
    const book = new CounterBook();
    const cell = book.cell("shop", "legacy");
    cell.started += 3;
    cell.finish(200, 1500);
    cell.finish(503, 2500);
    cell.fault("POOL_FULL");
    cell.abort(499);
    cell.judge(false, 1500);
    cell.judge(true, 2500);
    cell.judge(true, -1);
    expect(cell.snapshot()).toEqual({
      route: "shop",
      backend: "legacy",
      started: 3,
      finished: 2,
      aborted: 1,
      failures: 0,
      retries: 0,
      durationUsSum: 4000,
      codes: [
        [200, 1],
        [499, 1],
        [503, 1],
      ],
      latency: [
        [latencyBucket(1500), 1],
        [latencyBucket(2500), 1],
      ],
      faults: [["POOL_FULL", 1]],
      judged: {
        requests: 3,
        failures: 2,
        latency: [
          [latencyBucket(1500), 1],
          [latencyBucket(2500), 1],
        ],
      },
    });
  });

  test("is the same one for the same route and backend, and another for any other", () => {
    const book = new CounterBook();
    expect(book.cell("a", "b")).toBe(book.cell("a", "b"));
    expect(book.cell("a", "b")).not.toBe(book.cell("a", "c"));
    expect(book.cell("a", "b")).not.toBe(book.cell("b", "b"));
  });
});

describe("a report", () => {
  test("has the cells that changed since the last one, or all of them", () => {
    const book = new CounterBook();
    book.cell("a", "legacy").finish(200, 1);
    const quiet = book.cell("b", "legacy");
    expect(book.report(false).map(({ route }) => route)).toEqual(["a"]);
    expect(book.report(false)).toEqual([]);
    quiet.fault("NO_ROUTE");
    expect(book.report(false)).toMatchObject([{ route: "b", faults: [["NO_ROUTE", 1]] }]);
    expect(book.report(true)).toHaveLength(2);
    quiet.judge(false, 1);
    expect(book.report(false)).toMatchObject([{ route: "b", judged: { requests: 1 } }]);
  });

  test("never goes back, however often it is asked for", () => {
    const book = new CounterBook();
    const cell = book.cell("a", "legacy");
    cell.finish(200, 1);
    const [first] = book.report(true);
    cell.finish(200, 1);
    const [second] = book.report(true);
    expect([first?.finished, second?.finished]).toEqual([1, 2]);
  });
});
