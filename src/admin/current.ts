/** The table that is current, as the reading endpoints need it. */
import type { Commands, CurrentTable } from "../control/commands.ts";
import { nearestName } from "../domain/problems.ts";
import type { Route } from "../domain/route.ts";
import { refusal } from "./answers.ts";

/** A revision and its document. */
export type TableNow = Pick<CurrentTable, "revision" | "document">;

/** What an empty store stands for: revision 0 without backends and routes. */
const NOTHING: TableNow = { revision: 0, document: { backends: [], routes: [], rollouts: [] } };

/** The current table. Throws Fault STORE_UNAVAILABLE. */
export async function readCurrent(commands: Commands): Promise<TableNow> {
  return (await commands.current()) ?? NOTHING;
}

/** A route by its id, or null. */
export function routeOf(current: TableNow, id: string): Route | null {
  return current.document.routes.find((route) => route.id === id) ?? null;
}

/** The refusal for a route that is not in the table. */
export function noSuchRoute(current: TableNow, id: string): Response {
  const nearest = nearestName(
    id,
    current.document.routes.map((route) => route.id),
  );
  const hint = nearest === null ? "" : `; did you mean "${nearest}"?`;
  return refusal("NOT_FOUND", `There is no route "${id.slice(0, 100)}"${hint}`);
}
