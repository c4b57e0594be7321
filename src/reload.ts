/** SIGHUP: the settings file is read again; what is valid takes effect, what is not changes nothing. */
import type { Logger } from "./base/logger.ts";
import type { EventSink } from "./control/fleet_news.ts";
import type { WorkerLimits } from "./control/roster.ts";
import { restartNeeded, type readSettings, type Settings } from "./settings.ts";
import { problemLine } from "./settings_file.ts";
import type { PlaneOptions } from "./shared/messages.ts";

/** Problems that are written into one event; the log has all of them. */
const EVENT_PROBLEMS_MAX = 100;

/** What a reload reads and moves. */
export interface ReloaderParts {
  /** Those of the start. */
  readonly settings: Settings;
  readonly load: () => ReturnType<typeof readSettings>;
  readonly fleet: { configure(options: PlaneOptions, limits: WorkerLimits): void };
  readonly journal: EventSink;
  readonly log: Logger & { level: string };
}

/** The settings in effect. The table is not one of them: it lives in the store, whatever the file says. */
export class Reloader {
  settings: Settings;
  readonly #parts: ReloaderParts;

  constructor(parts: ReloaderParts) {
    this.#parts = parts;
    this.settings = parts.settings;
  }

  /** Reads the file. With any problem, all of them are logged and the old settings stay. */
  reload(): void {
    const { load, fleet, journal, log } = this.#parts;
    const read = load();
    if (!read.ok) {
      const problems = read.problems.map(problemLine);
      for (const problem of problems) log.error({ problem }, "settings refused; the old ones stay");
      journal.append("settings.refused", { problems: problems.slice(0, EVENT_PROBLEMS_MAX) });
      return;
    }
    // Compared with the start: what needed a restart then still does, however often the file is read.
    const keys = restartNeeded(this.#parts.settings, read.settings);
    this.settings = read.settings;
    fleet.configure(read.settings.plane, read.settings.workerLimits);
    log.level = read.settings.logLevel;
    if (keys.length > 0) log.warn({ keys }, "these settings have changed and take effect after a restart");
    journal.append("settings.reloaded", { restart_needed: keys });
    log.info({}, "settings reloaded");
  }
}
