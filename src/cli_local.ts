/** The commands that need no admin API: start, demo and check. */
import { readFileSync } from "node:fs";
import { basename, relative } from "node:path";
import type { Shell } from "./cli_shell.ts";
import { printJson } from "./cli_shell.ts";
import { clean, countText, paint } from "./render.ts";
import type { Settings } from "./settings.ts";
import { EXIT, readNeeded, type Terminal } from "./terminal.ts";

/** The options of `start`. Settings are read and judged by settings.ts. */
export interface StartOptions {
  readonly config: string;
  readonly adminAddress?: string;
  readonly workers?: string;
  readonly logLevel?: string;
}

/** Runs the control process in this one until it is told to stop. Gives its exit code. */
export async function start({ config, ...flags }: StartOptions): Promise<number> {
  const { main } = await import("./main.ts");
  return main({ configPath: config, flags });
}

/** Plays the demo. A person at a terminal may go on trying after the story; a pipe gets the story alone. */
export async function demo(terminal: Terminal): Promise<number> {
  const { runDemo } = await import("./demo.ts");
  return runDemo({
    out: (text) => terminal.out(text),
    look: terminal.outLook,
    clock: terminal.clock,
    isStaying: terminal.isWatched,
    signal: terminal.interrupted(),
    program: programName(process.argv[1] ?? ""),
  });
}

/** Lists every problem of a settings file, or says what it describes. 78 when there is a problem. */
export async function check(shell: Pick<Shell, "terminal" | "isJson">, fileName: string): Promise<number> {
  const { terminal } = shell;
  const [{ readSettings }, { problemLine }] = await Promise.all([
    import("./settings.ts"),
    import("./settings_file.ts"),
  ]);
  const fileText = await readNeeded(terminal, fileName);
  const readText = (path: string) => readFileSync(path, "utf8");
  const read = readSettings({ fileName, fileText, env: terminal.env, flags: {}, readText });
  if (shell.isJson) {
    const problems = read.ok ? [] : read.problems;
    printJson(shell, { ok: read.ok, file: fileName, problems });
    return read.ok ? EXIT.ok : EXIT.badConfiguration;
  }
  if (read.ok) {
    terminal.out(`${paint(terminal.outLook, "green", "ok")}: ${fileName}: ${summaryOf(read.settings)}\n`);
    return EXIT.ok;
  }
  for (const problem of read.problems) terminal.out(`${clean(problemLine(problem))}\n`);
  const count = read.problems.length;
  const total = `${countText(count)} ${count === 1 ? "problem" : "problems"} in ${fileName}`;
  terminal.err(`${paint(terminal.errLook, "red", total)}\n`);
  return EXIT.badConfiguration;
}

function summaryOf(settings: Settings): string {
  const { table, workers, listen } = settings;
  const some = (count: number, word: string): string =>
    `${countText(count)} ${word}${count === 1 ? "" : "s"}`;
  const tableText =
    table === null
      ? "no table"
      : `${some(table.routes.length, "route")}, ${some(table.backends.length, "backend")}`;
  const addresses = listen.map((address) => address.text).join(", ");
  return `${tableText}, ${some(workers, "worker")} on ${addresses}`;
}

/** How this program can be called again from the same directory. */
function programName(path: string): string {
  const name = basename(path);
  return name === "crossfade" ? name : `node ${relative(process.cwd(), path)}`;
}
