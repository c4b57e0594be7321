/** The journal: order, memory, gaps and subscribers. */
import { describe, expect, test } from "vitest";
import { EVENTS_MAX, Journal, type JournalEvent } from "../../../src/control/journal.ts";
import { ManualClock } from "../../support/clock.ts";

function filled(count: number): Journal {
  const journal = new Journal(new ManualClock());
  for (let n = 1; n <= count; n++) journal.append("table.changed", { n });
  return journal;
}

function numbers(events: readonly JournalEvent[]): unknown[] {
  return events.map(({ data }) => data["n"]);
}

describe("looking back", () => {
  test("nothing was missed before the first event", () => {
    expect(filled(0).after(null)).toEqual({ events: [], gap: false });
  });

  test("without an id everything that is remembered is given, oldest first", () => {
    const { events, gap } = filled(3).after(null);
    expect(numbers(events)).toEqual([1, 2, 3]);
    expect(gap).toBe(false);
  });

  test("after an id come exactly the later ones", () => {
    const journal = filled(5);
    const third = journal.after(null).events[2]?.id ?? "";
    expect(journal.after(third)).toEqual({ events: journal.after(null).events.slice(3), gap: false });
    const last = journal.after(null).events[4]?.id ?? "";
    expect(journal.after(last)).toEqual({ events: [], gap: false });
  });

  test("the newest thousand are remembered, and an older id is a gap", () => {
    const journal = filled(EVENTS_MAX + 10);
    const { events } = journal.after(null);
    expect(events).toHaveLength(EVENTS_MAX);
    expect(numbers(events)[0]).toBe(11);
    const start = events[0]?.id.split(".")[0] ?? "";
    expect(journal.after(`${start}.10`)).toEqual({ events, gap: false });
    expect(journal.after(`${start}.9`)).toEqual({ events, gap: true });
  });

  test("an id of another run, of the future or of no form is a gap, and all is given", () => {
    const journal = filled(2);
    const all = journal.after(null).events;
    const start = all[0]?.id.split(".")[0] ?? "";
    for (const id of ["1.1", `${start}.3`, "", "x", `${start}.`, `${start}.1.2`, `${start}.-1`, "NaN.1"]) {
      expect({ id, ...journal.after(id) }).toEqual({ id, events: all, gap: true });
    }
  });
});

describe("events", () => {
  test("carry the wall time of their making", () => {
    const clock = new ManualClock(5_000);
    const journal = new Journal(clock);
    clock.advance(250);
    journal.append("worker.lost", { worker: 1 });
    expect(journal.after(null).events).toEqual([
      { id: "5000.1", type: "worker.lost", atMs: 5_250, data: { worker: 1 } },
    ]);
  });

  test("keep their order when the wall clock jumps back", () => {
    const clock = new ManualClock(5_000);
    const journal = new Journal(clock);
    journal.append("a", {});
    clock.jumpWall(1_000);
    journal.append("b", {});
    expect(journal.after("5000.1").events.map(({ type }) => type)).toEqual(["b"]);
  });
});

describe("subscribers", () => {
  test("hear each event once, until they leave", () => {
    const journal = filled(1);
    const heard: unknown[] = [];
    const leave = journal.subscribe(({ data }) => heard.push(data["n"]));
    journal.append("table.changed", { n: 2 });
    leave();
    leave();
    journal.append("table.changed", { n: 3 });
    expect(heard).toEqual([2]);
  });

  test("may leave while they are told, and the others still hear it", () => {
    const journal = filled(0);
    const heard: string[] = [];
    const leave = journal.subscribe(() => {
      heard.push("first");
      leave();
    });
    journal.subscribe(() => heard.push("second"));
    journal.append("a", {});
    journal.append("b", {});
    expect(heard).toEqual(["first", "second", "second"]);
  });
});
