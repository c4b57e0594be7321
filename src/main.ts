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
import { Commands } from "./control/commands.ts";
import { Fleet } from "./control/fleet.ts";
import { Journal } from "./control/journal.ts";
import { Publisher } from "./control/publisher.ts";
import { PACE } from "./control/roster.ts";
import { Sampler } from "./control/sampler.ts";
import type { Document } from "./domain/route.ts";
import { Reloader } from "./reload.ts";
import { CONTROL_SOCKET, readSettings, type Settings, type SettingsFlags } from "./settings.ts";
import { problemLine } from "./settings_file.ts";
import { TICK_MS } from "./shared/messages.ts";
import { untilStopped } from "./stop.ts";
import { acquireLock } from "./store/lock.ts";
import { openSqliteStore } from "./store/sqlite.ts";
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

async function run({ settings, load, log, stack }: RunParts): Promise<number> {
  takeLock(settings.runDir, stack);
  const store = openSqliteStore({ path: settings.store.sqlite, clock: systemClock, log });
  stack.defer(() => store.close());
  const commands = new Commands(store);
  if (settings.table !== null) await seed(settings.table, { commands, store, log });
  const version = versionOf();
  const journal = new Journal(systemClock);
  const sampler = new Sampler(systemClock);
  const ticker = setInterval(() => sampler.tick(), TICK_MS);
  stack.defer(() => clearInterval(ticker));
  const fleet = new Fleet({
    listen: settings.listen,
    workers: settings.workers,
    socketPath: join(settings.runDir, CONTROL_SOCKET),
    version,
    workerFile: fileURLToPath(new URL("./plane/worker.ts", import.meta.url)),
    plane: settings.plane,
    pace: PACE,
    clock: systemClock,
    log,
    journal,
    sampler,
  });
  const publisher = new Publisher({ store, fleet, clock: systemClock, log, journal });
  stack.defer(() => publisher.stop());
  const reloader = new Reloader({ settings, load, fleet, journal, log });
  const tokens = () => reloader.settings.admin.tokens;
  const parts = {
    commands,
    store,
    journal,
    sampler,
    fleet,
    publisher,
    tokens,
    clock: systemClock,
    version,
    log,
  };
  const admin = await listen(buildAdmin(parts), settings);
  stack.defer(() => admin.close());
  await publisher.start();
  const start = await fleet.start();
  if (!start.ok) throw new Unavailable(start.detail);
  const url = `http://${bracketed(settings.admin.host)}:${admin.port}`;
  announce({
    fleet,
    publisher,
    log,
    facts: { listen: fleet.addresses(), admin: url, version, workers: settings.workers, pid: process.pid },
  });
  if (settings.admin.tokens.length === 0) {
    log.warn({ admin: url }, "the admin API has no tokens: whoever is on this machine can change the table");
  }
  return untilStopped({ fleet, publisher, reloader, journal, clock: systemClock, log });
}

/** Gives an empty store the table of the settings. One that has a table keeps it: it may be newer than the file. */
async function seed(
  table: Document,
  parts: { readonly commands: Commands; readonly store: RouteStore; readonly log: Logger },
): Promise<void> {
  const stored = await parts.store.read();
  if (stored !== null) {
    const facts = { revision: stored.revision };
    return parts.log.info(facts, "the store has a table; the one in the settings file is not used");
  }
  const outcome = await parts.commands.seed(table);
  if (!outcome.ok)
    throw new Unavailable(`the table of the settings file cannot be stored: ${outcome.detail}`);
}

function readFile({ configPath, flags }: MainOptions): ReturnType<typeof readSettings> {
  let fileText: string;
  try {
    fileText = readFileSync(configPath, "utf8");
  } catch (error) {
    const message = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    return { ok: false, problems: [{ file: configPath, line: 0, column: 0, path: "", message }] };
  }
  return readSettings({ fileName: configPath, fileText, env: process.env, flags });
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
