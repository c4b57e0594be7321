/** The commands that change the table: apply, shift, roll back, restore, and write or delete one route. */
import type { Shell, WriteOptions } from "./cli_shell.ts";
import { asFileProblems, badFileText, get, segment, write } from "./cli_shell.ts";
import { readPercent, writePercent } from "./domain/quantity.ts";
import { SHARES_TOTAL } from "./domain/route.ts";
import { CliFailure, EXIT, readNeeded } from "./terminal.ts";

/** Replaces the whole table by the one in a file; with `dryRun` only shows the difference. */
export async function apply(
  shell: Shell,
  options: WriteOptions & { readonly dryRun?: boolean },
  [fileName]: readonly [string],
): Promise<number> {
  const file = await readFile(shell, fileName, "table");
  const query = options.dryRun === true ? { dry_run: true } : {};
  try {
    return await write(
      shell,
      "table",
      { method: "PUT", path: "/v1/table", query, body: file.value },
      options,
    );
  } catch (error) {
    return asFileProblems(error, nameOf(fileName), file.lineOf);
  }
}

/** Sets the candidate's weight of a route, in percent; legacy gets the rest. */
export async function shift(
  shell: Shell,
  options: WriteOptions,
  [route, percent]: readonly [string, number],
): Promise<number> {
  const path = `/v1/routes/${segment(route)}`;
  const { cutover } = (await get<"RouteAnswer">(shell, path)).route;
  const shares = readPercent(percent) ?? 0;
  const body = {
    [cutover.legacy]: writePercent(SHARES_TOTAL - shares),
    [cutover.candidate]: writePercent(shares),
  };
  return write(shell, route, { method: "PUT", path: `${path}/split`, body }, options);
}

/** Sends all traffic of a route to legacy. */
export function rollback(shell: Shell, options: WriteOptions, [route]: readonly [string]): Promise<number> {
  return write(shell, route, { method: "POST", path: `/v1/routes/${segment(route)}/rollback` }, options);
}

/** Makes a past table the current one. */
export function restore(shell: Shell, options: WriteOptions, [revision]: readonly [number]): Promise<number> {
  const path = `/v1/history/${segment(revision)}/restore`;
  return write(shell, `table of revision ${revision}`, { method: "POST", path }, options);
}

/** Writes one route from a file. */
export function routePut(
  shell: Shell,
  options: WriteOptions,
  [route, fileName]: readonly [string, string],
): Promise<number> {
  return putFile(shell, route, { path: `/v1/routes/${segment(route)}`, fileName }, options);
}

/** Puts what a file holds, YAML or JSON, where `path` says. Problems are told with their places in the file. */
export async function putFile(
  shell: Shell,
  subject: string,
  { path, fileName }: { readonly path: string; readonly fileName: string },
  options: WriteOptions,
): Promise<number> {
  const file = await readFile(shell, fileName, "part");
  try {
    return await write(shell, subject, { method: "PUT", path, body: file.value }, options);
  } catch (error) {
    return asFileProblems(error, nameOf(fileName), file.lineOf);
  }
}

/** Deletes one route. */
export function routeDelete(
  shell: Shell,
  options: WriteOptions,
  [route]: readonly [string],
): Promise<number> {
  return write(shell, route, { method: "DELETE", path: `/v1/routes/${segment(route)}` }, options);
}

/** What a file holds, and how to find the place of something in it. */
interface FileContent {
  readonly value: unknown;
  /** A problem of the API's as `file:line:column: path: message`. */
  readonly lineOf: (path: string, message: string) => string;
}

/** Reads a file as YAML or JSON. The API decides whether it is right. Throws CliFailure when it is neither. */
async function readFile(shell: Shell, fileName: string, kind: "table" | "part"): Promise<FileContent> {
  // Both parsers are only needed here: no other command should wait for them.
  const [{ readTableFile }, { parseFile, problemLine }] = await Promise.all([
    import("./settings.ts"),
    import("./settings_file.ts"),
  ]);
  const text = await readNeeded(shell.terminal, fileName);
  const name = nameOf(fileName);
  const { parsed, problems } = parseFile(name, text);
  const refuse = (found: readonly Parameters<typeof problemLine>[0][]): CliFailure =>
    new CliFailure(EXIT.badConfiguration, badFileText(name, found.length), found.map(problemLine));
  if (parsed === null || problems.length > 0) throw refuse(problems);
  let { value } = parsed;
  if (kind === "table") {
    const found = readTableFile(name, text);
    if (!found.ok) throw refuse(found.problems);
    value = found.document;
  }
  // A settings file has its table one level down.
  const above = kind === "table" && isSettings(parsed.value) ? ["table"] : [];
  return {
    value,
    lineOf: (path, message) => {
      const parts = path.split("/").slice(1).map(unescape);
      const about = message.startsWith("unknown key") ? "key" : "value";
      return problemLine(parsed.locate({ path: [...above, ...parts], message, about }));
    },
  };
}

function nameOf(fileName: string): string {
  return fileName === "-" ? "standard input" : fileName;
}

function isSettings(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.hasOwn(value, "table");
}

/** One part of a JSON pointer. Source: RFC 6901 section 4. */
function unescape(part: string): string {
  return part.replaceAll("~1", "/").replaceAll("~0", "~");
}
