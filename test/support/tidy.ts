/** Checks of the code itself: sizes, openings, names, banned calls, errors, tests. Pure: files in, offences out. */
import { posix } from "node:path";
import { isMark, targetOf, textOf, type Source, type Token } from "./tidy_source.ts";

/** The limits of a file, a function and a line. */
const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const LINE_COLUMNS_MAX = 120;

/** File names that say nothing, so that everything ends up in them. */
const BANNED_NAMES = new Set([
  "utils",
  "helpers",
  "common",
  "manager",
  "service",
  "handler",
  "index",
  "misc",
]);

/** A sequence of tokens that only the named files may contain; elsewhere the advice says what to write. */
interface BannedCall {
  readonly calls: readonly string[];
  readonly allowed: RegExp;
  readonly advice: string;
}

const CLOCK = /^src\/base\/clock\.ts$|^test\/support\/wait\.ts$|^bench\//;
const RANDOM = /^src\/base\/random\.ts$/;
const NOWHERE = /^$/;
const BANNED_CALLS: readonly BannedCall[] = [
  {
    calls: ["Date . now", "performance . now", "process . hrtime", "new Date ( )", "new Date ;"],
    allowed: CLOCK,
    advice: "take a Clock",
  },
  {
    calls: ["Math . random", "randomUUID", "randomUUIDv7", "randomBytes", "randomInt", "randomFill"].concat([
      "randomFillSync",
      "getRandomValues",
    ]),
    allowed: RANDOM,
    advice: "take a Random",
  },
  {
    calls: ["console ."],
    allowed: NOWHERE,
    advice: "take a Logger, or write to the stream that was handed in",
  },
  {
    calls: ["export default"],
    allowed: /^test\/(?:vitest\.config|support\/reporter)\.ts$/,
    advice: "export a name",
  },
  { calls: ["export enum", "const enum"], allowed: NOWHERE, advice: "use a union of strings" },
];

/** Files, functions and lines that are too long. What only groups tests may be as long as its file. */
export function findOversize(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, text, functions }) => {
    const lines = text.replace(/\n$/, "").split("\n");
    const offences = lines.flatMap((line, place) =>
      line.length > LINE_COLUMNS_MAX ? [`${path}:${place + 1}: the line has ${line.length} columns`] : [],
    );
    if (lines.length > FILE_LINES_MAX) offences.push(`${path}: the file has ${lines.length} lines`);
    for (const { name, line, lines: length, isGroup } of functions) {
      const holdsTests = isGroup || (path.startsWith("test/") && name.startsWith("describe"));
      if (length > FUNCTION_LINES_MAX && !holdsTests)
        offences.push(`${path}:${line}: ${name} has ${length} lines`);
    }
    return offences;
  });
}

/** Files that do not open with their purpose, and exports that do not say what they are. */
export function findUnexplained(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, tokens }) => {
    const offences: string[] = [];
    const opening = tokens[0];
    if (
      opening === undefined ||
      !/^\/\*\*\s+(?:\* )?\S+ \S+[\s\S]*?[.!](?:\s|\*)/.test(opening.text) ||
      opening.line > 2
    ) {
      offences.push(`${path}:1: the file does not open with one sentence of purpose in /** */`);
    }
    if (!/^(?:src|test\/support)\//.test(path)) return offences;
    tokens.forEach((token, place) => {
      if (token.parent !== -1 || token.text !== "export" || token.kind !== "word") return;
      const next = tokens[place + 1]?.text ?? "";
      const isDeclaration = /^(?:const|function|async|class|abstract|interface|type|declare|let)$/.test(next);
      const isReExport = next === "type" && tokens[place + 2]?.text === "{";
      if (!isDeclaration || isReExport || isDocumented(tokens, place)) return;
      offences.push(`${path}:${token.line}: the export has no docstring`);
    });
    return offences;
  });
}

/** A docstring stands before the export; one may speak for a run of exported constants on the lines below it. */
function isDocumented(tokens: readonly Token[], place: number): boolean {
  const before = tokens[place - 1];
  if (before?.kind === "comment" && place > 1) return before.text.startsWith("/**");
  const isConstant = (at: number): boolean => tokens[at + 1]?.text === "const";
  const line = (tokens[place] as Token).line;
  for (let at = place - 1; isConstant(place) && at > 0; at--) {
    const token = tokens[at] as Token;
    if (token.parent === -1 && token.text === "export") {
      return token.line === line - 1 && isConstant(at) && isDocumented(tokens, at);
    }
  }
  return false;
}

/** File names that are banned. */
export function findNames(paths: readonly string[]): string[] {
  const isBanned = (path: string): boolean => BANNED_NAMES.has(posix.basename(path).replace(/\..*$/, ""));
  return paths.filter(isBanned).map((path) => `${path}: the name does not say what is in it`);
}

/** Calls and declarations that are banned outside the files made for them. */
export function findBanned(sources: readonly Source[]): string[] {
  return sources.flatMap((source) =>
    BANNED_CALLS.filter(({ allowed }) => !allowed.test(source.path)).flatMap(({ calls, advice }) =>
      calls.flatMap((call) =>
        placesOf(source.code, call.split(" ")).map(
          (line) => `${source.path}:${line}: ${call.replaceAll(" . ", ".")} is banned here: ${advice}`,
        ),
      ),
    ),
  );
}

/** The lines where a sequence of tokens stands. A property of the same name does not count. */
function placesOf(code: readonly Token[], sequence: readonly string[]): number[] {
  return code.flatMap((token, place) => {
    if (token.kind !== "word" || isMark(code[place - 1], ".")) return [];
    return sequence.every((text, offset) => code[place + offset]?.text === text) ? [token.line] : [];
  });
}

/** Variables of a module: state that nobody owns. */
export function findModuleState(sources: readonly Source[]): string[] {
  return sources
    .filter(({ path }) => path.startsWith("src/"))
    .flatMap(({ path, code }) =>
      code
        .filter((token) => token.kind === "word" && token.parent === -1 && /^(?:let|var)$/.test(token.text))
        .map((token) => `${path}:${token.line}: a module has no variables; give the state an owner`),
    );
}

/** Errors that are caught and not looked at. */
export function findSwallowed(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, code }) =>
    code
      .filter((token, place) => token.text === "catch" && token.kind === "word" && isSwallowing(code, place))
      .map((token) => `${path}:${token.line}: catch must use the error`),
  );
}

function isSwallowing(code: readonly Token[], place: number): boolean {
  const at = (offset: number): Token | undefined => code[place + offset];
  if (isMark(code[place - 1], ".")) return isMark(at(1), "(") && isMark(at(2), "(") && isMark(at(3), ")");
  if (isMark(at(1), "{")) return true;
  const name = at(2)?.text;
  const body = place + 4;
  let isUsed = false;
  for (let inner = body + 1; inner < code.length && (code[inner] as Token).parent >= body; inner++) {
    isUsed ||= (code[inner] as Token).text === name;
  }
  return !isUsed;
}

/** Tests that sleep. They wait for an event, or for a condition with test/support/wait.ts. */
export function findSleep(sources: readonly Source[]): string[] {
  const isTest = (path: string): boolean => path.startsWith("test/") && path !== "test/support/wait.ts";
  return sources
    .filter(({ path }) => isTest(path))
    .flatMap(({ path, code, imports }) => {
      const sleeps = imports.filter(({ from }) => from === "node:timers/promises").map(({ line }) => line);
      code.forEach((token, place) => {
        if (token.text === "setTimeout" && isMark(code[place + 1], "(") && isInPromise(code, place)) {
          sleeps.push(token.line);
        }
      });
      return sleeps.map(
        (line) => `${path}:${line}: a test does not sleep; use until() of test/support/wait.ts`,
      );
    });
}

function isInPromise(code: readonly Token[], place: number): boolean {
  for (let at = (code[place] as Token).parent; at !== -1; at = (code[at] as Token).parent) {
    const isMade = code[at - 1]?.text === "Promise" || (isMark(code[at - 1], ">") && holdsPromise(code, at));
    if (isMade && isMark(code[at], "(")) return true;
  }
  return false;
}

/** Whether the call at `open` is `new Promise<Something>(`. */
function holdsPromise(code: readonly Token[], open: number): boolean {
  const before = code.slice(Math.max(0, open - 8), open).map((token) => token.text);
  return before.join(" ").includes("new Promise <");
}

/** Notes to oneself that belong into an issue. */
export function findNotes(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, tokens }) =>
    tokens
      .filter(({ kind, text }) => kind === "comment" && /\b(?:TODO|FIXME|XXX)\b(?! \(#\d+\))/.test(text))
      .map(({ line }) => `${path}:${line}: a note needs its issue: TODO (#12)`),
  );
}

/** Unit tests that mirror no file, and files with functions that no test reaches by imports or as a program. */
export function findUntested(sources: readonly Source[]): string[] {
  const paths = new Map(sources.map((source) => [source.path, source]));
  const strays = [...paths.keys()].filter((path) => {
    const mirrored = /^test\/unit\/(.+)\.test\.ts$/.exec(path)?.[1];
    // A long test may be split: commands_again.test.ts goes on with commands.ts.
    const isMirror = (name: string): boolean => paths.has(`src/${name}.ts`);
    return mirrored !== undefined && !isMirror(mirrored) && !isMirror(mirrored.replace(/_[a-z]+$/, ""));
  });
  const reached = new Set<string>();
  const waiting = [...paths.keys()].filter((path) => path.endsWith(".test.ts"));
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const source = paths.get(path);
    if (source === undefined || reached.has(path)) continue;
    reached.add(path);
    for (const { from } of source.imports) waiting.push(targetOf(path, from) ?? "");
    // A program is named by a string: its path from here, or from the repository.
    for (const token of source.code) {
      if (token.kind === "string" && /\.m?ts$|\.mjs$/.test(textOf(token))) {
        waiting.push(posix.join(posix.dirname(path), textOf(token)), posix.normalize(textOf(token)));
      }
    }
  }
  const untested = sources.filter(
    ({ path, functions }) => path.startsWith("src/") && functions.length > 0 && !reached.has(path),
  );
  return [
    ...strays.map((path) => `${path}: mirrors no file of src`),
    ...untested.map(({ path }) => `${path}: no test reaches it`),
  ];
}

/** Faults that the table names and nothing raises. */
export function findUnusedFaults(codes: readonly string[], sources: readonly Source[]): string[] {
  const used = new Set(
    sources
      .filter(({ path }) => path.startsWith("src/") && path !== "src/base/fault.ts")
      .flatMap(({ code }) => code.filter(({ kind }) => kind === "string").map(textOf)),
  );
  return codes.filter((code) => !used.has(code)).map((code) => `src/base/fault.ts: nothing uses ${code}`);
}

/** Texts that only make sense on one machine: its folders, or the host of a package registry. */
export function findLocal(files: Readonly<Record<string, string>>): string[] {
  const folder = /(?<![\w.:/-])\/(?:work|root)\/\w/;
  const host =
    /\b(?:registry|deb|security|pypi|files|proxy|index|static|repo\d*)\.[a-z-]+\.(?:org|com|io|net)\b/;
  const registry = /npm|yarn|debian|pypi|python|crates|golang|maven/;
  return Object.entries(files).flatMap(([path, text]) =>
    text.split("\n").flatMap((line, place) => {
      const found = host.exec(line)?.[0] ?? "";
      if (!folder.test(line) && !registry.test(found)) return [];
      return [`${path}:${place + 1}: names a folder of one machine or a package registry`];
    }),
  );
}

/** Documents that name a file which does not exist (any more). */
export function findDeadPaths(files: Readonly<Record<string, string>>): string[] {
  const named = /`((?:src|test|bench|bin|config|\.ci)\/[\w./-]*\w\.(?:ts|mjs|md|json|yaml))`/g;
  return Object.entries(files)
    .filter(([path]) => path.endsWith(".md"))
    .flatMap(([path, text]) =>
      [...text.matchAll(named)]
        .filter(([, target]) => files[target as string] === undefined)
        .map(([, target]) => `${path}: names ${target}, which does not exist`),
    );
}
