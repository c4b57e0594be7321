/** The table that is current, as the reading endpoints need it. */
import { EMPTY } from "../control/attempt.ts";
import type { Commands, CurrentTable } from "../control/commands.ts";
import { nearestName } from "../domain/problems.ts";
import type { Route } from "../domain/route.ts";
import { refusal } from "./answers.ts";

/** A revision and its document. */
export type TableNow = Pick<CurrentTable, "revision" | "document">;

/** What an empty store stands for: revision 0 without backends and routes. */
const NOTHING: TableNow = { revision: 0, document: EMPTY };

/** The current table. Throws Fault STORE_UNAVAILABLE. */
export async function readCurrent(commands: Commands): Promise<TableNow> {
  return (await commands.current()) ?? NOTHING;
}

/** Answers about one route of the current table, or says that there is none. Throws Fault STORE_UNAVAILABLE. */
export async function answerRoute(
  commands: Commands,
  id: string,
  tell: (route: Route, current: TableNow) => Response,
): Promise<Response> {
  const current = await readCurrent(commands);
  const route = current.document.routes.find((known) => known.id === id);
  return route === undefined ? noSuchRoute(current, id) : tell(route, current);
}

function noSuchRoute(current: TableNow, id: string): Response {
  const nearest = nearestName(
    id,
    current.document.routes.map((route) => route.id),
  );
  const hint = nearest === null ? "" : `; did you mean "${nearest}"?`;
  return refusal("NOT_FOUND", `There is no route "${id.slice(0, 100)}"${hint}`);
}
