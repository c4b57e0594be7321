/** Names of endpoints to addresses: asked again every few seconds, and remembered when nobody answers. */
import { lookup as lookUp } from "node:dns/promises";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { Deadlines, Timed } from "./deadlines.ts";

/** Asks for all addresses of a name. Rejects when there are none. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** Gets the addresses to try, in this order, or why there are none. Called exactly once, possibly at once. */
export type AddressTaker = (addresses: readonly string[], error: Error | null) => void;

/** What a resolver works with. `onGone`: some addresses of a name are not its own any more. */
export interface ResolverParts {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly lookup: Lookup;
  readonly log: Logger;
  readonly onGone: (host: string) => void;
}

/** An answer is taken for true this long. */
const FRESH_MS = 5_000;
/** After a failure, the next question is asked this much later. */
const FAILED_MS = 1_000;
/** When nobody answers, the last good answer is used up to this age. */
const KEPT_MS = 300_000;
/** Whoever waits for a new answer gets the last good one after this, so that slow name servers delay little. */
const PATIENCE_MS = 500;
/** Lookups block threads that the whole process shares, of which there are four. */
const LOOKUPS_AT_ONCE = 2;
/** Names remembered; over it the oldest is forgotten. */
const NAMES_MAX = 4_096;
/** Addresses of one name that are used; further ones are left out. */
const ADDRESSES_MAX = 64;

/** The addresses of a name as the operating system knows them, from its files and its name servers, in their order. */
export async function systemLookup(host: string): Promise<string[]> {
  const found = await lookUp(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
}

/** One name. While somebody waits for its addresses and there are old ones, it has a deadline. */
class Name implements Timed {
  deadlineMs = Infinity;
  readonly host: string;
  /** The last good answer. */
  addresses: readonly string[] = [];
  learnedMs = -Infinity;
  /** When to ask again at the earliest. */
  dueMs = -Infinity;
  isAsking = false;
  error: Error | null = null;
  readonly #takers: AddressTaker[] = [];
  #turn = 0;

  constructor(host: string) {
    this.host = host;
  }

  /** Adds somebody who waits for the answer. Bound: one per connection attempt, which have bounds of their own. */
  wait(taker: AddressTaker): void {
    this.#takers.push(taker);
  }

  /** Gives everybody who waits what there is. */
  settle(): void {
    this.deadlineMs = Infinity;
    for (const taker of this.#takers.splice(0)) this.give(taker);
  }

  /** Gives the addresses, each time beginning with another one. */
  give(taker: AddressTaker): void {
    const start = this.addresses.length === 0 ? 0 : this.#turn++ % this.addresses.length;
    const rotated = [...this.addresses.slice(start), ...this.addresses.slice(0, start)];
    taker(rotated, rotated.length === 0 ? (this.error ?? new Error(`${this.host} has no address`)) : null);
  }

  onDeadline(): void {
    this.settle();
  }
}

/** All names of one worker. */
export class Resolver {
  /** Lookups that gave nothing. */
  failures = 0;
  readonly #parts: ResolverParts;
  readonly #names = new Map<string, Name>();
  /** Names to ask for once another lookup ends; each at most once. */
  readonly #queue: Name[] = [];
  #asking = 0;

  constructor(parts: ResolverParts) {
    this.#parts = parts;
  }

  /** Finds the addresses of a name: the known ones while they are fresh, else new ones. */
  find(host: string, taker: AddressTaker): void {
    const nowMs = this.#parts.clock.nowMs();
    const name = this.#names.get(host) ?? this.#add(host);
    if (nowMs < name.dueMs) {
      name.give(taker);
      return;
    }
    name.wait(taker);
    const isKept = name.addresses.length > 0 && nowMs - name.learnedMs <= KEPT_MS;
    if (isKept) name.deadlineMs = Math.min(name.deadlineMs, nowMs + PATIENCE_MS);
    this.#ask(name);
  }

  /** Notes that a name is in use: asks for it again when that is due, while kept connections go on. */
  touch(host: string): void {
    const name = this.#names.get(host);
    if (name !== undefined && this.#parts.clock.nowMs() >= name.dueMs) this.#ask(name);
  }

  /** Whether a connection to this address may still be used for the name. */
  isCurrent(host: string, address: string): boolean {
    const known = this.#names.get(host)?.addresses ?? [];
    return known.length === 0 || known.includes(address);
  }

  #add(host: string): Name {
    for (const name of this.#names.values()) {
      if (this.#names.size < NAMES_MAX) break;
      if (name.isAsking) continue;
      this.#names.delete(name.host);
      this.#parts.deadlines.remove(name);
    }
    const name = new Name(host);
    this.#names.set(host, name);
    this.#parts.deadlines.add(name);
    return name;
  }

  #ask(name: Name): void {
    if (name.isAsking) return;
    name.isAsking = true;
    if (this.#asking < LOOKUPS_AT_ONCE) this.#start(name);
    else this.#queue.push(name);
  }

  #start(name: Name): void {
    this.#asking++;
    this.#parts.lookup(name.host).then(
      (addresses) => this.#onAnswer(name, [...new Set(addresses)].slice(0, ADDRESSES_MAX)),
      (error: unknown) => this.#onFailure(name, error instanceof Error ? error : new Error(String(error))),
    );
  }

  #onAnswer(name: Name, addresses: readonly string[]): void {
    if (addresses.length === 0) {
      this.#onFailure(name, new Error(`${name.host} has no address`));
      return;
    }
    const nowMs = this.#parts.clock.nowMs();
    const isGone = name.addresses.some((address) => !addresses.includes(address));
    if (name.error !== null) this.#parts.log.info({ host: name.host, addresses }, "a name is resolved again");
    name.addresses = addresses;
    name.learnedMs = nowMs;
    name.dueMs = nowMs + FRESH_MS;
    name.error = null;
    this.#end(name);
    if (isGone) this.#parts.onGone(name.host);
  }

  #onFailure(name: Name, error: Error): void {
    const nowMs = this.#parts.clock.nowMs();
    this.failures++;
    // Once until it is better: a broken name server would fill the log.
    if (name.error === null) {
      const known = name.addresses;
      this.#parts.log.warn({ host: name.host, error: error.message, known }, "a name could not be resolved");
    }
    if (nowMs - name.learnedMs > KEPT_MS) name.addresses = [];
    name.dueMs = nowMs + FAILED_MS;
    name.error = error;
    this.#end(name);
  }

  #end(name: Name): void {
    name.isAsking = false;
    this.#asking--;
    const next = this.#queue.shift();
    if (next !== undefined) this.#start(next);
    name.settle();
  }
}
