/** Planned replacement: which worker shall go and why, one at a time. */
import type { Crew } from "./crew.ts";
import { excessCause, isCrowded } from "./roster.ts";
import type { Pace, WorkerLimits } from "./roster.ts";
import type { WorkerLink } from "./worker_link.ts";

/** A worker whose turn it is. */
export interface Turn {
  readonly link: WorkerLink;
  readonly cause: string;
}

/**
 * Whose turn it is to be replaced.
 *
 * One slot at a time: the next turn comes when the successor serves and its predecessor drains. While as many workers
 * drain as may, everybody waits; the workers that shall go serve meanwhile. So a rotation never costs a serving worker.
 */
export class Rotation {
  readonly #crew: Crew;
  /** Whom an operator wants to go, by pid, with the reason. At most one entry per worker that lives. */
  readonly #wishes = new Map<number, string>();

  constructor(crew: Crew) {
    this.#crew = crew;
  }

  /** Wants every worker that serves now to be replaced. Gives those. */
  wish(cause: string): WorkerLink[] {
    const wanted = this.#crew.members().filter(({ state }) => state === "serving");
    for (const { pid } of wanted) this.#wishes.set(pid, cause);
    return wanted;
  }

  forget({ pid }: WorkerLink): void {
    this.#wishes.delete(pid);
  }

  /** The member that shall go now, or null. */
  next(scene: {
    readonly slots: number;
    readonly limits: WorkerLimits;
    readonly pace: Pace;
    readonly nowMs: number;
  }): Turn | null {
    const { slots, limits, pace, nowMs } = scene;
    const isBusy = this.#crew.all().some((link) => link.isPredecessor());
    if (isBusy || isCrowded(this.#crew.draining(), slots)) return null;
    for (const link of this.#crew.members()) {
      if (link.state !== "serving" || link.readyAtMs === null) continue;
      const facts = { rssBytes: link.rssBytes(), livedMs: nowMs - link.readyAtMs };
      const cause = this.#wishes.get(link.pid) ?? excessCause(facts, limits, pace);
      if (cause !== null) return { link, cause };
    }
    return null;
  }
}
