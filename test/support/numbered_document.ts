/** Documents that tell which revision they belong to, some pages long, so that a torn write would show. */

/** Lines of one document: about 20 KB, five pages of the store's file. */
const LINES = 400;

/** The document of a revision. */
export function documentOf(revision: number): unknown {
  return {
    revision,
    lines: Array.from({ length: LINES }, (_, line) => `line ${line} of revision ${revision}, complete`),
  };
}
