/** Comparisons of one worker: the thread that makes them, the queue in front of it, and what came of them. */
import { Worker } from "node:worker_threads";
import type { Clock } from "../base/clock.ts";
import { isSameAnswer } from "../domain/compare_captured.ts";
import type { ComparePolicy, Comparison } from "../domain/compare_words.ts";
import {
  ComparisonTally,
  NO_COMPARISONS,
  sumOfComparisons,
  type ComparisonCounts,
} from "../domain/comparison_counts.ts";
import type { ComparisonReport } from "../shared/messages.ts";
import type { CompareBatch, CompareJob, CompareResult } from "./compare_job.ts";
import type { Comparing, ComparingOrder } from "./comparing.ts";

/** Comparisons that wait for the thread at most. Over it they are not made, and counted as "no room". */
export const WAITING_MAX = 1024;
/** The most of one batch, and how long the first of it waits for others. */
const BATCH_JOBS = 64;
const BATCH_MS = 20;
/** Batches that the thread has at a time: one to work on, and the next one. */
const BATCHES_MAX = 2;
/** A thread that has died is followed by another one no sooner than this. */
const RESTART_MS = 1_000;
/** What the thread may hold; a body of 1 MiB makes about 20 MiB of JSON at the worst. */
const HEAP_MB_MAX = 256;
/** Routes with totals; over it the one that was compared longest ago is forgotten. */
const ROUTES_MAX = 2_000;
/** How long a worker that ends waits for what is still being compared. */
const CLOSE_MS = 400;

const NO_ROOM: Comparison = Object.freeze<Comparison>({ result: "not compared", reason: "no room" });
const MATCHED: Comparison = Object.freeze<Comparison>({ result: "matched" });

/** A thread, as far as it is used. */
export interface CompareThread {
  post(batch: CompareBatch, transfer: readonly ArrayBuffer[]): void;
  /** Ends it, whatever it is at. */
  end(): void;
}

/** Starts a thread. `onResult` once per batch, in order; `onGone` once, and nothing after it. */
export type StartThread = (
  onResult: (results: readonly CompareResult[]) => void,
  onGone: (cause: string) => void,
) => CompareThread;

/** What was counted of one route, on its newest basis. */
interface Totals {
  readonly basis: string;
  /** Of those that needed no thread. */
  readonly tally: ComparisonTally;
  counts: ComparisonCounts;
  hasChanged: boolean;
}

/** A job, with what has to be given back when it is done. */
interface Waiting {
  readonly job: CompareJob;
  readonly comparing: Comparing;
}

/**
 * Takes requests whose answers are all there.
 *
 * Answers that are the same to the last byte are counted at once, since that takes less than handing them over. All
 * others go to a thread, in batches, and never wait in the way of requests: what does not fit into the queue is not
 * compared, and counted. If the thread dies, what it was given is counted as "no room", and another one is started.
 */
export class Comparer {
  readonly #clock: Clock;
  readonly #id: string;
  readonly #start: StartThread;
  readonly #totals = new Map<string, Totals>();
  readonly #told = new Set<string>();
  readonly #batches: (readonly Waiting[])[] = [];
  #waiting: Waiting[] = [];
  #thread: CompareThread | null = null;
  #startAtMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #onIdle: (() => void) | null = null;
  #isShedding = false;
  #isClosed = false;

  /** `id`: unique for each worker process there ever was. */
  constructor(clock: Clock, id: string, start: StartThread = startThread) {
    this.#clock = clock;
    this.#id = id;
    this.#start = start;
  }

  /** Takes one that is ready, and releases it in the end. */
  take(comparing: Comparing): void {
    const { obstacle, secondObstacle, legacy, order } = comparing;
    const totals = this.#totalsOf(order);
    let candidate = obstacle === null ? comparing.candidate : null;
    let second = secondObstacle === null ? (comparing.second?.answer ?? null) : null;
    if (obstacle !== null) totals.tally.add({ result: "not compared", reason: obstacle }, 0);
    if (comparing.second !== null && secondObstacle !== null) {
      totals.tally.addNoise({ result: "not compared", reason: secondObstacle }, 0);
    }
    if (candidate !== null && isSameAnswer(legacy, candidate)) {
      totals.tally.add(MATCHED, 0);
      candidate = null;
    }
    if (second !== null && isSameAnswer(legacy, second)) {
      totals.tally.addNoise(MATCHED, 0);
      second = null;
    }
    if (candidate === null && second === null) {
      comparing.release();
      return;
    }
    const { route, compare } = order;
    const atMs = this.#clock.wallMs();
    this.#enqueue({ job: { route, basis: compare.basis, atMs, legacy, candidate, second }, comparing });
  }

  /** Makes no comparisons for now: what would wait for the thread counts as "no room". */
  shed(isShedding: boolean): void {
    this.#isShedding = isShedding;
  }

  /** The totals of the routes that changed since the last call, or of all. */
  report(all: boolean): ComparisonReport[] {
    const changed = [...this.#totals].filter(([, totals]) => all || totals.hasChanged);
    return changed.map(([route, totals]) => {
      totals.hasChanged = false;
      const { basis } = totals;
      return { route, basis, worker: this.#id, counts: sumOfComparisons(totals.tally.counts, totals.counts) };
    });
  }

  /** Compares what is waiting, for a short while, and ends the thread. Counts are complete then. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#flush();
    if (this.#batches.length > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
        timer = setTimeout(resolve, CLOSE_MS);
      });
      clearTimeout(timer);
    }
    this.#thread?.end();
    this.#onGone();
    for (const waiting of this.#waiting.splice(0)) this.#lose(waiting);
  }

  #enqueue(waiting: Waiting): void {
    if (this.#waiting.length >= WAITING_MAX || this.#isClosed || this.#isShedding) {
      this.#lose(waiting);
      return;
    }
    this.#waiting.push(waiting);
    if (this.#waiting.length >= BATCH_JOBS) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), BATCH_MS);
  }

  /** Hands over as many batches as the thread may have. Whatever has to wait goes when one of them is done. */
  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#waiting.length > 0 && this.#batches.length < BATCHES_MAX) {
      const thread = this.#threadNow();
      if (thread === null) {
        if (!this.#isClosed) this.#timer = setTimeout(() => this.#flush(), RESTART_MS);
        return;
      }
      const batch = this.#waiting.splice(0, BATCH_JOBS);
      this.#batches.push(batch);
      const jobs = batch.map(({ job }) => job);
      thread.post({ jobs, policies: this.#untold(batch) }, jobs.flatMap(buffersOf));
    }
  }

  #threadNow(): CompareThread | null {
    if (this.#thread !== null) return this.#thread;
    const nowMs = this.#clock.nowMs();
    if (nowMs < this.#startAtMs) return null;
    this.#startAtMs = nowMs + RESTART_MS;
    const thread = this.#start(
      (results) => this.#onResult(results),
      () => {
        if (this.#thread === thread) this.#onGone();
      },
    );
    this.#thread = thread;
    return thread;
  }

  #onResult(results: readonly CompareResult[]): void {
    const batch = this.#batches.shift() ?? [];
    for (const { comparing } of batch) comparing.release();
    for (const { route, basis, counts } of results) {
      const totals = this.#totals.get(route);
      // The policy has changed since: these belong to nothing that anybody looks at.
      if (totals === undefined || totals.basis !== basis) continue;
      totals.counts = sumOfComparisons(totals.counts, counts);
      totals.hasChanged = true;
    }
    this.#flush();
    if (this.#batches.length === 0) this.#onIdle?.();
  }

  /** The thread has died, or was ended: nobody will say what came of what it had. */
  #onGone(): void {
    this.#thread = null;
    this.#told.clear();
    for (const batch of this.#batches.splice(0)) for (const waiting of batch) this.#lose(waiting);
    this.#onIdle?.();
  }

  #lose({ job, comparing }: Waiting): void {
    const { tally } = this.#totalsOf(comparing.order);
    if (job.candidate !== null) tally.add(NO_ROOM, 0);
    if (job.second !== null) tally.addNoise(NO_ROOM, 0);
    comparing.release();
  }

  /** The policies of a batch that the thread doesn't know. */
  #untold(batch: readonly Waiting[]): [string, ComparePolicy][] {
    const untold: [string, ComparePolicy][] = [];
    for (const { comparing } of batch) {
      const { basis, policy } = comparing.order.compare;
      if (this.#told.has(basis)) continue;
      this.#told.add(basis);
      untold.push([basis, policy]);
    }
    return untold;
  }

  #totalsOf({ route, compare: { basis } }: ComparingOrder): Totals {
    let totals = this.#totals.get(route);
    if (totals?.basis !== basis) {
      totals = { basis, tally: new ComparisonTally(), counts: NO_COMPARISONS, hasChanged: true };
      this.#totals.delete(route);
      this.#totals.set(route, totals);
      for (const oldest of this.#totals.keys()) {
        if (this.#totals.size <= ROUTES_MAX) break;
        this.#totals.delete(oldest);
      }
    }
    totals.hasChanged = true;
    return totals;
  }
}

/** The memory of bodies, which goes along instead of being copied. */
function buffersOf({ legacy, candidate, second }: CompareJob): ArrayBuffer[] {
  const answers = [legacy, candidate, second];
  return answers.flatMap((answer) => {
    const buffer = answer?.bytes?.buffer;
    return buffer instanceof ArrayBuffer && buffer.byteLength > 0 ? [buffer] : [];
  });
}

/** The thread of a worker process. It neither keeps the process alive nor takes signals, flags or streams of it. */
function startThread(
  onResult: (results: readonly CompareResult[]) => void,
  onGone: (cause: string) => void,
): CompareThread {
  const thread = new Worker(new URL("./comparer_thread.ts", import.meta.url), {
    name: "comparer",
    argv: [],
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
  });
  thread.unref();
  thread.on("message", onResult);
  thread.on("error", (error: unknown) => onGone(String(error)));
  thread.on("exit", () => onGone("it ended"));
  return {
    post: (batch, transfer) => thread.postMessage(batch, transfer),
    end: () => void thread.terminate(),
  };
}
