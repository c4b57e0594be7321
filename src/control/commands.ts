/** Every change there is: read, decide, prove, commit, and try again when the table moved on meanwhile. */
import { Fault, type Problem, type Result } from "../base/fault.ts";
import { differenceOf } from "../domain/difference.ts";
import { decodeDocument, encodeDocument } from "../domain/document.ts";
import type { Document } from "../domain/route.ts";
import { compileTable } from "../domain/table.ts";
import type {
  AuditEntry,
  IdempotencyMark,
  IdempotencyRecord,
  RouteStore,
  StoredTable,
} from "../store/store.ts";
import {
  decided,
  invalid,
  refused,
  withoutCandidate,
  withoutRoute,
  withRoute,
  withWeights,
  type Decision,
  type Refusal,
} from "./change.ts";

/** How often a change is read and decided anew after the first try met a conflict. */
const RETRIES_MAX = 8;

/** Changes that may wait for their turn. One holds a body of up to 1 MiB. */
const WAITING_MAX = 100;

/** The longest name of who makes a change and the longest reason, in UTF-16 units. */
const ACTOR_CHARS_MAX = 64;
const REASON_CHARS_MAX = 1_000;

/** Problems of a stored table that a fault names; the rest is counted. */
const NAMED_PROBLEMS_MAX = 3;

const EMPTY: Document = { backends: [], routes: [] };

/** Who makes a change, why, and on what condition. */
export interface Author {
  readonly actor: string;
  readonly reason: string;
  /** The revision that the change was made for. */
  readonly ifMatch?: number;
  /** Makes the change once however often it is sent. A dry run leaves it alone. */
  readonly idempotency?: IdempotencyMark;
  /** Only checks the change and says what it would do. */
  readonly dryRun?: boolean;
}

/**
 * What became of a change.
 *
 * `revision` is the one that the change made; without `changed`, and in a dry run, the one that is current. `document`
 * and `difference` are what the change makes of the table.
 */
export type Outcome =
  | {
      readonly ok: true;
      readonly changed: boolean;
      readonly revision: number;
      readonly document: Document;
      readonly difference: readonly string[];
    }
  | Refusal;

/** The table as it is. */
export interface CurrentTable {
  readonly revision: number;
  readonly document: Document;
  readonly audit: AuditEntry;
}

/** What a change starts from: revision 0 without anything for an empty store. */
interface Base {
  readonly revision: number;
  readonly table: Result<Document>;
}

type Decide = (base: Base) => Decision | Promise<Decision>;

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
  /** Settles when the last change in the line is done. */
  #lastTurn: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(store: RouteStore) {
    this.#store = store;
  }

  /** The current table, or null when the store is empty. */
  async current(): Promise<CurrentTable | null> {
    const stored = await this.#store.read();
    if (stored === null) return null;
    const { document: _, ...audit } = stored;
    return { revision: stored.revision, document: documentOf(baseOf(stored)), audit };
  }

  /** Puts the first table into an empty store; otherwise changes nothing. */
  async seed(document: Document): Promise<Outcome> {
    const author = { actor: "crossfade", reason: "the store was empty" };
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

  /** Moves traffic: weights in percent per backend of the route's cutover. */
  async shift(id: string, weights: unknown, author: Author): Promise<Outcome> {
    return this.#change("shift", author, (base) => withWeights(documentOf(base), id, weights));
  }

  /** Moves all traffic of a route to legacy. */
  async rollback(id: string, author: Author): Promise<Outcome> {
    return this.#change("rollback", author, (base) => withoutCandidate(documentOf(base), id));
  }

  /** Makes a past table the current one, as a new revision. */
  async restore(revision: number, author: Author): Promise<Outcome> {
    return this.#change("restore", author, async () => {
      const isPossible = Number.isSafeInteger(revision) && revision >= 1;
      const stored = isPossible ? await this.#store.at(revision) : null;
      if (stored === null)
        return refused("NOT_FOUND", `There is no revision ${revision}, or it is forgotten`);
      const decoded = decodeDocument(stored.document);
      if (decoded.ok) return decided(decoded.value);
      return invalid(
        decoded.problems,
        `Revision ${revision} cannot be restored: this version cannot read its table`,
      );
    });
  }

  async #change(action: string, author: Author, decide: Decide): Promise<Outcome> {
    const carryOut = async (): Promise<Outcome> => {
      for (let tries = 0; tries <= RETRIES_MAX; tries++) {
        const outcome = await this.#attempt(action, author, decide);
        if (outcome !== null) return outcome;
      }
      const detail = `The table changed ${RETRIES_MAX + 1} times while this write was tried; try again`;
      return refused("CONFLICT", detail);
    };
    // Nothing that others do can make a dry run conflict.
    return author.dryRun === true ? carryOut() : this.#inTurn(carryOut);
  }

  async #inTurn(work: () => Promise<Outcome>): Promise<Outcome> {
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

  /** One try. Null: the table, or what is known of the idempotency key, changed meanwhile. */
  async #attempt(action: string, author: Author, decide: Decide): Promise<Outcome | null> {
    const isDry = author.dryRun === true;
    const mark = isDry ? undefined : author.idempotency;
    // Before the key is recalled: a request that was repeated must not meet its own first change as a stranger's.
    const base = baseOf(await this.#store.read());
    const record = mark === undefined ? null : await this.#store.recall(mark.key);
    if (mark !== undefined && record !== null) return this.#replay(mark, record);
    if (author.ifMatch !== undefined && author.ifMatch !== base.revision) {
      return refused("REVISION_MISMATCH", `The table is at revision ${base.revision}, not ${author.ifMatch}`);
    }
    const decision = judgeAuthor(author, prove(await decide(base), base.revision + 1));
    if (!decision.ok) return decision;
    const { document } = decision;
    const difference = describe(base, document);
    const { revision } = base;
    if (difference.length === 0) {
      if (mark !== undefined && !(await this.#store.remember(mark, revision))) return null;
      return { ok: true, changed: false, revision, document: documentOf(base), difference };
    }
    if (isDry) return { ok: true, changed: true, revision, document, difference };
    const { actor, reason } = author;
    const change = { document: encodeDocument(document), actor, action, reason, difference };
    const committed = await this.#store.commit(
      revision,
      mark === undefined ? change : { ...change, idempotency: mark },
    );
    return committed.ok
      ? { ok: true, changed: true, revision: committed.revision, document, difference }
      : null;
  }

  /** The first outcome of a request that was sent again. */
  async #replay(mark: IdempotencyMark, record: IdempotencyRecord): Promise<Outcome> {
    const { revision, changed } = record;
    if (record.fingerprint !== mark.fingerprint) return refused("KEY_REUSED");
    const stored = await this.#store.at(revision);
    if (stored === null) {
      const detail = `The Idempotency-Key was used before; it led to revision ${revision}, which is forgotten`;
      return refused("KEY_REUSED", detail);
    }
    const document = documentOf(baseOf(stored));
    return { ok: true, changed, revision, document, difference: changed ? stored.difference : [] };
  }
}

function baseOf(stored: StoredTable | null): Base {
  if (stored === null) return { revision: 0, table: { ok: true, value: EMPTY } };
  return { revision: stored.revision, table: decodeDocument(stored.document) };
}

function documentOf(base: Base): Document {
  if (base.table.ok) return base.table.value;
  const { problems } = base.table;
  const named = problems.slice(0, NAMED_PROBLEMS_MAX).map(({ path, message }) => `${path}: ${message}`);
  const more = problems.length - named.length;
  const list = more === 0 ? named : [...named, `and ${more} more problems`];
  throw new Fault(
    "STORE_UNAVAILABLE",
    `this version cannot read revision ${base.revision} in the store: ${list.join("; ")}`,
  );
}

function describe(base: Base, document: Document): string[] {
  if (!base.table.ok) return [`replaces revision ${base.revision}, which this version cannot read`];
  return differenceOf(base.revision === 0 ? null : base.table.value, document);
}

/** Compiles the table once, so that none that a worker could not use is ever committed. */
function prove(decision: Decision, revision: number): Decision {
  if (!decision.ok) return decision;
  try {
    compileTable({ ...decision.document, revision });
    return decision;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return invalid([{ path: "", message: `the table cannot be used: ${why}` }]);
  }
}

/** Adds what is wrong with the author to what is wrong with the change. */
function judgeAuthor(author: Author, decision: Decision): Decision {
  const problems: Problem[] = [];
  if (author.actor.length === 0 || author.actor.length > ACTOR_CHARS_MAX) {
    problems.push({
      path: "/actor",
      message: `name who makes the change in 1 to ${ACTOR_CHARS_MAX} characters`,
    });
  }
  if (author.reason.length > REASON_CHARS_MAX) {
    problems.push({ path: "/reason", message: `use at most ${REASON_CHARS_MAX} characters` });
  }
  if (problems.length === 0) return decision;
  if (decision.ok) return invalid(problems);
  return decision.code === "INVALID"
    ? { ...decision, problems: [...decision.problems, ...problems] }
    : decision;
}
