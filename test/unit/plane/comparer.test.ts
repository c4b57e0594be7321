/** The queue in front of the thread that compares, with a thread that the test plays. */
import { describe, expect, test } from "vitest";
import { DEFAULT_COMPARE } from "../../../src/domain/compare_policy.ts";
import { ComparisonTally, type ComparisonCounts } from "../../../src/domain/comparison_counts.ts";
import type { BackendId } from "../../../src/domain/route.ts";
import type { CompiledCompare } from "../../../src/domain/table.ts";
import type { ResponseHead } from "../../../src/http/head.ts";
import { parseResponseHead } from "../../../src/http/parse.ts";
import type { CompareBatch, CompareResult } from "../../../src/plane/compare_job.ts";
import { Comparer, WAITING_MAX } from "../../../src/plane/comparer.ts";
import { Comparing } from "../../../src/plane/comparing.ts";
import { Room } from "../../../src/plane/room.ts";
import { allOf } from "../../support/shadow_stage.ts";
import { ManualClock } from "../../support/clock.ts";
import { until } from "../../support/wait.ts";

const BATCH = 64;
const ROOM_BYTES = 1_000_000;

/** A thread that does nothing by itself. */
class PlayedThread {
  readonly batches: CompareBatch[] = [];
  isEnded = false;
  onResult: (results: readonly CompareResult[]) => void = () => {};
  onGone: (cause: string) => void = () => {};

  /** Answers the oldest batch that is not answered: everything in it differs. */
  answer(): void {
    const { jobs = [] } = this.batches.shift() ?? {};
    const tallies = new Map<string, ComparisonTally>();
    const mismatch = { field: "status", kind: "value", left: "1", right: "2" } as const;
    for (const { route, basis, candidate, second } of jobs) {
      const tally = tallies.get(`${route} ${basis}`) ?? new ComparisonTally();
      tallies.set(`${route} ${basis}`, tally);
      const mismatched = { result: "mismatched", fields: [mismatch], isFailure: false } as const;
      if (candidate !== null) tally.add(mismatched, 1);
      if (second !== null) tally.addNoise(mismatched, 1);
    }
    this.onResult(
      [...tallies].map(([key, { counts }]) => {
        const [route = "", basis = ""] = key.split(" ");
        return { route, basis, counts };
      }),
    );
  }
}

interface Stage {
  readonly comparer: Comparer;
  readonly threads: PlayedThread[];
  readonly room: Room;
  readonly clock: ManualClock;
  /** One request with these answers, of legacy, of the shadow, and of legacy again. */
  readonly take: (
    left: string,
    right: string,
    options?: { second?: string; route?: string; basis?: string },
  ) => void;
  readonly counts: (route?: string) => ComparisonCounts | undefined;
}

function headOf(length: number): ResponseHead {
  const head = parseResponseHead(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`);
  if (typeof head === "string") throw new Error(head);
  return head;
}

function stageOf(): Stage {
  const clock = new ManualClock();
  const threads: PlayedThread[] = [];
  const room = new Room(ROOM_BYTES);
  const comparer = new Comparer(clock, "me", (onResult, onGone) => {
    const thread = Object.assign(new PlayedThread(), { onResult, onGone });
    threads.push(thread);
    return { post: (batch) => void thread.batches.push(batch), end: () => void (thread.isEnded = true) };
  });
  const compareOf = (basis: string): CompiledCompare => ({
    policy: DEFAULT_COMPARE,
    basis,
    legacy: { id: "legacy" as BackendId, endpoints: [] },
    candidate: "new" as BackendId,
    names: [],
    secondShares: 0,
  });
  return {
    comparer,
    threads,
    room,
    clock,
    take(left, right, { second, route = "all", basis = "b" } = {}) {
      const order = {
        route,
        compare: compareOf(basis),
        isPrimaryLegacy: true,
        hasSecond: second !== undefined,
      };
      const comparing = new Comparing(order, room, (one) => comparer.take(one));
      const answers = [
        [comparing, left],
        [comparing.copy, right],
        [comparing.second, second ?? ""],
      ] as const;
      for (const [to, text] of answers) {
        to?.onHead(headOf(text.length));
        to?.onData(Buffer.from(text));
        to?.onEnd();
      }
    },
    counts: (name = "all") => comparer.report(true).find(({ route }) => route === name)?.counts,
  };
}

describe("a comparer", () => {
  test("needs no thread for answers that are the same", () => {
    const { take, counts, threads, room } = stageOf();
    for (let i = 0; i < 100; i++) take("a", "a", { second: "a" });
    expect([counts()?.pairs.matched, counts()?.noise.matched]).toEqual([100, 100]);
    expect([threads.length, room.held]).toEqual([0, 0]);
  });

  test("hands over full batches at once, two at most, and the next when one is done", () => {
    const { take, counts, threads, room } = stageOf();
    for (let i = 0; i < 3 * BATCH; i++) take("a", "b");
    const [thread] = threads;
    expect(thread?.batches.map(({ jobs }) => jobs.length)).toEqual([BATCH, BATCH]);
    expect(room.held).toBe(2 * 3 * BATCH);
    thread?.answer();
    expect(thread?.batches.map(({ jobs }) => jobs.length)).toEqual([BATCH, BATCH]);
    expect(counts()?.pairs.mismatched).toBe(BATCH);
    thread?.answer();
    thread?.answer();
    expect(counts()?.pairs.mismatched).toBe(3 * BATCH);
    expect(room.held).toBe(0);
  });

  test("hands over a lone one soon", async () => {
    const { take, threads } = stageOf();
    take("a", "b");
    expect(threads).toEqual([]);
    await until("it is handed over", () => threads[0]?.batches.length === 1);
  });

  test("tells each thread a policy once", () => {
    const { take, threads } = stageOf();
    for (let i = 0; i < 2 * BATCH; i++) take("a", "b", { basis: `b${i % 2}`, route: `r${i % 2}` });
    const told = threads[0]?.batches.map(({ policies }) => policies.map(([basis]) => basis));
    expect(told).toEqual([["b0", "b1"], []]);
  });

  test("does not compare what is too much, and counts it", () => {
    const { take, counts, room } = stageOf();
    const taken = 2 * BATCH + WAITING_MAX;
    for (let i = 0; i < taken + 10; i++) take("a", "b", { second: "c" });
    expect([counts()?.pairs.notCompared["no room"], counts()?.noise.notCompared["no room"]]).toEqual([
      10, 10,
    ]);
    expect(room.held).toBe(3 * taken);
  });

  test("does not compare bodies for which there is no room, and counts it", () => {
    const { take, counts, room } = stageOf();
    const long = "x".repeat(60_000);
    for (let i = 0; i < 20; i++) take(long, `${long}y`);
    expect(counts()?.pairs.notCompared["no room"]).toBe(12);
    expect(room.held).toBeLessThanOrEqual(ROOM_BYTES);
  });

  test("loses what a thread had that dies, counts it, and starts another one a second later", async () => {
    const { take, counts, threads, clock, room } = stageOf();
    for (let i = 0; i < 2 * BATCH; i++) take("a", "b");
    threads[0]?.answer();
    threads[0]?.onGone("out of memory");
    expect(counts()?.pairs).toMatchObject({ mismatched: BATCH, notCompared: { "no room": BATCH } });
    expect(room.held).toBe(0);
    for (let i = 0; i < BATCH; i++) take("a", "b");
    expect(threads).toHaveLength(1);
    clock.advance(1_000);
    await until("another one is started", () => threads.length === 2);
    expect(threads[1]?.batches[0]?.policies).toHaveLength(1);
    threads[0]?.onGone("again");
    threads[1]?.answer();
    expect(counts()?.pairs.mismatched).toBe(2 * BATCH);
  });

  test("begins anew on another basis, and forgets what belonged to the one before", () => {
    const { take, counts, threads, comparer } = stageOf();
    for (let i = 0; i < BATCH; i++) take("a", "b", { basis: "old" });
    take("a", "a", { basis: "new" });
    threads[0]?.answer();
    expect(comparer.report(true).map(({ basis }) => basis)).toEqual(["new"]);
    expect(counts()?.pairs).toMatchObject({ matched: 1, mismatched: 0 });
  });

  test("reports what changed once", () => {
    const { take, comparer, threads } = stageOf();
    for (let i = 0; i < BATCH; i++) take("a", "b", { route: "one" });
    take("a", "a", { route: "two" });
    expect(comparer.report(false).map(({ route }) => route)).toEqual(["one", "two"]);
    expect(comparer.report(false)).toEqual([]);
    threads[0]?.answer();
    expect(comparer.report(false).map(({ route }) => route)).toEqual(["one"]);
  });

  test("that closes waits for what the thread has, counts the rest, and ends it", async () => {
    const { take, counts, threads, comparer } = stageOf();
    for (let i = 0; i < 3 * BATCH; i++) take("a", "b");
    const closing = comparer.close();
    for (let i = 0; i < 3; i++) threads[0]?.answer();
    await closing;
    expect(threads[0]?.isEnded).toBe(true);
    expect(counts()?.pairs.mismatched).toBe(3 * BATCH);
    take("a", "b");
    expect(allOf(counts()?.pairs ?? expect.fail("there are counts"))).toBe(3 * BATCH + 1);
  });

  test("that sheds compares only what needs no thread", () => {
    const { take, counts, threads, comparer } = stageOf();
    comparer.shed(true);
    for (let i = 0; i < BATCH; i++) take("a", "b");
    take("a", "a");
    expect(threads).toEqual([]);
    expect(counts()?.pairs).toMatchObject({ matched: 1, notCompared: { "no room": BATCH } });
    comparer.shed(false);
    for (let i = 0; i < BATCH; i++) take("a", "b");
    expect(threads).toHaveLength(1);
  });
});
