/** Checks of the layout: the map in src/README.md against the imports that the files really have. */
import { isBuiltin } from "node:module";
import { isMark, targetOf, type Import, type Source } from "./tidy_source.ts";

/** What src/README.md says. Paths are relative to src. */
export interface SourceMap {
  /** Every file, from the roof to the base: a file may import what comes after it. */
  readonly order: readonly string[];
  /** Folder -> the other folders that its files may import from. The roof is the folder "roof". */
  readonly floors: ReadonlyMap<string, readonly string[]>;
  /** Package, IO builtin or global -> the files that may use it. */
  readonly doors: ReadonlyMap<string, readonly string[]>;
}

/** Builtins that only compute or wait: no door is needed for them. */
const OPEN_BUILTINS = new Set([
  "node:buffer",
  "node:events",
  "node:path",
  "node:stream",
  "node:stream/promises",
  "node:string_decoder",
  "node:timers/promises",
  "node:url",
  "node:util",
  "node:zlib",
]);

/** Globals that reach outside the program. */
const GLOBAL_DOORS = new Set(["process", "fetch", "WebSocket", "EventSource"]);

const IN_SRC = "src/";

/** Reads the sections "The map", "Floors" and "Doors" of the README. Other sections are prose. */
export function parseMap(readme: string): SourceMap {
  const rows = (title: string): string[][] => tableOf(sectionOf(readme, title));
  return {
    order: rows("The map").map(([file]) => codesIn(file)[0] ?? ""),
    floors: new Map(rows("Floors").map(([floor, below]) => [codesIn(floor)[0] ?? "", codesIn(below)])),
    doors: new Map(rows("Doors").map(([door, , files]) => [codesIn(door)[0] ?? "", codesIn(files)])),
  };
}

function sectionOf(readme: string, title: string): string {
  const start = readme.indexOf(`\n## ${title}\n`);
  if (start === -1) return "";
  const end = readme.indexOf("\n## ", start + 1);
  return readme.slice(start, end === -1 ? undefined : end);
}

/** The rows of all tables of a text whose first cell is code: that leaves out headings and rulers. */
function tableOf(text: string): string[][] {
  const lines = text.split("\n").filter((line) => line.startsWith("| `"));
  return lines.map((line) => line.split("|").slice(1, -1));
}

function codesIn(cell: string | undefined): string[] {
  return [...(cell ?? "").matchAll(/`([^`]+)`/g)].map(([, code]) => code as string);
}

/** Files that the map forgot, names twice, or invents; and lines of it that say nothing. */
export function findListing(sources: readonly Source[], map: SourceMap): string[] {
  const files = sources.map((source) => source.path).filter(isInSrc);
  const offences = files
    .filter((path) => !map.order.includes(path.slice(IN_SRC.length)))
    .map((path) => `${path}: the map in src/README.md does not list it`);
  map.order.forEach((name, place) => {
    if (map.order.indexOf(name) !== place) offences.push(`src/README.md: lists ${name} twice`);
    if (!files.includes(IN_SRC + name)) offences.push(`src/README.md: lists ${name}, which does not exist`);
  });
  return offences;
}

/** Imports that do not go down the map. */
export function findUpward(sources: readonly Source[], map: SourceMap): string[] {
  const places = new Map(map.order.map((name, place) => [IN_SRC + name, place]));
  return eachImport(sources, (source, target, { line }) => {
    const from = places.get(source.path);
    const to = target === null ? undefined : places.get(target);
    if (from === undefined || to === undefined || to > from) return null;
    return `${source.path}:${line}: imports ${target}, which is not below it in the map`;
  });
}

/** Imports from a floor that the importing floor must not know, or from outside src. */
export function findTrespass(sources: readonly Source[], map: SourceMap): string[] {
  return eachImport(sources, (source, target, { line, from }) => {
    if (from === "(computed)")
      return `${source.path}:${line}: imports a computed path, which nobody can check`;
    if (target === null) return null;
    if (!isInSrc(target)) return `${source.path}:${line}: imports ${target}, which is not part of src`;
    const [here, there] = [floorOf(source.path), floorOf(target)];
    if (here === there || map.floors.get(here)?.includes(there) === true) return null;
    return `${source.path}:${line}: imports ${target}; ${here} may not import from ${there}`;
  });
}

/** Packages, builtins and globals used by files that the map does not name for them, and names without a use. */
export function findDoors(sources: readonly Source[], map: SourceMap): string[] {
  const used = new Map<string, Set<string>>();
  const offences: string[] = [];
  const use = (door: string, source: Source, line: number): void => {
    const name = source.path.slice(IN_SRC.length);
    used.set(door, (used.get(door) ?? new Set()).add(name));
    if (map.doors.get(door)?.includes(name) === true) return;
    offences.push(`${source.path}:${line}: uses ${door}; the doors in src/README.md do not allow that`);
  };
  for (const source of sources.filter(({ path }) => isInSrc(path))) {
    for (const { from, line, isType } of source.imports) {
      const door = isType || from.startsWith(".") ? null : doorOf(from);
      if (door !== null) use(door, source, line);
    }
    source.code.forEach((token, place) => {
      const isGlobal = token.kind === "word" && GLOBAL_DOORS.has(token.text) && isUse(source, place);
      if (isGlobal) use(token.text, source, token.line);
    });
  }
  for (const [door, names] of map.doors) {
    for (const name of names) {
      if (used.get(door)?.has(name) !== true) offences.push(`src/README.md: ${name} does not use ${door}`);
    }
  }
  return offences;
}

/** A word that is looked up as a global here: not a property, and not the name of a parameter or a key. */
function isUse(source: Source, place: number): boolean {
  const [before, after] = [source.code[place - 1], source.code[place + 1]];
  if (isMark(before, ".") || isMark(before, "?.")) return false;
  return isMark(after, ".") || isMark(after, "(") || isMark(after, ")") || isMark(after, ",");
}

function doorOf(from: string): string | null {
  if (from === "(computed)" || OPEN_BUILTINS.has(from)) return null;
  if (isBuiltin(from)) return from;
  const parts = from.split("/");
  return parts.slice(0, from.startsWith("@") ? 2 : 1).join("/");
}

function eachImport(
  sources: readonly Source[],
  judge: (source: Source, target: string | null, found: Import) => string | null,
): string[] {
  return sources
    .filter(({ path }) => isInSrc(path))
    .flatMap((source) =>
      source.imports.map((found) => judge(source, targetOf(source.path, found.from), found)),
    )
    .filter((offence) => offence !== null);
}

function floorOf(path: string): string {
  const parts = path.split("/");
  return parts.length > 2 ? (parts[1] as string) : "roof";
}

function isInSrc(path: string): boolean {
  return path.startsWith(IN_SRC) && path.endsWith(".ts");
}
