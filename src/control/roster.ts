/** Who belongs to the fleet: pure decisions about starting, replacing, backing off and taking over workers. */
import { PROTOCOL, TICK_MS } from "../shared/messages.ts";
import type { DrainOptions, WorkerMessage } from "../shared/messages.ts";

/** How patient the fleet is. All in milliseconds. */
export interface Pace {
  /** A worker that lives this long after it is ready starts its slot's record anew. */
  readonly quickLifeMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** A worker that lives less is not replaced for what it needs: its successor would need as much. */
  readonly limitsAfterMs: number;
  /** A table must be acknowledged in this time. */
  readonly owedMaxMs: number;
  /** A live process may be without its channel for this long. */
  readonly silentMaxMs: number;
  /** From its start a worker has this long to connect, and from its first table again as long to be ready. */
  readonly startMaxMs: number;
  /** How long a start waits for workers of an earlier control process when the addresses are taken. */
  readonly takeoverMaxMs: number;
  /** After the first of them came, the others have this long; workers reconnect every 200 ms. */
  readonly settleMs: number;
}

/** The fleet's patience outside tests. */
export const PACE: Pace = {
  quickLifeMs: 10_000,
  backoffMinMs: 100,
  backoffMaxMs: 10_000,
  limitsAfterMs: 60_000,
  owedMaxMs: 10_000,
  silentMaxMs: 2_000,
  startMaxMs: 20_000,
  takeoverMaxMs: 3_000,
  settleMs: 1_000,
};

/** What a worker may need before it is replaced. Null: no limit. */
export interface WorkerLimits {
  /** Resident memory. */
  readonly memoryBytesMax: number | null;
  /** Since it became ready, or was taken over. */
  readonly ageMsMax: number | null;
  /** Without counters for this long a worker hangs. */
  readonly heartbeatMs: number;
}

/** So many quick deaths in a row are a crash loop. */
const CRASH_LOOP_DEATHS = 3;

/** The record of one place in the fleet; workers come and go in it. */
export interface Slot {
  readonly worker: number;
  /** Deaths in a row of workers that did not live `quickLifeMs`. */
  readonly quickDeaths: number;
  /** Deaths in all. */
  readonly restarts: number;
  /** The next worker starts no sooner, on the clock's `nowMs`. */
  readonly startAtMs: number;
}

/** A place where no worker has been yet. */
export function openSlot(worker: number): Slot {
  return { worker, quickDeaths: 0, restarts: 0, startAtMs: 0 };
}

/** The record after a worker died that had been ready for `livedMs`, or null when it never was. */
export function recordDeath(slot: Slot, livedMs: number | null, nowMs: number, pace: Pace): Slot {
  const wasQuick = livedMs === null || livedMs < pace.quickLifeMs;
  const quickDeaths = wasQuick ? slot.quickDeaths + 1 : 0;
  const backoffMs = wasQuick ? Math.min(pace.backoffMinMs * 2 ** (quickDeaths - 1), pace.backoffMaxMs) : 0;
  return { ...slot, quickDeaths, restarts: slot.restarts + 1, startAtMs: nowMs + backoffMs };
}

/** The record while a worker has been ready for `livedMs`: living long enough forgives the quick deaths before. */
export function recordLife(slot: Slot, livedMs: number, pace: Pace): Slot {
  return slot.quickDeaths > 0 && livedMs >= pace.quickLifeMs ? { ...slot, quickDeaths: 0 } : slot;
}

/** Whether workers of this slot keep dying young. */
export function isCrashLooping(slot: Slot): boolean {
  return slot.quickDeaths >= CRASH_LOOP_DEATHS;
}

/** After the deadline of a drain, what is left is killed this much later. */
const DRAIN_SLACK_MS = 2_000;

/** When a drain that is ordered at `nowMs` must be over, that of WebSockets included. */
export function goneByMs(options: DrainOptions, now: boolean, nowMs: number): number {
  const lastMs = now ? 0 : Math.max(options.deadlineMs, options.tunnelsMs);
  return nowMs + lastMs + DRAIN_SLACK_MS;
}

/** For how long a worker has been expected to do something, in milliseconds; 0 when it is not expected to. */
export interface Waits {
  /** Started, but has never connected; or has a table, but is not ready. */
  readonly startingMs: number;
  /** Had a channel and lost it. */
  readonly silentMs: number;
  /** Connected, but reports no counters. */
  readonly quietMs: number;
  /** Has not answered the table it was sent. */
  readonly owedMs: number;
}

/** Why a worker must be killed, or null while it keeps its times. */
export function overdueCause(waits: Waits, pace: Pace, heartbeatMs: number): string | null {
  if (waits.startingMs > pace.startMaxMs) return `it was not ready within ${pace.startMaxMs} ms`;
  if (waits.silentMs > pace.silentMaxMs)
    return `it lost its channel and did not come back within ${pace.silentMaxMs} ms`;
  if (waits.quietMs > heartbeatMs) return `it sent no counters for ${heartbeatMs} ms`;
  if (waits.owedMs > pace.owedMaxMs) return `it did not acknowledge a table within ${pace.owedMaxMs} ms`;
  return null;
}

/** Draining workers per slot; beyond them a planned replacement waits until one of them is gone. */
const DRAINING_PER_SLOT_MAX = 2;

/** Whether so many workers drain already that no other one shall be replaced as planned. */
export function isCrowded(draining: number, slots: number): boolean {
  return draining >= DRAINING_PER_SLOT_MAX * slots;
}

/** Why a worker that has been ready for `livedMs` shall be replaced, or null while it keeps its limits. */
export function excessCause(
  worker: { readonly rssBytes: number; readonly livedMs: number },
  limits: WorkerLimits,
  pace: Pace,
): string | null {
  const { rssBytes, livedMs } = worker;
  const { memoryBytesMax, ageMsMax } = limits;
  if (livedMs < pace.limitsAfterMs) return null;
  if (memoryBytesMax !== null && rssBytes > memoryBytesMax)
    return `it uses ${inMebibytes(rssBytes)} MiB of memory; ${inMebibytes(memoryBytesMax)} MiB are allowed`;
  if (ageMsMax !== null && livedMs > ageMsMax) return `it is older than ${ageMsMax / 1000} s`;
  return null;
}

function inMebibytes(bytes: number): number {
  return Math.ceil(bytes / 1024 / 1024);
}

/**
 * How much of the time between two ticks counts as waiting.
 *
 * At most two ticks: when this process itself stood still, its workers are not to blame.
 */
export function countedMs(elapsedMs: number): number {
  return Math.min(elapsedMs, 2 * TICK_MS);
}

/** The first words of a worker. */
export type Hello = Extract<WorkerMessage, { type: "hello" }>;

/** What the fleet looks like when an unknown worker says hello. */
export interface Scene {
  /** The configured addresses, in order. */
  readonly listen: readonly string[];
  /** Whether this process holds the listening sockets, so that workers started by others share none with it. */
  readonly ownsSockets: boolean;
  /** Slots without a worker. */
  readonly free: readonly number[];
  /** Free slots for which another worker was asked to start one. */
  readonly awaited: readonly number[];
}

/**
 * What to do with an unknown worker.
 *
 * `member`: it fills `worker`; `awaited` says that it was started for that slot. `outdated`: it serves, but speaks
 * another protocol: a successor for `worker` is started through it before it drains. `refused`: it was started for
 * `worker` and speaks another protocol, so that trying again at once would give the same. `leaving`: it drains
 * already. `dismissed`: it shares no address with this fleet, or has no place in it.
 */
export type Reception =
  | { readonly as: "member"; readonly worker: number; readonly awaited: boolean }
  | { readonly as: "outdated" | "refused"; readonly worker: number; readonly cause: string }
  | { readonly as: "leaving" | "dismissed"; readonly cause: string };

/** Decides about a worker that this process did not start. */
export function receive(hello: Hello, scene: Scene): Reception {
  if (hello.draining) return { as: "leaving", cause: "it drains already" };
  if (scene.ownsSockets)
    return { as: "dismissed", cause: "it listens on sockets of an earlier control process" };
  if (hello.listen.join("\n") !== scene.listen.join("\n")) {
    return {
      as: "dismissed",
      cause: `it listens on ${hello.listen.join(", ")}, not on ${scene.listen.join(", ")}`,
    };
  }
  const awaited = scene.awaited.includes(hello.worker);
  const worker = scene.free.includes(hello.worker) ? hello.worker : scene.free[0];
  if (worker === undefined) return { as: "dismissed", cause: "every slot has a worker" };
  if (hello.protocol === PROTOCOL) return { as: "member", worker, awaited };
  const cause = `it speaks protocol ${hello.protocol}, not ${PROTOCOL}`;
  return { as: awaited ? "refused" : "outdated", worker, cause };
}
