/** One rollback, measured: what it cost clients, and how long the candidate still got requests. */
import { setTimeout as pause } from "node:timers/promises";
import { CutoverStage, slowDown } from "../../test/support/cutover_stage.ts";
import type { Sent } from "../../test/support/stream.ts";

/** What goes wrong with the candidate, under which load. */
export interface Trouble {
  readonly name: string;
  readonly perSecond: number;
  /** Of the candidate, in percent. */
  readonly weight: number;
  readonly path: string;
  /** The signals that roll back. */
  readonly on: readonly string[];
  readonly spoil: "errors" | "slow" | "dead";
}

/** What was seen. */
export interface RollbackRound {
  readonly spoil: Trouble["spoil"];
  /** Requests that were really sent in a second. */
  readonly perSecond: number;
  /** From the trouble to the entry in the audit log, in milliseconds. */
  readonly detectedMs: number;
  /** Requests in that time, and how many of all failed. */
  readonly requests: number;
  readonly failed: number;
  /** Requests that failed without an answer of the candidate. */
  readonly failedElsewhere: number;
  /** From that entry to the beginning of the last request that the candidate answered, for each instance. */
  readonly lastOnNewMs: readonly number[];
  readonly rollbacks: number;
}

/** All is well for so long, which is long enough for thresholds of latency. */
const BEFORE_MS = 12_000;
/** So long it is looked whether the candidate gets anything after all. */
const AFTER_MS = 3_000;
const ERRORS = 0.05;
const FACTOR = 10;

/** Lets a candidate go wrong that was healthy, and waits for the rollback. The store must be empty. */
export async function measureRollback(trouble: Trouble, url: string): Promise<RollbackRound> {
  const { perSecond, weight, path, on, spoil } = trouble;
  await using stage = await CutoverStage.start({
    redis: [{ url }, { url }],
    route: { split: { legacy: 100 - weight, new: weight }, rollback: { on } },
  });
  const stream = stage.stream({ perSecond, path, clients: 50_000, requestsMax: 1_000_000 });
  const startedMs = performance.now();
  await pause(BEFORE_MS);
  const [badAtMs, before] = [Date.now(), stream.started];
  if (spoil === "errors") await stage.candidate.fail(ERRORS);
  else if (spoil === "slow") await slowDown(stage.candidate, FACTOR);
  else await stage.candidate.stop();
  const entry = await stage.rolledBack();
  await pause(AFTER_MS);
  const perSecondReached = (stream.started * 1000) / (performance.now() - startedMs);
  const sent = await stream.stop();
  const atMs = Date.parse(entry.at);
  const failures = stream.failures();
  const lasts = stage.instances.map((_, target) => lastStart(stream.by("new"), target) - atMs);
  return {
    spoil,
    perSecond: perSecondReached,
    detectedMs: atMs - badAtMs,
    requests: sent.filter(({ startedMs: began }) => began <= atMs).length - before,
    failed: failures.length,
    failedElsewhere: failures.filter(({ backend }) => backend !== "new").length,
    lastOnNewMs: lasts,
    rollbacks: (await stage.rollbacks()).length,
  };
}

function lastStart(sent: readonly Sent[], target: number): number {
  return Math.max(...sent.filter((one) => one.target === target).map(({ startedMs }) => startedMs));
}
