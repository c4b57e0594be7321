/** Worker entry: build the plane, follow tables, acknowledge, report counters, drain. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { getHeapStatistics } from "node:v8";
import pino from "pino";
import { systemClock } from "../base/clock.ts";
import { assert } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { systemRandom } from "../base/random.ts";
import type { TableSpec } from "../domain/route.ts";
import type { WorkerSnapshot } from "../shared/counters.ts";
import {
  PROTOCOL,
  TICK_MS,
  readListening,
  type ComparisonReport,
  type ControlMessage,
  type DrainOptions,
  type PlaneOptions,
} from "../shared/messages.ts";
import { SWEEP_MS } from "./deadlines.ts";
import { ControlLink } from "./link.ts";
import { Listener } from "./listener.ts";
import { Plane } from "./plane.ts";

/** Descriptors 0 to 2 are the standard streams; the listening sockets follow in the order of `listen`. */
const FIRST_FD = 3;
/** A stopping worker waits this long for its last words to be read. */
const LAST_WORDS_MS = 500;
/** Descriptors of a worker besides its connections: files, channels and what Node itself needs, with some room. */
const OWN_FILES = 48;
/** So many are left for connections to backends; of few descriptors half, since each request may need one. */
const BACKEND_FILES = 4096;
/** A worker that serves nobody yet, and that nobody tells anything for so long, is of no use. In milliseconds. */
const ALONE_MAX_MS = 10_000;
/** Comparisons are reported this often. */
const COMPARISONS_MS = 1_000;

const AT_ONCE: DrainOptions = { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 0, tunnelsMs: 0 };

/** What a worker is started with. */
interface WorkerOptions {
  readonly socket: string;
  readonly worker: number;
  readonly version: string;
  /** The listening addresses, as `writeListening` gives them. */
  readonly listen: readonly string[];
}

/** One worker process. It listens once it has a table, and outlives the control process that started it. */
class Worker {
  readonly #options: WorkerOptions;
  readonly #log: Logger;
  readonly #plane: Plane;
  readonly #listener: Listener;
  readonly #link: ControlLink;
  #isListening = false;
  #isDraining = false;
  #isConfigured = false;
  /** The next report has all cells: the other side may be new. */
  #mustReportAll = true;
  #loop = performance.eventLoopUtilization();
  /** The same, and the time, at the last sweep. */
  #sweptLoop = this.#loop;
  #sweptMs = systemClock.nowMs();
  #comparisonsDueMs = -Infinity;
  /** Since when there was a control process last. */
  #aloneSinceMs = systemClock.nowMs();
  readonly #filesMax = filesMax();
  #rssBytes = 0;

  constructor(options: WorkerOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
    this.#plane = new Plane(systemClock, systemRandom(), { log });
    this.#listener = new Listener(this.#plane);
    this.#link = new ControlLink(options.socket, {
      onOpen: () => this.#hello(),
      onMessage: (message) => this.#onMessage(message),
    });
  }

  start(): void {
    this.#link.open();
    setInterval(() => this.#sweep(), SWEEP_MS);
    setInterval(() => this.#report(), TICK_MS);
  }

  /** Stops as if told by the control process: for a signal that reaches only this worker. */
  drain(options: DrainOptions): void {
    this.#log.info({ open: this.#listener.open }, "draining");
    this.#isDraining = true;
    this.#listener.drain(options, () => void this.#exit());
    this.#link.send({ type: "draining", open: this.#listener.open });
  }

  #hello(): void {
    this.#mustReportAll = true;
    this.#link.send({
      type: "hello",
      protocol: PROTOCOL,
      version: this.#options.version,
      pid: process.pid,
      worker: this.#options.worker,
      listen: this.#options.listen,
      revision: this.#plane.serving?.table.revision ?? 0,
      draining: this.#isDraining,
    });
    if (this.#isListening) this.#link.send({ type: "ready" });
  }

  #onMessage(message: ControlMessage): void {
    switch (message.type) {
      case "configure":
        this.#configure(message.options);
        this.#isConfigured = true;
        void this.#listenWhenReady();
        break;
      case "table":
        this.#follow(message.spec);
        break;
      case "drain":
        this.drain(message.now ? AT_ONCE : message.options);
        break;
      case "spawn":
        this.#spawn(message);
        break;
    }
  }

  #configure(options: PlaneOptions): void {
    const reserve = Math.min(BACKEND_FILES, (this.#filesMax - OWN_FILES) / 2);
    const cap = Math.max(1, Math.floor(this.#filesMax - OWN_FILES - reserve));
    this.#plane.connectionsCap = cap;
    const { connectionsMax } = options;
    if (cap < connectionsMax) {
      const facts = { limit: connectionsMax, descriptors: this.#filesMax, taken: cap };
      this.#log.warn(facts, "fewer descriptors than limits.connections needs: raise the limit of open files");
    }
    const problem = this.#plane.configure(options);
    if (problem !== null) this.#log.error({ path: options.accessLog.path }, problem);
  }

  #follow(spec: TableSpec): void {
    const { revision } = spec;
    try {
      this.#plane.follow(spec);
    } catch (error) {
      this.#log.error({ err: error, revision }, "table refused");
      this.#link.send({ type: "refused", revision, reason: String(error) });
      return;
    }
    this.#link.send({ type: "applied", revision });
    this.#listener.evacuate();
    void this.#listenWhenReady();
  }

  async #listenWhenReady(): Promise<void> {
    if (this.#isListening || !this.#isConfigured || this.#plane.serving === null || this.#isDraining) return;
    this.#isListening = true;
    // Before the first request, so that a new worker is not mistaken for one with a past.
    this.#report();
    try {
      const { listen } = this.#options;
      await Promise.all(
        listen.map((text, index) => this.#listener.listen(FIRST_FD + index, readListening(text))),
      );
    } catch (error) {
      this.#log.error({ err: error, listen: this.#options.listen }, "cannot listen");
      process.exit(1);
    }
    this.#link.send({ type: "ready" });
  }

  /** Starts another worker with copies of this one's listening sockets. */
  #spawn({ worker, file, version }: Extract<ControlMessage, { type: "spawn" }>): void {
    const fds = this.#options.listen.map((_, index) => FIRST_FD + index);
    const argv = [
      ...process.execArgv,
      file ?? fileURLToPath(import.meta.url),
      ...argumentsOf({ ...this.#options, worker, version: version ?? this.#options.version }),
    ];
    const child = spawn(process.execPath, argv, {
      detached: true,
      stdio: ["ignore", "inherit", "inherit", ...fds],
    });
    child.on("error", (error) => this.#log.error({ err: error, worker }, "cannot start a sibling"));
    child.unref();
  }

  #sweep(): void {
    const nowMs = systemClock.nowMs();
    const loop = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(loop, this.#sweptLoop);
    // Before the sweep, which takes time of its own.
    const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
    const lagMs = nowMs - this.#sweptMs - SWEEP_MS;
    this.#plane.feel({ lagMs, utilization, heap: used / limit, files: this.#filesPart() });
    this.#sweptLoop = loop;
    this.#sweptMs = nowMs;
    this.#plane.deadlines.sweep(nowMs);
  }

  /** Of the descriptors that this process may have, about as many as it has. */
  #filesPart(): number {
    const upstream = [...this.#plane.pool.now(), ...this.#plane.shadows.pool.now()];
    const open = upstream.reduce((sum, [, idle, busy]) => sum + idle + busy, this.#listener.open);
    return (open + OWN_FILES) / this.#filesMax;
  }

  #report(): void {
    this.#leaveIfUseless();
    const all = this.#mustReportAll;
    this.#mustReportAll = false;
    const shadows = this.#plane.shadows.report(all);
    const comparisons = this.#comparisons(all);
    this.#link.send({
      type: "counters",
      worker: this.#snapshot(),
      cells: this.#plane.counters.report(all),
      ...(shadows.length === 0 ? {} : { shadows }),
      ...(comparisons.length === 0 ? {} : { comparisons }),
    });
  }

  /** Before it listens it only keeps others from the address, and clients waiting. */
  #leaveIfUseless(): void {
    const nowMs = systemClock.nowMs();
    if (this.#link.isOpen || this.#isListening) this.#aloneSinceMs = nowMs;
    if (nowMs - this.#aloneSinceMs < ALONE_MAX_MS) return;
    this.#log.warn({}, "ends: it serves nobody yet, and there is no control process");
    process.exit(0);
  }

  /** They are long, and nobody needs them as often as counters. */
  #comparisons(all: boolean): ComparisonReport[] {
    const nowMs = systemClock.nowMs();
    if (!all && nowMs < this.#comparisonsDueMs) return [];
    this.#comparisonsDueMs = nowMs + COMPARISONS_MS;
    return this.#plane.shadows.comparer.report(all);
  }

  #snapshot(): WorkerSnapshot {
    const now = performance.eventLoopUtilization();
    const loop = performance.eventLoopUtilization(now, this.#loop);
    this.#loop = now;
    return {
      connectionsAccepted: this.#listener.accepted,
      connectionsRefused: this.#listener.refused,
      connectionsOpenNow: this.#listener.open,
      upstreamNow: [...this.#plane.pool.now(), ...this.#plane.shadows.pool.now()],
      upstreamExcess: this.#plane.pool.excess,
      logLinesDropped: this.#plane.log.dropped,
      fieldsDropped: this.#plane.fieldsDropped,
      lookupsFailed: this.#plane.resolver.failures,
      loopUtilization: loop.utilization,
      rssBytes: this.#rss(),
      pressure: this.#plane.pressure,
      ...(this.#plane.pressedBy === null ? {} : { pressedBy: this.#plane.pressedBy }),
      ...this.#drainProgress(),
    };
  }

  /** As it was last known: to ask for it takes a descriptor, and there may be none left. */
  #rss(): number {
    try {
      this.#rssBytes = process.memoryUsage.rss();
    } catch (error) {
      if (
        !(error instanceof Error && "code" in error && (error.code === "EMFILE" || error.code === "ENFILE"))
      )
        throw error;
    }
    return this.#rssBytes;
  }

  #drainProgress(): Pick<WorkerSnapshot, "drain"> {
    const { drain } = this.#plane;
    if (drain === null) return {};
    const nowMs = systemClock.wallMs();
    const { requestsMs, tunnelsMs } = drain.left;
    const until = { requestsUntilMs: nowMs + requestsMs, tunnelsUntilMs: nowMs + tunnelsMs };
    return { drain: { open: this.#listener.openNow, ...until } };
  }

  async #exit(): Promise<void> {
    await this.#plane.shadows.close();
    this.#mustReportAll = true;
    this.#report();
    this.#plane.log.close();
    this.#link.close();
    this.#log.info({}, "drained");
    setTimeout(() => process.exit(0), LAST_WORDS_MS);
  }
}

/** How many descriptors this process may have; no limit where the system does not tell. Source: proc_pid_limits(5). */
function filesMax(): number {
  try {
    return Number(/^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? Infinity);
  } catch (error) {
    if (error instanceof Error && "code" in error) return Infinity;
    throw error;
  }
}

function readOptions(): WorkerOptions {
  const { values } = parseArgs({
    options: {
      socket: { type: "string" },
      worker: { type: "string" },
      version: { type: "string" },
      listen: { type: "string", multiple: true },
    },
  });
  const { socket, worker, version, listen } = values;
  assert(socket !== undefined && worker !== undefined && listen !== undefined, "a worker is told its place");
  return { socket, worker: Number(worker), version: version ?? "unknown", listen };
}

function argumentsOf(options: WorkerOptions): string[] {
  const place = [
    "--socket",
    options.socket,
    "--worker",
    String(options.worker),
    "--version",
    options.version,
  ];
  return [...place, ...options.listen.flatMap((text) => ["--listen", text])];
}

/** How a worker that is stopped by a signal of its own drains. */
const OWN_DRAIN: DrainOptions = {
  graceMs: 0,
  spreadMs: 5_000,
  idleMs: 5_000,
  deadlineMs: 120_000,
  tunnelsMs: 3_600_000,
};

function main(): void {
  const options = readOptions();
  const log = pino(
    { base: { worker: options.worker, pid: process.pid } },
    pino.destination({ fd: 2, sync: false }),
  );
  const worker = new Worker(options, log);
  process.on("SIGTERM", () => worker.drain(OWN_DRAIN));
  // The terminal's Ctrl-C and SIGHUP are for the control process, which tells its workers.
  process.on("SIGINT", () => log.debug({}, "interrupt ignored"));
  process.on("SIGHUP", () => log.debug({}, "hang-up ignored"));
  worker.start();
}

main();
