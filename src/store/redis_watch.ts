/** Who is told of new revisions in Redis, and when: by messages, by looking, and after every absence. */
import { Fault } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import type { Standing } from "./lineage.ts";
import type { RedisLink } from "./redis_link.ts";
import { wholeOf } from "./redis_rows.ts";

/** How often the revision is compared while anybody watches: messages may get lost. */
const POLL_MS = 2_000;

type Listener = (revision: number) => void;

/** What the watching of a store works with. `look` reads where the store stands. */
export interface WatchParts {
  readonly link: RedisLink;
  readonly channel: string;
  readonly look: () => Promise<Standing>;
  readonly log: Pick<Logger, "error">;
}

/**
 * Tells listeners of revisions, ascending and each once, with two exceptions: after the connection was lost and made
 * again, and after the store was seen at an earlier revision or in another lineage, they are told whatever revision
 * there is, 0 for an empty store. Whoever is told looks for itself.
 */
export class RedisWatch {
  readonly #parts: WatchParts;
  readonly #listeners = new Set<Listener>();
  /** The newest that listeners were told, or need not be told; null while nothing is known. */
  #known: Standing | null = null;
  /** Counts changes of what is known, so that an answer that was overtaken is recognised. */
  #version = 0;
  #isLooking = false;
  #isToLookAgain = false;
  #poll: NodeJS.Timeout | null = null;
  readonly #ends: (() => void)[] = [];

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** As RouteStore says. */
  add(listener: Listener): () => void {
    this.#listeners.add(listener);
    if (this.#poll === null) this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stop();
    };
  }

  /** Something was read. Nobody who watches hears of it, because that would hide it from them. */
  noteRead(standing: Standing): void {
    if (this.#listeners.size === 0) this.#know(standing);
  }

  /** This handle has changed the store. */
  noteWrite(standing: Standing): void {
    queueMicrotask(() => this.#arrive(standing));
  }

  /** Nobody is told anything any more. */
  close(): void {
    this.#listeners.clear();
    this.#stop();
  }

  #start(): void {
    const { link, channel } = this.#parts;
    this.#poll = setInterval(() => void this.#look(false), POLL_MS).unref();
    const endMessages = link.subscribe(channel, (message) => {
      const revision = wholeOf(message);
      if (revision !== null && this.#known !== null && revision > this.#known.revision) {
        this.#arrive({ ...this.#known, revision });
      } else if (revision !== this.#known?.revision) void this.#look(false);
    });
    const endReady = link.onReady((role) => void this.#look(role === "commands"));
    this.#ends.push(endMessages, endReady);
    void this.#look(false);
  }

  #stop(): void {
    if (this.#poll !== null) clearInterval(this.#poll);
    this.#poll = null;
    for (const end of this.#ends.splice(0)) end();
  }

  /** Reads where the store stands, and tells if that is news, or in any case. */
  async #look(isToTell: boolean): Promise<void> {
    if (this.#isLooking && !isToTell) {
      this.#isToLookAgain = true;
      return;
    }
    this.#isLooking = true;
    const version = this.#version;
    try {
      const standing = await this.#parts.look();
      this.#judge(standing, isToTell, version === this.#version);
    } catch (error) {
      // While the store is away its readers meet the same fault, and when it is back it is looked at again.
      if (!(error instanceof Fault)) throw error;
    } finally {
      this.#isLooking = false;
    }
    if (!this.#isToLookAgain || this.#poll === null) return;
    this.#isToLookAgain = false;
    await this.#look(false);
  }

  #judge(standing: Standing, isToTell: boolean, isCurrent: boolean): void {
    const known = this.#known;
    if (isToTell || known === null) {
      this.#know(standing);
      if (isToTell || standing.revision > 0) this.#tell(standing.revision);
      return;
    }
    const isLater = standing.revision > known.revision;
    // An answer from before what has been told meanwhile says nothing.
    if (!isLater && !isCurrent) return;
    const isOther = known.lineage !== "" && standing.lineage !== known.lineage;
    const isNews = standing.revision !== known.revision || isOther;
    this.#know(standing);
    if (isNews) this.#tell(standing.revision);
  }

  #arrive(standing: Standing): void {
    if (this.#known !== null && standing.revision <= this.#known.revision) return;
    this.#know(standing);
    this.#tell(standing.revision);
  }

  #know(standing: Standing): void {
    this.#known = standing;
    this.#version++;
  }

  #tell(revision: number): void {
    for (const listener of this.#listeners) {
      try {
        listener(revision);
      } catch (error) {
        this.#parts.log.error({ err: error, revision }, "a watcher of the store failed");
      }
    }
  }
}
