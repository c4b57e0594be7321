/** One try of a change: read, decide, prove, commit. */
import { Fault, type Problem, type Result } from "../base/fault.ts";
import { differenceOf, tellsOf } from "../domain/difference.ts";
import { isUnderWay } from "../domain/rollout_state.ts";
import type { Document, RouteId } from "../domain/route.ts";
import { decodeStored, encodeStored } from "../domain/stored.ts";
import {
  HISTORY_PAGE_MAX,
  type AuditEntry,
  type IdempotencyMark,
  type IdempotencyRecord,
  type RouteStore,
  type StoredTable,
} from "../store/store.ts";
import { compileFault, invalid, refused, type Decision, type Refusal } from "./change.ts";
import { MACHINE, REASON_CHARS_MAX, stateOf } from "./rollout_move.ts";

/** The longest name of who makes a change, in UTF-16 units. */
const ACTOR_CHARS_MAX = 64;

/** Problems of a stored table that a fault names; the rest is counted. */
const NAMED_PROBLEMS_MAX = 3;

/** A table without anything, which is what an empty store stands for. */
export const EMPTY: Document = { backends: [], routes: [], rollouts: [] };

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

/** What a change that was not refused came to. */
export interface Done {
  readonly ok: true;
  readonly changed: boolean;
  readonly revision: number;
  readonly document: Document;
  readonly difference: readonly string[];
}

/**
 * What became of a change.
 *
 * `revision` is the one that the change made; without `changed`, and in a dry run, the one that is current. `document`
 * and `difference` are what the change makes of the table.
 */
export type Outcome = Done | Refusal;

/** What a change starts from: revision 0 without anything for an empty store. */
export interface Base {
  readonly revision: number;
  readonly table: Result<Document>;
}

/** A change to be tried. A decision with an entry of its own overrides action and author in the audit log. */
export interface Attempt {
  readonly action: string;
  readonly author: Author;
  readonly decide: (base: Base) => Decision | Promise<Decision>;
}

/** The table, or what is known of the idempotency key, changed since it was read at this revision. */
export interface Conflict {
  readonly conflictAt: number;
}

/** What a try stands on. */
export interface Ground {
  readonly store: RouteStore;
  /**
   * The revision that the change was begun on, when the table may have moved on since: whatever the machine has rolled
   * back after it gets no traffic by this change.
   */
  readonly since: number | null;
  /** Called when what was committed is a rollback by the machine itself. */
  readonly onOwnRollback: (revision: number) => void;
}

/** Tries a change once. */
export async function attempt(
  { store, since, onOwnRollback }: Ground,
  { action, author, decide }: Attempt,
): Promise<Outcome | Conflict> {
  const isDry = author.dryRun === true;
  const mark = isDry ? undefined : author.idempotency;
  // Before the key is recalled: a request that was repeated must not meet its own first change as a stranger's.
  const base = baseOf(await store.read());
  const record = mark === undefined ? null : await store.recall(mark.key);
  if (mark !== undefined && record !== null) return replay(store, mark, record);
  if (author.ifMatch !== undefined && author.ifMatch !== base.revision) {
    return mismatch(base.revision, author.ifMatch);
  }
  const decision = judgeAuthor(author, prove(await decide(base), base.revision + 1));
  if (!decision.ok) return decision;
  const { document } = decision;
  const overruled = since === null ? null : await findOverruled(store, base, document, since);
  if (overruled !== null) return overruled;
  const difference = describe(base, document);
  const { revision } = base;
  if (difference.length === 0) {
    if (mark !== undefined && !(await store.remember(mark, revision))) return { conflictAt: revision };
    return { ok: true, changed: false, revision, document: documentOf(base), difference };
  }
  if (isDry) return { ok: true, changed: true, revision, document, difference };
  const { actor, reason } = author;
  const change = { document: encodeStored(document), actor, action, reason, difference, ...decision.entry };
  const committed = await store.commit(
    revision,
    mark === undefined ? change : { ...change, idempotency: mark },
  );
  if (!committed.ok) return { conflictAt: revision };
  if (isOwnRollback(change)) onOwnRollback(committed.revision);
  return { ok: true, changed: true, revision: committed.revision, document, difference };
}

/** A stored table as a change starts from it. */
export function baseOf(stored: StoredTable | null): Base {
  if (stored === null) return { revision: 0, table: { ok: true, value: EMPTY } };
  return { revision: stored.revision, table: decodeStored(stored.document, stored.atMs) };
}

/** The document of a base. Throws Fault STORE_UNAVAILABLE when this version cannot read it. */
export function documentOf(base: Base): Document {
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

/** The refusal of a change that was made for another revision. */
export function mismatch(revision: number, ifMatch: number): Refusal {
  return refused("REVISION_MISMATCH", `The table is at revision ${revision}, not ${ifMatch}`);
}

/** Adds what is wrong with the author to what is wrong with the change. */
export function judgeAuthor(author: Author, decision: Decision): Decision {
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

/** The first outcome of a request that was sent again. */
async function replay(store: RouteStore, mark: IdempotencyMark, record: IdempotencyRecord): Promise<Outcome> {
  const { revision, changed } = record;
  if (record.fingerprint !== mark.fingerprint) return refused("KEY_REUSED");
  const stored = await store.at(revision);
  if (stored === null) {
    const detail = `The Idempotency-Key was used before; it led to revision ${revision}, which is forgotten`;
    return refused("KEY_REUSED", detail);
  }
  const document = documentOf(baseOf(stored));
  return { ok: true, changed, revision, document, difference: changed ? stored.difference : [] };
}

/** The refusal of a table that gives traffic again to what the machine has rolled back since a revision, or null. */
async function findOverruled(
  store: RouteStore,
  base: Base,
  document: Document,
  since: number,
): Promise<Refusal | null> {
  if (!base.table.ok || base.revision <= since) return null;
  const risen = risenIn(base.table.value, document);
  if (risen.length === 0) return null;
  const found = await findOwnRollback(store, risen, { since, revision: base.revision });
  if (found === null) return null;
  const { id, revision, reason } = found;
  const detail = `"${id}" was rolled back at revision ${revision} while this was under way: ${reason}`;
  return refused("CONFLICT", detail);
}

/** The newest rollback of any of these routes by the machine itself, after `since` and up to `revision`. */
export async function findOwnRollback(
  store: Pick<RouteStore, "history">,
  routes: readonly RouteId[],
  { since, revision: newest }: { readonly since: number; readonly revision: number },
): Promise<{ readonly id: RouteId; readonly revision: number; readonly reason: string } | null> {
  const limit = Math.min(newest - since, HISTORY_PAGE_MAX);
  const entries = await store.history({ before: newest + 1, limit });
  for (const { revision, reason, difference } of entries.filter(isOwnRollback)) {
    const id = routes.find((route) => tellsOf(difference, route));
    if (id !== undefined) return { id, revision, reason };
  }
  return null;
}

/** Whether an entry of the audit log is the machine's rollback of some route. */
function isOwnRollback({ actor, action }: Pick<AuditEntry, "actor" | "action">): boolean {
  return actor === MACHINE && (action === "rollback" || action === "rollout.rollback");
}

/** Routes whose candidate would get more, now or by a rollout that is started. */
function risenIn(before: Document, after: Document): RouteId[] {
  const shares = new Map(before.routes.map(({ id, candidateShares }) => [id, candidateShares]));
  const isOnItsWay = (document: Document, id: RouteId): boolean => {
    const state = stateOf(document, id);
    return state !== null && isUnderWay(state);
  };
  return after.routes
    .filter(({ id, candidateShares }) => {
      const isMore = candidateShares > (shares.get(id) ?? 0);
      return isMore || (isOnItsWay(after, id) && !isOnItsWay(before, id));
    })
    .map(({ id }) => id);
}

function describe(base: Base, document: Document): string[] {
  if (!base.table.ok) return [`replaces revision ${base.revision}, which this version cannot read`];
  return differenceOf(base.revision === 0 ? null : base.table.value, document);
}

function prove(decision: Decision, revision: number): Decision {
  const why = decision.ok ? compileFault(decision.document, revision) : null;
  return why === null ? decision : invalid([{ path: "", message: why }]);
}
