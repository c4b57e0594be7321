/** The steps of a drain on the manual clock, with connections that the test plays. */
import { describe, expect, test } from "vitest";
import { Drain, type Drained, type Occupation } from "../../../src/plane/drain.ts";
import type { DrainOptions } from "../../../src/shared/messages.ts";
import { ManualClock } from "../../support/clock.ts";
import { seededRandom } from "../../support/random.ts";

const OPTIONS: DrainOptions = {
  graceMs: 5_000,
  spreadMs: 30_000,
  idleMs: 15_000,
  deadlineMs: 120_000,
  tunnelsMs: 3_600_000,
};

interface Played {
  readonly drain: Drain;
  readonly clock: ManualClock;
  readonly connections: Drained[];
  /** What was done, with the seconds since the order. */
  readonly told: string[];
  readonly add: (occupation: Occupation, name: string) => void;
  readonly pass: (seconds: number) => void;
}

function playing(options: Partial<DrainOptions> = {}): Played {
  const clock = new ManualClock();
  const connections: Drained[] = [];
  const told: string[] = [];
  const startMs = clock.nowMs();
  const note = (what: string): void =>
    void told.push(`${Math.round((clock.nowMs() - startMs) / 1000)} ${what}`);
  const drain = new Drain(
    { ...OPTIONS, ...options },
    {
      clock,
      random: seededRandom(3),
      connections: () => [...connections],
      stopAccepting: () => note("stops accepting"),
    },
  );
  const end = (one: Drained, what: string): void => {
    note(what);
    connections.splice(connections.indexOf(one), 1);
    drain.forget(one);
  };
  return {
    drain,
    clock,
    connections,
    told,
    add(occupation, name) {
      const sinceMs = clock.nowMs();
      const one: Drained = {
        occupation,
        closeIfIdle: (limitMs) => {
          if (occupation === "idle" && sinceMs <= limitMs) end(one, `${name} closed`);
        },
        leave: () => end(one, `${name} leaves`),
        destroy: () => end(one, `${name} cut`),
      };
      connections.push(one);
    },
    pass(seconds) {
      for (let second = 0; second < seconds; second++) {
        clock.advance(1_000);
        drain.onDeadline(clock.nowMs());
      }
    },
  };
}

describe("a drain", () => {
  test("accepts until the grace is over, and never again", () => {
    const { pass, told } = playing();
    pass(4);
    expect(told).toEqual([]);
    pass(60);
    expect(told).toEqual(["5 stops accepting"]);
  });

  test("closes what was idle for the idle time, counted from the grace, and lets the rest go on", () => {
    const { add, pass, told, connections } = playing();
    add("idle", "old");
    add("requests", "busy");
    pass(17);
    add("idle", "young");
    pass(2);
    expect(told).toEqual(["5 stops accepting"]);
    pass(20);
    expect(told.slice(1)).toEqual(["20 old closed", "32 young closed"]);
    expect(connections).toHaveLength(1);
  });

  test("closes few answers at first, more and more, and all after the spread", () => {
    const { drain, clock } = playing();
    const share = (): number => {
      let closed = 0;
      for (let i = 0; i < 2_000; i++) closed += Number(drain.closesAnswer());
      return closed / 2_000;
    };
    const shares = [0, 4, 5, 12.5, 20, 35, 90].map((second, index, all) => {
      clock.advance((second - (all[index - 1] ?? 0)) * 1_000);
      return share();
    });
    expect(shares.slice(0, 3)).toEqual([0, 0, 0]);
    expect(shares[3]).toBeCloseTo(0.25, 1);
    expect(shares[4]).toBeCloseTo(0.5, 1);
    expect(shares.slice(5)).toEqual([1, 1]);
  });

  test("has told every client before the deadline, however long the spread is", () => {
    const { drain, clock } = playing({ graceMs: 1_000, deadlineMs: 11_000 });
    clock.advance(11_000);
    expect(Array.from({ length: 100 }, () => drain.closesAnswer())).not.toContain(false);
  });

  test("cuts requests at their deadline and WebSockets at one of their own", () => {
    const { add, pass, told, connections } = playing();
    add("requests", "slow");
    add("tunnels", "socket");
    pass(121);
    expect(told).toEqual(["5 stops accepting", "120 slow cut"]);
    pass(3_000);
    expect(connections).toHaveLength(1);
  });

  test("ends streams in the last tenth of their time, each at a moment of its own", () => {
    const { add, pass, told } = playing();
    for (let i = 0; i < 50; i++) add("streams", "stream");
    pass(107);
    expect(told).toHaveLength(1);
    pass(13);
    const seconds = told.slice(1).map((line) => Number(line.split(" ")[0]));
    expect(told.slice(1).every((line) => line.endsWith("leaves") || line.startsWith("120"))).toBe(true);
    expect(new Set(seconds).size).toBeGreaterThan(8);
  });

  test("says goodbye to WebSockets in the last tenth of theirs", () => {
    const { add, pass, told } = playing({ tunnelsMs: 600_000 });
    for (let i = 0; i < 50; i++) add("tunnels", "socket");
    pass(539);
    expect(told).toHaveLength(1);
    pass(61);
    const leaving = told.filter((line) => line.endsWith("leaves"));
    expect(leaving.length).toBeGreaterThan(45);
    expect(new Set(leaving).size).toBeGreaterThan(20);
  });

  test("of no time is over at once", () => {
    const { add, drain, clock, told } = playing({
      graceMs: 0,
      spreadMs: 0,
      idleMs: 0,
      deadlineMs: 0,
      tunnelsMs: 0,
    });
    add("requests", "a");
    add("tunnels", "b");
    drain.onDeadline(clock.nowMs());
    expect(told).toEqual(["0 stops accepting", "0 a cut", "0 b cut"]);
    expect(drain.closesAnswer()).toBe(true);
  });

  test("tells what time is left", () => {
    const { drain, pass } = playing();
    expect(drain.left).toEqual({ requestsMs: 120_000, tunnelsMs: 3_600_000 });
    pass(150);
    expect(drain.left).toEqual({ requestsMs: 0, tunnelsMs: 3_450_000 });
  });
});
