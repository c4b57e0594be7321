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
  /** Who waits because so many drain; null when nobody has to. */
  #crowd: { readonly link: WorkerLink; readonly cause: string; readonly draining: number } | null = null;

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
    const draining = this.#crew.draining();
    const turn = this.#crew.all().some((link) => link.isPredecessor())
      ? null
      : this.#due(limits, pace, nowMs);
    this.#crowd = turn !== null && isCrowded(draining, slots) ? { ...turn, draining } : null;
    return this.#crowd === null ? turn : null;
  }

  /** Who has to wait, in the operator's words. */
  warnings(): string[] {
    if (this.#crowd === null) return [];
    const { link, cause, draining } = this.#crowd;
    return [
      `worker ${link.worker} (pid ${link.pid}) shall be replaced (${cause}), but ${draining} workers drain already`,
    ];
  }

  #due(limits: WorkerLimits, pace: Pace, nowMs: number): Turn | null {
    for (const link of this.#crew.members()) {
      if (link.state !== "serving" || link.readyAtMs === null) continue;
      const facts = { rssBytes: link.rssBytes(), livedMs: nowMs - link.readyAtMs };
      const cause = this.#wishes.get(link.pid) ?? excessCause(facts, limits, pace);
      if (cause !== null) return { link, cause };
    }
    return null;
  }
}
