/** The settings file as text: YAML to plain values, and findings to lines and columns. */
import { LineCounter, isAlias, isMap, isNode, isScalar, isSeq, parseDocument, type Document } from "yaml";
import { pointerOf, type Finding, type Findings, type PathPart } from "./domain/problems.ts";

/**
 * One thing wrong with the settings. `path` is a JSON pointer. Lines and columns start at 1; both are 0 where `file`
 * is the name of a flag or an environment variable.
 */
export interface FileProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly message: string;
}

/** Where what is wrong is noted: `findings` about the file, `problems` about flags and the environment. */
export interface Notes {
  readonly findings: Findings;
  readonly problems: FileProblem[];
}

/** A problem of a flag or an environment variable that stands for the key at `path`. */
export function problemElsewhere(source: string, path: string, message: string): FileProblem {
  return { file: source, line: 0, column: 0, path, message };
}

/** A file that could be read. `value` is null when it is empty. */
export interface ParsedFile {
  readonly value: unknown;
  /** Where in the file a finding is. */
  locate(finding: Finding): FileProblem;
}

/** Aliases may repeat this many nodes in all: enough for anchors in earnest, too few for a bomb of them. */
const ALIASES_MAX = 1000;

/** What to say instead of the library's words, where these speak of programming. */
const YAML_MESSAGES: ReadonlyMap<string, string> = new Map([
  ["DUPLICATE_KEY", "this key stands twice in its map"],
  ["MULTIPLE_DOCS", "the file goes on with a second document; keep one"],
  ["TAG_RESOLVE_FAILED", 'what begins with "!" is a tag, and no tags are known here; put text in quotes'],
]);

/**
 * Reads YAML 1.2, and JSON with it.
 *
 * `problems` are those of the text itself. A text that cannot be read at all gives null; one with keys that stand there
 * twice gives both.
 */
export function parseFile(
  file: string,
  text: string,
): { readonly parsed: ParsedFile | null; readonly problems: readonly FileProblem[] } {
  const lines = new LineCounter();
  // The library would print some warnings by itself; those that matter are in document.warnings.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "error" });
  const problemAt = (offset: number, path: string, message: string): FileProblem => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col), path, message };
  };
  const faults = [...document.errors, ...document.warnings];
  const problems = faults.map((fault) =>
    problemAt(fault.pos[0], "", YAML_MESSAGES.get(fault.code) ?? withoutQuote(fault.message)),
  );
  // A key that stands there twice leaves a usable document, so the rest can be looked at too.
  if (faults.some((fault) => fault.code !== "DUPLICATE_KEY")) return { parsed: null, problems };
  try {
    const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX });
    const locate = (finding: Finding): FileProblem =>
      problemAt(offsetOf(document, finding), pointerOf(finding.path), finding.message);
    return { parsed: { value, locate }, problems };
  } catch (error) {
    const message = withoutQuote(error instanceof Error ? error.message : String(error));
    return { parsed: null, problems: [...problems, problemAt(0, "", message)] };
  }
}

/** A message of the library without what it repeats of the file, which may be a password. */
function withoutQuote(message: string): string {
  return message.replace(/(?<=\S): .*$|(?<=^Invalid escape sequence) .*$/s, "");
}

/** One line for people: where, which key, what. */
export function problemLine(problem: FileProblem): string {
  const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}:${problem.column}`;
  return problem.path === ""
    ? `${place}: ${problem.message}`
    : `${place}: ${problem.path}: ${problem.message}`;
}

/**
 * Where the end of a path is in the text: the key, or the value when that is what the finding is about. For something
 * that is not there: the key of what should hold it.
 */
function offsetOf(document: Document, finding: Finding): number {
  let node: unknown = document.contents;
  let place = startOf(node) ?? 0;
  for (const [depth, part] of finding.path.entries()) {
    const step = stepInto(document, node, part);
    if (step === null) return place;
    const isEnd = depth === finding.path.length - 1;
    node = step.value;
    const isEmpty = node === null || (isScalar(node) && node.value === null);
    const wantsKey = finding.about === "key" || isEmpty || !isEnd;
    place = (wantsKey ? step.keyOffset : undefined) ?? startOf(node) ?? step.keyOffset ?? place;
  }
  return place;
}

function stepInto(
  document: Document,
  from: unknown,
  part: PathPart,
): { readonly keyOffset: number | undefined; readonly value: unknown } | null {
  const node = isAlias(from) ? from.resolve(document) : from;
  if (isSeq(node)) {
    const item = node.items[Number(part)];
    return item === undefined ? null : { keyOffset: undefined, value: item };
  }
  if (!isMap(node)) return null;
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
  return pair === undefined ? null : { keyOffset: startOf(pair.key), value: pair.value };
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}
