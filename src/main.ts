/** Control process: builds everything, hands down the pieces, and stops in reverse order. */
import { mkdirSync, readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import pino from "pino";
import { buildAdmin, listenAdmin, type AdminListener } from "./admin/server.ts";
import { systemClock } from "./base/clock.ts";
import { Fault } from "./base/fault.ts";
import type { Logger } from "./base/logger.ts";
import { systemRandom } from "./base/random.ts";
import { Brakes } from "./control/brakes.ts";
import { Commands } from "./control/commands.ts";
import { Comparisons } from "./control/comparisons.ts";
import { Fleet } from "./control/fleet.ts";
import { askGate } from "./control/gates.ts";
import { Journal } from "./control/journal.ts";
import { Members } from "./control/members.ts";
import { ownInstance } from "./control/own_instance.ts";
import { Publisher, type PublisherParts } from "./control/publisher.ts";
import { Rollouts } from "./control/rollouts.ts";
import { PACE } from "./control/roster.ts";
import { Sampler } from "./control/sampler.ts";
import type { Document } from "./domain/route.ts";
import { openStore, seedStore, type OpenStore, type SeedParts } from "./main_store.ts";
import { Reloader } from "./reload.ts";
import { CONTROL_SOCKET, readSettings, type Settings } from "./settings.ts";
import type { SettingsFlags } from "./settings_overrides.ts";
import { problemLine } from "./settings_file.ts";
import { TICK_MS } from "./shared/messages.ts";
import { untilStopped } from "./stop.ts";
import type { GuardedStore } from "./store/guard.ts";
import { acquireLock } from "./store/lock.ts";
import type { RouteStore } from "./store/store.ts";

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
/** The name of the file of brakes there. */
const BRAKES = "brakes.json";

/** Log lines that wait for a slow reader of standard error; beyond it lines are dropped. */
const LOG_BYTES_MAX = 16 * 1024 * 1024;

/** A log whose level can be changed. */
interface ControlLog extends Logger {
  level: string;
  /** Writes out what waits. */
  flush(): void;
}

/**
 * Runs the control process until it is told to stop. Gives the exit code: 0 after a drain, 69 when something that it
 * needs is not to be had, 78 for settings with problems, each of which is a line on standard error then.
 *
 * A bug ends the process with 1; the workers go on serving, and the next start takes them over.
 */
export async function main(options: MainOptions): Promise<number> {
  const load = () => readFile(options);
  const read = load();
  if (!read.ok) {
    for (const problem of read.problems) process.stderr.write(`${problemLine(problem)}\n`);
    return EXIT_BAD_CONFIGURATION;
  }
  const log = openLog(read.settings.logLevel);
  process.once("uncaughtException", (error) => crash(log, error));
  process.once("unhandledRejection", (error) => crash(log, error));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => log.flush());
  try {
    return await run({ settings: read.settings, load, log, stack });
  } catch (error) {
    if (!(error instanceof Unavailable || error instanceof Fault)) throw error;
    log.error({ detail: error.message }, "Crossfade cannot start");
    return EXIT_UNAVAILABLE;
  }
}

/** Something outside that a start needs is not to be had. */
class Unavailable extends Error {}

/** What a run needs before anything is built. */
interface RunParts {
  readonly settings: Settings;
  readonly load: () => ReturnType<typeof readSettings>;
  readonly log: ControlLog;
  readonly stack: AsyncDisposableStack;
}

async function run(parts: RunParts): Promise<number> {
  const { settings, log, stack } = parts;
  takeLock(settings.runDir, stack);
  const open = openStore({ settings, clock: systemClock, log });
  stack.defer(() => open.close());
  const control = assemble(parts, open);
  const { fleet, publisher, members, reloader, journal, seeding } = control;
  if (open.guard === null && settings.table !== null) {
    await seedFile(settings.table, { ...seeding, store: open.store, log });
  }
  const tokens = () => reloader.settings.admin.tokens;
  const { store } = open;
  const shown = { ...control, store, storeInfo: open.info, tokens, clock: systemClock, log };
  const admin = await listen(buildAdmin(shown), settings);
  stack.defer(() => admin.close());
  await publisher.start();
  // Not waited for: a store that is away must not delay the start.
  void members.start();
  const start = await fleet.start();
  if (!start.ok) throw new Unavailable(start.detail);
  const url = `http://${bracketed(settings.admin.host)}:${admin.port}`;
  const { version } = control;
  const { workers } = settings;
  const facts = { listen: fleet.addresses(), admin: url, version, workers, pid: process.pid };
  announce({ fleet, publisher, log, facts });
  if (settings.admin.tokens.length === 0) {
    log.warn({ admin: url }, "the admin API has no tokens: whoever is on this machine can change the table");
  }
  return untilStopped({ fleet, publisher, reloader, journal, clock: systemClock, log });
}

/** The pieces of the control process, each built once and handed down to those that need it. */
function assemble({ settings, load, log, stack }: RunParts, open: OpenStore) {
  const { store, guard, registry } = open;
  const clock = systemClock;
  const version = versionOf();
  const above = () => members.appliedElsewhere();
  const guarding = guard === null ? {} : { known: () => guard.known, reseed: { guard, above } };
  const commands = new Commands(store, { clock, ...guarding });
  const seeding: SeedParts = { commands, registry, id: settings.instance };
  const journal = new Journal(clock);
  const sampler = new Sampler(clock);
  const fleet = new Fleet({
    listen: settings.listen,
    workers: settings.workers,
    socketPath: join(settings.runDir, CONTROL_SOCKET),
    version,
    workerFile: fileURLToPath(new URL("./plane/worker.ts", import.meta.url)),
    plane: settings.plane,
    pace: PACE,
    clock,
    log,
    journal,
    sampler,
  });
  const warnings = () => open.info().warnings;
  const ofGuard = guard === null ? {} : shared(guard, settings.table, seeding);
  const brakes = new Brakes(join(settings.runDir, BRAKES), log);
  const publisher = new Publisher({ store, fleet, clock, log, journal, brakes, warnings, ...ofGuard });
  stack.defer(() => publisher.stop());
  const own = ownInstance({ fleet, publisher });
  const runId = systemRandom().id();
  const { instance: id } = settings;
  const me = { registry, id, run: runId, pid: process.pid, version, own };
  const members = new Members({ ...me, sampler, clock, log, journal });
  stack.defer(() => members.stop());
  const leads = () => isFirst(members);
  const storeOk = () => publisher.served().fault === null;
  const acts = { publisher, commands, brakes, leads, storeOk, askGate };
  const instance = settings.instance;
  const comparing = { store: open.comparisons, totals: sampler.comparisons, publisher, instance, clock, log };
  const comparisons = new Comparisons(comparing);
  stack.defer(() => comparisons.stop());
  const rollouts = new Rollouts({ sampler, ...acts, comparisons, clock, log, journal });
  stack.defer(() => rollouts.stop());
  const ticker = setInterval(() => {
    sampler.tick();
    comparisons.tick();
    rollouts.tick();
  }, TICK_MS);
  stack.defer(() => clearInterval(ticker));
  const reloader = new Reloader({ settings, load, fleet, journal, log });
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
    version,
  };
  return { ...shown, seeding, reloader };
}

/** Gives an empty file the table of the settings. One that has a table keeps it: it may be newer than the settings. */
async function seedFile(
  table: Document,
  parts: SeedParts & { readonly store: RouteStore; readonly log: Logger },
): Promise<void> {
  const stored = await parts.store.read();
  if (stored !== null) {
    const facts = { revision: stored.revision };
    return parts.log.info(facts, "the store has a table; the one in the settings file is not used");
  }
  await seedStore(table, parts);
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

async function listen(app: ReturnType<typeof buildAdmin>, { admin }: Settings): Promise<AdminListener> {
  try {
    return await listenAdmin(app, admin);
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
  log: Logger;
  facts: Record<string, unknown>;
}): void {
  const { fleet, publisher, log, facts } = parts;
  const { ready, reason } = publisher.readiness();
  if (ready) return log.info(facts, "ready");
  log.info({ ...facts, reason }, "started, not ready yet");
  const unwatch = fleet.watch(() => {
    if (!publisher.readiness().ready) return;
    unwatch();
    log.info(facts, "ready");
  });
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function versionOf(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

if (import.meta.main) {
  // Too late for the files above, but in time for the workers, which are told of it.
  enableCompileCache();
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
