/** Writes whose answer may get lost: asked again until it is known what became of them, or nobody can know. */
import { setTimeout as pause } from "node:timers/promises";
import { assert, Fault } from "../base/fault.ts";
import type { Argument, RedisClient } from "./redis_client.ts";
import { isReply } from "./redis_faults.ts";
import type { RedisLink } from "./redis_link.ts";
import type { RedisScript } from "./redis_scripts.ts";

/** How long a write whose answer got lost is asked for again, unless twice the timeout is more. */
export const SETTLE_MS = 5_000;

/** The pause before a server that refused is asked again what became of an earlier ask. */
const ASK_AGAIN_MS = 100;

/** How often the server may find a write late that is not: its clock was set, and the comparison is made anew. */
const LATE_MAX = 3;

/** A write, ready to be asked for once or more. */
export interface Write {
  readonly script: RedisScript;
  readonly keys: readonly string[];
  /** The arguments, with the time on the server's clock after which the script must do nothing. */
  readonly args: (deadlineMs: number) => readonly Argument[];
}

/** What a script answered that has settled the matter: its words, `done` or `conflict` first. */
export type Settled = readonly string[];

/** What one ask led to. `replicas` that have it count only where it was done. */
interface Asked {
  readonly words: Settled;
  readonly replicas: number;
}

/**
 * Asks for a write, and goes on asking on the next connections while answers get lost.
 *
 * The write carries a nonce, by which the script knows that it has been done, and a deadline, after which it does
 * nothing: so a copy that sits somewhere in a paused Redis or network is not carried out after the caller was told.
 * Throws Fault STORE_UNAVAILABLE when nothing was changed and nothing will be, STORE_UNSURE when that cannot be known
 * within `settleMs`, or when fewer than the wanted replicas have the change. Takes at most `settleMs` and one timeout.
 */
export async function settle(link: RedisLink, write: Write, settleMs: number): Promise<Settled> {
  const endMs = link.nowMs() + settleMs;
  let lost: Fault | null = null;
  let latestMs = 0;
  for (let late = 0; ;) {
    const deadlineMs = link.serverMs(endMs);
    const attempt = await link.attempt((client) => ask(client, link, write, deadlineMs));
    if (attempt.kind === "answered") {
      const { words, replicas } = attempt.value;
      assert(Array.isArray(words), "a script answers a list");
      if (words[0] === "damaged") throw damaged(link, words[1] ?? "");
      if (words[0] !== "late") return confirm(link, words, replicas);
      const nowMs = Number(words[1]);
      link.compareClocks(nowMs);
      // No copy can be carried out any more when the server's clock is past the deadlines of all of them.
      if (endMs <= link.nowMs() || ++late >= LATE_MAX) {
        if (lost === null || nowMs > latestMs) throw tooLate(link);
        throw unsure(lost);
      }
      continue;
    }
    if (attempt.kind === "lost") {
      lost = attempt.fault;
      latestMs = Math.max(latestMs, deadlineMs);
    } else if (lost === null) throw attempt.fault;
    else if (endMs <= link.nowMs()) throw unsure(lost);
    else await pause(ASK_AGAIN_MS);
    if (!(await link.whenReady(endMs - link.nowMs()))) throw unsure(lost);
  }
}

async function ask(
  client: RedisClient,
  { settings }: RedisLink,
  { script, keys, args }: Write,
  deadlineMs: number,
): Promise<Asked> {
  const words = (await client.run(script, keys, args(deadlineMs))) as Settled;
  if (settings.replicas === 0 || words[0] !== "done") return { words, replicas: 0 };
  try {
    return { words, replicas: await client.replicated(settings.replicas) };
  } catch (error) {
    // The change is done; that nobody may ask about replicas must not look as if it were not.
    if (isReply(error)) return { words, replicas: 0 };
    throw error;
  }
}

function confirm(link: RedisLink, words: Settled, replicas: number): Settled {
  const { replicas: wanted, timeoutMs } = link.settings;
  if (words[0] !== "done" || replicas >= wanted) return words;
  throw new NotReplicated(
    words,
    `Redis at ${link.where}: the change is stored, but only ${replicas} of ${wanted} replicas had it within ` +
      `${Math.ceil(timeoutMs / 2)} ms; it is lost if the primary is; read the table before trying again`,
  );
}

/** The change was carried out, on the primary at least. */
export class NotReplicated extends Fault {
  readonly words: Settled;
  constructor(words: Settled, detail: string) {
    super("STORE_UNSURE", detail);
    this.words = words;
  }
}

/** A key holds what Crossfade has not written, or not so. */
export function damaged(link: RedisLink, key: string): Fault {
  const { prefix } = link.settings;
  const detail =
    `Redis at ${link.where}: the key ${key} is damaged, or belongs to another program; ` +
    `restore it with all of {${prefix}}:*, or set another store.redis.prefix`;
  return new Fault("STORE_UNAVAILABLE", detail);
}

function tooLate(link: RedisLink): Fault {
  const detail = `Redis at ${link.where}: it came to the change too late and left it; try again`;
  return new Fault("STORE_UNAVAILABLE", detail);
}

function unsure({ message }: Fault): Fault {
  const detail = `${message}; the change may have been stored: read the table before trying again`;
  return new Fault("STORE_UNSURE", detail);
}
