/** Runs an image that was made in a folder: its own words, user, environment and working directory, paths mapped. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { killNow } from "../../src/control/process.ts";
import type { Image } from "./deploy_image.ts";
import { processesWith } from "./program.ts";
import { until } from "./wait.ts";

/** Runs what follows as process 1 of a process namespace (unshare(1)). */
const NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"] as const;

/** A container that runs. */
export interface Container {
  /** The process that the image's words started, as this machine numbers it. */
  readonly pid: number;
  /** Everything it wrote to standard error. */
  readonly said: () => string;
  /** Its exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>;
  /** Ends it and all its processes, whatever happened before. */
  readonly stop: () => Promise<void>;
}

/** How to run it. */
export interface ContainerOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** In a process namespace of its own, as process 1. */
  readonly isFirst?: boolean;
}

/** A process, as /proc shows it. */
export interface Child {
  readonly pid: number;
  /** One letter; Z is a process that ended and was not collected. */
  readonly state: string;
}

/** Why no process namespace can be made here, or null. */
export function whyNoNamespace(): string | null {
  const [program, ...args] = NAMESPACE;
  const tried = spawnSync(program, [...args, "true"], { encoding: "utf8" });
  if (tried.error !== undefined) return `there is no unshare here (${tried.error.message})`;
  return tried.status === 0 ? null : `no process namespace can be made here: ${tried.stderr.trim()}`;
}

/** The user that the image names, when this process may become it and that one may run Node; else null. */
export function userOf({ user }: Image): { readonly uid: number; readonly gid: number } | null {
  const [uid = 0, gid = 0] = user.split(":").map(Number);
  const isPossible =
    process.getuid?.() === 0 && spawnSync(process.execPath, ["--version"], { uid, gid }).status === 0;
  return isPossible ? { uid, gid } : null;
}

/** Empties the volume, as a new one is: a folder of the image's user. */
export function freshVolume(image: Image): void {
  const user = userOf(image);
  for (const volume of image.volumes) {
    const path = join(image.root, volume);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { mode: 0o700 });
    if (user !== null) chownSync(path, user.uid, user.gid);
  }
}

/** Starts the entry point with the image's command. */
export async function startContainer(image: Image, options: ContainerOptions = {}): Promise<Container> {
  const words = mapped(image, [...image.entrypoint, ...image.command]);
  const user = userOf(image) ?? {};
  const { isFirst = false } = options;
  const [program = "", ...args] = isFirst ? [...namespaceWords(image), ...words] : words;
  const child = spawn(program, args, {
    ...(isFirst ? {} : user),
    cwd: join(image.root, image.workdir),
    env: environment(image, options),
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const ended = once(child, "close").then(([code]) => code as number | null);
  const pid = isFirst ? await firstOf(child) : (child.pid ?? 0);
  const stop = async (): Promise<void> => {
    await until("nothing of the container runs", () => {
      const left = processesWith(image.root);
      for (const one of left) killNow(one);
      return left.length === 0;
    });
    await ended;
  };
  return { pid, said: () => said, ended, stop };
}

/** Runs the health check once, beside the container as `docker exec` would. Gives its exit code. */
export async function checkHealth(image: Image, options: ContainerOptions): Promise<number | null> {
  const [program = "", ...args] = mapped(image, image.healthCheck);
  const child = spawn(program, args, {
    ...userOf(image),
    cwd: join(image.root, image.workdir),
    env: environment(image, options),
    stdio: "ignore",
  });
  const [code] = (await once(child, "close")) as [number | null];
  return code;
}

/** The processes that a process started or inherited. */
export function childrenOf(parent: number): Child[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const [state = "", owner = ""] = statOf(name);
      return Number(owner) === parent ? [{ pid: Number(name), state }] : [];
    });
}

/** The fields of /proc/PID/stat behind the name: state, parent and more; none when the process is gone. */
function statOf(name: string): string[] {
  try {
    const stat = readFileSync(`/proc/${name}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch (error) {
    if (error instanceof Error && "code" in error) return [];
    throw error;
  }
}

async function firstOf(child: ChildProcess): Promise<number> {
  const first = await until("the namespace has its first process", () => childrenOf(child.pid ?? 0)[0]);
  return first.pid;
}

function namespaceWords(image: Image): string[] {
  const user = userOf(image);
  const become =
    user === null ? [] : ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"];
  return [...NAMESPACE, ...become];
}

/** The base image's Node is the one that runs the tests; everything else is in the folder. */
function mapped({ root }: Image, words: readonly string[]): string[] {
  return words.map((word, place) => {
    if (place === 0 && word === "node") return process.execPath;
    return word.startsWith("/") ? join(root, word) : word;
  });
}

function environment(image: Image, { env = {} }: ContainerOptions): Record<string, string> {
  const tmp = join(image.root, "tmp");
  mkdirSync(tmp, { recursive: true });
  chmodSync(tmp, 0o1777);
  const path = [join(image.root, "usr/local/bin"), dirname(process.execPath), "/usr/bin", "/bin"];
  return { PATH: path.join(":"), TMPDIR: tmp, ...image.env, ...env };
}
