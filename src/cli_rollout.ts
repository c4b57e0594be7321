/** The command of stepwise rollouts: shows one, sets or removes its plan, moves it. */
import { putFile } from "./cli_changing.ts";
import { get, print, printJson, segment, write, type Shell, type WriteOptions } from "./cli_shell.ts";
import type { Phase } from "./domain/rollout_words.ts";
import { clean, paint, type Tone } from "./render.ts";
import { CliFailure, EXIT } from "./terminal.ts";

/** What can be done with a rollout, in the order of its life. */
export const ROLLOUT_ACTIONS = [
  "show",
  "set",
  "start",
  "pause",
  "resume",
  "promote",
  "abort",
  "decommission",
  "remove",
] as const;

/** The tone of a phase; none for those that neither please nor worry. */
export const PHASE_TONES: Readonly<Partial<Record<Phase, Tone>>> = {
  held: "yellow",
  promoted: "green",
  rolled_back: "red",
  aborted: "red",
};

/** Does one thing with the rollout of a route. Only `set` takes a file, and needs it. */
export async function rollout(
  shell: Shell,
  options: WriteOptions,
  [route, action, fileName]: readonly [string, (typeof ROLLOUT_ACTIONS)[number], string | undefined],
): Promise<number> {
  const path = `/v1/routes/${segment(route)}/rollout`;
  if ((action === "set") !== (fileName !== undefined)) {
    const usage = action === "set" ? "set needs the file with the plan" : `${action} takes no file`;
    throw new CliFailure(EXIT.usage, usage);
  }
  if (action === "show") return show(shell, path);
  if (action === "remove") return write(shell, route, { method: "DELETE", path }, options);
  if (fileName !== undefined) return putFile(shell, route, { path, fileName }, options);
  return write(shell, route, { method: "POST", path: `${path}/${action}` }, options);
}

async function show(shell: Shell, path: string): Promise<number> {
  const answer = await get<"RolloutAnswer">(shell, path);
  if (shell.isJson) return printJson(shell, answer);
  const [first = "", ...others] = answer.lines.map(clean);
  const tone = PHASE_TONES[answer.state.phase];
  const head = tone === undefined ? first : paint(shell.terminal.outLook, tone, first);
  return print(shell, [`${answer.route}: ${head}`, ...others.map((line) => `  ${line}`)].join("\n"));
}
