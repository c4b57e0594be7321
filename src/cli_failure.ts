/** What went wrong with a command, in words for people or as JSON, and the exit code of it. */
import type { Problem } from "./base/fault.ts";
import { ApiFailure } from "./client.ts";
import { clean, paint } from "./render.ts";
import { CliFailure, EXIT, type Terminal } from "./terminal.ts";

/** Says what went wrong and gives the exit code for it. Bugs go on as they are. */
export function tell(terminal: Terminal, error: unknown, isJson: boolean): number {
  if (!(error instanceof ApiFailure) && !(error instanceof CliFailure)) throw error;
  const exit =
    error instanceof CliFailure ? error.exit : EXIT[error.kind === "unavailable" ? "unavailable" : "failure"];
  if (isJson) {
    terminal.err(`${JSON.stringify({ error: failureAsJson(error, exit) }, null, 2)}\n`);
    return exit;
  }
  terminal.err(`${paint(terminal.errLook, "red", `error: ${clean(error.message)}`)}\n`);
  const lines = error instanceof CliFailure ? error.lines : error.problems.map(problemLine);
  for (const line of lines) terminal.err(`  ${clean(line)}\n`);
  return exit;
}

function failureAsJson(error: ApiFailure | CliFailure, exit: number): object {
  if (error instanceof CliFailure) return { exit, message: error.message, details: error.lines };
  const { kind, status, code, message, problems } = error;
  return { exit, kind, status, code, message, problems };
}

function problemLine(problem: Problem): string {
  return `${problem.path === "" ? "/" : problem.path}: ${problem.message}`;
}
