/** The one road to the workers: whatever revision the store has is decoded and given to the fleet. */
import type { Clock } from "../base/clock.ts";
import { Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { decodeDocument } from "../domain/document.ts";
import type { TableSpec } from "../domain/route.ts";
import { HISTORY_PAGE_MAX } from "../store/store.ts";
import type { AuditEntry, RouteStore } from "../store/store.ts";
import type { EventSink } from "./fleet_news.ts";
import type { WorkerStatus } from "./worker_link.ts";

/** Callers that may wait for a revision at the same time. */
export const WAITERS_MAX = 1_000;

/** A store that cannot be read is tried again after this long, doubling up to the second figure. In milliseconds. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 5_000;

/** Revisions whose time to be applied is measured or remembered. */
const TIMES_MAX = 1_000;

/**
 * Whether every worker that serves, or may begin to, has a revision. `missing` says in words who has not, and why if
 * that is known.
 */
export type AppliedOutcome =
  | { readonly applied: true; readonly appliedMs: number }
  | { readonly applied: false; readonly missing: string[] };

/** Whether requests are served. `reason` says why not; `warnings` lists what is wrong although they are. */
export interface Readiness {
  readonly ready: boolean;
  readonly reason: string;
  readonly warnings: string[];
}

/** What the publisher works with. */
export interface PublisherParts {
  readonly store: Pick<RouteStore, "read" | "history" | "watch">;
  readonly fleet: {
    publish(spec: TableSpec): void;
    status(): WorkerStatus[];
    followers(): WorkerStatus[];
    warnings(): string[];
    watch(listener: () => void): () => void;
  };
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: EventSink;
}

interface Waiter {
  readonly revision: number;
  settle(outcome: AppliedOutcome): void;
}

/**
 * Publishes tables and knows which revision every worker serves.
 *
 * One read of the store is under way at most. News that comes meanwhile is remembered as one more read, so the newest
 * revision wins and nothing queues up. A store that fails is tried again; the workers keep what they have.
 */
export class Publisher {
  readonly #parts: PublisherParts;
  readonly #waiters = new Set<Waiter>();
  /** When each revision was first heard of, until every worker has it. */
  readonly #heardAtMs = new Map<number, number>();
  /** How long the newest revisions took to be applied everywhere. */
  readonly #appliedMs = new Map<number, number>();
  readonly #unwatch: (() => void)[] = [];
  #published = 0;
  #applied = 0;
  #isReading = false;
  #isStale = false;
  #isDraining = false;
  #isStopped = false;
  #storeFault: string | null = null;
  #retryMs = RETRY_MIN_MS;
  #retry: NodeJS.Timeout | null = null;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
  }

  /** Publishes what the store has now, and from then on every change. Settles after the first read, come what may. */
  async start(): Promise<void> {
    const { store, fleet } = this.#parts;
    this.#unwatch.push(
      store.watch((revision) => {
        this.#hear(revision);
        void this.#refresh();
      }),
      fleet.watch(() => this.#review()),
    );
    await this.#refresh();
  }

  /** Publishes nothing more and lets go of everybody who waits. */
  stop(): void {
    this.#isStopped = true;
    for (const unwatch of this.#unwatch) unwatch();
    if (this.#retry !== null) clearTimeout(this.#retry);
    for (const waiter of this.#waiters) waiter.settle({ applied: false, missing: ["Crossfade stops"] });
  }

  /** From now on nothing is ready: load balancers shall go elsewhere before the workers stop accepting. */
  drain(): void {
    this.#isDraining = true;
  }

  /**
   * Waits until every worker that serves, or may begin to, has the revision or a newer one, and says how long that
   * took since the revision was heard of. Gives up early when a worker refused it and nobody else can be waited for.
   *
   * Throws Fault TOO_MANY_WAITING over WAITERS_MAX waiters.
   */
  async waitApplied(revision: number, timeoutMs: number): Promise<AppliedOutcome> {
    const known = this.#verdict(revision);
    if (known !== null) return known;
    if (this.#waiters.size >= WAITERS_MAX) throw new Fault("TOO_MANY_WAITING");
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => waiter.settle({ applied: false, missing: this.#missing(revision) }),
        timeoutMs,
      );
      const waiter: Waiter = {
        revision,
        settle: (outcome) => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          resolve(outcome);
        },
      };
      this.#waiters.add(waiter);
    });
  }

  /** Ready: a table is loaded, and a worker serves. */
  readiness(): Readiness {
    const { fleet } = this.#parts;
    const warnings = [...fleet.warnings(), ...(this.#storeFault === null ? [] : [this.#storeFault])];
    const not = (reason: string): Readiness => ({ ready: false, reason, warnings });
    if (this.#isDraining) return not("draining");
    if (this.#published === 0)
      return not("no table is loaded; send one with `crossfade apply` or PUT /v1/table");
    if (!fleet.status().some(isServing)) return not("no worker serves yet");
    return { ready: true, reason: "", warnings };
  }

  async #refresh(): Promise<void> {
    if (this.#isReading) {
      this.#isStale = true;
      return;
    }
    this.#isReading = true;
    do {
      this.#isStale = false;
      await this.#read();
    } while (this.#isStale && !this.#isStopped);
    this.#isReading = false;
  }

  async #read(): Promise<void> {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    try {
      const table = await this.#parts.store.read();
      const entries = table === null ? [] : await this.#entriesUpTo(table);
      this.#storeFault = null;
      this.#retryMs = RETRY_MIN_MS;
      if (table !== null && table.revision !== this.#published && !this.#isStopped) {
        this.#publish(table.revision, table.document, entries);
      }
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#storeFault = `the store cannot be read, revision ${this.#published} is served: ${error.message}`;
      this.#parts.log.error({ code: error.code, detail: error.message }, "the store cannot be read");
      if (!this.#isStopped) this.#retry = setTimeout(() => void this.#refresh(), this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
    }
  }

  /** The audit entries of the revisions since the last published one; only the newest at the start. */
  async #entriesUpTo(table: AuditEntry): Promise<AuditEntry[]> {
    const skipped = this.#published === 0 ? 0 : table.revision - this.#published - 1;
    if (skipped <= 0) return [table];
    const limit = Math.min(skipped, HISTORY_PAGE_MAX);
    const between = await this.#parts.store.history({ before: table.revision, limit });
    return [...between.toReversed(), table];
  }

  #publish(revision: number, input: unknown, entries: readonly AuditEntry[]): void {
    const { fleet, journal, log } = this.#parts;
    const decoded = decodeDocument(input);
    if (!decoded.ok) {
      // Written by another version of Crossfade: reading it again would not help, a new revision will.
      this.#storeFault = `revision ${revision} of the store cannot be used, revision ${this.#published} is served`;
      log.error({ revision, problems: decoded.problems }, "the table in the store cannot be used");
      return;
    }
    this.#hear(revision);
    this.#published = revision;
    fleet.publish({ ...decoded.value, revision });
    for (const { revision: number, actor, action, reason, difference } of entries) {
      journal.append("table.changed", { revision: number, actor, action, reason, difference });
    }
    log.info({ revision }, "table published");
    this.#review();
  }

  #hear(revision: number): void {
    if (this.#heardAtMs.has(revision) || revision <= this.#applied) return;
    this.#heardAtMs.set(revision, this.#parts.clock.nowMs());
    forgetOldest(this.#heardAtMs);
  }

  /** Looks who may stop waiting, after any worker did anything. */
  #review(): void {
    const followers = this.#parts.fleet.followers();
    const everywhere = Math.min(this.#published, ...followers.map(({ appliedRevision }) => appliedRevision));
    if (followers.length > 0 && everywhere > this.#applied) {
      this.#applied = everywhere;
      const appliedMs = this.#closeTimes(this.#applied);
      this.#parts.journal.append("table.applied", { revision: this.#applied, applied_ms: appliedMs });
    }
    for (const waiter of this.#waiters) {
      const verdict = this.#verdict(waiter.revision);
      if (verdict !== null) waiter.settle(verdict);
    }
  }

  /** Ends the measurement of every revision up to this one. Gives what this one took, in milliseconds. */
  #closeTimes(applied: number): number {
    const nowMs = this.#parts.clock.nowMs();
    for (const [revision, heardAtMs] of this.#heardAtMs) {
      if (revision > applied) continue;
      this.#heardAtMs.delete(revision);
      this.#appliedMs.set(revision, Math.round((nowMs - heardAtMs) * 10) / 10);
    }
    forgetOldest(this.#appliedMs);
    return this.#appliedMs.get(applied) ?? 0;
  }

  #verdict(revision: number): AppliedOutcome | null {
    if (this.#applied >= revision) return { applied: true, appliedMs: this.#appliedMs.get(revision) ?? 0 };
    const followers = this.#parts.fleet.followers();
    const behind = followers.filter(({ appliedRevision }) => appliedRevision < revision);
    const isHopeless =
      behind.length > 0 && behind.every(({ refused }) => (refused?.revision ?? 0) >= revision);
    return isHopeless ? { applied: false, missing: this.#missing(revision) } : null;
  }

  #missing(revision: number): string[] {
    const followers = this.#parts.fleet.followers();
    if (followers.length === 0) return ["no worker serves"];
    return followers
      .filter(({ appliedRevision }) => appliedRevision < revision)
      .map(({ worker, pid, appliedRevision, refused }) => {
        const who = `worker ${worker} (pid ${pid}) has revision ${appliedRevision}`;
        return refused === undefined ? who : `${who}; it refused ${refused.revision}: ${refused.reason}`;
      });
  }
}

function isServing(worker: WorkerStatus): boolean {
  return worker.state === "serving";
}

function forgetOldest(times: Map<number, number>): void {
  for (const revision of times.keys()) {
    if (times.size <= TIMES_MAX) return;
    times.delete(revision);
  }
}
