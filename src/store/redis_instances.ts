/** The list of instances in Redis: whoever goes on announcing itself is on it. */
import { assert } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import {
  INSTANCE_TEXT_MAX,
  INSTANCE_TTL_MS,
  INSTANCES_MAX,
  type InstanceRecord,
  type InstanceRegistry,
  type InstanceWord,
} from "./instances.ts";
import type { RedisLink } from "./redis_link.ts";
import { ANNOUNCE, APPLIED, LIST } from "./redis_scripts.ts";

/** An id is part of a key and of a message, where it ends at the first space. */
const ID = /^[A-Za-z0-9._-]{1,128}$/;

/** What a list works with. The link stays the caller's to close. */
export interface RedisInstancesOptions {
  readonly link: RedisLink;
  readonly log: Pick<Logger, "warn">;
  /** INSTANCE_TTL_MS unless told. */
  readonly ttlMs?: number;
}

/**
 * Opens the list behind a link.
 *
 * Its keys, of which PREFIX comes from the settings: `{PREFIX}:instance:ID`, a hash for each instance that expires
 * when it is silent; `{PREFIX}:instances`, a sorted set of them by the time at which each expires, on Redis's own
 * clock. `{PREFIX}:fleet` is the channel of what they have applied.
 */
export function openRedisInstances(options: RedisInstancesOptions): InstanceRegistry {
  return new RedisInstances(options);
}

class RedisInstances implements InstanceRegistry {
  readonly #link: RedisLink;
  readonly #log: Pick<Logger, "warn">;
  readonly #ttlMs: number;
  readonly #prefix: string;
  #hasWarned = false;

  constructor({ link, log, ttlMs = INSTANCE_TTL_MS }: RedisInstancesOptions) {
    this.#link = link;
    this.#log = log;
    this.#ttlMs = ttlMs;
    this.#prefix = `{${link.settings.prefix}}:`;
  }

  async announce(id: string, { appliedRevision, status, totals }: InstanceWord): Promise<void> {
    assertWord(id, appliedRevision);
    for (const text of [status, totals]) {
      assert(text.length <= INSTANCE_TEXT_MAX, "an instance says at most INSTANCE_TEXT_MAX of itself");
    }
    const args = [...this.#head(id), appliedRevision, status, totals];
    await this.#link.call((client) => client.run(ANNOUNCE, this.#keys(id), args));
  }

  async applied(id: string, revision: number): Promise<void> {
    assertWord(id, revision);
    const args = [...this.#head(id), revision];
    await this.#link.call((client) => client.run(APPLIED, this.#keys(id), args));
  }

  async list(): Promise<InstanceRecord[]> {
    const args = [`${this.#prefix}instance:`, INSTANCES_MAX];
    const answer = await this.#link.call((client) => client.run(LIST, [`${this.#prefix}instances`], args));
    const [alive, found] = answer as readonly [number, readonly string[][]];
    if (alive > INSTANCES_MAX && !this.#hasWarned) {
      this.#hasWarned = true;
      this.#log.warn({ instances: alive, listed: INSTANCES_MAX }, "more instances live than are listed");
    }
    const records = found.map(([id = "", applied, status = "", totals = ""]) => {
      return { id, appliedRevision: Number(applied), status, totals };
    });
    return records.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  async leave(id: string): Promise<void> {
    assertWord(id, 0);
    const [instance, index] = this.#keys(id);
    // The hash first: without it an entry of the index counts for nothing.
    await this.#link.call((client) => client.command("del", instance));
    await this.#link.call((client) => client.command("zrem", index, id));
  }

  watch(listener: (id: string, appliedRevision: number) => void): () => void {
    return this.#link.subscribe(`${this.#prefix}fleet`, (message) => {
      const [id = "", revision = ""] = message.split(" ");
      if (ID.test(id) && /^\d{1,16}$/.test(revision)) listener(id, Number(revision));
    });
  }

  #keys(id: string): [instance: string, index: string] {
    return [`${this.#prefix}instance:${id}`, `${this.#prefix}instances`];
  }

  /** What ANNOUNCE and APPLIED are told first. */
  #head(id: string): [id: string, ttlMs: number, channel: string] {
    return [id, this.#ttlMs, `${this.#prefix}fleet`];
  }
}

function assertWord(id: string, revision: number): void {
  assert(ID.test(id), "an instance's id has 1 to 128 letters, digits, dots, underlines and hyphens");
  assert(Number.isSafeInteger(revision) && revision >= 0, "a revision is a whole number");
}
