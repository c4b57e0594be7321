/** The one road to the workers: whatever revision the store has is decoded and given to the fleet. */
import type { Clock } from "../base/clock.ts";
import { Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import type { Document, TableSpec } from "../domain/route.ts";
import { decodeStored } from "../domain/stored.ts";
import { HISTORY_PAGE_MAX } from "../store/store.ts";
import type { AuditEntry, RouteStore, StoredTable } from "../store/store.ts";
import { specOf, type Brakes } from "./brakes.ts";
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

/** Which table the workers were given, and where it is from; `fault` says why the store's is not in use. */
export interface Served {
  readonly revision: number;
  readonly from: "store" | "disk" | "none";
  readonly fault: string | null;
}

/** A decoded table and its revision. */
export interface PublishedTable {
  readonly revision: number;
  readonly document: Document;
}

const NO_BRAKES: Pick<Brakes, "has"> = { has: () => false };

/** What the publisher works with. */
export interface PublisherParts {
  readonly store: Pick<RouteStore, "read" | "history" | "watch">;
  /** Routes that stay on legacy whatever the table says. */
  readonly brakes?: Brakes;
  /** What is served when the store cannot be read at the start: the last table that was known here. */
  readonly fallback?: () => StoredTable | null;
  /** What is wrong with the store besides, although it can be read. */
  readonly warnings?: () => readonly string[];
  /** Called when the store turns out to be empty while nothing is served; what it stores is published then. */
  readonly seed?: () => Promise<void>;
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
  #table: PublishedTable | null = null;
  #applied = 0;
  #isReading = false;
  #isStale = false;
  #isDraining = false;
  #isStopped = false;
  #storeFault: string | null = null;
  #from: Served["from"] = "none";
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
    const { fleet, warnings: others } = this.#parts;
    const ofStore = [...(this.#storeFault === null ? [] : [this.#storeFault]), ...(others?.() ?? [])];
    const warnings = [...fleet.warnings(), ...ofStore];
    const not = (reason: string): Readiness => ({ ready: false, reason, warnings });
    if (this.#isDraining) return not("draining");
    if (this.#published === 0 && this.#storeFault !== null)
      return not(`no table is loaded, and there is none on this machine's disk: ${this.#storeFault}`);
    if (this.#published === 0)
      return not("no table is loaded; send one with `crossfade apply` or PUT /v1/table");
    if (!fleet.status().some(isServing)) return not("no worker serves yet");
    return { ready: true, reason: "", warnings };
  }

  /** The table in force as the store has it, brakes apart; null before there is one. */
  table(): PublishedTable | null {
    return this.#table;
  }

  /** Gives the fleet the table in force again, with the brakes that are on now, and without those that it settles. */
  republish(): void {
    const { fleet, brakes } = this.#parts;
    if (this.#table === null) return;
    const { document, revision } = this.#table;
    if (this.#from === "store") brakes?.settle(document);
    fleet.publish(specOf(document, revision, brakes ?? NO_BRAKES));
  }

  /** The newest revision that every worker has. */
  appliedRevision(): number {
    return this.#applied;
  }

  /** What the workers were given last. */
  served(): Served {
    return { revision: this.#published, from: this.#from, fault: this.#storeFault };
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
      if (table === null && this.#published === 0 && !this.#isStopped) await this.#seed();
      this.#storeFault = null;
      this.#retryMs = RETRY_MIN_MS;
      if (this.#isStopped || table === null) return;
      if (table.revision === this.#published) this.#from = "store";
      else this.#publish(table, entries, "store");
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#endure(error);
    }
  }

  async #seed(): Promise<void> {
    try {
      await this.#parts.seed?.();
    } catch (error) {
      // A write that is refused makes everybody who watches read again, this reader too: it would never be done.
      this.#isStale = false;
      throw error;
    }
  }

  /** The store cannot be read: what is served stays, or the last known table takes its place, and it is tried again. */
  #endure({ code, message }: Fault): void {
    if (this.#isStopped) return;
    if (this.#published === 0) this.#fallBack();
    const of = this.#from === "disk" ? ", as it was kept on this machine's disk," : "";
    const served = this.#published === 0 ? "" : `revision ${this.#published}${of} is served: `;
    const fault = `the store cannot be read; ${served}${message}`;
    // One line for each new state of things, not for every try.
    if (fault !== this.#storeFault)
      this.#parts.log.error({ code, detail: message }, "the store cannot be read");
    this.#storeFault = fault;
    this.#retry = setTimeout(() => void this.#refresh(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }

  #fallBack(): void {
    const table = this.#parts.fallback?.() ?? null;
    if (table === null || !this.#publish(table, [], "disk")) return;
    const { revision, atMs } = table;
    this.#parts.journal.append("table.from_disk", { revision, at_ms: atMs });
    this.#parts.log.warn(
      { revision },
      "the last table known here is served, because the store cannot be read",
    );
  }

  /** The audit entries of the revisions since the last published one; only the newest at the start. */
  async #entriesUpTo(table: AuditEntry): Promise<AuditEntry[]> {
    const skipped = this.#published === 0 ? 0 : table.revision - this.#published - 1;
    if (skipped <= 0) return [table];
    const limit = Math.min(skipped, HISTORY_PAGE_MAX);
    const between = await this.#parts.store.history({ before: table.revision, limit });
    return [...between.toReversed(), table];
  }

  /** Gives a table to the fleet. False when this version cannot use it. */
  #publish(
    { revision, document, atMs }: StoredTable,
    entries: readonly AuditEntry[],
    from: Served["from"],
  ): boolean {
    const { journal, log } = this.#parts;
    const decoded = decodeStored(document, atMs);
    if (!decoded.ok) {
      // Written by another version of Crossfade: reading it again would not help, a new revision will.
      this.#storeFault = `revision ${revision} of the store cannot be used, revision ${this.#published} is served`;
      log.error({ revision, problems: decoded.problems }, "the table in the store cannot be used");
      return false;
    }
    this.#hear(revision);
    this.#published = revision;
    this.#from = from;
    this.#table = { revision, document: decoded.value };
    this.republish();
    for (const { revision: number, actor, action, reason, difference } of entries) {
      journal.append("table.changed", { revision: number, actor, action, reason, difference });
    }
    log.info({ revision }, "table published");
    this.#review();
    return true;
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
