/** Reads TypeScript as tokens, well enough for the tidy test: what is code, what is text, and where a function ends. */
import { posix } from "node:path";

/** One token. `parent` is the index of the bracket around it, -1 at the top level; `line` counts from 1. */
export interface Token {
  readonly kind: "word" | "number" | "mark" | "string" | "regex" | "comment";
  readonly text: string;
  readonly line: number;
  readonly parent: number;
}

/** A function with a body in braces. Lines count from its parameters to its closing brace. */
export interface FunctionSpan {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
  /** It is the callback of a `describe`, which groups tests instead of doing something. */
  readonly isGroup: boolean;
}

/** One import or re-export. `isType`: it vanishes when types are stripped. */
export interface Import {
  readonly from: string;
  readonly line: number;
  readonly isType: boolean;
}

/** One file of code, read once for all checks. `path` is relative to the repository. */
export interface Source {
  readonly path: string;
  readonly text: string;
  readonly tokens: readonly Token[];
  /** The tokens without comments. */
  readonly code: readonly Token[];
  readonly imports: readonly Import[];
  readonly functions: readonly FunctionSpan[];
}

/** Words before a slash after which a regular expression follows, not a division. */
const WORDS_BEFORE_REGEX = new Set([
  "return",
  "typeof",
  "case",
  "in",
  "of",
  "delete",
  "void",
  "throw",
  "await",
  "yield",
]);
/** Words before a parenthesis that make it no list of parameters. */
const STATEMENTS = new Set(["if", "for", "while", "switch", "catch", "with", "return", "await", "typeof"]);
const OPENERS = "([{";
const CLOSERS = ")]}";

const SPACE = /\s+/y;
const COMMENT = /\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const WORD = /#?[\p{ID_Start}$_][\p{ID_Continue}$]*/uy;
const NUMBER = /\d[\w.]*|\.\d[\w.]*/y;
const STRING = /"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*'/y;
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
const TEMPLATE_PART = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{)/y;
const MARK = /=>|\.\.\.|\?\.|[^\s\w]/uy;

/** Reads files, a path -> its text, for the checks. */
export function readSources(files: Readonly<Record<string, string>>): Source[] {
  return Object.entries(files).map(([path, text]) => {
    const tokens = scan(text);
    const code = codeOf(tokens);
    return { path, text, tokens, code, imports: importsOf(code), functions: functionsOf(code) };
  });
}

/** The tokens of a file, comments included. Templates are strings around the code in their braces. */
function scan(text: string): Token[] {
  const tokens: Token[] = [];
  /** Indexes of the brackets that are open; -2 - index for the brace of a template. */
  const open: number[] = [];
  let at = text.startsWith("#!") ? text.indexOf("\n") : 0;
  let line = 1;
  let last = "";
  const take = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    return found === undefined || found === "" ? null : found;
  };
  const add = (kind: Token["kind"], piece: string, parent = open.at(-1) ?? -1): void => {
    tokens.push({ kind, text: piece, line, parent: parent < -1 ? -2 - parent : parent });
    if (kind !== "comment") last = kind === "word" || kind === "mark" ? piece : "value";
    at += piece.length;
    line += piece.split("\n").length - 1;
  };
  const addTemplatePart = (): void => {
    const part =
      text[at] === "`"
        ? `\`${takeAt(TEMPLATE_PART, text, at + 1)}`
        : `}${takeAt(TEMPLATE_PART, text, at + 1)}`;
    if (part.startsWith("}")) open.pop();
    add("string", part);
    if (part.endsWith("${")) open.push(-2 - (tokens.length - 1));
  };
  while (at < text.length) {
    const space = take(SPACE);
    if (space !== null) {
      at += space.length;
      line += space.split("\n").length - 1;
      continue;
    }
    const isTemplateEnd = text[at] === "}" && (open.at(-1) ?? 0) < -1;
    if (text[at] === "`" || isTemplateEnd) {
      addTemplatePart();
      continue;
    }
    const kinds: readonly [Token["kind"], string | null][] = [
      ["comment", take(COMMENT)],
      ["string", take(STRING)],
      ["regex", mayStartRegex(last) ? take(REGEX) : null],
      ["word", take(WORD)],
      ["number", take(NUMBER)],
      ["mark", take(MARK)],
    ];
    const [kind, piece] = kinds.find(([, found]) => found !== null) ?? ["mark", text[at] as string];
    if (kind === "mark" && CLOSERS.includes(piece as string)) open.pop();
    add(kind, piece as string);
    if (kind === "mark" && OPENERS.includes(piece as string)) open.push(tokens.length - 1);
  }
  return tokens;
}

function takeAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? text.slice(at);
}

function mayStartRegex(last: string): boolean {
  if (last === "value" || last === ")" || last === "]" || last === "}") return false;
  return !/^[\p{ID_Start}$_#]/u.test(last) || WORDS_BEFORE_REGEX.has(last);
}

/** The tokens without comments, `parent` adjusted to the new places. */
function codeOf(tokens: readonly Token[]): Token[] {
  const places = new Map<number, number>();
  const code = tokens.filter((token, place) => {
    if (token.kind !== "comment") places.set(place, places.size);
    return token.kind !== "comment";
  });
  return code.map((token) => ({ ...token, parent: places.get(token.parent) ?? -1 }));
}

/** What a string token says, without its quotes. */
export function textOf(token: Token): string {
  return token.text.slice(1, -1);
}

/** Every import and re-export of a file, dynamic ones too; where their path is computed, `from` is "(computed)". */
function importsOf(code: readonly Token[]): Import[] {
  const imports: Import[] = [];
  code.forEach((token, place) => {
    const next = code[place + 1];
    if (token.kind !== "word" || next === undefined || isMark(code[place - 1], ".")) return;
    if (token.text === "import" && next.text === "(") {
      const path = code[place + 2];
      const from = path?.kind === "string" && isMark(code[place + 3], ")") ? textOf(path) : "(computed)";
      imports.push({ from, line: token.line, isType: false });
      return;
    }
    if (token.parent !== -1 || next.text === ".") return;
    const isStatement =
      token.text === "import" || (token.text === "export" && /^(?:[{*]|type)$/.test(next.text));
    const source = isStatement ? sourceOf(code, place) : null;
    if (source === null) return;
    imports.push({ from: textOf(source), line: token.line, isType: next.text === "type" });
  });
  return imports;
}

/** The path of an imported file, or null for a package or builtin. */
export function targetOf(path: string, from: string): string | null {
  return from.startsWith(".") ? posix.join(posix.dirname(path), from) : null;
}

/** The string at the end of an import or re-export that starts at `start`, or null for an export of something local. */
function sourceOf(code: readonly Token[], start: number): Token | null {
  for (let place = start + 1; place < code.length; place++) {
    const token = code[place] as Token;
    if (token.parent !== -1) continue;
    if (token.kind === "string") return token;
    if (token.text === ";" || token.text === "=") return null;
  }
  return null;
}

/** Every function with a body, however it is written. */
export function functionsOf(code: readonly Token[]): FunctionSpan[] {
  const closers = new Map<number, number>();
  code.forEach((token, place) => {
    if (token.kind === "mark" && CLOSERS.includes(token.text)) closers.set(openerOf(code, place), place);
  });
  return code.flatMap((token, place): FunctionSpan[] => {
    if (token.kind !== "mark" || token.text !== "(") return [];
    const before = code[place - 1];
    if (before?.kind === "word" && STATEMENTS.has(before.text)) return [];
    const body = bodyAfter(code, (closers.get(place) ?? code.length) + 1, closers);
    const end = body === null ? undefined : code[closers.get(body) ?? -1];
    if (end === undefined) return [];
    const name = before?.kind === "word" ? before.text : "(anonymous)";
    return [{ name, line: token.line, lines: end.line - token.line + 1, isGroup: isGroup(code, place) }];
  });
}

/** The bracket that a closing one belongs to: the token before it at the same depth whose children came between. */
function openerOf(code: readonly Token[], closer: number): number {
  const previous = code[closer - 1] as Token;
  const parent = (code[closer] as Token).parent;
  if (previous.parent === parent) return closer - 1;
  let place = previous.parent;
  while (place !== -1 && (code[place] as Token).parent !== parent) place = (code[place] as Token).parent;
  return place;
}

/** Where the body's brace is, given where the parameters ended: past a return type and an arrow. */
function bodyAfter(
  code: readonly Token[],
  start: number,
  closers: ReadonlyMap<number, number>,
): number | null {
  let place = start;
  if (isMark(code[place], ":")) {
    const end = typeEnd(code, place + 1, closers);
    if (end === null) return null;
    place = end;
  }
  if (isMark(code[place], "=>")) place++;
  return isMark(code[place], "{") ? place : null;
}

/** Where a return type ends: at the first brace or arrow that cannot be part of it. */
function typeEnd(code: readonly Token[], start: number, closers: ReadonlyMap<number, number>): number | null {
  let wantsOperand = true;
  let wasGroup = false;
  let angles = 0;
  for (let place = start; place < code.length; place++) {
    const token = code[place] as Token;
    if (OPENERS.includes(token.text) && token.kind === "mark") {
      if (token.text === "{" && !wantsOperand) return place;
      wasGroup = token.text === "(";
      wantsOperand = false;
      place = closers.get(place) ?? code.length;
    } else if (token.text === "=>" && !wasGroup && angles === 0) return place;
    else if (token.kind === "mark" && (/^[;)\]}]$/.test(token.text) || (token.text === "," && angles === 0)))
      return null;
    else {
      if (token.text === "<") angles++;
      if (token.text === ">") angles--;
      wasGroup = false;
      wantsOperand = /^(?:[|&<,?:]|=>|is|asserts|keyof|readonly|extends|typeof|unique)$/.test(token.text);
    }
  }
  return null;
}

/** Whether the function whose parameters open at `place` is handed to `describe`. */
function isGroup(code: readonly Token[], place: number): boolean {
  let start = (code[place] as Token).parent;
  while (start > 0) {
    const before = code[--start] as Token;
    if (before.text === "describe") return true;
    if (before.kind !== "word" && before.text !== "." && !CLOSERS.includes(before.text)) return false;
    if (CLOSERS.includes(before.text)) start = openerOf(code, start);
  }
  return false;
}

/** Whether a token is this bracket, dot or operator. */
export function isMark(token: Token | undefined, text: string): boolean {
  return token?.kind === "mark" && token.text === text;
}
