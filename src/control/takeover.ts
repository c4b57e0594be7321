/** Waiting, at a start, for the workers of an earlier control process that serve the configured addresses. */
import { setTimeout as pause } from "node:timers/promises";
import type { Clock } from "../base/clock.ts";
import type { Pace } from "./roster.ts";
import { bindSockets } from "./sockets.ts";
import type { ListenAddress, ListeningSockets } from "./sockets.ts";

/** How often it is looked whether workers came or the addresses became free, in milliseconds. */
const LOOK_MS = 50;

/** What came of waiting. No sockets: workers were taken over, and only they have them. */
export type Takeover =
  | { readonly ok: true; readonly sockets: ListeningSockets | null }
  | { readonly ok: false; readonly detail: string };

/**
 * Waits until workers came, or the addresses are free after all: the workers there drain, because they serve others
 * besides, or died. When the first worker has come, the others have `settleMs`, so that none is started twice.
 *
 * `missing` counts the slots without a worker. Fails after `takeoverMaxMs`: another program listens there, or `hung`,
 * the workers that run and do not come.
 */
export async function takeOver(wait: {
  readonly listen: readonly ListenAddress[];
  readonly clock: Clock;
  readonly pace: Pace;
  readonly missing: () => number;
  readonly hung: () => readonly number[];
}): Promise<Takeover> {
  const { listen, clock, pace, missing, hung } = wait;
  const none = missing();
  const untilMs = clock.nowMs() + pace.takeoverMaxMs;
  while (missing() === none) {
    const binding = await bindSockets(listen);
    if (missing() < none) {
      if (binding.ok) binding.sockets.close();
      break;
    }
    if (binding.ok) return binding;
    if (clock.nowMs() > untilMs) return { ok: false, detail: `${binding.detail} ${whose(hung())}` };
    await pause(LOOK_MS);
  }
  const settledMs = clock.nowMs() + pace.settleMs;
  while (missing() > 0 && clock.nowMs() < settledMs) await pause(LOOK_MS);
  return { ok: true, sockets: null };
}

function whose(hung: readonly number[]): string {
  if (hung.length === 0) return "by another program";
  return `by workers that hang: end them with kill -9 ${hung.join(" ")}, and start again`;
}
