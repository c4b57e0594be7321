/** Makes in a folder what the Dockerfile describes, without Docker: the instructions that ours has, no others. */
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { basename, dirname, join, posix } from "node:path";
import { assert } from "../../src/base/fault.ts";

/** What a finished image says about itself. Paths are those inside it, below `root`. */
export interface Image {
  /** The folder that stands for its root directory. Nothing of the base image is in it. */
  readonly root: string;
  readonly base: string;
  readonly workdir: string;
  readonly user: string;
  readonly env: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
  readonly ports: readonly string[];
  readonly stopSignal: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly healthCheck: readonly string[];
}

/** What an image is made from. */
export interface ImageSource {
  /** The folder of the Dockerfile. */
  readonly repository: string;
  /** An empty folder; each stage gets one in it. */
  readonly target: string;
  /** Whether owners can be given away. */
  readonly isRoot: boolean;
}

interface Instruction {
  readonly line: number;
  readonly word: string;
  readonly flags: Readonly<Record<string, string>>;
  readonly rest: string;
}

type Stage = { -readonly [Key in keyof Image]: Image[Key] };

interface Build extends ImageSource {
  readonly args: Map<string, string>;
  readonly stages: Map<string, Stage>;
  readonly ignored: (path: string) => boolean;
}

/** Carries out the Dockerfile of a repository. Throws with the line of an instruction that is not known here. */
export function buildImage(source: ImageSource): Image {
  const build: Build = {
    ...source,
    args: new Map(),
    stages: new Map(),
    ignored: readIgnore(readFileSync(join(source.repository, ".dockerignore"), "utf8")),
  };
  let stage: Stage | null = null;
  for (const instruction of readDockerfile(readFileSync(join(source.repository, "Dockerfile"), "utf8"))) {
    try {
      if (instruction.word === "ARG") setArgument(build, instruction.rest);
      else if (instruction.word === "FROM") stage = openStage(build, instruction.rest);
      else carryOut(build, stage, instruction);
    } catch (error) {
      throw new Error(`Dockerfile:${instruction.line}: ${instruction.word}: ${String(error)}`, {
        cause: error,
      });
    }
  }
  assert(stage !== null, "a Dockerfile has a stage");
  return stage;
}

/** Instructions with their flags; comments and continued lines are gone. */
function readDockerfile(text: string): Instruction[] {
  const instructions: Instruction[] = [];
  let pending = "";
  text.split("\n").forEach((line, place) => {
    if (line.trim() === "" || line.trimStart().startsWith("#")) return;
    pending += line.replace(/\\$/, "");
    if (line.endsWith("\\")) return;
    const [, word = "", written = "", rest = ""] =
      /^(\w+)\s+((?:--[\w-]+(?:=\S+)?\s+)*)(.*)$/.exec(pending) ?? [];
    const flags = [...written.matchAll(/--([\w-]+)(?:=(\S+))?/g)].map(([, name, value]) => [
      name,
      value ?? "",
    ]);
    instructions.push({
      line: place + 1,
      word,
      flags: Object.fromEntries(flags) as never,
      rest: rest.trim(),
    });
    pending = "";
  });
  return instructions;
}

/** A .dockerignore that leaves out everything and then takes single paths in. */
function readIgnore(text: string): (path: string) => boolean {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const [first, ...others] = lines;
  assert(
    first === "*" && others.every((line) => /^![\w./-]+$/.test(line)),
    ".dockerignore: * and then !PATH",
  );
  const taken = others.map((line) => line.slice(1));
  return (path) => !taken.some((entry) => path === entry || path.startsWith(`${entry}/`));
}

function setArgument({ args }: Build, text: string): void {
  const [name = "", value = ""] = text.split(/=(.*)/s);
  args.set(name, value);
}

function openStage(build: Build, text: string): Stage {
  const [from = "", as, name = "final"] = text.split(/\s+/);
  assert(as === undefined || as === "AS", "FROM IMAGE AS NAME");
  const base = from.replace(/\$\{(\w+)\}/g, (_, key: string) => build.args.get(key) ?? "");
  const root = join(build.target, name);
  mkdirSync(join(root, "usr/local/bin"), { recursive: true });
  const none = { env: {}, volumes: [], ports: [], entrypoint: [], command: [], healthCheck: [] };
  const stage: Stage = { ...none, root, base, workdir: "/", user: "0:0", stopSignal: "" };
  build.stages.set(name, stage);
  return stage;
}

function carryOut(build: Build, stage: Stage | null, { word, flags, rest }: Instruction): void {
  assert(stage !== null, "FROM comes first");
  switch (word) {
    case "WORKDIR":
      stage.workdir = posix.resolve(stage.workdir, rest);
      return void mkdirSync(join(stage.root, stage.workdir), { recursive: true });
    case "COPY":
      return copy(build, stage, flags, rest.split(/\s+/));
    case "RUN":
      return rest.split(/\s+&&\s+/).forEach((command) => run(build, stage, command.split(/\s+/)));
    case "ENV":
      stage.env = { ...stage.env, ...Object.fromEntries([rest.split(/=(.*)/s)] as [string, string][]) };
      return;
    case "USER":
      stage.user = rest;
      return;
    case "VOLUME":
      stage.volumes = [...stage.volumes, rest];
      return;
    case "EXPOSE":
      stage.ports = [...stage.ports, ...rest.split(/\s+/)];
      return;
    case "STOPSIGNAL":
      stage.stopSignal = rest;
      return;
    case "HEALTHCHECK":
      stage.healthCheck = words(rest.replace(/^CMD\s+/, ""));
      return;
    case "ENTRYPOINT":
      stage.entrypoint = words(rest);
      return;
    case "CMD":
      stage.command = words(rest);
      return;
    default:
      throw new Error("not known here");
  }
}

/** The exec form. The other one would put a shell between the signals and the program. */
function words(text: string): string[] {
  const list: unknown = JSON.parse(text);
  assert(Array.isArray(list) && list.every((word) => typeof word === "string"), "a list of strings");
  return list;
}

function copy(build: Build, stage: Stage, flags: Readonly<Record<string, string>>, paths: string[]): void {
  const { from, chmod, ...others } = flags;
  assert(Object.keys(others).length === 0, `flags: ${Object.keys(others).join(" ")}`);
  const origin = from === undefined ? build.repository : build.stages.get(from)?.root;
  assert(origin !== undefined, `there is no stage ${from}`);
  const to = paths.pop() ?? "";
  for (const path of paths) {
    assert(from !== undefined || !build.ignored(path), `.dockerignore leaves out ${path}`);
    const source = join(origin, path);
    // As Docker does: of a folder its contents, of a file itself, into a folder if the target ends in a slash.
    const isInto = to.endsWith("/") && !statSync(source).isDirectory();
    const target = join(stage.root, posix.resolve(stage.workdir, to), isInto ? basename(path) : "");
    mkdirSync(dirname(target), { recursive: true });
    cpSync(source, target, { recursive: true, verbatimSymlinks: true });
    if (chmod !== undefined && statSync(target).isFile()) chmodSync(target, Number.parseInt(chmod, 8));
  }
}

function run(build: Build, stage: Stage, [program, ...args]: string[]): void {
  const inside = (path: string | undefined) => join(stage.root, posix.resolve(stage.workdir, path ?? ""));
  const flagged = (args.join(" ").match(/-\w(?: [^-\s]\S*)?/g) ?? []).map((text) => text.split(" "));
  if (program === "npm" && args[0] === "ci") return installPackages(build, inside("."), args.slice(1));
  if (program === "ln" && args[0] === "-s" && args.length === 3)
    return symlinkSync(inside(args[1]), inside(args[2]));
  assert(program === "install" && args[0] === "-d", "only npm ci, ln -s and install -d are known here");
  const options = new Map(flagged.map(([name = "", value = ""]) => [name, value]));
  const path = inside(args.at(-1));
  mkdirSync(path, { recursive: true });
  chmodSync(path, Number.parseInt(options.get("-m") ?? "755", 8));
  if (build.isRoot) chownSync(path, Number(options.get("-o")), Number(options.get("-g")));
}

/** What `npm ci` installs without the kinds that `--omit` names, taken from the packages of the repository. */
function installPackages({ repository }: Build, folder: string, args: readonly string[]): void {
  const omitted = args
    .filter((word) => word.startsWith("--omit="))
    .map((word) => word.slice("--omit=".length));
  const others = args.filter((word) => !word.startsWith("--omit="));
  const harmless = new Set(["--ignore-scripts", "--no-audit", "--no-fund"]);
  assert(omitted.toSorted().join() === "dev,optional", "npm ci leaves out dev and optional");
  assert(
    others.every((word) => harmless.has(word)),
    `npm ci ${others.join(" ")}`,
  );
  const lock = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>;
  };
  for (const [path, { dev, optional, devOptional }] of Object.entries(lock.packages)) {
    if (path === "" || dev === true || optional === true || devOptional === true) continue;
    assert(existsSync(join(repository, path)), `${path} is not installed: run npm ci`);
    const nested = join(repository, path, "node_modules");
    cpSync(join(repository, path), join(folder, path), {
      recursive: true,
      filter: (file) => file !== nested && !file.startsWith(`${nested}/`),
    });
  }
}
