/** The other instances of a store, as they were when they were last heard, and what is missing there. */
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { INSTANCE_TTL_MS, INSTANCES_MAX, type InstanceRecord } from "../store/instances.ts";
import type { EventSink } from "./fleet_news.ts";
import { HeardAccount } from "./member_account.ts";
import { decodeAccount, decodeStatus, type MemberStatus } from "./member_word.ts";
import type { Sampler } from "./sampler.ts";

/** How often an instance says how it is and asks how the others are, in milliseconds. */
export const WORD_MS = 1_000;

/** What is said of the other instances while they cannot be listed. */
export const AWAY = "the store cannot be reached, so the other instances' state is not known";

/** Whoever is not listed any more although it was heard so lately has said goodbye, in milliseconds. */
const GOODBYE_MS = INSTANCE_TTL_MS - 1.5 * WORD_MS;
/** Instances that one message names; the others are counted. */
const NAMED_MAX = 20;

/** An instance as it was when it was last heard. */
export interface InstanceView {
  readonly id: string;
  readonly isSelf: boolean;
  readonly appliedRevision: number;
  readonly lastHeardMsAgo: number;
  /** It is not known how it is now. */
  readonly isUnknown: boolean;
  /** Null for one whose words this version cannot read. */
  readonly status: MemberStatus | null;
}

/** What the others are told to. */
export interface OtherMembersParts {
  readonly sampler: Pick<Sampler, "addOthers">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: EventSink;
}

interface Other {
  readonly id: string;
  readonly account: HeardAccount;
  appliedRevision: number;
  heardAtMs: number;
  /** The store was lost since it was last listed. */
  isUnknown: boolean;
  /** The number of the last call of `hearApplied` about it. */
  told: number;
  /** There was such a call since the last list: what is new in the next one was heard then. */
  isFresh: boolean;
  statusText: string | null;
  status: MemberStatus | null;
  totalsText: string;
  /** What it counts is in the windows here. */
  isCounted: boolean;
}

/**
 * Everybody else.
 *
 * Listed: whoever the registry lists; it counts for waits, and its traffic for the windows. Unknown: entered by all
 * when the registry cannot be reached; kept as last heard, and missing for every wait; left when it is listed again,
 * or for good when it is still not listed INSTANCE_TTL_MS after the registry came back.
 */
export class OtherMembers {
  readonly #parts: OtherMembersParts;
  /** At most INSTANCES_MAX, as the registry lists them. */
  readonly #others = new Map<string, Other>();
  /** They cannot be listed, or were not yet. */
  #isAway = true;
  #backAtMs = -Infinity;
  #told = 0;

  constructor(parts: OtherMembersParts) {
    this.#parts = parts;
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  /** Calls of `hearApplied` so far: what is heard while a list is on its way is newer than the list. */
  get told(): number {
    return this.#told;
  }

  /** The registry cannot be reached. */
  lose(): void {
    this.#isAway = true;
    for (const other of this.#others.values()) other.isUnknown = true;
  }

  /** Takes a list, this instance left out. `told`: what that was when the list was asked for. */
  take(records: readonly InstanceRecord[], told: number): void {
    const nowMs = this.#parts.clock.nowMs();
    if (this.#isAway) this.#backAtMs = nowMs;
    this.#isAway = false;
    const present = new Set<string>();
    for (const record of records) {
      present.add(record.id);
      this.#hear(record, told, nowMs);
    }
    // After an outage everybody comes back when it notices, so nobody is gone before it had the time for that.
    const isSettled = nowMs - this.#backAtMs >= INSTANCE_TTL_MS;
    for (const other of this.#others.values()) {
      if (!present.has(other.id) && (isSettled || !other.isUnknown)) this.#forget(other, nowMs);
    }
  }

  /** An instance has applied a revision. False for one that was not listed yet. */
  hearApplied(id: string, revision: number): boolean {
    this.#told++;
    const other = this.#others.get(id);
    if (other === undefined) return false;
    other.appliedRevision = revision;
    other.told = this.#told;
    other.isFresh = true;
    other.heardAtMs = this.#parts.clock.nowMs();
    return true;
  }

  views(): InstanceView[] {
    const nowMs = this.#parts.clock.nowMs();
    return [...this.#others.values()].map(({ id, appliedRevision, heardAtMs, isUnknown, status }) => ({
      id,
      isSelf: false,
      appliedRevision,
      lastHeardMsAgo: nowMs - heardAtMs,
      isUnknown: isUnknown || status === null,
      status,
    }));
  }

  /** How many of them have their traffic in the windows here. */
  counted(): number {
    return [...this.#others.values()].filter(({ isCounted, isUnknown }) => isCounted && !isUnknown).length;
  }

  /** The newest revision that any of them has applied, as far as is known; 0 for none. */
  newestApplied(): number {
    return Math.max(0, ...[...this.#others.values()].map(({ appliedRevision }) => appliedRevision));
  }

  /** The newest revision that all of them have; Infinity without others, 0 while that is not known. */
  appliedEverywhere(): number {
    if (this.#isAway) return 0;
    let everywhere = Infinity;
    for (const other of this.#others.values()) {
      if (counts(other)) everywhere = Math.min(everywhere, other.isUnknown ? 0 : other.appliedRevision);
    }
    return everywhere;
  }

  /** Who does not have a revision, in words. */
  missing(revision: number): string[] {
    const nowMs = this.#parts.clock.nowMs();
    const behind = [...this.#others.values()]
      .filter((other) => counts(other) && (other.isUnknown || other.appliedRevision < revision))
      .map(({ id, appliedRevision, heardAtMs, isUnknown }) => {
        const ago = `${((nowMs - heardAtMs) / 1000).toFixed(1)} s ago`;
        if (!isUnknown) return `instance ${id} has revision ${appliedRevision}, heard ${ago}`;
        return `instance ${id} had revision ${appliedRevision} when it was last heard, ${ago}`;
      });
    return this.#isAway ? [...shortened(behind), AWAY] : shortened(behind);
  }

  warnings(): string[] {
    const unreadable = [...this.#others.values()]
      .filter(({ status, isCounted, totalsText }) => status === null || (totalsText !== "" && !isCounted))
      .map(({ id }) => id);
    const warnings: string[] = [];
    if (unreadable.length > 0) {
      const names = shortened(unreadable).join(", ");
      warnings.push(`what these instances say cannot be read here, they may run another version: ${names}`);
    }
    if (this.#others.size + 1 >= INSTANCES_MAX) {
      warnings.push(`the store lists ${INSTANCES_MAX} instances, and has no place for more`);
    }
    return warnings;
  }

  #hear(record: InstanceRecord, told: number, nowMs: number): void {
    const known = this.#others.get(record.id);
    const other = known ?? stranger(record, nowMs);
    this.#others.set(record.id, other);
    other.isUnknown = false;
    if (other.told <= told) other.appliedRevision = record.appliedRevision;
    if (record.status !== other.statusText) {
      const before = other.status;
      if (!other.isFresh) other.heardAtMs = nowMs;
      other.statusText = record.status;
      other.status = decodeStatus(record.status);
      const isRestarted = before !== null && other.status !== null && before.run !== other.status.run;
      if (isRestarted) this.#sayLeft(other, "started again");
      if (known === undefined || isRestarted) this.#sayJoined(other);
    }
    other.isFresh = false;
    if (record.totals === other.totalsText) return;
    other.totalsText = record.totals;
    const account = record.totals === "" ? null : decodeAccount(record.totals);
    other.isCounted = account !== null;
    if (account !== null) this.#parts.sampler.addOthers(other.account.hear(account, nowMs));
  }

  #forget(other: Other, nowMs: number): void {
    this.#others.delete(other.id);
    const isGoodbye = nowMs - other.heardAtMs < GOODBYE_MS;
    this.#sayLeft(other, isGoodbye ? "said goodbye" : `silent for ${INSTANCE_TTL_MS / 1000} s`);
  }

  #sayJoined({ id, status, appliedRevision }: Other): void {
    const facts = { instance: id, version: status?.version ?? "", revision: appliedRevision };
    this.#parts.journal.append("instance.joined", facts);
    this.#parts.log.info(facts, "instance joined");
  }

  #sayLeft({ id }: Other, cause: string): void {
    this.#parts.journal.append("instance.left", { instance: id, cause });
    this.#parts.log.info({ instance: id, cause }, "instance left");
  }
}

/** Whether it is waited for. One that drains is on its way out, and accepts nothing any more. */
function counts({ isUnknown, status }: Other): boolean {
  return isUnknown || status?.state !== "draining";
}

function stranger({ id, appliedRevision }: InstanceRecord, nowMs: number): Other {
  return {
    id,
    account: new HeardAccount(),
    appliedRevision,
    heardAtMs: nowMs,
    isUnknown: false,
    told: 0,
    isFresh: false,
    statusText: null,
    status: null,
    totalsText: "",
    isCounted: false,
  };
}

/** The first NAMED_MAX of a list, and how many more there are. */
function shortened(names: readonly string[]): string[] {
  if (names.length <= NAMED_MAX) return [...names];
  return [...names.slice(0, NAMED_MAX), `${names.length - NAMED_MAX} more instances`];
}
