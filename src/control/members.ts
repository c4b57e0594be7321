/** The instances that share a store, seen by one: says how it is, hears how the others are, waits for all. */
import type { Clock } from "../base/clock.ts";
import { Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { INSTANCE_TTL_MS, type InstanceRecord, type InstanceRegistry } from "../store/instances.ts";
import type { EventSink } from "./fleet_news.ts";
import { OwnAccount } from "./member_account.ts";
import { decodeStatus, encodeAccount, encodeStatus, type MemberStatus } from "./member_word.ts";
import { AWAY, OtherMembers, WORD_MS, type InstanceView } from "./other_members.ts";
import { WAITERS_MAX, type AppliedOutcome } from "./publisher.ts";
import type { Sampler } from "./sampler.ts";

export type { InstanceView } from "./other_members.ts";

/** How long a stop waits for the goodbye, in milliseconds. */
const LEAVE_MS = 1_000;
/** Strangers that are heard between two words make the list be read before its time, but not more often than this. */
const EARLY_LIST_MS = 250;

/** How this instance is, as its own parts see it. */
export interface OwnInstance {
  /** The newest revision that all its workers have applied. */
  appliedRevision(): number;
  /** Waits for its workers, as Publisher does. */
  waitApplied(revision: number, timeoutMs: number): Promise<AppliedOutcome>;
  status(): Pick<MemberStatus, "state" | "servingFrom" | "store" | "workers">;
  warnings(): string[];
  /** Calls `listener` when what is applied may have changed. Gives what ends it. */
  watch(listener: () => void): () => void;
}

/** What the members work with. Without a registry there is only this instance. */
export interface MembersParts {
  readonly registry: InstanceRegistry | null;
  /** The name of this instance, its alone. */
  readonly id: string;
  /** Unique per control process there ever was. */
  readonly run: string;
  readonly pid: number;
  readonly version: string;
  readonly own: OwnInstance;
  readonly sampler: Pick<Sampler, "addOthers" | "watch">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: EventSink;
}

interface Waiter {
  readonly revision: number;
  isAppliedHere: boolean;
  settle(outcome: AppliedOutcome): void;
}

/**
 * All instances of a store, this one included.
 *
 * Once a second it lists the others and says how it is itself. What its workers have applied it says at once, and
 * hears of the others, so a wait for all of them ends as soon as the last one has the revision.
 */
export class Members {
  readonly #parts: MembersParts;
  readonly #startedMs: number;
  readonly #account: OwnAccount;
  readonly #others: OtherMembers;
  readonly #waiters = new Set<Waiter>();
  readonly #unwatch: (() => void)[] = [];
  #ticker: NodeJS.Timeout | null = null;
  #beating: Promise<void> | null = null;
  #listing: Promise<Fault | null> | null = null;
  #listedAtMs: number;
  /** Why the registry cannot be used; null when it can. */
  #fault: string | null = null;
  #isAnnounced = false;
  #isSaying = false;
  #saidRevision = -1;
  /** Pairs that did not fit into the last word. */
  #leftOut = 0;
  /** When another process was last seen under this instance's name. */
  #clashAtMs: number | null = null;
  #isStopped = false;

  constructor(parts: MembersParts) {
    this.#parts = parts;
    this.#startedMs = parts.clock.wallMs();
    this.#account = new OwnAccount(parts.run, parts.clock);
    this.#others = new OtherMembers(parts);
    this.#listedAtMs = parts.clock.nowMs();
  }

  /** Joins the others. Settles when that was tried, come what may. */
  async start(): Promise<void> {
    const { registry, own, sampler } = this.#parts;
    if (registry === null) return;
    this.#unwatch.push(
      sampler.watch((addition, isOwn) => {
        if (isOwn) this.#account.add(addition);
      }),
      registry.watch((id, revision) => this.#hearApplied(registry, id, revision)),
      // Whoever keeps what is applied may hear of it after this listener.
      own.watch(() => queueMicrotask(() => void this.#sayApplied(registry))),
    );
    this.#ticker = setInterval(() => void this.beat(), WORD_MS);
    // The others shall wait for this instance from its first request on, so it says that it is there before it asks.
    await this.#announce(registry);
    await this.beat();
  }

  /** Asks how the others are, then says how this one is. Called every WORD_MS. */
  async beat(): Promise<void> {
    const { registry, clock } = this.#parts;
    if (registry === null || this.#isStopped) return;
    if (this.#beating !== null) {
      if (clock.nowMs() - this.#listedAtMs <= INSTANCE_TTL_MS) return;
      this.#others.lose();
      return this.#note(`no answer for ${INSTANCE_TTL_MS / 1000} s`);
    }
    this.#beating = this.#exchange(registry);
    await this.#beating;
    this.#beating = null;
  }

  /** Says goodbye and lets go of everybody who waits. Takes LEAVE_MS at most. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (this.#ticker !== null) clearInterval(this.#ticker);
    for (const unwatch of this.#unwatch) unwatch();
    for (const waiter of this.#waiters) waiter.settle({ applied: false, missing: ["Crossfade stops"] });
    const { registry } = this.#parts;
    // A goodbye that cannot be said is said by silence.
    if (registry === null || this.#fault !== null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LEAVE_MS);
    await Promise.race([this.#leave(registry), promise]);
    clearTimeout(timer);
  }

  /**
   * Waits until every worker of every live instance has the revision or a newer one, and says how long that took from
   * the call on. Gives up early when this instance's workers cannot get it. One that drains is not waited for.
   *
   * Throws Fault TOO_MANY_WAITING over WAITERS_MAX waiters.
   */
  async waitApplied(revision: number, timeoutMs: number): Promise<AppliedOutcome> {
    if (this.#waiters.size >= WAITERS_MAX) throw new Fault("TOO_MANY_WAITING");
    const { own, clock } = this.#parts;
    const calledMs = clock.nowMs();
    const { promise, resolve, reject } = Promise.withResolvers<AppliedOutcome>();
    const waiter: Waiter = { revision, isAppliedHere: false, settle: resolve };
    this.#waiters.add(waiter);
    own.waitApplied(revision, timeoutMs).then((outcome) => {
      waiter.isAppliedHere = outcome.applied;
      if (outcome.applied) return this.#review();
      const here = outcome.missing.map((who) => this.#named(who));
      resolve({ applied: false, missing: [...here, ...this.#missing(revision)] });
    }, reject);
    const timer = setTimeout(() => {
      // Own workers are given up at the same time, in their own words.
      if (waiter.isAppliedHere) resolve({ applied: false, missing: this.#missing(revision) });
    }, timeoutMs);
    try {
      const outcome = await promise;
      return outcome.applied ? { applied: true, appliedMs: clock.nowMs() - calledMs } : outcome;
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    }
  }

  /** Every instance, in the order of their ids. */
  instances(): InstanceView[] {
    const { id, own } = this.#parts;
    const self: InstanceView = {
      id,
      isSelf: true,
      appliedRevision: own.appliedRevision(),
      lastHeardMsAgo: 0,
      isUnknown: false,
      status: this.#status(),
    };
    return [self, ...this.#others.views()].toSorted((one, two) => (one.id < two.id ? -1 : 1));
  }

  /** Of how many instances the windows show the traffic. */
  counted(): number {
    return 1 + this.#others.counted();
  }

  /** The newest revision that any other instance has applied, as far as is known; 0 for none. */
  appliedElsewhere(): number {
    return this.#others.newestApplied();
  }

  /** What an operator should look at though requests are served. */
  warnings(): string[] {
    const warnings: string[] = [];
    if (this.#fault !== null) {
      const what = this.#others.isAway ? AWAY : "the other instances cannot be told how this one is";
      warnings.push(`${what}: ${this.#fault}`);
    }
    if (this.#clashAtMs !== null) warnings.push(clashText(this.#parts.id));
    if (this.#leftOut > 0) {
      const what = `the traffic of ${this.#leftOut} pairs of route and backend does not fit into a word`;
      warnings.push(`${what}: the other instances' figures are without it`);
    }
    return [...warnings, ...this.#others.warnings()];
  }

  async #exchange(registry: InstanceRegistry): Promise<void> {
    // The list comes first: under this instance's name there must be what it said a second ago.
    const unlisted = await this.#list(registry);
    if (this.#isStopped) return;
    const unsaid = await this.#announce(registry);
    this.#note((unlisted ?? unsaid)?.message ?? null);
  }

  /** Keeps what is wrong with the registry, and says when that begins and ends. */
  #note(fault: string | null): void {
    const { log, id, clock } = this.#parts;
    const had = this.#fault;
    this.#fault = fault;
    if (fault !== null && had === null) log.warn({ detail: fault }, "the other instances cannot be reached");
    if (fault === null && had !== null) log.info({}, "the other instances are reached again");
    if (this.#clashAtMs === null || clock.nowMs() - this.#clashAtMs <= INSTANCE_TTL_MS) return;
    this.#clashAtMs = null;
    log.info({ instance: id }, "no other Crossfade uses the instance name any more");
  }

  #list(registry: InstanceRegistry): Promise<Fault | null> {
    this.#listing ??= this.#listOnce(registry).finally(() => {
      this.#listing = null;
    });
    return this.#listing;
  }

  async #listOnce(registry: InstanceRegistry): Promise<Fault | null> {
    const { clock, id } = this.#parts;
    const { told } = this.#others;
    let records: InstanceRecord[];
    try {
      records = await registry.list();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#others.lose();
      return error;
    }
    this.#listedAtMs = clock.nowMs();
    if (this.#isStopped) return null;
    const own = records.find((record) => record.id === id);
    if (own !== undefined) this.#checkOwn(own);
    this.#others.take(
      records.filter((record) => record !== own),
      told,
    );
    this.#review();
    return null;
  }

  /** Another process under this instance's name: its word took the place of ours. */
  #checkOwn(record: InstanceRecord): void {
    const { id, run, clock, log } = this.#parts;
    // Before ours was taken, there may be that of an earlier run.
    if (!this.#isAnnounced || decodeStatus(record.status)?.run === run) return;
    if (this.#clashAtMs === null) log.error({ instance: id }, clashText(id));
    this.#clashAtMs = clock.nowMs();
  }

  #hearApplied(registry: InstanceRegistry, id: string, revision: number): void {
    if (id === this.#parts.id) return;
    if (this.#others.hearApplied(id, revision)) return this.#review();
    // Somebody new, who shall be waited for too.
    if (this.#parts.clock.nowMs() - this.#listedAtMs >= EARLY_LIST_MS) void this.#list(registry);
  }

  async #announce(registry: InstanceRegistry): Promise<Fault | null> {
    const { id, own } = this.#parts;
    const { text: totals, leftOut } = encodeAccount(this.#account.next());
    this.#leftOut = leftOut;
    const appliedRevision = own.appliedRevision();
    this.#saidRevision = appliedRevision;
    try {
      await registry.announce(id, { appliedRevision, status: encodeStatus(this.#status()), totals });
      this.#isAnnounced = true;
      return null;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return error;
    }
  }

  /** Says at once what is applied here. While one call is under way, only the newest revision waits. */
  async #sayApplied(registry: InstanceRegistry): Promise<void> {
    const { id, own, log } = this.#parts;
    if (this.#isSaying) return;
    this.#isSaying = true;
    while (!this.#isStopped && own.appliedRevision() !== this.#saidRevision) {
      this.#saidRevision = own.appliedRevision();
      try {
        await registry.applied(id, this.#saidRevision);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        // The next word says it again.
        log.debug({ code: error.code, detail: error.message }, "the others were not told what is applied");
      }
    }
    this.#isSaying = false;
  }

  async #leave(registry: InstanceRegistry): Promise<void> {
    // A word that is on its way would undo the goodbye.
    await this.#beating;
    try {
      await registry.leave(this.#parts.id);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#parts.log.debug({ code: error.code, detail: error.message }, "no goodbye could be said");
    }
  }

  #status(): MemberStatus {
    const { own, run, pid, version } = this.#parts;
    return {
      ...own.status(),
      run,
      word: this.#account.word,
      version,
      startedMs: this.#startedMs,
      pid,
      warnings: [...own.warnings(), ...this.warnings()],
    };
  }

  /** Looks who may stop waiting, after anybody did anything. */
  #review(): void {
    if (this.#waiters.size === 0) return;
    const elsewhere = this.#parts.registry === null ? Infinity : this.#others.appliedEverywhere();
    for (const waiter of this.#waiters) {
      if (waiter.isAppliedHere && elsewhere >= waiter.revision)
        waiter.settle({ applied: true, appliedMs: 0 });
    }
  }

  /** Who else does not have a revision, in words. */
  #missing(revision: number): string[] {
    return this.#parts.registry === null ? [] : this.#others.missing(revision);
  }

  /** What is missing here, told apart from other instances if there may be any. */
  #named(who: string): string {
    const { registry, id } = this.#parts;
    return registry === null ? who : `instance ${id}: ${who}`;
  }
}

function clashText(id: string): string {
  return `another Crossfade uses the instance name ${id}; give each its own \`instance\``;
}
