/** A request as routing sees it. */
import type { RequestView } from "../domain/table.ts";
import { fieldValue, type RequestHead } from "../http/head.ts";

/** What routing needs to see of a parsed head. */
export function viewOf(head: RequestHead): RequestView {
  return {
    method: head.method,
    host: head.host,
    path: head.path,
    query: head.query,
    field: (name) => fieldValue(head, name),
  };
}
