/** Both ends of an upgrade around a control process: coming up beside the one before, and giving way to the next. */
import { existsSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { AdminSocket } from "./admin/server.ts";
import type { Clock } from "./base/clock.ts";
import type { Logger } from "./base/logger.ts";
import type { Fleet } from "./control/fleet.ts";
import { INHERITANCE, readInheritance } from "./control/handover.ts";
import { Predecessor } from "./control/predecessor.ts";
import type { Publisher } from "./control/publisher.ts";
import type { ProgramCall, Successor } from "./control/upgrade.ts";
import type { ServiceManager } from "./service_manager.ts";
import type { Settings } from "./settings.ts";
import { passOn, type Signals } from "./signals.ts";
import { joinStay, Stay, STAY_SOCKET } from "./stay.ts";

const EXIT_FAILURE = 1;
/** EX_UNAVAILABLE. */
const EXIT_UNAVAILABLE = 69;
/** How often it is looked whether the workers serve. */
const LOOK_MS = 20;
/** A successor's lock is free when it is told so; the file system may be slow. */
const LOCK_TRIES = 50;

/** The control process that is served beside, if this one was started by it; its variable is gone afterwards. */
export async function findPredecessor(version: string): Promise<Predecessor | null> {
  const inheritance = readInheritance(process.env);
  delete process.env[INHERITANCE];
  if (inheritance === null) return null;
  // Given up by the one before, or left alone by it: it or its workers serve on, and workers here find their way there.
  const onLost = (): void => process.exit(EXIT_UNAVAILABLE);
  return Predecessor.reach(inheritance, { version, pid: process.pid }, onLost);
}

/** Why settings cannot be those of a successor, or null. What both share must stay in its place. */
export function unfitSettings(settings: Settings, { inheritance }: Predecessor): string | null {
  if (resolve(settings.runDir) !== resolve(inheritance.runDir)) {
    const { runDir } = inheritance;
    return `run_dir is ${settings.runDir} now, but the workers look for ${runDir}: stop and start instead`;
  }
  const listen = settings.listen.map(({ text }) => text);
  if (inheritance.sockets === null && listen.join("\n") !== inheritance.listen.join("\n")) {
    return (
      "listen has changed, but only the workers have the sockets, because their control process died once: " +
      "stop and start instead"
    );
  }
  return null;
}

/** The admin socket of the one before, if the address is still the same. */
export function inheritedAdmin({ admin }: Settings, { inheritance }: Predecessor): AdminSocket | null {
  const { host, port, fd } = inheritance.admin;
  return host === admin.host && port === admin.port ? { inherited: fd } : null;
}

/** Waits until every worker serves the table, if there is one. Gives why that will not be, or null. */
export async function untilServing(
  { fleet, publisher }: { readonly fleet: Fleet; readonly publisher: Publisher },
  predecessor: Predecessor,
): Promise<string | null> {
  const { fault, revision } = publisher.served();
  if (fault !== null) return fault;
  const tell = (): void => {
    predecessor.tellWorkers(fleet.lending.workers());
    if (publisher.appliedRevision() > 0) predecessor.tellApplied(publisher.appliedRevision());
  };
  tell();
  fleet.watch(tell);
  // Without a table no worker listens, there as here.
  if (revision === 0) return null;
  // The one before gives up after a while, which ends this process.
  while (!fleet.lending.isSteady()) {
    const [warning] = fleet.warnings();
    if (warning !== undefined) return warning;
    await pause(LOOK_MS);
  }
  return null;
}

/** Tries again for a second to take what the one before has let go of. */
export async function untilTaken<Held>(take: () => Held | null): Promise<Held | null> {
  for (let tries = 0; tries < LOCK_TRIES; tries++) {
    const held = take();
    if (held !== null) return held;
    await pause(LOOK_MS);
  }
  return null;
}

/** How this very program is started again: its node and its file as they were called, so that links are followed. */
export function programCall(): ProgramCall {
  const { argv0, execPath, execArgv, argv, env } = process;
  const command = isAbsolute(argv0) && existsSync(argv0) ? argv0 : execPath;
  return { command, args: [...execArgv, ...argv.slice(1)], env };
}

/**
 * Where a process stays for whoever waits for the end of this one, and whether it is there already. Null when nobody
 * has to be kept waiting: a service manager can be told that another process is the main one.
 */
export function stayOf(
  predecessor: Predecessor | null,
  service: ServiceManager,
  runDir: string,
): { readonly path: string; readonly isThere: boolean } | null {
  const path = predecessor?.inheritance.stay ?? null;
  if (path !== null) return { path, isThere: true };
  return service.followsMainProcess ? null : { path: join(resolve(runDir), STAY_SOCKET), isThere: false };
}

/** What giving way needs, after everything but the fleet has been closed. */
export interface GivingWay {
  readonly successor: Successor;
  readonly fleet: Pick<Fleet, "close">;
  readonly service: ServiceManager;
  /** Held: what comes while this process gives way is for the successor. */
  readonly signals: Signals;
  /** Where a process stays, and whether that one is already there. */
  readonly stay: { readonly path: string; readonly isThere: boolean } | null;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Lets the successor take over. Gives the exit code, at once or, if somebody waits for this process, with its end. */
export async function giveWay(parts: GivingWay): Promise<number> {
  const { successor, fleet, service, signals, stay, clock, log } = parts;
  const { pid, version } = successor;
  const staying = stay === null || stay.isThere ? null : await Stay.open(stay.path);
  const fromMs = clock.nowMs();
  const fault = await successor.release();
  // Its workers look for the new one from here on, which drains them.
  await fleet.close();
  if (fault !== null) {
    staying?.close();
    log.error({ pid, detail: fault }, "the workers go on serving; start Crossfade again");
    return EXIT_FAILURE;
  }
  log.info({ pid, version, after_ms: Math.round(clock.nowMs() - fromMs) }, "handed over");
  await service.follow(pid);
  if (staying === null) {
    signals.answer((signal) => passOn(pid, signal));
    return 0;
  }
  log.info({ pid }, "staying for whoever waits for this process; signals go to the new one");
  return staying.untilEnd(signals);
}

/** Says to a process that stays that this one is in charge. Gives what tells it the end. */
export async function takeOverStay(predecessor: Predecessor): Promise<(code: number) => void> {
  const { stay } = predecessor.inheritance;
  return stay === null ? () => undefined : joinStay(stay, process.pid);
}
