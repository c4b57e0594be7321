/** Measures a group: its entrants run side by side and take turns, so that what disturbs one round disturbs all. */
import { setTimeout as pause } from "node:timers/promises";
import { median, quantile } from "../store/figures.ts";
import { BenchBackend } from "./backend.ts";
import type { Ports, Running } from "./contender.ts";
import { takes, type Entrant, type Group } from "./groups.ts";
import { Load } from "./load.ts";
import { pin, placesFor, processorUs, residentBytes } from "./processes.ts";
import { NAMES, type Cell, type LatencyMs, type MemoryFigures, type Round } from "./results.ts";
import { SMALL, smallAs, type Workload } from "./workloads.ts";

/** How long and how often. */
export interface Pace {
  readonly rounds: number;
  /** What is measured in one round, and what runs before it without being measured. */
  readonly roundMs: number;
  readonly leadMs: number;
  /** Before the first round of a workload. */
  readonly warmUpMs: number;
  /** Before the first workload of a new process: code that has just been started is slow, and compiled meanwhile. */
  readonly breakInMs: number;
  readonly idleConnections: number;
}

/** What was measured of a group. */
export interface GroupFigures {
  readonly cells: readonly Cell[];
  readonly memory: readonly MemoryFigures[];
}

/** After connections were opened: how long before memory is looked at. */
const SETTLE_MS = 1_500;
/** This part of the idle connections is opened before any is counted. */
const FEW = 0.2;

interface Started {
  readonly entrant: Entrant;
  readonly running: Running;
}

/** The backends of a group, with the contenders that were started before them. */
interface Stage {
  readonly started: readonly Started[];
  readonly shadow: BenchBackend;
  readonly pace: Pace;
  readonly say: (text: string) => void;
}

/** Starts a group, measures its workloads one after the other, and ends it. `say` hears of the progress. */
export async function measureGroup(
  group: Group,
  pace: Pace,
  say: (text: string) => void,
): Promise<GroupFigures> {
  await using everything = new AsyncDisposableStack();
  const legacy = everything.use(await BenchBackend.start());
  const candidate = everything.use(await BenchBackend.start());
  const shadow = everything.use(await BenchBackend.start());
  const ports: Ports = { legacy: legacy.port, candidate: candidate.port, shadow: shadow.port };
  const started: Started[] = [];
  for (const entrant of group.entrants) {
    if (entrant.contender.version === null) {
      say(`${entrant.name} is not installed`);
      continue;
    }
    const running = everything.use(await entrant.contender.start(entrant.setup, ports));
    const places = placesFor(entrant.setup.workers);
    if (places !== null) {
      pin(running.pids(), places.contenders);
      // Where it works all the time, the control process would take turns and caches from the workers.
      if (entrant.setup.shifts) pin(othersOf(running), places.load);
    }
    started.push({ entrant, running });
  }
  const stage: Stage = { started, shadow, pace, say };
  // First, while the processes are new: later connections would take what earlier ones have left.
  const memory = group.isMain ? await measureMemory(stage) : [];
  for (const one of started) await measureRound(stage, one, SMALL, { leadMs: 0, roundMs: pace.breakInMs });
  const cells: Cell[] = [];
  for (const workload of group.workloads) cells.push(...(await measureWorkload(stage, workload)));
  const half = group.isMain ? halfLoad(cells) : null;
  if (half !== null) cells.push(...(await measureWorkload(stage, half)));
  return { cells, memory: memory.map((figures) => ({ ...figures, ...residentNow(stage, figures) })) };
}

/** The small GET at half the rate that Crossfade had, for everybody. */
function halfLoad(cells: readonly Cell[]): Workload | null {
  const full = cells.find(({ workload, contender }) => workload === SMALL.name && contender === "Crossfade");
  if (full === undefined) return null;
  const perSecond = median(full.rounds.map(({ answers, seconds }) => answers / seconds)) / 2;
  return smallAs(NAMES.halfLoad, { perSecond: Math.max(1, Math.round(perSecond)) });
}

async function measureWorkload(stage: Stage, workload: Workload): Promise<Cell[]> {
  const { pace, say } = stage;
  const started = stage.started.filter(({ entrant }) => takes(entrant, workload));
  for (const one of started) await measureRound(stage, one, workload, { leadMs: 0, roundMs: pace.warmUpMs });
  const rounds = new Map<string, Round[]>(started.map(({ entrant }) => [entrant.name, []]));
  for (let round = 0; round < pace.rounds; round++) {
    const first = round % started.length;
    for (const one of [...started.slice(first), ...started.slice(0, first)]) {
      rounds.get(one.entrant.name)?.push(await measureRound(stage, one, workload, pace));
    }
  }
  const cells = [...rounds].map(([contender, list]) => ({
    workload: workload.name,
    contender,
    rounds: list,
  }));
  const figures = cells.map((cell) => {
    const us = median(cell.rounds.map(({ processorUs: each }) => each)).toFixed(1);
    const failed = cell.rounds.reduce((sum, round) => sum + round.failed, 0);
    return `${cell.contender} ${us} µs${failed === 0 ? "" : `, ${failed} FAILED`}`;
  });
  say(`${workload.name}: ${figures.join("; ")}`);
  return cells;
}

async function measureRound(
  { shadow }: Stage,
  { entrant, running }: Started,
  workload: Workload,
  { leadMs, roundMs }: Pick<Pace, "leadMs" | "roundMs">,
): Promise<Round> {
  await using load = new Load(running.port, workload);
  load.start();
  await pause(leadMs);
  const stopDisturbing = running.disturb?.();
  const serving = running.servingPids();
  const others = othersOf(running);
  load.forget();
  const before = { shadow: shadow.answered, serving: processorUs(serving), others: processorUs(others) };
  const startedMs = performance.now();
  await pause(roundMs);
  const { answers, failed, latenciesMs } = load.counts;
  const seconds = (performance.now() - startedMs) / 1000;
  const servingUs = processorUs(serving) - before.serving;
  const othersUs = processorUs(others) - before.others;
  const copied = shadow.answered - before.shadow;
  const changes = (await stopDisturbing?.()) ?? 0;
  if (answers === 0) throw new Error(`${entrant.name} answered nothing of: ${workload.name}`);
  return {
    answers,
    failed,
    seconds,
    processorUs: (servingUs + othersUs) / answers,
    servingUs: servingUs / answers,
    copies: copied / answers,
    changes,
    latency: workload.perSecond === 0 ? null : quantilesOf(latenciesMs),
  };
}

/** The processes that answer no requests. */
function othersOf(running: Running): number[] {
  const serving = running.servingPids();
  return running.pids().filter((pid) => !serving.includes(pid));
}

function quantilesOf(latenciesMs: readonly number[]): LatencyMs {
  const ascending = latenciesMs.toSorted((a, b) => a - b);
  return { p50: quantile(ascending, 0.5), p99: quantile(ascending, 0.99), p999: quantile(ascending, 0.999) };
}

/** What a contender holds after all workloads. */
function residentNow({ started }: Stage, { contender }: MemoryFigures): { readonly residentBytes: number } {
  const found = started.find(({ entrant }) => entrant.name === contender);
  return { residentBytes: residentBytes(found?.running.pids() ?? []) };
}

/**
 * What each new contender holds, and what each of many more idle clients adds that have asked once.
 *
 * The first few are not counted: what a process takes once to hold connections at all is no matter of each.
 */
async function measureMemory({ started, pace, say }: Stage): Promise<MemoryFigures[]> {
  const figures: MemoryFigures[] = [];
  for (const { entrant, running } of started) {
    const pids = running.pids();
    if (pids.length === 0 || entrant.name !== entrant.contender.name) continue;
    const resident = residentBytes(pids);
    const connections = pace.idleConnections;
    await using few = new Load(running.port, { ...SMALL, connections: Math.ceil(connections * FEW) });
    await few.once();
    await pause(SETTLE_MS);
    const before = residentBytes(pids);
    await using many = new Load(running.port, { ...SMALL, connections });
    await many.once();
    await pause(SETTLE_MS);
    const each = (residentBytes(pids) - before) / connections;
    figures.push({
      contender: entrant.name,
      residentBytes: resident,
      idleConnectionBytes: each,
      connections,
    });
  }
  const texts = figures.map(
    ({ contender, idleConnectionBytes }) => `${contender} ${(idleConnectionBytes / 1024).toFixed(1)} KB`,
  );
  say(`per idle connection: ${texts.join("; ")}`);
  return figures;
}
