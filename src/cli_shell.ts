/** What the commands share: the shell they run in, the shapes of answers, and how a write is asked for and reported. */
import type { shapes } from "./admin/shapes.ts";
import { ApiFailure, type AdminClient, type Call } from "./client.ts";
import { writeDuration } from "./domain/quantity.ts";
import { clean, msText, paint } from "./render.ts";
import { CliFailure, EXIT, type Terminal } from "./terminal.ts";

/** One command's surroundings. `timeoutMs` bounds one call. */
export interface Shell {
  readonly terminal: Terminal;
  readonly client: AdminClient;
  readonly isJson: boolean;
  readonly timeoutMs: number;
}

/** An answer of the admin API, by the name of its shape there. */
export type AnswerOf<Name extends keyof typeof shapes> = (typeof shapes)[Name]["_zod"]["output"];

/** The options of every command that changes the table. */
export interface WriteOptions {
  readonly reason?: string;
  readonly ifMatch?: number;
  /** Whether to answer when every worker has the change; yes unless told otherwise. */
  readonly wait?: boolean;
}

/** The API waits for the workers this long at most. */
const WAIT_MS_MAX = 60_000;
/** The answer to a write that waits comes a little after the wait. */
const WAIT_EXTRA_MS = 5_000;

/** Prints a value as JSON on lines of its own. */
export function printJson(shell: Pick<Shell, "terminal">, value: unknown): number {
  shell.terminal.out(`${JSON.stringify(value, null, 2)}\n`);
  return EXIT.ok;
}

/** Prints a text and a line break. */
export function print(shell: Shell, text: string): number {
  shell.terminal.out(`${text}\n`);
  return EXIT.ok;
}

/** One path segment, escaped. */
export function segment(text: string | number): string {
  return encodeURIComponent(text);
}

/** Reads one resource. Throws ApiFailure. */
export async function get<Name extends keyof typeof shapes>(
  shell: Shell,
  path: string,
  query: NonNullable<Call["query"]> = {},
): Promise<AnswerOf<Name>> {
  return (await shell.client.call<AnswerOf<Name>>({ method: "GET", path, query })).body;
}

/** Makes a change and says what came of it. `subject` is what the change is about, such as the route's name. */
export async function write(
  shell: Shell,
  subject: string,
  call: Pick<Call, "method" | "path" | "query" | "body">,
  options: WriteOptions,
): Promise<number> {
  const isWaiting = options.wait !== false && call.query?.["dry_run"] === undefined;
  const body = await callWaiting<"WriteAnswer">(shell, isWaiting, {
    ...call,
    query: { ...call.query, reason: options.reason },
    headers: { "if-match": options.ifMatch === undefined ? undefined : `"${options.ifMatch}"` },
  });
  return shell.isJson ? printJson(shell, body) : print(shell, outcomeText(shell, subject, body));
}

/** Makes a call that waits for the workers, if told so. Throws ApiFailure. */
export async function callWaiting<Name extends keyof typeof shapes>(
  shell: Shell,
  isWaiting: boolean,
  call: Call,
): Promise<AnswerOf<Name>> {
  const timeout = writeDuration(Math.min(shell.timeoutMs, WAIT_MS_MAX));
  const query = isWaiting ? { ...call.query, wait: "applied", timeout } : (call.query ?? {});
  const extraMs = isWaiting ? WAIT_EXTRA_MS : 0;
  return (await shell.client.call<AnswerOf<Name>>({ ...call, query }, extraMs)).body;
}

/** Puts the problems of a refused input where they are in the file it came from. Anything else goes on as it is. */
export function asFileProblems(
  error: unknown,
  fileName: string,
  lineOf: (path: string, message: string) => string,
): never {
  if (!(error instanceof ApiFailure) || error.code !== "INVALID") throw error;
  const lines = error.problems.map(({ path, message }) => lineOf(path, message));
  throw new CliFailure(EXIT.badConfiguration, badFileText(fileName, lines.length), lines);
}

/** How many problems a file has, as a sentence. */
export function badFileText(fileName: string, count: number): string {
  return `${fileName} has ${count} ${count === 1 ? "problem" : "problems"}; nothing was changed`;
}

function outcomeText(shell: Shell, subject: string, answer: AnswerOf<"WriteAnswer">): string {
  const look = shell.terminal.outLook;
  const lines = [...answer.difference, ...(answer.lines ?? [])].map((line) => `  ${clean(line)}`);
  const { revision } = answer;
  if (!answer.changed) {
    return [
      `${subject}: ${paint(look, "dim", `nothing to change; revision ${revision} stays`)}`,
      ...lines,
    ].join("\n");
  }
  if (answer.dry_run === true) return [`${subject}: this would change (nothing did)`, ...lines].join("\n");
  const applied =
    answer.applied_ms === undefined
      ? "stored, on its way to the workers"
      : `in effect in every worker after ${msText(answer.applied_ms)}`;
  return [`${subject}: ${paint(look, "green", `revision ${revision}`)}, ${applied}`, ...lines].join("\n");
}
