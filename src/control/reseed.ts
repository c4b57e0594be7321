/** An operator's word on which table counts, after the store has lost the one that is served. */
import { Fault } from "../base/fault.ts";
import { differenceOf } from "../domain/difference.ts";
import type { Document } from "../domain/route.ts";
import { decodeStored, encodeStored } from "../domain/stored.ts";
import type { GuardedStore, Reseed } from "../store/guard.ts";
import type { StoredTable } from "../store/store.ts";
import { invalid, refused, type Refusal } from "./change.ts";

/** The guard of the store, and the newest revision that any other instance has applied. */
export interface ReseedParts {
  readonly guard: Pick<GuardedStore, "read" | "candidate" | "reseed">;
  readonly above: () => number;
}

/** What was put on top of everything. */
export interface Reseeded {
  readonly ok: true;
  readonly changed: true;
  readonly revision: number;
  readonly document: Document;
  readonly difference: readonly string[];
}

/** Tries when the store moves meanwhile. */
const TRIES_MAX = 3;

/**
 * Makes the served or the stored table the newest revision of the known history.
 *
 * Refuses with CONFLICT when the store's table is in use anyway, NOT_FOUND when there is no such table, INVALID when
 * this version cannot read it. Throws Fault STORE_UNAVAILABLE when the store cannot be reached.
 */
export async function reseed(
  { guard, above }: ReseedParts,
  which: Reseed,
  author: { readonly actor: string; readonly reason: string },
): Promise<Reseeded | Refusal> {
  const used = await usedTable(guard);
  if (used !== "none") {
    const revision = used?.revision ?? 0;
    const detail = `The store holds revision ${revision}, which is in use: there is nothing to decide`;
    return refused("CONFLICT", used === null ? "The store is empty, and so is what is known here" : detail);
  }
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const table = await guard.candidate(which);
    if (table === null) return refused("NOT_FOUND", nothingThere(which));
    const decoded = decodeStored(table.document, table.atMs);
    if (!decoded.ok) {
      const detail = `Revision ${table.revision} cannot be used: this version cannot read its table`;
      return invalid(decoded.problems, detail);
    }
    const document = decoded.value;
    const other = await guard.candidate(which === "served" ? "stored" : "served");
    const difference = [
      which === "served"
        ? `puts the served revision ${table.revision} back into the store`
        : `takes revision ${table.revision} from the store in place of the served one`,
      ...differenceOf(documentOf(other), document),
    ];
    const change = { document: encodeStored(document), action: "reseed", difference, ...author };
    const revision = await guard.reseed(change, above());
    if (revision !== null) return { ok: true, changed: true, revision, document, difference };
  }
  return refused(
    "CONFLICT",
    "The store kept changing while this was tried; look again with `crossfade store`",
  );
}

/** The table in use, or "none" when the store's may not be used. */
async function usedTable(guard: ReseedParts["guard"]): Promise<StoredTable | null | "none"> {
  try {
    return await guard.read();
  } catch (error) {
    if (error instanceof Fault && error.code === "STORE_REGRESSED") return "none";
    throw error;
  }
}

function documentOf(table: StoredTable | null): Document | null {
  const decoded = table === null ? null : decodeStored(table.document, table.atMs);
  return decoded?.ok === true ? decoded.value : null;
}

function nothingThere(which: Reseed): string {
  return which === "served"
    ? "No table is known here; send one with `crossfade apply` or `crossfade import`"
    : "The store holds no table; put the served one back with `crossfade store reseed --from served`";
}
