/** Signals: what each one does to a running control process, until it stops, leaves, or another one takes over. */
import type { Clock } from "./base/clock.ts";
import type { Logger } from "./base/logger.ts";
import type { EventSink } from "./control/fleet_news.ts";
import type { Successor, Upgrade } from "./control/upgrade.ts";
import type { ServiceManager } from "./service_manager.ts";
import type { Signal, Signals } from "./signals.ts";
import type { DrainOptions } from "./shared/messages.ts";

/**
 * A second signal so soon is the same order: Ctrl-C in a terminal reaches this process and its parents, which send it
 * on. In milliseconds.
 */
const ECHO_MS = 500;

/** The pieces that signals reach. */
export interface StopParts {
  readonly signals: Pick<Signals, "hold" | "answer">;
  readonly fleet: {
    drain(options: DrainOptions, now: boolean): Promise<void>;
    /** Lets go of the workers, which go on. */
    close(): Promise<void>;
  };
  readonly publisher: { drain(): void };
  readonly reloader: {
    readonly settings: { readonly plane: { readonly drain: DrainOptions } };
    reload(): void;
  };
  readonly upgrade: Pick<Upgrade, "begin" | "cancel" | "succeeded" | "hasSucceeded">;
  readonly service: Pick<ServiceManager, "ready" | "reloading" | "stopping">;
  readonly journal: EventSink;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Answers signals until the fleet has drained or was let go, or another control process has come up to take over.
 * Gives that one, or null.
 *
 * SIGTERM, SIGINT: not ready any more, then drain; again: cut what is still open. SIGHUP: read the settings again.
 * SIGQUIT: only this process ends; the workers serve on, and the next start with the same run_dir takes them over.
 * SIGUSR2: start the program on disk, and hand over to it if it comes up. Once that one has come up, signals are kept
 * for it.
 */
export async function untilStopped(parts: StopParts): Promise<Successor | null> {
  const { signals, fleet, publisher, reloader, upgrade, service, journal, clock, log } = parts;
  const drained = Promise.withResolvers<void>();
  let toldAtMs: number | null = null;
  let isDrained = false;
  const stop = (signal: Signal): void => {
    const now = toldAtMs !== null;
    if (isDrained || (toldAtMs !== null && clock.nowMs() - toldAtMs < ECHO_MS)) return;
    toldAtMs ??= clock.nowMs();
    upgrade.cancel("it was told to stop");
    void service.stopping();
    const options = reloader.settings.plane.drain;
    publisher.drain();
    journal.append("draining", { signal, now, deadline_ms: now ? 0 : options.deadlineMs });
    log.info({ signal, now }, now ? "cutting what is still open" : "draining");
    fleet.drain(options, now).then(drained.resolve, drained.reject);
  };
  const reload = (): void => {
    if (toldAtMs !== null) return;
    void service.reloading().then(() => {
      reloader.reload();
      return service.ready("settings reloaded");
    });
  };
  const exchange = (signal: Signal): void => {
    if (toldAtMs === null) void upgrade.begin(signal);
  };
  const leave = (signal: Signal): void => {
    if (toldAtMs !== null) return;
    toldAtMs = clock.nowMs();
    isDrained = true;
    upgrade.cancel("it was told to leave");
    journal.append("leaving", { signal });
    log.info({ signal }, "leaving the workers to the next start");
    fleet.close().then(drained.resolve, drained.reject);
  };
  const answers = { SIGTERM: stop, SIGINT: stop, SIGHUP: reload, SIGQUIT: leave, SIGUSR2: exchange };
  signals.answer((signal) => (upgrade.hasSucceeded ? signals.hold(signal) : answers[signal](signal)));
  const successor = await Promise.race([drained.promise.then(() => null), upgrade.succeeded]);
  // They stay caught: one more must not end what is closed in order now.
  signals.hold();
  if (successor === null) log.info({}, "stopped");
  return successor;
}
