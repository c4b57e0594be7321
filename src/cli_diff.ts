/** The command `diff`: what differs between the answers to a route's mirrored requests. */
import { get, print, printJson, segment, type AnswerOf, type Shell } from "./cli_shell.ts";
import { differencesText, hasDifference } from "./differences.ts";
import { countText, facts, type Cell } from "./render.ts";
import { CliFailure, EXIT } from "./terminal.ts";

type DifferencesAnswer = AnswerOf<"DifferencesAnswer">;

/**
 * Shows what came of comparing the answers to a route's mirrored requests. 3 when a field is known to differ.
 *
 * Throws CliFailure where the route compares nothing: that is no answer to the question.
 */
export async function diff(shell: Shell, _: unknown, [route]: readonly [string]): Promise<number> {
  const answer = await get<"DifferencesAnswer">(shell, `/v1/routes/${segment(route)}/differences`);
  const { comparison, reason } = answer;
  if (comparison === null) throw new CliFailure(EXIT.failure, reason ?? "nothing is compared");
  if (shell.isJson) printJson(shell, answer);
  else {
    const { outLook } = shell.terminal;
    print(shell, [copiesText(shell, answer), "", differencesText(comparison, outLook)].join("\n"));
  }
  return hasDifference(comparison) ? EXIT.no : EXIT.ok;
}

/** What became of the copies, which are all that can be compared. */
function copiesText({ terminal }: Shell, { route, instances, mirror }: DifferencesAnswer): string {
  const pairs: [string, Cell][] = [["route", instances < 2 ? route : `${route}, in ${instances} instances`]];
  if (mirror !== null) {
    const { to, sampled, answered, dropped } = mirror;
    const lost = Object.entries(dropped).filter(([, count]) => count > 0);
    const why = lost.map(([reason, count]) => `${reason}: ${countText(count)}`).join(", ");
    pairs.push(
      [
        instances < 2 ? "copies" : "copies here",
        `${countText(sampled)} to ${to}, ${countText(answered)} answered`,
      ],
      ["given up", why === "" ? "none" : why],
    );
  }
  return facts(pairs, terminal.outLook);
}
