/** What requests cost while Redis runs, is stopped, and hangs, in rounds that take turns. */
import { setTimeout as pause } from "node:timers/promises";
import type { RedisServer } from "../../test/support/redis.ts";
import type { RedisStage } from "../../test/support/redis_stage.ts";
import { median, processorMs, quantile, spread } from "./figures.ts";
import type { Load } from "./load.ts";

/** How Redis is during a round. */
export const CONDITIONS = ["running", "stopped", "paused"] as const;
export type Condition = (typeof CONDITIONS)[number];

/** One round. Times of requests in milliseconds, processor time of the workers in microseconds. */
export interface Round {
  readonly redis: Condition;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly processorUs: number;
  readonly failed: number;
}

/** Where the rounds are measured. */
export interface DataPathStage {
  readonly stage: RedisStage;
  readonly redis: RedisServer;
  readonly load: Load;
  readonly roundMs: number;
}

/** Measures each condition `rounds` times, each time in another order. */
export async function measureDataPath(at: DataPathStage, rounds: number): Promise<Round[]> {
  const workers = await Promise.all(at.stage.instances.map((instance) => instance.workers()));
  const pids = workers.flat().map(({ pid }) => pid);
  const measured: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    const first = round % CONDITIONS.length;
    for (const condition of [...CONDITIONS.slice(first), ...CONDITIONS.slice(0, first)]) {
      await bring(at, condition);
      measured.push(await measureRound(at, condition, pids));
    }
  }
  await bring(at, "running");
  return measured;
}

/** A table of medians and spreads, with ratios to the rounds with a running Redis, round by round. */
export function tableOf(rounds: readonly Round[]): string[] {
  const of = (condition: Condition): Round[] => rounds.filter(({ redis }) => redis === condition);
  const running = of("running");
  const ratio = (condition: Condition, figure: (round: Round) => number): string => {
    const ratios = of(condition).map((round, index) => figure(round) / figure(running[index] ?? round));
    return median(ratios).toFixed(2);
  };
  const head = [
    "Redis",
    "requests/s",
    "ratio",
    "p50 ms",
    "ratio",
    "p99 ms",
    "ratio",
    "workers' µs per request",
    "ratio",
    "failed",
  ];
  const rows = CONDITIONS.map((condition) => {
    const cells = (figure: (round: Round) => number, digits: number): string[] => [
      spread(of(condition).map(figure), digits),
      ratio(condition, figure),
    ];
    return [
      condition,
      ...cells((round) => round.perSecond, 0),
      ...cells((round) => round.p50Ms, 2),
      ...cells((round) => round.p99Ms, 2),
      ...cells((round) => round.processorUs, 0),
      String(of(condition).reduce((sum, { failed }) => sum + failed, 0)),
    ];
  });
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
}

/** Every repetition, on one line for each condition. */
export function repetitionsOf(rounds: readonly Round[]): string[] {
  return CONDITIONS.map((condition) => {
    const all = rounds
      .filter(({ redis }) => redis === condition)
      .map(({ perSecond, processorUs }) => `${perSecond.toFixed(0)}/s ${processorUs.toFixed(0)} µs`);
    return `- ${condition}: ${all.join(", ")}`;
  });
}

/** Brings Redis into a condition, and waits until every instance has noticed. */
async function bring({ stage, redis }: DataPathStage, condition: Condition): Promise<void> {
  redis.resume();
  if (condition === "stopped") await redis.stop();
  else if (!redis.isRunning) await redis.restart();
  if (condition === "paused") redis.pause();
  const noticed = condition === "running" ? "ok" : "away";
  for (const instance of stage.instances) await stage.condition(noticed, instance);
}

async function measureRound(
  { load, roundMs }: DataPathStage,
  redis: Condition,
  pids: readonly number[],
): Promise<Round> {
  const beforeMs = processorMs(pids);
  const [, { seconds, latenciesMs, failed }] = await load.during(() => pause(roundMs));
  const usedMs = processorMs(pids) - beforeMs;
  return {
    redis,
    perSecond: latenciesMs.length / seconds,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
    processorUs: (usedMs * 1000) / latenciesMs.length,
    failed,
  };
}
