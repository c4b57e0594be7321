/** What the demo knows of its route at any moment: read from the admin API again and again, whoever changes it. */
import { setTimeout as pause } from "node:timers/promises";
import type { Clock } from "./base/clock.ts";
import type { AnswerOf } from "./cli_shell.ts";
import type { AdminClient } from "./client.ts";
import { sharesOf, type Crowd } from "./demo_clients.ts";
import type { Phase } from "./domain/rollout_words.ts";

/** A table that every worker has. */
export interface Known {
  /** 0 before the first look. */
  readonly revision: number;
  /** When it was first seen to be in effect, on the clock's `nowMs`. */
  readonly sinceMs: number;
  /** The weight of the new backend. */
  readonly percent: number;
  /** Of the route's plan; null without one. */
  readonly phase: Phase | null;
  /** Where the plan is, for people. */
  readonly lines: readonly string[];
}

/** Whom the watch asks, and whom it tells. */
export interface WatchParts {
  readonly route: string;
  readonly admin: Pick<AdminClient, "call">;
  readonly crowd: Pick<Crowd, "expect" | "unsettle" | "confirm">;
  readonly clock: Clock;
}

/** Between two looks. */
const LOOK_MS = 100;
/** Between two questions whether every worker has a table. */
const APPLIED_LOOK_MS = 20;

/** Looks at the route all the time, and tells the crowd which weight holds and until when it surely did. */
export class Watch {
  /** Rejects with ApiFailure when the API cannot be read; never resolves. */
  readonly lost: Promise<never>;
  readonly #parts: WatchParts;
  readonly #done: Promise<void>;
  #now: Known = { revision: 0, sinceMs: 0, percent: 0, phase: null, lines: [] };
  /** The revision that the crowd goes by; null when it goes by none. */
  #settled: number | null = null;
  /** When the last look began. */
  #askedMs = 0;
  #isStopped = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    const { promise, reject } = Promise.withResolvers<never>();
    this.lost = promise;
    this.#done = this.#run().catch(reject);
  }

  /** The newest table that every worker has. */
  get now(): Known {
    return this.#now;
  }

  /** Looks no more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
    this.#parts.crowd.unsettle();
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const askedMs = this.#parts.clock.nowMs();
      await this.#look();
      this.#askedMs = askedMs;
      await pause(LOOK_MS);
    }
  }

  async #look(): Promise<void> {
    const { crowd, route, clock } = this.#parts;
    const health = await this.#get<"HealthAnswer">(`/v1/routes/${route}/health`);
    const { revision, braked, backends, rollout } = health;
    const percent = backends.find(({ role }) => role === "candidate")?.share_configured_percent ?? 0;
    if (revision === this.#settled && !braked) {
      // Until the look before this one: a brake in between, put on and released, would show by now as a new revision.
      crowd.confirm(this.#askedMs);
    } else {
      crowd.unsettle();
      this.#settled = null;
      // A brake changes the weight without a revision. The one that follows it ends the doubt.
      if (braked) return;
      await this.#applied(revision);
      crowd.expect(sharesOf(percent), percent >= this.#now.percent);
      this.#settled = revision;
    }
    const sinceMs = revision === this.#now.revision ? this.#now.sinceMs : clock.nowMs();
    this.#now = { revision, sinceMs, percent, phase: rollout?.phase ?? null, lines: rollout?.lines ?? [] };
  }

  /** Waits until every worker has a table. */
  async #applied(revision: number): Promise<void> {
    while (!this.#isStopped) {
      const { workers } = await this.#get<"FleetAnswer">("/v1/fleet");
      if (workers.every((worker) => worker.applied_revision >= revision)) return;
      await pause(APPLIED_LOOK_MS);
    }
  }

  async #get<Name extends "HealthAnswer" | "FleetAnswer">(path: string): Promise<AnswerOf<Name>> {
    return (await this.#parts.admin.call<AnswerOf<Name>>({ method: "GET", path })).body;
  }
}
