/** Every change there is: read, decide, prove, commit, and try again when the table moved on meanwhile. */
import type { Clock } from "../base/clock.ts";
import { assert, Fault } from "../base/fault.ts";
import { decodeDocument } from "../domain/document.ts";
import type { Effect, PersonEvent } from "../domain/rollout_event.ts";
import type { RolloutState } from "../domain/rollout_words.ts";
import type { Document, RouteId } from "../domain/route.ts";
import { withoutStates } from "../domain/stored.ts";
import type { Reseed } from "../store/guard.ts";
import type { AuditEntry, RouteStore, StoredTable } from "../store/store.ts";
import {
  attempt,
  baseOf,
  documentOf,
  EMPTY,
  findOwnRollback,
  judgeAuthor,
  mismatch,
  type Attempt,
  type Author,
  type Base,
  type Done,
  type Outcome,
} from "./attempt.ts";
import {
  decided,
  invalid,
  refused,
  withoutRollout,
  withoutRoute,
  withRollout,
  withRoute,
  withWeights,
  type Decision,
  type Refusal,
} from "./change.ts";
import { decodeExport } from "./export.ts";
import { reconcile } from "./reconcile.ts";
import { reseed, type ReseedParts } from "./reseed.ts";
import {
  alarmOf,
  MACHINE,
  stateOf,
  withMove,
  withoutCandidate,
  type MoveDecision,
  type MoveWish,
} from "./rollout_move.ts";

/** How often a change is read and decided anew after the first try met a conflict. */
const RETRIES_MAX = 8;

/** Changes that may wait for their turn. One holds a body of up to 1 MiB; imports are bounded where they come in. */
const WAITING_MAX = 100;

/**
 * What became of a move. `effects` are to be carried out now, in their order; there are none when nothing was
 * committed. `state` is the one that counts now.
 */
export type MoveOutcome =
  | (Done & { readonly effects: readonly Effect[]; readonly state: RolloutState })
  | Refusal;

/** What became of an import. `revision` is the newest one of the history and `revisions` their number. */
export type ImportOutcome =
  | { readonly ok: true; readonly revision: number; readonly revisions: number }
  | Refusal;

/** The table as it is. */
export interface CurrentTable {
  readonly revision: number;
  readonly document: Document;
  readonly audit: AuditEntry;
  /** The store cannot be read; this is the last table of it that is known here. */
  readonly isStale: boolean;
}

/** What commands need besides a store; all but the clock only for one that may forget. */
export interface CommandsOptions {
  readonly clock: Pick<Clock, "wallMs">;
  /** The last table that is known here, for reading while the store cannot be read. */
  readonly known?: () => StoredTable | null;
  readonly reseed?: ReseedParts;
}

type Decide = Attempt["decide"];

/**
 * Every way to change the table. A change that changes nothing commits nothing.
 *
 * Changes of one process take turns, so that only other processes can make them conflict; beyond WAITING_MAX they are
 * refused with TOO_MANY_WAITING. Refusals are outcomes: INVALID with all problems, NOT_FOUND, REVISION_MISMATCH,
 * KEY_REUSED, CONFLICT after RETRIES_MAX retries. Throws Fault STORE_UNAVAILABLE when the store cannot be reached, or
 * when it holds a table that this version cannot read; then only replaceTable and restore go on.
 */
export class Commands {
  readonly #store: RouteStore;
  readonly #options: CommandsOptions;
  /** Settles when the last change in the line is done. */
  #lastTurn: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** The newest revisions at which this process has rolled back a route by itself. */
  #rollbacks: readonly number[] = [];

  constructor(store: RouteStore, options: CommandsOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** The current table, or null when the store is empty. While the store cannot be read: the last one known here. */
  async current(): Promise<CurrentTable | null> {
    try {
      return currentOf(await this.#store.read(), false);
    } catch (error) {
      const known = error instanceof Fault ? (this.#options.known?.() ?? null) : null;
      if (known === null) throw error;
      return currentOf(known, true);
    }
  }

  /** Puts the first table into an empty store; otherwise changes nothing. */
  async seed(document: Document): Promise<Outcome> {
    const author = { actor: MACHINE, reason: "the store was empty" };
    return this.#change("seed", author, (base) => decided(base.revision === 0 ? document : documentOf(base)));
  }

  /** Replaces the whole table by one in the operator's form. */
  async replaceTable(input: unknown, author: Author): Promise<Outcome> {
    const decoded = decodeDocument(input);
    const decision = decoded.ok ? decided(decoded.value) : invalid(decoded.problems);
    return this.#change("apply", author, () => decision);
  }

  /** Adds or replaces one route. */
  async putRoute(id: string, input: unknown, author: Author): Promise<Outcome> {
    return this.#change("route.put", author, (base) => withRoute(documentOf(base), id, input));
  }

  /** Removes one route; the last one may go too. */
  async deleteRoute(id: string, author: Author): Promise<Outcome> {
    return this.#change("route.delete", author, (base) => withoutRoute(documentOf(base), id));
  }

  /** Gives a route a plan, or another one. */
  async putRollout(id: string, input: unknown, author: Author): Promise<Outcome> {
    return this.#change("rollout.put", author, (base) => withRollout(documentOf(base), id, input));
  }

  /** Takes the plan of a route away; its weight stays. */
  async deleteRollout(id: string, author: Author): Promise<Outcome> {
    return this.#change("rollout.delete", author, (base) => withoutRollout(documentOf(base), id));
  }

  /** Moves traffic: weights in percent per backend of the route's cutover. */
  async shift(id: string, weights: unknown, author: Author): Promise<Outcome> {
    return this.#change("shift", author, (base) => withWeights(documentOf(base), id, weights));
  }

  /** Moves all traffic of a route to legacy, and ends its rollout. */
  async rollback(id: string, author: Author): Promise<Outcome> {
    const { reason } = author;
    return this.#carryOut({
      action: "rollback",
      author,
      decide: (base) => {
        const event: PersonEvent = { type: "rolledBack", nowMs: this.#nowMs(), reason };
        return withoutCandidate(documentOf(base), id, event);
      },
    });
  }

  /** The judge's rollback of a route whose weights were set by hand; a rollout that owns them is ended. */
  async rollBackByItself(route: string, reason: string): Promise<Outcome> {
    return this.#carryOut({
      action: "rollback",
      author: { actor: MACHINE, reason },
      decide: (base) => withoutCandidate(documentOf(base), route, alarmOf(reason, this.#nowMs())),
    });
  }

  /** The newest revision after `since` at which the machine itself has rolled a route back, or null. */
  async rolledBackSince(route: RouteId, since: number): Promise<number | null> {
    const current = await this.#store.read();
    if (current === null || current.revision <= since) return null;
    const found = await findOwnRollback(this.#store, [route], { since, revision: current.revision });
    return found?.revision ?? null;
  }

  /**
   * Moves the rollout of a route by an event, or by what a function makes of its state: weight and state in one commit.
   * After a conflict the event goes to the state that won. An event that changes nothing commits nothing.
   *
   * Refuses with NOT_FOUND a route without a plan, and with CONFLICT what the state does not allow. What the machine
   * does, by ticks and answers of gates, is in the audit log as its own, whoever the author.
   */
  async moveRollout(route: string, wish: MoveWish, author: Author): Promise<MoveOutcome> {
    let last: MoveDecision | null = null;
    const outcome = await this.#carryOut({
      action: "rollout",
      author,
      decide: (base) => {
        const decision = withMove(documentOf(base), route, wish);
        last = decision.ok ? decision : null;
        return decision;
      },
    });
    return outcome.ok ? movedBy(outcome, route, last) : outcome;
  }

  /** Makes a past table the current one, as a new revision. */
  async restore(revision: number, author: Author): Promise<Outcome> {
    return this.#change("restore", author, async () => {
      const isPossible = Number.isSafeInteger(revision) && revision >= 1;
      const stored = isPossible ? await this.#store.at(revision) : null;
      if (stored === null)
        return refused("NOT_FOUND", `There is no revision ${revision}, or it is forgotten`);
      // Where rollouts were is of no use: their states never come from the past.
      const decoded = decodeDocument(withoutStates(stored.document));
      if (decoded.ok) return decided(decoded.value);
      return invalid(
        decoded.problems,
        `Revision ${revision} cannot be restored: this version cannot read its table`,
      );
    });
  }

  /** Says which table counts, after the store has lost the one that is served. See `reseed.ts` for its refusals. */
  async reseed(which: Reseed, author: Author): Promise<Outcome> {
    const { reseed: parts } = this.#options;
    if (parts === undefined)
      return refused("CONFLICT", "The embedded store needs no word about which table counts");
    const faults = judgeAuthor(author, decided(EMPTY));
    if (!faults.ok) return faults;
    return this.#inTurn(() => reseed(parts, which, { actor: author.actor, reason: author.reason }));
  }

  /**
   * Fills an empty store with an exported history, numbers, authors and all; its newest revision becomes the table.
   *
   * All that is wrong with it is told at once. CONFLICT when the store holds anything.
   */
  async importHistory(
    input: unknown,
    on: Pick<Author, "ifMatch" | "idempotency"> = {},
  ): Promise<ImportOutcome> {
    const decoded = decodeExport(input);
    return decoded.ok
      ? this.#inTurn(() => this.#load(decoded.value, on))
      : invalid(decoded.problems, "This cannot be imported; nothing was changed");
  }

  async #load(
    history: readonly StoredTable[],
    { ifMatch, idempotency: mark }: Pick<Author, "ifMatch" | "idempotency">,
  ): Promise<ImportOutcome> {
    const outcome = { ok: true, revision: history.at(-1)?.revision ?? 0, revisions: history.length } as const;
    const record = mark === undefined ? null : await this.#store.recall(mark.key);
    // With one fingerprint the body is the same, and so is the outcome.
    if (record !== null) return record.fingerprint === mark?.fingerprint ? outcome : refused("KEY_REUSED");
    const current = await this.#store.read();
    const revision = current?.revision ?? 0;
    if (ifMatch !== undefined && ifMatch !== revision) return mismatch(revision, ifMatch);
    if (current !== null || !(await this.#store.load(history))) {
      return notEmpty(current ?? (await this.#store.read()));
    }
    try {
      if (mark !== undefined) await this.#store.remember(mark, outcome.revision);
    } catch (error) {
      // The history is stored, whatever becomes of the key: the answer must say so.
      if (!(error instanceof Fault)) throw error;
    }
    return outcome;
  }

  /** A change by hand: what it means for rollouts is decided with it. */
  async #change(action: string, author: Author, decide: Decide): Promise<Outcome> {
    const reconciled = async (base: Base): Promise<Decision> => {
      const decision = await decide(base);
      const before = base.table.ok ? base.table.value : EMPTY;
      return decision.ok ? reconcile(before, decision.document, this.#nowMs()) : decision;
    };
    return this.#carryOut({ action, author, decide: reconciled });
  }

  async #carryOut(change: Attempt): Promise<Outcome> {
    const known = this.#rollbacks.at(-1) ?? 0;
    // Whoever asks here has seen no later table, so a rollback that others made since then counts as a conflict too.
    const seen = this.#options.known?.()?.revision ?? null;
    const onOwnRollback = (revision: number): void => {
      this.#rollbacks = [...this.#rollbacks, revision].slice(-WAITING_MAX);
    };
    const tryOften = async (): Promise<Outcome> => {
      // What this process rolled back while the change waited for its turn counts as a conflict.
      const meanwhile = this.#rollbacks.find((revision) => revision > known);
      let since = meanwhile === undefined ? seen : Math.min(meanwhile - 1, seen ?? Infinity);
      for (let tries = 0; tries <= RETRIES_MAX; tries++) {
        const outcome = await attempt({ store: this.#store, since, onOwnRollback }, change);
        if ("ok" in outcome) return outcome;
        since ??= outcome.conflictAt;
      }
      const detail = `The table changed ${RETRIES_MAX + 1} times while this write was tried; try again`;
      return refused("CONFLICT", detail);
    };
    // Nothing that others do can make a dry run conflict.
    return change.author.dryRun === true ? tryOften() : this.#inTurn(tryOften);
  }

  async #inTurn<Result>(work: () => Promise<Result | Refusal>): Promise<Result | Refusal> {
    if (this.#waiting >= WAITING_MAX) return refused("TOO_MANY_WAITING");
    this.#waiting++;
    const turn = this.#lastTurn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#lastTurn = promise;
    try {
      await turn;
      return await work();
    } finally {
      this.#waiting--;
      resolve();
    }
  }

  #nowMs(): number {
    return Math.trunc(this.#options.clock.wallMs());
  }
}

function movedBy(done: Done, route: string, last: MoveDecision | null): MoveOutcome {
  // A request that came twice has the first outcome again, and its effects were carried out then.
  const isOurs = done.changed && last?.document === done.document;
  const state = stateOf(done.document, route);
  assert(state !== null, "a rollout that was moved has a state");
  return { ...done, state, effects: isOurs ? last.effects : [] };
}

function currentOf(stored: StoredTable | null, isStale: boolean): CurrentTable | null {
  if (stored === null) return null;
  const { document: _, ...audit } = stored;
  return { revision: stored.revision, document: documentOf(baseOf(stored)), audit, isStale };
}

/** The refusal of a history for a store that has one; null when that could not be read again. */
function notEmpty(stored: StoredTable | null): Refusal {
  const what =
    stored === null
      ? "The store was filled meanwhile"
      : `The store holds revision ${stored.revision} (${stored.action} by ${stored.actor})`;
  const detail =
    `${what}, and an import only goes into an empty store: change the table with \`crossfade apply\`, go back to a ` +
    "past one with `crossfade restore`, or import where the store is empty and the settings have no table";
  return refused("CONFLICT", detail);
}
