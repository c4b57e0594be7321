/** What instances say of themselves, as the JSON texts of an InstanceWord and back. */
import { z } from "zod";
import { FAULTS, type FaultCode } from "../base/fault.ts";
import { LATENCY_BUCKETS } from "../domain/latency.ts";
import type { Counts, Judged, Sample } from "../domain/window.ts";
import { PRESSURE_LEVELS } from "../shared/counters.ts";
import { INSTANCE_TEXT_MAX } from "../store/instances.ts";
import type { WorkerStatus } from "./worker_link.ts";

/** How an instance is. */
export interface MemberStatus {
  /** Unique per control process there ever was. */
  readonly run: string;
  /** Counts the words of a run, from 1. */
  readonly word: number;
  readonly version: string;
  /** When the control process started, Unix time in milliseconds. */
  readonly startedMs: number;
  readonly pid: number;
  readonly state: "serving" | "not ready" | "draining";
  /** Where the table that it serves is from. */
  readonly servingFrom: "store" | "disk" | "none";
  /** What is wrong with the store as seen from there; null when nothing is. */
  readonly store: string | null;
  readonly workers: readonly WorkerStatus[];
  readonly warnings: readonly string[];
}

/** What an instance has counted at a pair since the word with number `since`, the things before that word included. */
export interface PairAccount extends Sample {
  readonly route: string;
  readonly backend: string;
  readonly since: number;
}

/** Everything that an instance has counted lately. `run` and `word` are as in its status. */
export interface Account {
  readonly run: string;
  readonly word: number;
  readonly pairs: readonly PairAccount[];
}

/** Changes with the meaning of what was there before, such as the bounds of the histogram; additions keep it. */
const FORMAT = 1;

/** Bounds on a word. What is beyond them is left out when it is written, and makes a text unreadable. */
const WORKERS_MAX = 1_000;
const WARNINGS_MAX = 100;
const TEXT_MAX = 1_000;
const NAME_MAX = 200;
const PAIRS_MAX = 10_000;
const COUNTS_MAX = 1_000;

/** The status codes that HTTP can write. */
const CODE_MIN = 100;
const CODE_MAX = 999;

const count = z.int().min(0);
const name = z.string().min(1).max(NAME_MAX);
const text = z.string().max(TEXT_MAX);

// Not strict: a later version may say more.
const workerSchema = z.object({
  worker: count,
  pid: z.int(),
  version: z.string().max(NAME_MAX),
  state: z.enum(["starting", "serving", "draining"]),
  adopted: z.boolean(),
  applied_revision: count,
  refused: z.object({ revision: count, reason: text }).optional(),
  connections_open: count,
  restarts: count,
  rss_bytes: count,
  loop_utilization: z.number().min(0).max(1),
  pressure: z.enum(PRESSURE_LEVELS).optional(),
  drain: z
    .object({
      open: z.object({ idle: count, requests: count, tunnels: count, streams: count }),
      requests_until_ms: count,
      tunnels_until_ms: count,
    })
    .optional(),
});

const statusSchema = z.object({
  format: z.literal(FORMAT),
  run: name,
  word: count,
  version: name,
  started_ms: count,
  pid: z.int(),
  state: z.enum(["serving", "not ready", "draining"]),
  serving_from: z.enum(["store", "disk", "none"]),
  store: text.nullable(),
  workers: z.array(workerSchema).max(WORKERS_MAX),
  warnings: z.array(text).max(WARNINGS_MAX),
});

/** The text of a status: at most WORKERS_MAX workers and WARNINGS_MAX warnings of TEXT_MAX UTF-16 units. */
export function encodeStatus(status: MemberStatus): string {
  const written: z.input<typeof statusSchema> = {
    format: FORMAT,
    run: status.run,
    word: status.word,
    version: status.version,
    started_ms: Math.trunc(status.startedMs),
    pid: status.pid,
    state: status.state,
    serving_from: status.servingFrom,
    store: status.store?.slice(0, TEXT_MAX) ?? null,
    workers: status.workers.slice(0, WORKERS_MAX).map((worker) => ({
      worker: worker.worker,
      pid: worker.pid,
      version: worker.version,
      state: worker.state,
      adopted: worker.adopted,
      applied_revision: worker.appliedRevision,
      refused: worker.refused && { ...worker.refused, reason: worker.refused.reason.slice(0, TEXT_MAX) },
      connections_open: worker.connectionsOpen,
      restarts: worker.restarts,
      rss_bytes: worker.rssBytes,
      loop_utilization: worker.loopUtilization,
      pressure: worker.pressure,
      drain: worker.drain && {
        open: worker.drain.open,
        requests_until_ms: Math.trunc(worker.drain.requestsUntilMs),
        tunnels_until_ms: Math.trunc(worker.drain.tunnelsUntilMs),
      },
    })),
    warnings: status.warnings.slice(0, WARNINGS_MAX).map((warning) => warning.slice(0, TEXT_MAX)),
  };
  return JSON.stringify(written);
}

/** The status that a text says, or null when this version cannot read it. */
export function decodeStatus(written: string): MemberStatus | null {
  const read = statusSchema.safeParse(parse(written));
  if (!read.success) return null;
  const { started_ms: startedMs, serving_from: servingFrom, workers, format: _, ...status } = read.data;
  return {
    ...status,
    startedMs,
    servingFrom,
    workers: workers.map((worker) => ({
      worker: worker.worker,
      pid: worker.pid,
      version: worker.version,
      state: worker.state,
      adopted: worker.adopted,
      appliedRevision: worker.applied_revision,
      ...(worker.refused === undefined ? {} : { refused: worker.refused }),
      connectionsOpen: worker.connections_open,
      restarts: worker.restarts,
      rssBytes: worker.rss_bytes,
      loopUtilization: worker.loop_utilization,
      ...(worker.pressure === undefined ? {} : { pressure: worker.pressure }),
      ...(worker.drain === undefined
        ? {}
        : {
            drain: {
              open: worker.drain.open,
              requestsUntilMs: worker.drain.requests_until_ms,
              tunnelsUntilMs: worker.drain.tunnels_until_ms,
            },
          }),
    })),
  };
}

/**
 * The text of an account, at most `max` UTF-16 units. `leftOut`: how many pairs did not fit; the busiest ones do.
 *
 * Lists instead of maps with names: an instance may count thousands of pairs, and says them all every second.
 */
export function encodeAccount(
  { run, word, pairs }: Account,
  max: number = INSTANCE_TEXT_MAX,
): { readonly text: string; readonly leftOut: number } {
  const texts = pairs
    .map((pair) => ({ text: encodePair(pair), ended: pair.finished + pair.aborted }))
    .toSorted((one, other) => other.ended - one.ended);
  const head = `{"format":${FORMAT},"run":${JSON.stringify(run)},"word":${word},"pairs":[`;
  let length = head.length + "]}".length;
  const kept: string[] = [];
  for (const pair of texts) {
    length += pair.text.length + 1;
    if (length > max || kept.length === PAIRS_MAX) break;
    kept.push(pair.text);
  }
  return { text: `${head}${kept.join(",")}]}`, leftOut: pairs.length - kept.length };
}

/** The account that a text says, or null when this version cannot read it. */
export function decodeAccount(written: string): Account | null {
  const read = parse(written);
  if (!isMap(read) || read["format"] !== FORMAT) return null;
  const { run, word, pairs } = read;
  if (!isName(run) || !isCount(word) || !Array.isArray(pairs) || pairs.length > PAIRS_MAX) return null;
  const decoded: PairAccount[] = [];
  for (const one of pairs as unknown[]) {
    const pair = decodePair(one, word);
    if (pair === null) return null;
    decoded.push(pair);
  }
  return { run, word, pairs: decoded };
}

function encodePair(pair: PairAccount): string {
  return JSON.stringify([
    pair.route,
    pair.backend,
    pair.since,
    pair.started,
    pair.finished,
    pair.aborted,
    pair.failures,
    pair.retries,
    // The plane measures finer than a microsecond; nobody adds these up to more than milliseconds.
    Math.round(pair.durationUsSum),
    pair.codes.flat(),
    pair.latency.flat(),
    pair.faults.flat(),
    [pair.judged.requests, pair.judged.failures, pair.judged.latency.flat()],
  ]);
}

function decodePair(written: unknown, word: number): PairAccount | null {
  if (!Array.isArray(written)) return null;
  const list = written as unknown[];
  const [route, backend] = list;
  const [since, started, finished, aborted, failures, retries, durationUsSum] = list.slice(2, 9);
  if (!isName(route) || !isName(backend) || !isCount(since) || since > word) return null;
  if (!isCount(started) || !isCount(finished) || !isCount(aborted)) return null;
  if (!isCount(failures) || !isCount(retries) || !isCount(durationUsSum)) return null;
  const codes = decodeCounts(list[9], CODE_MIN, CODE_MAX);
  const latency = decodeCounts(list[10], 0, LATENCY_BUCKETS - 1);
  const faults = decodeFaults(list[11]);
  const judged = decodeJudged(list[12]);
  if (codes === null || latency === null || faults === null || judged === null) return null;
  const totals = { started, finished, aborted, failures, retries, durationUsSum };
  return { route, backend, since, ...totals, codes, latency, faults, judged };
}

/** Counts by an ascending number within bounds, from the flat list of both. */
function decodeCounts(written: unknown, least: number, most: number): Counts | null {
  if (!Array.isArray(written) || written.length > 2 * COUNTS_MAX || written.length % 2 === 1) return null;
  const counts: [number, number][] = [];
  let next = least;
  for (let at = 0; at < written.length; at += 2) {
    const [key, times] = [written[at] as unknown, written[at + 1] as unknown];
    if (!isCount(key) || key < next || key > most || !isCount(times) || times === 0) return null;
    counts.push([key, times]);
    next = key + 1;
  }
  return counts;
}

function decodeJudged(written: unknown): Judged | null {
  if (!Array.isArray(written)) return null;
  const [requests, failures, counts] = written as unknown[];
  const latency = decodeCounts(counts, 0, LATENCY_BUCKETS - 1);
  if (!isCount(requests) || !isCount(failures) || latency === null) return null;
  return { requests, failures, latency };
}

/** A fault that only a later version knows is left out. */
function decodeFaults(written: unknown): Sample["faults"] | null {
  if (!Array.isArray(written) || written.length > 2 * COUNTS_MAX || written.length % 2 === 1) return null;
  const faults = new Map<FaultCode, number>();
  for (let at = 0; at < written.length; at += 2) {
    const [code, times] = [written[at] as unknown, written[at + 1] as unknown];
    if (!isName(code) || !isCount(times) || times === 0) return null;
    if (isFaultCode(code)) faults.set(code, times);
  }
  return [...faults];
}

function parse(written: string): unknown {
  if (written.length > INSTANCE_TEXT_MAX) return undefined;
  try {
    return JSON.parse(written) as unknown;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= NAME_MAX && /^\S+$/.test(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isFaultCode(code: string): code is FaultCode {
  return Object.hasOwn(FAULTS, code);
}
