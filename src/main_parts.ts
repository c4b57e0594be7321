/** The pieces of a control process, each built once and handed to those that need it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AdminListener } from "./admin/server.ts";
import { systemClock } from "./base/clock.ts";
import { assert } from "./base/fault.ts";
import type { Logger } from "./base/logger.ts";
import { systemRandom } from "./base/random.ts";
import { activatedSockets } from "./control/activation.ts";
import { Brakes } from "./control/brakes.ts";
import { Commands } from "./control/commands.ts";
import { Comparisons } from "./control/comparisons.ts";
import { Fleet } from "./control/fleet.ts";
import { askGate } from "./control/gates.ts";
import { Journal } from "./control/journal.ts";
import { Members } from "./control/members.ts";
import { ownInstance } from "./control/own_instance.ts";
import type { Predecessor } from "./control/predecessor.ts";
import { Publisher, type PublisherParts } from "./control/publisher.ts";
import { Rollouts } from "./control/rollouts.ts";
import { PACE } from "./control/roster.ts";
import { Sampler } from "./control/sampler.ts";
import { Upgrade } from "./control/upgrade.ts";
import type { Document } from "./domain/route.ts";
import { seedStore, type OpenStore, type SeedParts } from "./main_store.ts";
import { Reloader } from "./reload.ts";
import type { ServiceManager } from "./service_manager.ts";
import type { Signals } from "./signals.ts";
import { CONTROL_SOCKET, type readSettings, type Settings } from "./settings.ts";
import { TICK_MS } from "./shared/messages.ts";
import type { GuardedStore } from "./store/guard.ts";
import { programCall, stayOf } from "./succession.ts";

/** The name of the file of brakes in the run directory. */
const BRAKES = "brakes.json";

/** A log whose level can be changed. */
export interface ControlLog extends Logger {
  level: string;
  /** Writes out what waits. */
  flush(): void;
}

/** What a run needs before anything is built. */
export interface RunParts {
  readonly settings: Settings;
  readonly load: () => ReturnType<typeof readSettings>;
  readonly log: ControlLog;
  readonly stack: AsyncDisposableStack;
  readonly service: ServiceManager;
  readonly signals: Signals;
  /** The control process that this one is to take over from. */
  readonly predecessor: Predecessor | null;
}

/** Whether this process is the one that changes things: it has the admin listener. */
class Charge {
  #admin: AdminListener | null = null;

  take(admin: AdminListener): void {
    this.#admin = admin;
  }

  isTaken(): boolean {
    return this.#admin !== null;
  }

  admin(): AdminListener {
    assert(this.#admin !== null, "only who is in charge is asked");
    return this.#admin;
  }
}

/** The pieces of a control process. */
export type Control = ReturnType<typeof assemble>;

/** Builds everything. Whatever has to be undone goes onto the stack. */
export function assemble(parts: RunParts, open: OpenStore) {
  const { settings, load, log, stack, service, predecessor } = parts;
  const { store, guard, registry } = open;
  const clock = systemClock;
  const version = versionOf();
  const above = () => members.appliedElsewhere();
  const guarding = guard === null ? {} : { known: () => guard.known, reseed: { guard, above } };
  const commands = new Commands(store, { clock, ...guarding });
  const seeding: SeedParts = { commands, registry, id: settings.instance };
  const journal = new Journal(clock);
  const sampler = new Sampler(clock);
  const fleet = new Fleet({ ...fleetOf(parts), version, clock, log, journal, sampler });
  const warnings = () => open.info().warnings;
  const ofGuard = guard === null ? {} : shared(guard, predecessor === null ? settings.table : null, seeding);
  const brakes = new Brakes(join(settings.runDir, BRAKES), log);
  const publisher = new Publisher({ store, fleet, clock, log, journal, brakes, warnings, ...ofGuard });
  stack.defer(() => publisher.stop());
  const own = ownInstance({ fleet, publisher });
  const runId = systemRandom().id();
  const { instance } = settings;
  const me = { registry, id: instance, run: runId, pid: process.pid, version, own };
  const members = new Members({ ...me, sampler, clock, log, journal });
  stack.defer(() => members.stop());
  const leads = () => isFirst(members);
  const storeOk = () => publisher.served().fault === null;
  const acts = { publisher, commands, brakes, leads, storeOk, askGate };
  const comparing = { store: open.comparisons, totals: sampler.comparisons, publisher, instance, clock, log };
  const comparisons = new Comparisons(comparing);
  stack.defer(() => comparisons.stop());
  const rollouts = new Rollouts({ sampler, ...acts, comparisons, clock, log, journal });
  stack.defer(() => rollouts.stop());
  const charge = new Charge();
  const ticker = setInterval(() => {
    sampler.tick();
    // Nobody judges, or keeps counts, twice while another control process still does.
    if (!charge.isTaken()) return;
    comparisons.tick();
    rollouts.tick();
  }, TICK_MS);
  stack.defer(() => clearInterval(ticker));
  const reloader = new Reloader({ settings, load, fleet, journal, log });
  const stay = stayOf(predecessor, service, settings.runDir);
  const exchange = { runDir: settings.runDir, program: programCall(), stay: stay?.path ?? null };
  const { host, port } = settings.admin;
  const admin = () => ({ host, port, fd: charge.admin().fd });
  const upgrade = new Upgrade({ ...exchange, fleet, admin, clock, log, journal });
  stack.defer(() => upgrade.cancel("Crossfade ends"));
  const shown = {
    commands,
    journal,
    sampler,
    fleet,
    publisher,
    members,
    rollouts,
    comparisons,
    brakes,
    upgrade,
    version,
  };
  return { ...shown, seeding, reloader, charge, stay };
}

/** What the fleet takes from the settings, and from whoever started this process. */
function fleetOf({ settings, predecessor }: RunParts) {
  return {
    listen: settings.listen,
    inherited: predecessor?.inheritance.sockets ?? activatedSockets(process.env, process.pid),
    ...(predecessor === null ? {} : { predecessor }),
    workers: settings.workers,
    socketPath: join(settings.runDir, CONTROL_SOCKET),
    workerFile: fileURLToPath(new URL("./plane/worker.ts", import.meta.url)),
    plane: settings.plane,
    limits: settings.workerLimits,
    pace: PACE,
  };
}

/** How the publisher gets on with a store that may be away, or lose its table. */
function shared(
  guard: GuardedStore,
  table: Document | null,
  seeding: SeedParts,
): Pick<PublisherParts, "fallback" | "seed"> {
  const fallback = () => guard.known;
  return table === null ? { fallback } : { fallback, seed: () => seedStore(table, seeding) };
}

/** Whether this instance moves plans on: the first of those that serve, by their names. */
function isFirst(members: Members): boolean {
  const serving = members
    .instances()
    .filter(({ isUnknown, status }) => !isUnknown && status?.state === "serving");
  return serving[0]?.isSelf === true;
}

/** The version of the program on disk. */
export function versionOf(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
