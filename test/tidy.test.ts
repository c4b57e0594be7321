/** Keeps the rules of the code: each is run over the repository, over planted offences, and over their clean twins. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FAULTS } from "../src/base/fault.ts";
import * as tidy from "./support/tidy.ts";
import { findDoors, findListing, findTrespass, findUpward, parseMap } from "./support/tidy_map.ts";
import { functionsOf, readSources, type Source } from "./support/tidy_source.ts";

/** Folders that hold no text of ours. */
const FOREIGN = new Set(["node_modules", ".git", "data", "coverage"]);
const TEXT = /\.(?:ts|mjs|md|json|ya?ml|sh|html|css)$|(?:^|\/)(?:run|Dockerfile|\.npmrc|\.gitignore)$/;
const CODE = /\.(?:ts|mjs)$/;

/** Every text file of the repository, by its path. */
function readTree(folder: string, prefix = ""): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(folder).toSorted()) {
    if (FOREIGN.has(name)) continue;
    const path = join(folder, name);
    if (statSync(path).isDirectory()) Object.assign(files, readTree(path, `${prefix}${name}/`));
    else if (TEXT.test(prefix + name)) files[prefix + name] = readFileSync(path, "utf8");
  }
  return files;
}

const files = readTree(join(import.meta.dirname, ".."));
const sources = readSources(Object.fromEntries(Object.entries(files).filter(([path]) => CODE.test(path))));
const map = parseMap(files["src/README.md"] ?? "");

describe("the repository keeps every rule", () => {
  test("the files were found", () => {
    expect(Object.keys(files)).toContain("src/base/clock.ts");
    expect(Object.keys(files)).toContain(".ci/run");
    expect(map.order.length).toBeGreaterThan(10);
    expect(map.floors.size).toBeGreaterThan(5);
    expect(map.doors.size).toBeGreaterThan(5);
  });
  test("the map lists every file of src once", () => expect(findListing(sources, map)).toEqual([]));
  test("a file imports only what is below it in the map", () => expect(findUpward(sources, map)).toEqual([]));
  test("no floor imports from a floor it must not know", () =>
    expect(findTrespass(sources, map)).toEqual([]));
  test("packages and IO are used only through their doors", () =>
    expect(findDoors(sources, map)).toEqual([]));
  test("files, functions and lines keep their limits", () => expect(tidy.findOversize(sources)).toEqual([]));
  test("files and exports say what they are", () => expect(tidy.findUnexplained(sources)).toEqual([]));
  test("file names say what is in them", () => expect(tidy.findNames(Object.keys(files))).toEqual([]));
  test("time, chance and output come from their owners", () => expect(tidy.findBanned(sources)).toEqual([]));
  test("no module has variables", () => expect(tidy.findModuleState(sources)).toEqual([]));
  test("a caught error is used", () => expect(tidy.findSwallowed(sources)).toEqual([]));
  test("no test sleeps", () => expect(tidy.findSleep(sources)).toEqual([]));
  test("a note to oneself names its issue", () => expect(tidy.findNotes(sources)).toEqual([]));
  test("every file with functions is reached by a test", () =>
    expect(tidy.findUntested(sources)).toEqual([]));
  test("every fault is used", () => expect(tidy.findUnusedFaults(Object.keys(FAULTS), sources)).toEqual([]));
  test("documents name only files that exist", () => expect(tidy.findDeadPaths(files)).toEqual([]));
  test("no text names one machine or a registry", () => expect(tidy.findLocal(files)).toEqual([]));
});

/** A little tree that keeps every rule, with a map of its own; the offences below each change one file of it. */
const README = `# Little

## The map
| file | what it is |
|---|---|
| \`main.ts\` | the top |
| \`plane/socket.ts\` | opens a socket |
| \`domain/word.ts\` | a word |
| \`base/clock.ts\` | the time |

## Floors
| floor | may import from |
|---|---|
| \`roof\` | \`plane\`, \`domain\`, \`base\` |
| \`plane\` | \`domain\`, \`base\` |
| \`domain\` | \`base\` |

## Doors
| door | opens | files |
|---|---|---|
| \`node:net\` | sockets | \`plane/socket.ts\` |
| \`process\` | the process | \`main.ts\` |

## Words
| \`prose\` | not part of the map |
`;
const CLEAN: Readonly<Record<string, string>> = {
  "src/README.md": README,
  "src/main.ts": '/** The top of it. */\nimport "./plane/socket.ts";\nprocess.exit();\n',
  "src/plane/socket.ts": `/** Opens a socket. */
import { connect } from "node:net";
import type { Word } from "../domain/word.ts";
/** Opens it. */
export function open(word: Word): void {
  try {
    connect(word.length);
  } catch (error) {
    throw new Error("BROKEN", { cause: error });
  }
}
`,
  "src/domain/word.ts": "/** A word, no more. */\n/** The word. */\nexport type Word = string;\n",
  "src/base/clock.ts": "/** The only time. */\n/** Now. */\nexport const now = () => Date.now();\n",
  "test/unit/plane/socket.test.ts": `/** The socket, tested. */
import { open } from "../../../src/plane/socket.ts";
import { now } from "../../../src/base/clock.ts";
/* What reads like an offence but stands in a string, a template or an expression is none. */
test("opens", () => [open("Date.now() let x"), now(), \`console.\${"log"} TODO\`, /Math.random()[/"]/]);
`,
};

type Rule = (sources: readonly Source[], files: Readonly<Record<string, string>>) => string[];
const withMap =
  (check: (sources: readonly Source[], found: ReturnType<typeof parseMap>) => string[]): Rule =>
  (planted, tree) =>
    check(planted, parseMap(tree["src/README.md"] ?? ""));
const RULES: Readonly<Record<string, Rule>> = {
  listing: withMap(findListing),
  order: withMap(findUpward),
  floors: withMap(findTrespass),
  doors: withMap(findDoors),
  sizes: tidy.findOversize,
  openings: tidy.findUnexplained,
  names: (_, tree) => tidy.findNames(Object.keys(tree)),
  banned: tidy.findBanned,
  state: tidy.findModuleState,
  catches: tidy.findSwallowed,
  sleeps: tidy.findSleep,
  notes: tidy.findNotes,
  tests: tidy.findUntested,
  faults: (planted) => tidy.findUnusedFaults(["BROKEN"], planted),
  paths: (_, tree) => tidy.findDeadPaths(tree),
  local: (_, tree) => tidy.findLocal(tree),
};

function run(rule: string, tree: Readonly<Record<string, string>>): string[] {
  const code = Object.entries(tree).filter(([path]) => CODE.test(path));
  return RULES[rule]?.(readSources(Object.fromEntries(code)), tree) ?? [`there is no rule ${rule}`];
}

const MAIN = "src/main.ts";
const WORD = "src/domain/word.ts";
const SOCKET = "src/plane/socket.ts";
const TEST = "test/unit/plane/socket.test.ts";
const README_PATH = "src/README.md";
/** Text that may not stand in this file as a whole. */
const HOME = ["", "work", "main"].join("/");
const REGISTRY = ["registry", "npmjs", "org"].join(".");
const LONG = `export function long() {\n${"  step();\n".repeat(70)}}\n`;

/** [rule, file, what is added to it, what the offence says]. */
const PLANTED: readonly (readonly [string, string, string, string])[] = [
  ["listing", "src/domain/new.ts", "/** Something new. */", "src/domain/new.ts: the map in src/README.md"],
  ["listing", README_PATH, "| `domain/word.ts` | again |", "lists domain/word.ts twice"],
  ["listing", README_PATH, "| `domain/gone.ts` | gone |", "lists domain/gone.ts, which does not exist"],
  [
    "order",
    WORD,
    'import { x } from "../plane/socket.ts";',
    "src/domain/word.ts:4: imports src/plane/socket.ts",
  ],
  ["order", WORD, 'import type { x } from "../plane/socket.ts";', "which is not below it"],
  ["order", WORD, 'export * from "../main.ts";', "imports src/main.ts"],
  ["order", WORD, 'export {\n  x,\n} from "../main.ts";', "imports src/main.ts"],
  ["order", WORD, 'const x = await import("../main.ts");', "imports src/main.ts"],
  ["order", WORD, 'import "./word.ts";', "imports src/domain/word.ts"],
  ["floors", WORD, 'import { x } from "../plane/socket.ts";', "domain may not import from plane"],
  ["floors", MAIN, 'import { x } from "../test/x.ts";', "which is not part of src"],
  ["floors", MAIN, "await import(name);", "imports a computed path"],
  ["doors", MAIN, 'import { request } from "undici";', "src/main.ts:4: uses undici"],
  ["doors", MAIN, 'import { serve } from "@hono/node-server/serve";', "uses @hono/node-server;"],
  ["doors", MAIN, 'import { createServer } from "node:net";', "uses node:net"],
  ["doors", MAIN, 'import fs from "fs";', "uses fs"],
  ["doors", MAIN, "await fetch(url);", "uses fetch"],
  ["doors", SOCKET, "process.exit();", "uses process"],
  ["doors", README_PATH, "| `node:dns` | names | `main.ts` |", "main.ts does not use node:dns"],
  ["sizes", MAIN, "x();\n".repeat(400), "src/main.ts: the file has 404 lines"],
  ["sizes", MAIN, `const x = "${"x".repeat(120)}";`, "src/main.ts:4: the line has 133 columns"],
  ["sizes", MAIN, LONG, "src/main.ts:4: long has 72 lines"],
  ["sizes", TEST, `helper(() => {\n${"  step();\n".repeat(70)}});\n`, "has 72 lines"],
  ["openings", "src/domain/new.ts", "export {};", "does not open with one sentence"],
  ["openings", "src/domain/new.ts", "/** Words */", "does not open with one sentence"],
  ["openings", MAIN, "export const x = 1;", "src/main.ts:4: the export has no docstring"],
  ["openings", MAIN, "// Why.\nexport class X {}", "the export has no docstring"],
  ["names", "src/domain/utils.ts", "", "src/domain/utils.ts: the name does not say"],
  ["names", "test/support/index.test.ts", "", "the name does not say"],
  ["banned", MAIN, "const t = Date.now();", "src/main.ts:4: Date.now is banned here: take a Clock"],
  ["banned", TEST, "const t = performance.now();", "performance.now is banned"],
  ["banned", MAIN, "const t = new Date();", "new Date ( ) is banned"],
  ["banned", MAIN, "const t = process.hrtime();", "process.hrtime is banned"],
  ["banned", MAIN, "const x = Math.random();", "Math.random is banned here: take a Random"],
  ["banned", MAIN, 'import { randomUUID } from "node:crypto";', "randomUUID is banned"],
  ["banned", MAIN, 'console.log("x");', "console . is banned"],
  ["banned", MAIN, "export default 1;", "export default is banned"],
  ["banned", MAIN, "export enum X { A }", "export enum is banned"],
  ["state", MAIN, "let x = 0;", "src/main.ts:4: a module has no variables"],
  ["state", MAIN, "export let x = 0;", "a module has no variables"],
  ["catches", MAIN, "try { x(); } catch { y(); }", "src/main.ts:4: catch must use the error"],
  ["catches", MAIN, "try { x(); } catch (error) { y(); }", "catch must use the error"],
  ["catches", MAIN, "await x().catch(() => {});", "catch must use the error"],
  ["sleeps", TEST, "await new Promise((resolve) => setTimeout(resolve, 10));", "a test does not sleep"],
  ["sleeps", TEST, "await new Promise<void>((done) => { setTimeout(done, 10); });", "a test does not sleep"],
  ["sleeps", TEST, 'import { setTimeout as sleep } from "node:timers/promises";', "a test does not sleep"],
  ["notes", MAIN, "// TODO: later", "src/main.ts:4: a note needs its issue"],
  ["tests", "test/unit/domain/gone.test.ts", "/** Nothing. */", "mirrors no file of src"],
  [
    "tests",
    "src/domain/new.ts",
    "/** New. */\nconst f = () => { g(); };",
    "src/domain/new.ts: no test reaches it",
  ],
  ["faults", SOCKET, "", "nothing uses BROKEN"],
  ["local", "config/example.yaml", `home: ${HOME}`, "config/example.yaml:1: names a folder"],
  ["paths", README_PATH, "see `test/gone.test.ts`", "src/README.md: names test/gone.test.ts"],
  ["local", README_PATH, `from https://${REGISTRY}/x`, "a package registry"],
];

/** [rule, file, what is added to it]: near the offences above, but allowed. */
const ALLOWED: readonly (readonly [string, string, string])[] = [
  ["order", MAIN, 'export { x } from "./domain/word.ts";'],
  ["order", WORD, 'const text = "import x from ../main.ts";'],
  ["floors", WORD, 'import { z } from "zod";'],
  ["doors", WORD, 'import type { Socket } from "node:net";\nimport { join } from "node:path";'],
  ["doors", WORD, "const x = { process: 1, fetch: 2 };\napp.fetch(request);"],
  ["sizes", TEST, `describe("x", () => {\n${"  step();\n".repeat(70)}});\n`],
  ["sizes", TEST, `describe.each([1])("x", () => {\n${"  step();\n".repeat(70)}});\n`],
  ["openings", MAIN, "/** One. */\nexport const ONE = 1;\nexport const TWO = 2;"],
  ["sizes", TEST, `function describeX() {\n${"  step();\n".repeat(70)}}\n`],
  ["tests", "test/unit/plane/socket_again.test.ts", "/** More of it. */"],
  ["openings", "test/plane/x.test.ts", "/**\n * Two of them.\n * At length.\n */"],
  ["openings", "bin/x.mjs", "#!/usr/bin/env node\n/** The front door. */"],
  ["names", "src/domain/commons.ts", ""],
  ["banned", "src/base/clock.ts", "const t = performance.now();"],
  ["banned", MAIN, "const t = new Date(ms); clock.Date.now();"],
  ["state", TEST, "let x = 0;"],
  ["state", MAIN, "function f() {\n  let x = 0;\n}"],
  ["catches", MAIN, "try { x(); } catch (error) { log(`${error}`); }\nx().catch((error) => log(error));"],
  ["sleeps", TEST, "setTimeout(() => response.end(), 5);"],
  ["notes", MAIN, "// TODO (#12): later"],
  ["tests", TEST, 'spawn("src/main.ts");'],
  ["listing", "test/unit/main.test.ts", "/** Not part of src. */"],
  ["paths", README_PATH, "see `src/main.ts` and `test/support/`"],
  ["local", README_PATH, "see http://127.0.0.1/work/main and ./root/x"],
];

/** The clean tree with something added to the right place of one file, or with a new file. */
function plant(path: string, text: string): Record<string, string> {
  const before = CLEAN[path];
  if (before === undefined) return { ...CLEAN, [path]: text };
  // A fault goes unused when its only use goes.
  if (text === "") return { ...CLEAN, [path]: before.replace("BROKEN", "WHOLE") };
  const isRow = text.startsWith("| ");
  const mark = text.includes("node:dns") ? "| `process`" : "| `base/clock.ts`";
  return { ...CLEAN, [path]: isRow ? before.replace(mark, `${text}\n${mark}`) : `${before}${text}\n` };
}

describe("each rule finds what it is there for", () => {
  test.each(Object.keys(RULES))("%s finds nothing in a clean tree", (rule) => {
    expect(run(rule, CLEAN)).toEqual([]);
    expect(PLANTED.some(([planted]) => planted === rule)).toBe(true);
  });
  test.each(PLANTED)("%s finds in %s: %j", (rule, path, text, says) => {
    expect(run(rule, plant(path, text)).join("\n")).toContain(says);
  });
  test.each(ALLOWED)("%s allows in %s: %j", (rule, path, text) => {
    expect(run(rule, plant(path, text))).toEqual([]);
  });
  test("functions end where they end, however they are written", () => {
    const text = `function a(x: { y: () => void }): { z: number } | null {\n  return x;\n}
const b = async (p: string): Promise<Map<string, () => void>> => {\n  if (p) {\n    f(/[)}]/, \`\${p}}\`);\n  }\n};
class C {\n  #d = (): void => {};\n  get e(): number {\n    return x ? f(x) : { a: 1 };\n  }\n}\n`;
    const found = functionsOf(readSources({ "x.ts": text })[0]?.code ?? []);
    expect(found.map(({ line, lines }) => [line, lines])).toEqual([
      [1, 3],
      [4, 5],
      [10, 1],
      [11, 3],
    ]);
  });
});
