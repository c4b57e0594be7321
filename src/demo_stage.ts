/** The stage of the demo: a directory, two backends and a Crossfade, each started as a process and ended again. */
import { fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { assert } from "./base/fault.ts";
import { AdminClient } from "./client.ts";
import type { BackendOrder, BackendReady, BackendServed } from "./demo_backend.ts";
import type { Side } from "./demo_clients.ts";
import { CliFailure, EXIT } from "./terminal.ts";

/** What runs, and how to reach it. */
export interface Stage {
  readonly directory: string;
  readonly proxyPort: number;
  readonly adminUrl: string;
  readonly backends: Readonly<Record<Side, BackendReady>>;
  readonly admin: AdminClient;
  /** Rejects when Crossfade ends before the demo does; never resolves. */
  readonly lost: Promise<never>;
  /** The last lines of Crossfade's log. */
  readonly log: readonly string[];
  /** Ends every process and removes the directory. Safe to call twice. */
  close(): Promise<void>;
}

/** The name and the salt of the demo's only route. */
export const ROUTE = "shop";
/** The salt decides which clients are in the first percent: a different salt, a different few. */
export const SALT = "demo";

/** How long answers take, so that the two backends can be told apart. */
export const LATENCY_MS: Readonly<Record<Side, number>> = { legacy: 12, new: 6 };

/** A process that does not end by itself in this time is killed. Crossfade cuts what is open after DRAIN_S. */
const END_MS = 8_000;
const DRAIN_S = 3;
/** The last lines of Crossfade's log, shown when it fails. */
const LOG_LINES_MAX = 30;

const PROGRAM = new URL("../bin/crossfade.mjs", import.meta.url).pathname;
const BACKEND = new URL("./demo_backend.ts", import.meta.url).pathname;

/** Loaded into Crossfade before itself: a demo that was killed cannot end it, so the lost channel does. */
const END_WITH_PARENT = `data:text/javascript,${encodeURIComponent(
  'process.on("disconnect", () => process.kill(process.pid, "SIGTERM")); process.channel.unref();',
)}`;

/** Starts everything. Whatever fails on the way, nothing that was started stays. Throws CliFailure. */
export async function setStage(): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "crossfade-demo-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const backends = {
    legacy: await startBackend("legacy", stack),
    new: await startBackend("new", stack),
  };
  const file = join(directory, "crossfade.yaml");
  await writeFile(file, configuration(directory, backends));
  const crossfade = await startCrossfade(file, stack);
  const admin = new AdminClient({ url: crossfade.adminUrl, timeoutMs: 10_000 });
  stack.defer(() => admin.close());
  const all = stack.move();
  return { directory, backends, admin, ...crossfade, close: () => all.disposeAsync() };
}

/** Makes a backend answer 500 to everything, or stop doing so. */
export async function setFailing(backend: BackendReady, isFailing: boolean): Promise<void> {
  await fetch(`${backend.controlAddress}/failing`, { method: "PUT", body: String(isFailing) });
}

/** How many requests a backend has received, by its own count. */
export async function servedBy(backend: BackendReady): Promise<number> {
  const response = await fetch(`${backend.controlAddress}/served`);
  return ((await response.json()) as BackendServed).requests;
}

function configuration(directory: string, backends: Stage["backends"]): string {
  return `listen:
  - address: 127.0.0.1:0
admin:
  address: 127.0.0.1:0
run_dir: ${JSON.stringify(directory)}
store:
  sqlite: ${JSON.stringify(join(directory, "crossfade.db"))}
access_log: { format: "off" }
drain: { grace: 0s, idle: 100ms, deadline: ${DRAIN_S}s }
table:
  backends:
    legacy: { endpoints: ["${backends.legacy.address}"] }
    new: { endpoints: ["${backends.new.address}"] }
  routes:
    - id: ${ROUTE}
      match: { path: / }
      cutover: { legacy: legacy, candidate: new }
      split: { legacy: 100, new: 0 }
      sticky: { keys: [cookie:uid], salt: ${SALT} }
`;
}

async function startBackend(name: Side, stack: AsyncDisposableStack): Promise<BackendReady> {
  const order: BackendOrder = { name, latencyMs: LATENCY_MS[name] };
  // A process group of its own: Ctrl-C reaches the demo alone, which then ends the others in order.
  const child = fork(BACKEND, [JSON.stringify(order)], {
    detached: true,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  stack.defer(() => end(child));
  const started = await Promise.race([once(child, "message"), once(child, "exit").then(() => null)]);
  if (started === null) throw new CliFailure(EXIT.failure, `the backend ${name} did not start`);
  return started[0] as BackendReady;
}

/** What Crossfade says in its log once it listens. */
interface Listening {
  readonly proxyPort: number;
  readonly adminUrl: string;
}

async function startCrossfade(
  file: string,
  stack: AsyncDisposableStack,
): Promise<Listening & Pick<Stage, "lost" | "log">> {
  const child = spawn(process.execPath, ["--import", END_WITH_PARENT, PROGRAM, "start", "--config", file], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const { stderr } = child;
  assert(stderr !== null, "standard error is a pipe");
  stack.defer(() => end(child));
  const log: string[] = [];
  const exit = once(child, "exit").then(([code, signal]) => {
    throw new CliFailure(EXIT.failure, `Crossfade ended (${code ?? signal})`, log);
  });
  const listening = new Promise<Listening>((resolve) => {
    createInterface({ input: stderr }).on("line", (line) => {
      log.push(line);
      if (log.length > LOG_LINES_MAX) log.shift();
      const found = listeningOf(line);
      if (found !== null) resolve(found);
    });
  });
  return { ...(await Promise.race([listening, exit])), lost: exit, log };
}

/** Reads one line of the log: the message `ready` names the addresses. */
function listeningOf(line: string): Listening | null {
  if (!line.startsWith("{")) return null;
  const { msg, listen, admin } = JSON.parse(line) as { msg?: string; listen?: string[]; admin?: string };
  if (msg !== "ready" || admin === undefined) return null;
  return { proxyPort: Number(/:(\d+)$/.exec(listen?.[0] ?? "")?.[1]), adminUrl: admin };
}

/** Ends a process: politely, then not. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), END_MS);
  await gone;
  clearTimeout(killer);
}
