/** What the admin surface is built from: the pieces of the control process that it shows and moves. */
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { Brakes } from "../control/brakes.ts";
import type { Commands } from "../control/commands.ts";
import type { Comparisons } from "../control/comparisons.ts";
import type { Fleet } from "../control/fleet.ts";
import type { Journal } from "../control/journal.ts";
import type { Members } from "../control/members.ts";
import type { Publisher } from "../control/publisher.ts";
import type { Rollouts } from "../control/rollouts.ts";
import type { Sampler } from "../control/sampler.ts";
import type { Upgrade } from "../control/upgrade.ts";
import type { StoreStatus } from "../store/guard.ts";
import type { RouteStore } from "../store/store.ts";
import type { AdminToken } from "./access.ts";

/** Where the table is kept, and how that store is. */
export interface StoreInfo {
  readonly kind: "sqlite" | "redis";
  /** For people: a file, or an address without its password. */
  readonly where: string;
  readonly status: StoreStatus;
  readonly warnings: readonly string[];
}

/** The pieces. `tokens` is asked for every request, so that a reload of the settings counts at once. */
export interface AdminParts {
  readonly commands: Commands;
  readonly store: Pick<RouteStore, "at" | "history">;
  readonly journal: Journal;
  readonly sampler: Sampler;
  readonly fleet: Pick<Fleet, "status" | "addresses" | "recycle">;
  readonly upgrade: Pick<Upgrade, "begin">;
  readonly members: Pick<Members, "waitApplied" | "instances" | "counted" | "warnings">;
  readonly rollouts: Pick<Rollouts, "verdict" | "rollbacks" | "warnings">;
  readonly comparisons: Pick<Comparisons, "of" | "own" | "warnings" | "isProvenBelow">;
  readonly brakes: Pick<Brakes, "has">;
  readonly publisher: Pick<Publisher, "readiness" | "served">;
  readonly storeInfo: () => StoreInfo;
  readonly tokens: () => readonly AdminToken[];
  readonly clock: Clock;
  readonly version: string;
  /** Of this process. */
  readonly pid: number;
  readonly log: Logger;
}
