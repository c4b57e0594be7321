/** Instances on one store: who is there, how far each is, and waiting for all of them. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WAITERS_MAX } from "../../../src/control/publisher.ts";
import type { InstanceRecord } from "../../../src/store/instances.ts";
import { known, MembersStage, type StagedInstance } from "../../support/members_stage.ts";
import { MemoryInstances } from "../../support/memory_instances.ts";
import { until } from "../../support/wait.ts";

/** A list that arrives later than it was made. */
class LateInstances extends MemoryInstances {
  arrival: Promise<void> = Promise.resolve();

  override async list(): Promise<InstanceRecord[]> {
    const records = await super.list();
    await this.arrival;
    return records;
  }
}

const AWAY = "the store cannot be reached, so the other instances' state is not known";
const HOUR_MS = 3_600_000;

let stage: MembersStage;

beforeEach(() => {
  stage = new MembersStage();
});

afterEach(async () => {
  await stage.close();
});

describe("who is there", () => {
  test("every instance sees every other, and says who joined", async () => {
    const [a, b, c] = await stage.together("a", "b", "c");
    expect([a, b, c].map((one) => one && known(one))).toEqual(
      Array.from({ length: 3 }, () => "a 0, b 0, c 0"),
    );
    expect(a?.events("instance.joined")).toEqual([
      { instance: "b", version: "1.2.3", revision: 0 },
      { instance: "c", version: "1.2.3", revision: 0 },
    ]);
    expect(a?.members.instances()[1]).toMatchObject({
      isSelf: false,
      lastHeardMsAgo: 0,
      status: { version: "1.2.3", pid: 7, state: "serving", warnings: [] },
    });
  });

  test("who is silent is gone after 5 s, who says goodbye at once", async () => {
    const [a, b, c] = (await stage.together("a", "b", "c")) as [
      StagedInstance,
      StagedInstance,
      StagedInstance,
    ];
    b.registry.isAway = true;
    for (let second = 0; second < 4; second++) await stage.pass(1_000, a, b, c);
    expect(known(a)).toBe("a 0, b 0, c 0");
    expect(a.members.instances()[1]?.lastHeardMsAgo).toBe(4_000);
    await stage.pass(1_000, a, b, c);
    await c.members.stop();
    await stage.pass(1_000, a);
    expect(known(a)).toBe("a 0");
    expect(a.events("instance.left")).toEqual([
      { instance: "b", cause: "silent for 5 s" },
      { instance: "c", cause: "said goodbye" },
    ]);
  });

  test("one that was started again under its name left and joined", async () => {
    const [a, b] = await stage.pair();
    b.registry.isAway = true;
    const again = stage.instance("b");
    again.own.revision = 3;
    await again.members.start();
    await stage.pass(1_000, a, again);
    expect(a.events("instance.left")).toEqual([{ instance: "b", cause: "started again" }]);
    expect(a.events("instance.joined").at(-1)).toEqual({ instance: "b", version: "1.2.3", revision: 3 });
    expect(again.members.warnings()).toEqual([]);
  });

  test("a stranger that is heard between two words is looked up before its first request is waited for", async () => {
    const [a] = await stage.pair();
    stage.clock.advance(300);
    const c = stage.instance("c");
    await c.members.start();
    await until("c is known", () => known(a) === "a 0, b 0, c 0");
    expect(a.registry.calls.filter((call) => call.startsWith("announce"))).toHaveLength(3);
  });

  test("two processes under one name both say so, until one of them is gone", async () => {
    const [a, b] = await stage.pair();
    const other = stage.instance("a");
    await other.members.start();
    await stage.pass(1_000, a, other, b);
    await stage.pass(1_000, a, other, b);
    const warning = "another Crossfade uses the instance name a; give each its own `instance`";
    for (const { members, lines } of [a, other]) {
      expect(members.warnings()).toEqual([warning]);
      expect(lines.filter(({ level }) => level === "error").map(({ message }) => message)).toEqual([warning]);
    }
    expect(b.members.warnings()).toEqual([]);
    other.registry.isAway = true;
    for (let second = 0; second < 7; second++) await stage.pass(1_000, a);
    expect(a.members.warnings()).toEqual([]);
  });

  test("words of another version are no words, but its revision counts", async () => {
    const [a] = await stage.pair();
    const word = { appliedRevision: 2, status: '{"format":2}', totals: '{"format":2}' };
    stage.circle.records.set("z", { word, atMs: 0 });
    await stage.pass(1_000, a);
    expect(known(a)).toBe("a 0, b 0, (z 2)");
    expect(a.members.warnings()).toEqual([
      "what these instances say cannot be read here, they may run another version: z",
    ]);
    a.own.apply(3);
    expect(await a.members.waitApplied(3, 1)).toEqual({
      applied: false,
      missing: ["instance b has revision 0, heard 1.0 s ago", "instance z has revision 2, heard 0.0 s ago"],
    });
  });
});

describe("what is applied", () => {
  test("is heard at once, without waiting for a word", async () => {
    const [a, b] = await stage.pair();
    const words = a.registry.calls.length;
    b.own.apply(5);
    await until("a knows", () => known(a) === "a 0, b 5");
    expect(a.registry.calls).toHaveLength(words);
    expect(a.members.appliedElsewhere()).toBe(5);
  });

  test("is said by one call at a time, and the newest waits", async () => {
    const [a] = await stage.pair();
    const { promise, resolve } = Promise.withResolvers<void>();
    a.registry.gate = promise;
    for (let revision = 1; revision <= 50; revision++) {
      a.own.apply(revision);
      await Promise.resolve();
    }
    resolve();
    await until("the newest is said", () => a.registry.calls.at(-1) === "applied 50");
    expect(a.registry.calls.filter((call) => call.startsWith("applied"))).toEqual([
      "applied 1",
      "applied 50",
    ]);
  });

  test("is said by the next word when nobody heard it", async () => {
    const [a, b] = await stage.pair();
    a.registry.hearsNews = false;
    b.own.apply(5);
    await stage.pass(1_000, b, a);
    expect(known(a)).toBe("a 0, b 5");
  });

  test("is not undone by a list that was made before", async () => {
    const registry = new LateInstances(stage.circle);
    const a = stage.instance("a", registry);
    await a.members.start();
    const [b] = (await stage.together("b")) as [StagedInstance];
    await a.members.beat();
    const { promise, resolve } = Promise.withResolvers<void>();
    registry.arrival = promise;
    const beat = a.members.beat();
    await until("the list is made", () => registry.calls.at(-1) === "list");
    b.own.apply(5);
    await until("a has heard", () => known(a) === "a 0, b 5");
    resolve();
    await beat;
    expect(known(a)).toBe("a 0, b 5");
  });
});

describe("while the store is away", () => {
  test("the others are kept as last known, with one line for each change", async () => {
    const [a, b] = await stage.pair();
    b.own.apply(2);
    await until("a knows", () => known(a) === "a 0, b 2");
    a.registry.isAway = true;
    for (let second = 0; second < 20; second++) await stage.pass(1_000, a, b);
    expect(known(a)).toBe("a 0, (b 2)");
    expect(a.members.warnings()).toEqual([`${AWAY}: nobody answers`]);
    expect(a.members.counted()).toBe(1);
    expect(a.events("instance.left")).toEqual([]);
    a.registry.isAway = false;
    await stage.pass(1_000, b, a);
    expect(known(a)).toBe("a 0, b 2");
    expect(a.members.warnings()).toEqual([]);
    expect(a.lines.map(({ message }) => message)).toEqual([
      "instance joined",
      "the other instances cannot be reached",
      "the other instances are reached again",
    ]);
  });

  test("nobody is gone before it had the time to come back", async () => {
    const [a, b] = await stage.pair();
    for (const one of [a, b]) one.registry.isAway = true;
    for (let second = 0; second < 20; second++) await stage.pass(1_000, a, b);
    a.registry.isAway = false;
    for (let second = 0; second < 4; second++) await stage.pass(1_000, a);
    expect(known(a)).toBe("a 0, (b 0)");
    await stage.pass(2_000, a);
    expect(a.events("instance.left")).toEqual([{ instance: "b", cause: "silent for 5 s" }]);
  });

  test("an answer that never comes is no answer", async () => {
    const [a] = await stage.pair();
    const { promise, resolve } = Promise.withResolvers<void>();
    a.registry.gate = promise;
    const hanging = a.members.beat();
    await stage.pass(5_000, a);
    expect(known(a)).toBe("a 0, b 0");
    await stage.pass(1_000, a);
    expect(known(a)).toBe("a 0, (b 0)");
    expect(a.members.warnings()).toEqual([`${AWAY}: no answer for 5 s`]);
    resolve();
    await hanging;
  });
});

describe("waiting for a revision", () => {
  test("ends when the last instance has it, with the time since the call", async () => {
    const [a, b, c] = (await stage.together("a", "b", "c")) as [
      StagedInstance,
      StagedInstance,
      StagedInstance,
    ];
    const waiting = a.members.waitApplied(7, HOUR_MS);
    stage.clock.advance(4);
    a.own.apply(7);
    b.own.apply(8);
    await until("b is known", () => known(a) === "a 7, b 8, c 0");
    stage.clock.advance(3);
    c.own.apply(7);
    expect(await waiting).toEqual({ applied: true, appliedMs: 7 });
    expect(await b.members.waitApplied(7, HOUR_MS)).toEqual({ applied: true, appliedMs: 0 });
  });

  test("includes who joins meanwhile, and not who leaves or drains", async () => {
    const [a, b, c] = (await stage.together("a", "b", "c")) as [
      StagedInstance,
      StagedInstance,
      StagedInstance,
    ];
    for (const { own } of [a, c]) own.apply(1);
    c.own.state = "draining";
    const waiting = a.members.waitApplied(2, HOUR_MS);
    a.own.apply(2);
    const d = stage.instance("d");
    await d.members.start();
    await stage.pass(1_000, c, a);
    await b.members.stop();
    await stage.pass(1_000, a);
    expect(known(a)).toBe("a 2, c 1, d 0");
    const settled = vi.fn<() => void>();
    void waiting.then(settled);
    await stage.pass(1_000, d, a);
    expect(settled).not.toHaveBeenCalled();
    d.own.apply(2);
    expect((await waiting).applied).toBe(true);
  });

  test("names workers here and instances elsewhere when the time is over", async () => {
    const [a] = await stage.pair();
    stage.clock.advance(400);
    expect(await a.members.waitApplied(1, 1)).toEqual({
      applied: false,
      missing: ["instance a: worker 0 has revision 0", "instance b has revision 0, heard 0.4 s ago"],
    });
    a.own.apply(1);
    expect(await a.members.waitApplied(1, 1)).toEqual({
      applied: false,
      missing: ["instance b has revision 0, heard 0.4 s ago"],
    });
  });

  test("is in vain while nobody knows how the others are", async () => {
    const [a, b] = await stage.pair();
    for (const { own } of [a, b]) own.apply(3);
    await until("a knows", () => known(a) === "a 3, b 3");
    a.registry.isAway = true;
    await stage.pass(1_500, a);
    expect(await a.members.waitApplied(3, 1)).toEqual({
      applied: false,
      missing: ["instance b had revision 3 when it was last heard, 1.5 s ago", AWAY],
    });
    const waiting = a.members.waitApplied(3, HOUR_MS);
    a.registry.isAway = false;
    await stage.pass(1_000, b, a);
    expect((await waiting).applied).toBe(true);
  });

  test("names twenty instances and counts the others", async () => {
    const [a] = await stage.pair();
    for (let n = 0; n < 30; n++) {
      const word = { appliedRevision: 0, status: "{}", totals: "" };
      stage.circle.records.set(`z${n}`, { word, atMs: 0 });
    }
    await stage.pass(1_000, a);
    a.own.apply(1);
    const outcome = await a.members.waitApplied(1, 1);
    expect("missing" in outcome && [outcome.missing.length, outcome.missing.at(-1)]).toEqual([
      21,
      "11 more instances",
    ]);
  });

  test("is refused to more callers than can be kept, and ends with the stop", async () => {
    const [a] = await stage.pair();
    a.own.apply(1);
    const waiting = Array.from({ length: WAITERS_MAX }, () => a.members.waitApplied(1, HOUR_MS));
    await expect(a.members.waitApplied(1, HOUR_MS)).rejects.toMatchObject({ code: "TOO_MANY_WAITING" });
    await a.members.stop();
    expect(await waiting[0]).toEqual({ applied: false, missing: ["Crossfade stops"] });
  });

  test("is waiting for own workers where the store is nobody else's", async () => {
    const alone = stage.instance("a", undefined, true);
    await alone.members.start();
    expect(await alone.members.waitApplied(1, 1)).toEqual({
      applied: false,
      missing: ["worker 0 has revision 0"],
    });
    const waiting = alone.members.waitApplied(1, HOUR_MS);
    alone.own.apply(1);
    expect((await waiting).applied).toBe(true);
    expect([known(alone), alone.members.counted(), alone.members.warnings()]).toEqual(["a 1", 1, []]);
  });
});

describe("stopping", () => {
  test("says goodbye after the word that is on its way", async () => {
    const [a] = await stage.pair();
    const { promise, resolve } = Promise.withResolvers<void>();
    a.registry.gate = promise;
    const beat = a.members.beat();
    const stopped = a.members.stop();
    resolve();
    await Promise.all([beat, stopped]);
    expect(a.registry.calls.at(-1)).toBe("leave");
    expect([...stage.circle.records.keys()]).toEqual(["b"]);
  });

  test("does not wait for a store that is away, nor long for one that hangs", async () => {
    const [a, b] = await stage.pair();
    a.registry.isAway = true;
    await stage.pass(1_000, a);
    a.registry.gate = Promise.withResolvers<void>().promise;
    await a.members.stop();
    vi.useFakeTimers();
    b.registry.gate = Promise.withResolvers<void>().promise;
    const stopped = b.members.stop();
    await vi.advanceTimersByTimeAsync(1_000);
    await stopped;
    vi.useRealTimers();
    expect([a, b].map(({ registry }) => registry.calls.includes("leave"))).toEqual([false, false]);
  });
});
