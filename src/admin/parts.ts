/** What the admin surface is built from: the pieces of the control process that it shows and moves. */
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { Commands } from "../control/commands.ts";
import type { Fleet } from "../control/fleet.ts";
import type { Journal } from "../control/journal.ts";
import type { Publisher } from "../control/publisher.ts";
import type { Sampler } from "../control/sampler.ts";
import type { RouteStore } from "../store/store.ts";
import type { AdminToken } from "./access.ts";

/** The pieces. `tokens` is asked for every request, so that a reload of the settings counts at once. */
export interface AdminParts {
  readonly commands: Commands;
  readonly store: Pick<RouteStore, "at" | "history">;
  readonly journal: Journal;
  readonly sampler: Sampler;
  readonly fleet: Pick<Fleet, "status">;
  readonly publisher: Pick<Publisher, "waitApplied" | "readiness">;
  readonly tokens: () => readonly AdminToken[];
  readonly clock: Clock;
  readonly version: string;
  readonly log: Logger;
}
