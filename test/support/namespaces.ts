/** Another host on this machine: a network namespace with a link to ours, which can go dark. Needs Linux and root. */
import { execFile, spawn, spawnSync, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import { killNow } from "../../src/control/process.ts";
import { missing } from "./installed.ts";

/** Of the addresses for private use, some that hardly anybody has: four for each link, of which two can be used. */
const NETWORK = "10.203";
const LINKS = 250 * 64;

/** Why there can be no other host here, or null. */
export function noNamespaces(): string | null {
  const reason = missing("ip");
  if (reason !== null) return reason;
  const name = `cfprobe${process.pid}`;
  const { status, stderr } = spawnSync("ip", ["netns", "add", name], { encoding: "utf8" });
  if (status !== 0) return `no network namespace can be made: ${stderr.trim()}`;
  ip("netns", "del", name);
  return null;
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr.trim()}`);
}

/** The other host. It ends with all that runs there. */
export class OtherHost implements Disposable {
  /** Where it is reached from here. */
  readonly address: string;
  readonly #name: string;
  readonly #inner: string;

  constructor() {
    // Several tests may run at once, each in a process of its own.
    const number = process.pid % LINKS;
    const [third, fourth] = [Math.floor(number / 64), (number % 64) * 4];
    const ours = `${NETWORK}.${third}.${fourth + 1}`;
    this.address = `${NETWORK}.${third}.${fourth + 2}`;
    this.#name = `cf${process.pid}`;
    const outer = `cfo${process.pid}`;
    this.#inner = `cfi${process.pid}`;
    ip("netns", "add", this.#name);
    try {
      ip("link", "add", outer, "type", "veth", "peer", "name", this.#inner);
      ip("link", "set", this.#inner, "netns", this.#name);
      ip("address", "add", `${ours}/30`, "dev", outer);
      ip("link", "set", outer, "up");
      this.#inside("ip", "address", "add", `${this.address}/30`, "dev", this.#inner);
      this.link(true);
      // Others pace what they send, so that a narrow link hardly ever has to drop anything.
      this.#inside("sh", "-c", "echo reno > /proc/sys/net/ipv4/tcp_congestion_control");
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Lets packets pass, or vanish without a word to anybody. */
  link(isUp: boolean): void {
    this.#inside("ip", "link", "set", this.#inner, isUp ? "up" : "down");
  }

  /**
   * Sends no more than this on the link from there, lets `queued` packets wait and drops the rest. Gives why it cannot
   * do so, or null.
   */
  narrow(bytesPerSecond: number, queued: number): string | null {
    const add = ["tc", "qdisc", "add", "dev", this.#inner];
    const rate = ["rate", `${bytesPerSecond * 8}bit`, "burst", "2kb", "limit", "64kb"];
    try {
      this.#inside(...add, "root", "handle", "1:", "tbf", ...rate);
      this.#inside(...add, "parent", "1:", "pfifo", "limit", String(queued));
      return null;
    } catch (error) {
      // Kernels are built with or without it.
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** How many packets a narrow link has dropped. */
  async dropped(): Promise<number> {
    const command = ["netns", "exec", this.#name, "tc", "-s", "qdisc", "show", "dev", this.#inner];
    const { stdout } = await promisify(execFile)("ip", command);
    return Number(/\(dropped (\d+),/.exec(stdout)?.[1] ?? NaN);
  }

  /** Runs a program of ours there, given its path. */
  run(path: string, ...args: string[]): HostProgram {
    const command = ["netns", "exec", this.#name, process.execPath, path, ...args];
    return new HostProgram(spawn("ip", command, { stdio: ["pipe", "pipe", "inherit"] }));
  }

  [Symbol.dispose](): void {
    // Takes the link with it.
    ip("netns", "del", this.#name);
  }

  #inside(...command: string[]): void {
    ip("netns", "exec", this.#name, ...command);
  }
}

/** A program on the other host, which says lines of JSON and ends with its standard input. */
export class HostProgram implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** What it says next. */
  async line<Said>(): Promise<Said> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("it ended");
    return JSON.parse(value) as Said;
  }

  /** Ends its input; it says its last words. */
  end(): void {
    this.#child.stdin.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "close");
    killNow(this.#child.pid ?? 0);
    await ended;
  }
}
