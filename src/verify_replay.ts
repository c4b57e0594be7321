/** A replay: recorded requests to both sides at a steady pace, and what came of comparing their answers. */
import { setTimeout as pause } from "node:timers/promises";
import type { Clock } from "./base/clock.ts";
import type { Random } from "./base/random.ts";
import { compareCaptured } from "./domain/compare_captured.ts";
import { ComparisonJudge } from "./domain/comparison.ts";
import { ComparisonTally, type ComparisonCounts } from "./domain/comparison_counts.ts";
import { SHARES_TOTAL } from "./domain/route.ts";
import { Side } from "./verify_client.ts";
import { readLine, type RecordedRequest } from "./verify_input.ts";
import { linesOf, LINE_BYTES_MAX, type InputLine } from "./verify_lines.ts";
import type { ReplayedRequest, VerifyPlan } from "./verify_plan.ts";

/** How a replay goes. */
export interface ReplayOptions {
  /** Requests begun in a second. */
  readonly rate: number;
  /** Requests in all. */
  readonly limit: number;
  /** Requests under way. */
  readonly concurrency: number;
  /** For one answer, to its end. */
  readonly timeoutMs: number;
  /** So many of the requests also go to legacy a second time, 0 to 100. */
  readonly noisePercent: number;
}

/** What a replay is given. */
export interface ReplayParts {
  readonly clock: Clock;
  readonly random: Random;
  /** Ends it early. */
  readonly signal: AbortSignal;
  /** Told about once a second. */
  readonly onProgress: (account: ReplayAccount, counts: ComparisonCounts) => void;
}

/** A line that could not be used. */
export interface UnusableLine {
  readonly number: number;
  readonly why: string;
}

/** Why a replay ended: with its input, at a bound, or before. */
export type ReplayEnd = "input" | "limit" | "lines" | "interrupted";

/** What became of every line and every request. */
export interface ReplayAccount {
  lines: number;
  /** Lines with another method than GET and HEAD. */
  otherMethods: number;
  /** Lines with requests that another route takes, or none. */
  otherRoutes: number;
  /** Requests that may have had a query, which the log does not keep. */
  queriesLost: number;
  unusable: number;
  /** The first of them. */
  readonly firstUnusable: UnusableLine[];
  sent: number;
  /** Requests of which it was not waited for both answers. */
  givenUp: number;
  end: ReplayEnd;
}

/** What came of a replay. */
export interface ReplayResult {
  readonly account: ReplayAccount;
  readonly judge: ComparisonJudge;
  readonly counts: ComparisonCounts;
}

/** Lines that are read at most, whatever is in them. */
export const LINES_MAX = 10_000_000;
/** Unusable lines that are told one by one. */
const UNUSABLE_TOLD_MAX = 5;
const TICK_MS = 1_000;
/** How far requests may be behind their time and still catch up: late timers shall not slow it down. */
const BEHIND_MS_MAX = 100;

/** Replays an input against both sides of a plan. Throws what reading the input throws. */
export async function replay(
  pieces: AsyncIterable<Uint8Array>,
  plan: VerifyPlan,
  options: ReplayOptions,
  parts: ReplayParts,
): Promise<ReplayResult> {
  const run = new Replay(plan, options, parts);
  try {
    await run.readAll(linesOf(pieces));
    return run.result();
  } finally {
    run.close();
  }
}

class Replay {
  readonly #plan: VerifyPlan;
  readonly #options: ReplayOptions;
  readonly #parts: ReplayParts;
  readonly #legacy: Side;
  readonly #candidate: Side;
  readonly #tally = new ComparisonTally();
  readonly #judge = new ComparisonJudge();
  readonly #account: ReplayAccount = {
    lines: 0,
    otherMethods: 0,
    otherRoutes: 0,
    queriesLost: 0,
    unusable: 0,
    firstUnusable: [],
    sent: 0,
    givenUp: 0,
    end: "input",
  };
  readonly #underWay = new Set<Promise<void>>();
  readonly #ticker: NodeJS.Timeout;
  readonly #secondShares: number;
  #dueMs: number;
  /** Told when a request is answered, and of the end. */
  #onChange: () => void = () => undefined;

  constructor(plan: VerifyPlan, options: ReplayOptions, parts: ReplayParts) {
    this.#plan = plan;
    this.#options = options;
    this.#parts = parts;
    const { timeoutMs, concurrency } = options;
    const side = { timeoutMs, bodyBytesMax: plan.policy.bodyBytesMax };
    // Legacy may get a request twice at once.
    this.#legacy = new Side(plan.legacy, { ...side, connectionsMax: 2 * concurrency });
    this.#candidate = new Side(plan.candidate, { ...side, connectionsMax: concurrency });
    this.#secondShares = Math.round((options.noisePercent / 100) * SHARES_TOTAL);
    this.#dueMs = parts.clock.nowMs();
    parts.signal.addEventListener("abort", () => this.#onChange(), { once: true });
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Sends what the lines ask for, and waits until all of it is answered or nobody wants to wait any more. */
  async readAll(lines: AsyncIterable<InputLine>): Promise<void> {
    try {
      for await (const line of lines) {
        const request = this.#take(line);
        if (request !== null) await this.#send(request);
        if (this.#account.sent >= this.#options.limit) this.#account.end = "limit";
        else if (line.number >= LINES_MAX) this.#account.end = "lines";
        if (this.#isAborted || this.#account.end !== "input") break;
      }
    } catch (error) {
      // Whoever ends the replay ends the reading too.
      if (!this.#isAborted) throw error;
    }
    while (this.#underWay.size > 0 && !this.#isAborted) await this.#change();
    if (this.#isAborted) this.#account.end = "interrupted";
    this.#account.givenUp = this.#underWay.size;
  }

  /** What came of it, as far as it went. */
  result(): ReplayResult {
    this.#tick();
    return { account: this.#account, judge: this.#judge, counts: this.#tally.counts };
  }

  close(): void {
    clearInterval(this.#ticker);
    this.#legacy.close();
    this.#candidate.close();
  }

  get #isAborted(): boolean {
    return this.#parts.signal.aborted;
  }

  /** The request that a line asks for, or null once it is counted why there is none. */
  #take({ number, text }: InputLine): ReplayedRequest | null {
    const account = this.#account;
    account.lines++;
    if (text === null) return this.#refuse(number, `it is longer than ${LINE_BYTES_MAX / 1024} KiB`);
    const reading = readLine(text);
    switch (reading.kind) {
      case "nothing":
        return null;
      case "other method":
        account.otherMethods++;
        return null;
      case "unusable":
        return this.#refuse(number, reading.why);
      case "request":
        return this.#toSend(number, reading.request);
    }
  }

  #toSend(number: number, recorded: RecordedRequest): ReplayedRequest | null {
    const request = this.#plan.toSend(recorded);
    if (request === "ambiguous")
      return this.#refuse(number, "its path is ambiguous, and refused by Crossfade");
    if (request === "another route") {
      this.#account.otherRoutes++;
      return null;
    }
    if (recorded.isQueryLost) this.#account.queriesLost++;
    return request;
  }

  #refuse(number: number, why: string): null {
    this.#account.unusable++;
    if (this.#account.firstUnusable.length < UNUSABLE_TOLD_MAX)
      this.#account.firstUnusable.push({ number, why });
    return null;
  }

  /** Begins a request when it is its turn. */
  async #send(request: ReplayedRequest): Promise<void> {
    const { clock } = this.#parts;
    await this.#rest(this.#dueMs - clock.nowMs());
    while (this.#underWay.size >= this.#options.concurrency && !this.#isAborted) await this.#change();
    if (this.#isAborted) return;
    this.#dueMs = Math.max(this.#dueMs + 1000 / this.#options.rate, clock.nowMs() - BEHIND_MS_MAX);
    this.#account.sent++;
    const exchange = this.#compare(request).finally(() => {
      this.#underWay.delete(exchange);
      this.#onChange();
    });
    this.#underWay.add(exchange);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#onChange = resolve;
    });
  }

  async #rest(ms: number): Promise<void> {
    if (ms <= 0) return;
    const { signal } = this.#parts;
    await pause(ms, undefined, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }

  async #compare(request: ReplayedRequest): Promise<void> {
    const { clock, random } = this.#parts;
    const { policy } = this.#plan;
    const hasSecond = random.draw(SHARES_TOTAL) < this.#secondShares;
    const [legacy, candidate, second] = await Promise.all([
      this.#legacy.answer(request),
      this.#candidate.answer(request),
      hasSecond ? this.#legacy.answer(request) : null,
    ]);
    // After the end connections are cut by this program, and say nothing of backends.
    if (this.#isAborted) return;
    this.#tally.add(compareCaptured(legacy, candidate, policy), clock.wallMs());
    if (second !== null) this.#tally.addNoise(compareCaptured(legacy, second, policy), clock.wallMs());
  }

  #tick(): void {
    const { counts } = this.#tally;
    this.#judge.tick(this.#parts.clock.nowMs(), counts);
    this.#parts.onProgress(this.#account, counts);
  }
}
