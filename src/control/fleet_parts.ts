/** What a fleet is made of, and what comes of starting it. */
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { PlaneOptions } from "../shared/messages.ts";
import type { EventSink } from "./fleet_news.ts";
import type { Pace, WorkerLimits } from "./roster.ts";
import type { Sampler } from "./sampler.ts";
import type { InheritedSocket, ListenAddress } from "./sockets.ts";
import type { WorkerProgram } from "./worker_link.ts";

/** What the fleet works with. */
export interface FleetParts {
  readonly listen: readonly ListenAddress[];
  /** Sockets that this process was started with: used instead of binding, and closed where none is needed. */
  readonly inherited: readonly InheritedSocket[];
  /**
   * The control process that serves until this one takes over: its workers are left alone, and asked for siblings
   * when only they have the sockets.
   */
  readonly predecessor?: { spawn(worker: number, program: WorkerProgram): boolean };
  /** How many workers there shall be. */
  readonly workers: number;
  /** Where workers reach this process: a Unix socket in a directory of its own. */
  readonly socketPath: string;
  /** Crossfade's version, which workers are told and say again in their hello. */
  readonly version: string;
  /** The workers' entry file. */
  readonly workerFile: string;
  readonly plane: PlaneOptions;
  readonly limits: WorkerLimits;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: EventSink;
  readonly sampler: Pick<Sampler, "report" | "retire">;
}

/** What became of a start. `detail` says in the operator's words what is in the way. */
export type FleetStart = { readonly ok: true } | { readonly ok: false; readonly detail: string };
