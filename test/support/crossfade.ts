/** A real Crossfade for tests: control process, workers and backends, on free ports, all gone at the end. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { assert } from "../../src/base/fault.ts";
import { isRunning, killNow } from "../../src/control/process.ts";
import type { BackendSays } from "./backend.ts";
import { freePort } from "./fleet_stage.ts";
import { until } from "./wait.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const BACKEND = new URL("backend.ts", import.meta.url).pathname;

/** Nine processes that start at once on two busy processors have taken over 30 s. */
const START_MS = 55_000;

/** One line of Crossfade's log. */
export interface ControlLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A backend process. */
export interface BackendProcess {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  /** Makes this part of the requests fail with 500; 1 is all of them. */
  fail(ratio: number): Promise<void>;
  /** Requests so far. */
  count(): Promise<number>;
  stop(): Promise<void>;
}

/** A worker, as `GET /v1/fleet` shows it. */
export interface FleetWorker {
  readonly worker: number;
  readonly pid: number;
  readonly state: string;
  readonly adopted: boolean;
  readonly restarts: number;
  readonly applied_revision: number;
  readonly connections_open: number;
}

/** `GET /v1/fleet`. */
export interface Fleet {
  /** Of the control process that answers. */
  readonly pid: number;
  readonly workers: readonly FleetWorker[];
}

/** What a Crossfade is started with. Everything has a default. */
export interface CrossfadeOptions {
  /** Settings below the usual ones, key by key at the top level: JSON is YAML. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** The table; null for none. Usual: all paths to `legacy`, which is split with `new`. */
  readonly table?: unknown;
  /** Further keys of the usual table's route. */
  readonly route?: Readonly<Record<string, unknown>>;
  /** Variables of its environment besides those of the test. */
  readonly env?: Readonly<Record<string, string>>;
  /** How many descriptors each process may have; usual: as many as the system allows. */
  readonly filesMax?: number;
  /** Listening sockets that it is started with, as a service manager does, by their names. */
  readonly sockets?: readonly { readonly name: string; readonly fd: number }[];
}

/** Runs a program as its own shell's process: only then it can be told its pid beforehand. */
const WITH_SOCKETS = 'LISTEN_PID=$$; export LISTEN_PID; exec "$0" "$@"';

/** Starts a backend. It ends with this process at the latest. */
export async function startBackend(name: string, port = 0): Promise<BackendProcess> {
  const child = spawn(process.execPath, [BACKEND, "--name", name, "--port", String(port)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const url = `http://127.0.0.1:${(JSON.parse(line) as BackendSays).port}`;
  return {
    name,
    url,
    pid: child.pid ?? 0,
    async fail(ratio) {
      await fetch(`${url}/_fail?ratio=${ratio}`, { method: "POST" });
    },
    async count() {
      return ((await (await fetch(`${url}/_count`)).json()) as { count: number }).count;
    },
    stop: () => end(child),
  };
}

/** One directory with a configuration, in which control processes are started, killed and started again. */
export class Crossfade {
  readonly directory: string;
  readonly configPath: string;
  readonly url: string;
  /** All log lines of all control processes and workers here, oldest first. */
  readonly lines: ControlLine[] = [];
  adminUrl = "";
  readonly #options: CrossfadeOptions;
  #child: ChildProcess | null = null;

  private constructor(directory: string, port: number, options: CrossfadeOptions) {
    this.#options = options;
    this.directory = directory;
    this.configPath = join(directory, "crossfade.yaml");
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Writes the configuration for these two backends without starting anything. */
  static async prepare(
    backends: { readonly legacy: string; readonly new: string },
    options: CrossfadeOptions = {},
  ): Promise<Crossfade> {
    const port = await freePort();
    const crossfade = new Crossfade(mkdtempSync(join(tmpdir(), "crossfade-e2e-")), port, options);
    const { directory } = crossfade;
    const table = {
      backends: { legacy: { endpoints: [backends.legacy] }, new: { endpoints: [backends.new] } },
      routes: [
        {
          id: "shop",
          match: { path: "/" },
          cutover: { legacy: "legacy", candidate: "new" },
          split: { legacy: 100, new: 0 },
          sticky: { keys: ["cookie:uid"] },
          ...options.route,
        },
      ],
    };
    crossfade.configure({
      listen: [{ address: `127.0.0.1:${port}` }],
      admin: { address: "127.0.0.1:0" },
      workers: 2,
      run_dir: join(directory, "run"),
      store: { sqlite: join(directory, "crossfade.db") },
      access_log: { format: "off" },
      drain: { grace: "0s", spread: "500ms", idle: "200ms", deadline: "10s" },
      ...(options.table === null ? {} : { table: options.table ?? table }),
      ...options.settings,
    });
    return crossfade;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Replaces the configuration file. JSON is YAML. */
  configure(settings: Readonly<Record<string, unknown>>): void {
    writeFileSync(this.configPath, JSON.stringify(settings, null, 2));
  }

  /** The configuration as it is, to be changed and written again. */
  settings(): Record<string, unknown> {
    return JSON.parse(readFileSync(this.configPath, "utf8")) as Record<string, unknown>;
  }

  /** Starts a control process and waits for its `ready`. Throws with its last words when it ends instead. */
  start(): Promise<this> {
    return this.#launch(["ready"]);
  }

  /** Starts a control process that need not become ready, and waits until its admin API is there. */
  begin(): Promise<this> {
    return this.#launch(["ready", "started, not ready yet"]);
  }

  /** Starts another control process that is expected to end by itself. Gives its exit code and what it said. */
  async startInVain(): Promise<{ readonly code: number | null; readonly said: readonly ControlLine[] }> {
    const { child, said } = this.#spawn();
    const [code] = (await once(child, "close")) as [number | null];
    return { code, said };
  }

  /** Sends a signal to the control process. */
  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Kills the control process alone and waits until it is gone. The workers go on. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    child.kill("SIGKILL");
    await until("the control process is gone", () => child.signalCode !== null || child.exitCode !== null);
  }

  /** Kills the control process and all workers at once, as a machine that loses power does. */
  async killAll(): Promise<void> {
    const workers = this.workerPids();
    const killed = this.kill();
    for (const pid of workers) killNow(pid);
    await killed;
    await until("the workers are gone", () => this.workerPids().length === 0);
  }

  /** Waits until the control process ends. Gives its exit code. */
  async exitCode(): Promise<number | null> {
    const child = this.#child;
    if (child === null) return null;
    await until("the control process has ended", () => child.exitCode !== null || child.signalCode !== null);
    return child.exitCode;
  }

  /** One call of the admin API. Throws when the answer is no success. */
  async admin<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.adminUrl}${path}`, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} gave ${response.status}: ${text}`);
    return (text === "" ? null : JSON.parse(text)) as Answer;
  }

  /** The worker processes, as the control process sees them. */
  async workers(): Promise<FleetWorker[]> {
    return (await this.admin<{ workers: FleetWorker[] }>("GET", "/v1/fleet")).workers;
  }

  /** The fleet, or null while the admin API cuts connections because another control process takes it over. */
  async fleet(): Promise<Fleet | null> {
    try {
      return await this.admin<Fleet>("GET", "/v1/fleet");
    } catch (error) {
      if (error instanceof TypeError) return null;
      throw error;
    }
  }

  /** Replaces all workers as planned, and waits until successors serve in every slot. Gives how many. */
  async recycle(): Promise<number> {
    const reason = { reason: "a test" };
    const { workers } = await this.admin<{ workers: { pid: number }[] }>("POST", "/v1/fleet/recycle", reason);
    const former = new Set(workers.map(({ pid }) => pid));
    await until("successors serve in every slot", async () => {
      const serving = (await this.workers()).filter(({ state }) => state === "serving");
      return serving.length === workers.length && serving.every(({ pid }) => !former.has(pid));
    });
    return workers.length;
  }

  /** Upgrades, and waits until the new control process has drained the workers of the one before. Gives its fleet. */
  async upgrade(): Promise<Fleet> {
    const former = (await this.workers()).map((worker) => worker.pid);
    const { pid } = await this.admin<{ pid: number }>("POST", "/v1/upgrade", { reason: "a test" });
    // The new one may answer before they have come to it.
    await until("the former workers are gone", () => !former.some(isRunning));
    return this.successor((fleet) => fleet.pid === pid);
  }

  /** Waits until such a control process has two workers that serve, and no others. */
  successor(isMeant: (fleet: Fleet) => boolean): Promise<Fleet> {
    return until("a new control process has two workers that serve, and no others", async () => {
      const fleet = await this.fleet();
      const isDone = fleet !== null && isMeant(fleet) && fleet.workers.length === 2;
      return isDone && fleet.workers.every(({ state }) => state === "serving") ? fleet : null;
    });
  }

  /** Waits until so many workers serve, and no others are there. Gives them. */
  servingWorkers(count: number): Promise<FleetWorker[]> {
    return until(`${count} workers serve`, async () => {
      const workers = await this.workers();
      return workers.length === count && workers.every(({ state }) => state === "serving") ? workers : null;
    });
  }

  /** Worker processes of this directory that run, whoever knows of them. */
  workerPids(): number[] {
    return findProcesses(join(this.directory, "run", "control.sock"));
  }

  /** Control processes of this directory that run, the one that an upgrade starts included. */
  controlPids(): number[] {
    return findProcesses(this.configPath);
  }

  /** Ends everything that was ever started here, and removes the directory. Safe after any kill. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await until("all processes are gone", () => {
      const pids = [...this.controlPids(), ...this.workerPids()];
      for (const pid of pids) killNow(pid);
      return pids.length === 0;
    });
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #launch(messages: readonly string[]): Promise<this> {
    const { child, said } = this.#spawn();
    this.#child = child;
    const hasBegun = (): ControlLine | "ended" | undefined =>
      child.exitCode !== null || child.signalCode !== null
        ? "ended"
        : said.find(({ msg }) => messages.includes(msg));
    const line = await until("Crossfade has started or has ended", hasBegun, START_MS);
    if (line === "ended")
      throw new Error(`Crossfade ended: ${said.map((one) => JSON.stringify(one)).join("\n")}`);
    this.adminUrl = String(line["admin"]);
    return this;
  }

  #spawn(): { readonly child: ChildProcess; readonly said: ControlLine[] } {
    const { env, sockets = [], filesMax } = this.#options;
    const program = [process.execPath, MAIN, "--config", this.configPath];
    const [command = "", ...args] =
      sockets.length > 0
        ? ["/bin/sh", "-c", WITH_SOCKETS, ...program]
        : filesMax === undefined
          ? program
          : ["/bin/sh", "-c", `ulimit -n ${filesMax}; exec "$0" "$@"`, ...program];
    const listening = {
      LISTEN_FDS: String(sockets.length),
      LISTEN_FDNAMES: sockets.map(({ name }) => name).join(":"),
    };
    const child = spawn(command, args, {
      env: { ...process.env, ...env, ...(sockets.length > 0 ? listening : {}) },
      stdio: ["ignore", "ignore", "pipe", ...sockets.map(({ fd }) => fd)],
    });
    assert(child.stderr !== null, "it is piped");
    const said: ControlLine[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      const parsed = line.startsWith("{") ? (JSON.parse(line) as ControlLine) : { msg: line };
      this.lines.push(parsed);
      said.push(parsed);
    });
    return { child, said };
  }
}

/** Prepares and starts. */
export async function startCrossfade(
  backends: { readonly legacy: string; readonly new: string },
  options: CrossfadeOptions = {},
): Promise<Crossfade> {
  const crossfade = await Crossfade.prepare(backends, options);
  try {
    return await crossfade.start();
  } catch (error) {
    await crossfade.stop();
    throw error;
  }
}

/** Running processes with this word on their command line, such as a path that only they can know. */
function findProcesses(word: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => commandLine(pid).includes(word) && isRunning(pid));
}

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch (error) {
    // It ended since it was listed.
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH"))
      return [];
    throw error;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}
