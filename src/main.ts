/** Control process: builds everything, hands down the pieces, and stops in reverse order. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pino from "pino";
import { bindAdmin, buildAdmin, listenAdmin, type AdminListener, type AdminSocket } from "./admin/server.ts";
import { systemClock } from "./base/clock.ts";
import { Fault } from "./base/fault.ts";
import type { Logger } from "./base/logger.ts";
import type { Fleet } from "./control/fleet.ts";
import type { Predecessor } from "./control/predecessor.ts";
import type { Publisher } from "./control/publisher.ts";
import type { Successor } from "./control/upgrade.ts";
import { assemble, versionOf, type Control, type ControlLog, type RunParts } from "./main_parts.ts";
import { openStore, seedFile } from "./main_store.ts";
import { ServiceManager } from "./service_manager.ts";
import { readSettings, type Settings } from "./settings.ts";
import type { SettingsFlags } from "./settings_overrides.ts";
import { problemLine } from "./settings_file.ts";
import { Signals } from "./signals.ts";
import { untilStopped } from "./stop.ts";
import { acquireLock } from "./store/lock.ts";
import {
  findPredecessor,
  giveWay,
  inheritedAdmin,
  takeOverStay,
  unfitSettings,
  untilServing,
  untilTaken,
  type GivingWay,
} from "./succession.ts";

/** What the control process is started with. */
export interface MainOptions {
  readonly configPath: string;
  readonly flags: SettingsFlags;
}

/** The exit codes of a start that failed. Source: sysexits.h, EX_UNAVAILABLE and EX_CONFIG. */
const EXIT_FAILURE = 1;
const EXIT_UNAVAILABLE = 69;
const EXIT_BAD_CONFIGURATION = 78;

/** The name of the lock in the run directory. */
const LOCK_NAME = "control.lock";

/** Log lines that wait for a slow reader of standard error; beyond it lines are dropped. */
const LOG_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Runs the control process until it is told to stop. Gives the exit code: 0 after a drain, 69 when something that it
 * needs is not to be had, 78 for settings with problems, each of which is a line on standard error then.
 *
 * A bug ends the process with 1; the workers go on serving, and the next start takes them over.
 */
export async function main(options: MainOptions): Promise<number> {
  const signals = new Signals();
  const load = () => readFile(options);
  const predecessor = await findPredecessor(versionOf());
  const read = load();
  if (!read.ok) {
    const lines = read.problems.map(problemLine);
    for (const line of lines) process.stderr.write(`${line}\n`);
    await predecessor?.fail(`the settings have problems: ${lines.join("; ")}`);
    return EXIT_BAD_CONFIGURATION;
  }
  const { settings } = read;
  const log = openLog(settings.logLevel);
  process.once("uncaughtException", (error) => crash(log, error));
  process.once("unhandledRejection", (error) => crash(log, error));
  const service = new ServiceManager(process.env, log);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => log.flush());
  try {
    const ending = await run({ settings, load, log, stack, service, signals, predecessor });
    await stack.disposeAsync();
    const { successor, fleet, stay } = ending;
    const giving = { fleet, service, signals, stay, clock: systemClock, log };
    const code = successor === null ? 0 : await giveWay({ ...giving, successor });
    if (successor === null) ending.tellEnd(code);
    log.flush();
    return code;
  } catch (error) {
    if (!(error instanceof Unavailable || error instanceof Fault)) throw error;
    log.error({ detail: error.message }, "Crossfade cannot start");
    await predecessor?.fail(error.message);
    return EXIT_UNAVAILABLE;
  }
}

/** Something outside that a start needs is not to be had. */
class Unavailable extends Error {}

/** How a run ended, and what is left to do when everything else is closed. */
interface Ending extends Pick<GivingWay, "fleet" | "stay"> {
  /** Who takes over; null when it was told to stop. */
  readonly successor: Successor | null;
  /** Tells a process that stays for others how this one ends. */
  tellEnd(code: number): void;
}

async function run(parts: RunParts): Promise<Ending> {
  const { settings, log, stack, service, signals, predecessor } = parts;
  if (predecessor === null) takeLock(settings.runDir, stack);
  const unfit = predecessor === null ? null : unfitSettings(settings, predecessor);
  if (unfit !== null) throw new Unavailable(unfit);
  const open = openStore({ settings, clock: systemClock, log });
  stack.defer(() => open.close());
  const control = assemble(parts, open);
  const { fleet, publisher, members, reloader, journal, seeding, upgrade, stay, charge } = control;
  // A successor finds the table that is served, or none: it must not take a store that lost its table for a new one.
  if (predecessor === null && open.guard === null && settings.table !== null) {
    await seedFile(settings.table, { ...seeding, store: open.store, log });
  }
  const tokens = () => reloader.settings.admin.tokens;
  const { store } = open;
  const { pid } = process;
  const shown = { ...control, store, storeInfo: open.info, tokens, pid, clock: systemClock, log };
  const app = buildAdmin(shown);
  const socket = (predecessor && inheritedAdmin(settings, predecessor)) ?? (await bind(settings));
  const serve = async (): Promise<AdminListener> => {
    const listener = await listenAdmin(app, settings.admin, socket);
    stack.defer(() => listener.close());
    charge.take(listener);
    return listener;
  };
  if (predecessor === null) await serve();
  await publisher.start();
  // Not waited for: a store that is away must not delay the start.
  if (predecessor === null) void members.start();
  // What it starts would outlive this process; beside another one that sees to it.
  if (predecessor === null) signals.hold();
  const start = await fleet.start();
  if (!start.ok) throw new Unavailable(start.detail);
  let tellEnd: Ending["tellEnd"] = () => undefined;
  if (predecessor !== null) {
    await comeUp(parts, control, predecessor);
    await serve();
    void members.start();
    tellEnd = await takeOverStay(predecessor);
    predecessor.serve();
  }
  present(parts, control);
  const stops = { signals, fleet, publisher, reloader, upgrade, service, journal };
  const successor = await untilStopped({ ...stops, clock: systemClock, log });
  return { successor, fleet, stay, tellEnd };
}

/** Serves beside the control process before until that has released everything, and takes what must be taken first. */
async function comeUp(
  { settings, stack, signals, log }: RunParts,
  { fleet, publisher, brakes, journal, version }: Control,
  predecessor: Predecessor,
): Promise<void> {
  const abandon = (): void => fleet.abandon();
  process.once("exit", abandon);
  const fault = await untilServing({ fleet, publisher }, predecessor);
  if (fault !== null) throw new Unavailable(fault);
  // From here on nobody would see to the workers but this process.
  signals.hold();
  const former = await predecessor.released();
  const lock = await untilTaken(() => acquireLock(join(settings.runDir, LOCK_NAME)));
  if (lock === null) throw new Unavailable(`another Crossfade took the lock of ${settings.runDir}`);
  stack.defer(() => lock.release());
  brakes.reload();
  publisher.republish();
  fleet.takeCharge(former);
  process.off("exit", abandon);
  journal.append("upgrade.done", { pid: process.pid, version });
  log.info({ version }, "took over from the control process before");
}

/** Says that it runs: in the log, and to a service manager. */
function present({ settings, service, log }: RunParts, { fleet, publisher, charge, version }: Control): void {
  const url = `http://${bracketed(settings.admin.host)}:${charge.admin().port}`;
  const { workers } = settings;
  const facts = { listen: fleet.addresses(), admin: url, version, workers, pid: process.pid };
  announce({ fleet, publisher, service, log, facts });
  if (settings.admin.tokens.length === 0) {
    log.warn({ admin: url }, "the admin API has no tokens: whoever is on this machine can change the table");
  }
}

function readFile({ configPath, flags }: MainOptions): ReturnType<typeof readSettings> {
  let fileText: string;
  try {
    fileText = readFileSync(configPath, "utf8");
  } catch (error) {
    const message = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    return { ok: false, problems: [{ file: configPath, line: 0, column: 0, path: "", message }] };
  }
  const readText = (path: string) => readFileSync(path, "utf8");
  return readSettings({ fileName: configPath, fileText, env: process.env, flags, readText });
}

function openLog(level: string): ControlLog {
  const destination = pino.destination({ dest: 2, sync: false, maxLength: LOG_BYTES_MAX });
  // A terminal or disk that is gone must not end what forwards requests.
  destination.on("error", () => undefined);
  const log = pino({ level, base: { process: "control" } }, destination);
  return Object.assign(log, { flush: () => destination.flushSync() });
}

function crash(log: ControlLog, error: unknown): void {
  log.error({ err: error }, "bug: the control process ends; the workers go on serving");
  log.flush();
  process.exit(EXIT_FAILURE);
}

/** One control process per run directory: two would fight over the workers. */
function takeLock(runDir: string, stack: AsyncDisposableStack): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const lock = acquireLock(join(runDir, LOCK_NAME));
  if (lock === null) {
    throw new Unavailable(
      `another Crossfade runs with the run_dir ${runDir}; stop it, or give this one its own`,
    );
  }
  stack.defer(() => lock.release());
}

async function bind({ admin }: Settings): Promise<AdminSocket> {
  try {
    return await bindAdmin(admin);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new Unavailable(
      `cannot listen on the admin address ${bracketed(admin.host)}:${admin.port}: ${detail}`,
    );
  }
}

/** Says that it runs, and as soon as that is so, that it serves. Scripts wait for the message `ready`. */
function announce(parts: {
  fleet: Fleet;
  publisher: Publisher;
  service: ServiceManager;
  log: Logger;
  facts: Record<string, unknown>;
}): void {
  const { fleet, publisher, service, log, facts } = parts;
  const { ready, reason } = publisher.readiness();
  const tell = (): void => {
    log.info(facts, "ready");
    void service.ready("serving");
  };
  if (ready) return tell();
  log.info({ ...facts, reason }, "started, not ready yet");
  // Whoever starts it must be able to send it its first table.
  if (publisher.served().revision === 0) void service.ready(reason);
  const unwatch = fleet.watch(() => {
    if (!publisher.readiness().ready) return;
    unwatch();
    tell();
  });
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      config: { type: "string", short: "c", default: "crossfade.yaml" },
      "admin-address": { type: "string" },
      workers: { type: "string" },
      "log-level": { type: "string" },
    },
  });
  const flags = {
    adminAddress: values["admin-address"],
    workers: values.workers,
    logLevel: values["log-level"],
  };
  process.exitCode = await main({ configPath: values.config, flags });
}
