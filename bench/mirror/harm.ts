/** What a bad shadow does to the requests themselves, in rounds that take turns with rounds without a mirror. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import type { Crossfade } from "../../test/support/crossfade.ts";
import { median, processorMs, quantile, spread } from "../store/figures.ts";
import type { Load } from "../store/load.ts";
import { startShadow, type Misdeed } from "./shadows.ts";

const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;

/** One round. Times of requests in milliseconds, processor time of the workers in microseconds. */
interface Round {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly processorUs: number;
  /** Of all workers, at the end. */
  readonly rssMib: number;
  readonly failed: number;
}

/** A pair of neighbouring rounds, without a mirror and with it. */
interface Pair {
  readonly without: Round;
  readonly mirrored: Round;
}

/** All pairs of one misdeed, and what became of the copies. */
export interface Harm {
  readonly misdeed: Misdeed;
  readonly pairs: readonly Pair[];
  readonly copies: Readonly<Record<string, number>>;
}

/** Where it is measured. */
export interface HarmStage {
  readonly crossfade: Crossfade;
  readonly legacy: string;
  readonly load: Load;
  readonly roundMs: number;
}

/** Measures one misdeed in so many pairs of rounds. */
export async function measureHarm(at: HarmStage, misdeed: Misdeed, count: number): Promise<Harm> {
  await using shadow = await startShadow(misdeed);
  const pairs: Pair[] = [];
  const route = `mirror-${misdeed.replaceAll(" ", "-")}`;
  for (let pair = 0; pair < count; pair++) {
    const rounds: Partial<Record<"without" | "mirrored", Round>> = {};
    // Who comes first takes turns too.
    for (const kind of pair % 2 === 0
      ? (["without", "mirrored"] as const)
      : (["mirrored", "without"] as const)) {
      await serve(at, shadow.url, { id: route, isMirrored: kind === "mirrored" });
      rounds[kind] = await measureRound(at);
    }
    pairs.push(rounds as Pair);
  }
  await serve(at, shadow.url, { id: route, isMirrored: true });
  const { mirror } = await at.crossfade.admin<{ mirror: Record<string, unknown> | null }>(
    "GET",
    `/v1/routes/${route}/health`,
  );
  return { misdeed, pairs, copies: flat(mirror ?? {}) };
}

/** A row: medians and spreads, with ratios pair by pair. */
export function rowOf({ misdeed, pairs, copies }: Harm): string[] {
  const ratio = (figure: (round: Round) => number): string =>
    spread(
      pairs.map(({ without, mirrored }) => figure(mirrored) / figure(without)),
      3,
    );
  const grown = pairs.map(({ mirrored }) => mirrored.rssMib);
  return [
    misdeed,
    ratio(({ p50Ms }) => p50Ms),
    ratio(({ p99Ms }) => p99Ms),
    ratio(({ processorUs }) => processorUs),
    `${(grown[0] ?? 0).toFixed(0)} to ${(grown.at(-1) ?? 0).toFixed(0)}`,
    String(failedOf(pairs)),
    Object.entries(copies)
      .filter(([, value]) => value > 0)
      .map(([name, value]) => `${name} ${value}`)
      .join(", "),
  ];
}

/** The names of its cells. */
export const HARM_HEAD: readonly string[] = [
  "the shadow",
  "p50, ratio",
  "p99, ratio",
  "workers' time per request, ratio",
  "workers' MiB, first to last",
  "failed",
  "copies",
];

/** Failed requests in all rounds. */
export function failedOf(pairs: readonly Pair[]): number {
  return pairs.reduce((sum, { without, mirrored }) => sum + without.failed + mirrored.failed, 0);
}

/** The median over pairs of p99 with a mirror over p99 without. */
export function p99RatioOf({ pairs }: Harm): number {
  return median(pairs.map(({ without, mirrored }) => mirrored.p99Ms / without.p99Ms));
}

async function serve(
  { crossfade, legacy }: HarmStage,
  shadow: string,
  route: { readonly id: string; readonly isMirrored: boolean },
): Promise<void> {
  const mirror = { to: "new", percent: 100, compare: { noise: 0 } };
  await crossfade.admin("PUT", "/v1/table?wait=applied", {
    backends: { legacy: { endpoints: [legacy] }, new: { endpoints: [shadow] } },
    routes: [
      {
        id: route.id,
        cutover: { legacy: "legacy", candidate: "new" },
        split: { legacy: 100, new: 0 },
        rollback: "off",
        ...(route.isMirrored ? { mirror } : {}),
      },
    ],
  });
}

async function measureRound({ crossfade, load, roundMs }: HarmStage): Promise<Round> {
  const pids = crossfade.workerPids();
  const beforeMs = processorMs(pids);
  const [, { latenciesMs, failed }] = await load.during(() => pause(roundMs));
  const usedMs = processorMs(pids) - beforeMs;
  return {
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
    processorUs: (usedMs * 1000) / latenciesMs.length,
    rssMib: pids.reduce((sum, pid) => sum + rssBytes(pid), 0) / MIB,
    failed,
  };
}

/** Source: proc_pid_statm(5), the second field. */
function rssBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, "latin1").split(" ")[1]) * PAGE_BYTES;
}

function flat(values: Readonly<Record<string, unknown>>): Record<string, number> {
  const entries = Object.entries(values).flatMap(([name, value]): [string, number][] => {
    if (typeof value === "number") return [[name, value]];
    return typeof value === "object" && value !== null ? Object.entries(flat({ ...value })) : [];
  });
  return Object.fromEntries(entries);
}
