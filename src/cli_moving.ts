/** The commands that carry a migration to another store: export and import. */
import { parseJson } from "./admin/json.ts";
import {
  callWaiting,
  get,
  print,
  printJson,
  type AnswerOf,
  type Shell,
  type WriteOptions,
} from "./cli_shell.ts";
import { clean, countText, msText, paint } from "./render.ts";
import { CliFailure, EXIT, readNeeded, writeNeeded } from "./terminal.ts";

/** Prints the document, or writes it into a file and says what it holds. */
export async function exportAll(shell: Shell, { out }: { readonly out?: string }): Promise<number> {
  const { terminal } = shell;
  const document = await get<"Export">(shell, "/v1/export");
  const { revisions, truncated } = document;
  if (truncated) {
    terminal.err(`only the newest ${countOf(revisions.length)}: older ones do not fit into an export\n`);
  }
  if (out === undefined) {
    terminal.out(textOf(document));
    return EXIT.ok;
  }
  await writeNeeded(terminal, out, textOf(document));
  const revision = revisions.at(-1)?.revision ?? 0;
  if (shell.isJson) return printJson(shell, { file: out, revision, revisions: revisions.length, truncated });
  return print(shell, `${clean(out)}: ${countOf(revisions.length)}; revision ${revision} is the newest`);
}

/** Fills the store with a document from a file or standard input, and says what it holds now. */
export async function importAll(
  shell: Shell,
  options: Pick<WriteOptions, "wait">,
  [fileName = "-"]: readonly [string | undefined],
): Promise<number> {
  const parsed = parseJson(await readNeeded(shell.terminal, fileName));
  if (!parsed.ok) {
    const name = fileName === "-" ? "standard input" : fileName;
    throw new CliFailure(EXIT.badConfiguration, `${name} is no export: ${parsed.problem.message}`);
  }
  const call = { method: "POST", path: "/v1/import", body: parsed.value } as const;
  const answer = await callWaiting<"ImportAnswer">(shell, options.wait !== false, call);
  if (shell.isJson) return printJson(shell, answer);
  const current = paint(shell.terminal.outLook, "green", `revision ${answer.revision} is current`);
  const applied =
    answer.applied_ms === undefined
      ? "on its way to the workers"
      : `applied by all workers in ${msText(answer.applied_ms)}`;
  return print(shell, `imported ${countOf(answer.revisions)}; ${current}, ${applied}`);
}

/** One revision on a line, so that two documents can be compared line by line. */
function textOf({ revisions, ...head }: AnswerOf<"Export">): string {
  const lines = revisions.map((revision) => JSON.stringify(revision));
  return `${JSON.stringify(head).slice(0, -1)},"revisions":[\n${lines.join(",\n")}\n]}\n`;
}

function countOf(revisions: number): string {
  return `${countText(revisions)} ${revisions === 1 ? "revision" : "revisions"}`;
}
