/** An upgrade as the serving control process sees it: starts another one, and lets go once that one serves. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import type { FaultCode } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import { openChannel, type Channel } from "../shared/channel.ts";
import { ACTIVATION_VARIABLES } from "./activation.ts";
import type { Fleet, WorkerStatus } from "./fleet.ts";
import type { EventSink, Named } from "./fleet_news.ts";
import { HANDOVER_PROTOCOL, HANDOVER_SOCKET, INHERITANCE } from "./handover.ts";
import type { FormerMessage, Inheritance, NewMessage } from "./handover.ts";

/** From its start the new control process has this long until its workers serve, in milliseconds. */
const READY_MAX_MS = 60_000;
/** What was released must be taken in this time: the new one only has to open it. */
const SERVING_MAX_MS = 10_000;
/** One that said it failed has this long to end by itself. */
const END_MAX_MS = 2_000;
/** Descriptors 0 to 2 are the standard streams. */
const FIRST_FD = 3;

/** How this program is started again: the program on disk, with the words and the environment of this one. */
export interface ProgramCall {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What an upgrade works with. */
export interface UpgradeParts {
  readonly fleet: Pick<Fleet, "lending" | "reopenDoorway" | "expect">;
  readonly runDir: string;
  /** The admin listener's address and descriptor. */
  readonly admin: () => Inheritance["admin"];
  readonly program: ProgramCall;
  /** Where the process listens that stays for those who wait for its end; null without one. */
  readonly stay: string | null;
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: EventSink;
}

/** What became of an upgrade: the new one waits for everything to be released, or nothing has changed. */
export type UpgradeOutcome =
  | { readonly ok: true; readonly pid: number; readonly version: string; readonly afterMs: number }
  | { readonly ok: false; readonly code: FaultCode; readonly detail: string };

/** A new control process that has come up. */
export interface Successor {
  readonly pid: number;
  readonly version: string;
  /** Tells it that everything is free. Gives whether it took it, or why not. */
  release(): Promise<string | null>;
}

/**
 * Upgrades of this control process, one at a time.
 *
 * The new one is a child with copies of the listening sockets. It starts workers of its own beside those here, on a
 * control socket that takes the place of this one's, and says when they serve. Whatever keeps it from that ends it,
 * puts the control socket back and is told as a reason; workers that it leaves behind come here and are drained. From
 * `ready` on there is no way back, and nothing left that could fail but to open what this process releases.
 */
export class Upgrade {
  readonly #parts: UpgradeParts;
  readonly #succeeded = Promise.withResolvers<Successor>();
  #trial: Trial | null = null;
  #isOver = false;
  #hasSucceeded = false;

  constructor(parts: UpgradeParts) {
    this.#parts = parts;
  }

  /** Settles when a new control process has come up: this one shall release everything and end. */
  get succeeded(): Promise<Successor> {
    return this.#succeeded.promise;
  }

  /** Whether one has come up: whatever this process is told from here on is for that one. */
  get hasSucceeded(): boolean {
    return this.#hasSucceeded;
  }

  /** Starts the program on disk and waits until it could take over. `cause` is shown as it is. */
  async begin(cause: string): Promise<UpgradeOutcome> {
    const { fleet, journal, log, clock } = this.#parts;
    if (this.#trial !== null || this.#isOver) return refused("an upgrade is under way already");
    if (!fleet.lending.canLend()) return refused("Crossfade does not serve: it is starting or draining");
    const startedMs = clock.nowMs();
    journal.append("upgrade.started", { cause });
    log.info({ cause }, "upgrade: starting the program on disk");
    const trial = new Trial(this.#parts);
    this.#trial = trial;
    const result = await trial.run();
    this.#trial = null;
    if ("reason" in result) {
      await fleet.reopenDoorway();
      journal.append("upgrade.failed", { reason: result.reason });
      const outcome = this.#isOver ? "given up" : "failed; this control process and its workers carry on";
      log.error({ reason: result.reason }, `upgrade ${outcome}`);
      return { ok: false, code: "UPGRADE_FAILED", detail: result.reason };
    }
    this.#isOver = true;
    this.#hasSucceeded = true;
    const { pid, version } = result;
    const afterMs = Math.round(clock.nowMs() - startedMs);
    journal.append("upgrade.ready", { pid, version, after_ms: afterMs });
    log.info({ pid, version, after_ms: afterMs }, "upgrade: the new control process is ready to take over");
    // In the next turn, so that whoever asked is answered before the listener closes.
    setImmediate(() => this.#succeeded.resolve(result));
    return { ok: true, pid, version, afterMs };
  }

  /** Ends an upgrade that has not come up yet. */
  cancel(reason: string): void {
    this.#trial?.end(reason);
    this.#isOver = true;
  }
}

function refused(detail: string): UpgradeOutcome {
  return { ok: false, code: "CONFLICT", detail };
}

/** One attempt, from the start of the process until it is ready or has failed. */
class Trial {
  readonly #parts: UpgradeParts;
  readonly #ended = Promise.withResolvers<{ readonly reason: string } | Successor>();
  readonly #serving = Promise.withResolvers<void>();
  #server: Server | null = null;
  #child: ChildProcess | null = null;
  #channel: Channel<FormerMessage> | null = null;
  #version = "";
  #workers: readonly Named[] = [];
  #hasEnded = false;

  constructor(parts: UpgradeParts) {
    this.#parts = parts;
  }

  async run(): Promise<{ readonly reason: string } | Successor> {
    const path = join(this.#parts.runDir, HANDOVER_SOCKET);
    const timer = setTimeout(
      () => this.end(`it was not ready within ${READY_MAX_MS / 1000} s`),
      READY_MAX_MS,
    );
    try {
      await this.#listen(path);
      this.#start(path);
    } catch (error) {
      this.end(`it cannot be started: ${error instanceof Error ? error.message : String(error)}`);
    }
    const result = await this.#ended.promise;
    clearTimeout(timer);
    this.#server?.close();
    rmSync(path, { force: true });
    if ("reason" in result) await this.#endChild();
    return result;
  }

  /** Gives the attempt up. Without effect once it has come up. */
  end(reason: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    // At once: a fleet that drains must not end before they have come.
    this.#parts.fleet.expect(this.#workers);
    this.#ended.resolve({ reason });
  }

  async #listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    const server = createServer((socket) => {
      // Nobody else can enter the directory; a second connection would be a mistake.
      if (this.#channel !== null) return socket.destroy();
      this.#channel = openChannel<NewMessage, FormerMessage>(socket, {
        onMessage: (message) => this.#receive(message),
        // Its end, which says more, comes at about the same time.
        onClose: () => {
          setTimeout(() => this.end("it closed its connection before it was ready"), END_MAX_MS).unref();
        },
      });
      return undefined;
    });
    this.#server = server;
    server.listen({ path });
    await once(server, "listening");
  }

  #start(path: string): void {
    const { fleet, runDir, admin, program, stay } = this.#parts;
    const lent = fleet.lending.sockets();
    const { fd: adminFd, ...adminAddress } = admin();
    const sockets = lent?.map((socket, index) => ({ ...socket, fd: FIRST_FD + index })) ?? null;
    const inheritance: Inheritance = {
      socket: path,
      runDir,
      sockets,
      listen: fleet.lending.listen(),
      admin: { ...adminAddress, fd: FIRST_FD + (lent?.length ?? 0) },
      stay,
    };
    const env = { ...program.env, [INHERITANCE]: JSON.stringify(inheritance) };
    for (const name of ACTIVATION_VARIABLES) delete (env as Record<string, unknown>)[name];
    const child = spawn(program.command, program.args, {
      detached: true,
      env,
      stdio: ["ignore", "inherit", "inherit", ...(lent ?? []).map(({ fd }) => fd), adminFd],
    });
    this.#child = child;
    // It outlives this process.
    child.unref();
    child.once("error", (error) => this.end(`it cannot be started: ${error.message}`));
    child.once("exit", (code, signal) => {
      this.end(
        `it ended with ${signal === null ? `exit code ${code}` : signal} before it was ready; its log says why`,
      );
    });
  }

  #receive(message: NewMessage): void {
    const { fleet } = this.#parts;
    switch (message.type) {
      case "hello":
        this.#version = message.version;
        if (message.protocol !== HANDOVER_PROTOCOL)
          this.end(`version ${message.version} hands over differently; stop this one and start that one`);
        return undefined;
      case "spawn":
        return fleet.lending.spawn(message.worker, { file: message.file, version: message.version });
      case "workers":
        this.#workers = message.workers;
        return undefined;
      case "applied":
        return fleet.lending.follow(this.#asFollower(message.revision));
      case "failed":
        return this.end(message.reason);
      case "ready":
        return this.#succeed();
      case "serving":
        return this.#serving.resolve();
    }
  }

  /** All workers of the new control process as if they were one. */
  #asFollower(appliedRevision: number): WorkerStatus {
    const pid = this.#child?.pid ?? 0;
    const version = this.#version;
    const facts = { connectionsOpen: 0, restarts: 0, rssBytes: 0, loopUtilization: 0 };
    return { worker: 0, pid, version, state: "serving", adopted: false, appliedRevision, ...facts };
  }

  #succeed(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const pid = this.#child?.pid ?? 0;
    this.#ended.resolve({ pid, version: this.#version, release: () => this.#release() });
  }

  async #release(): Promise<string | null> {
    this.#channel?.send({ type: "released", workers: this.#parts.fleet.lending.workers() });
    const child = this.#child;
    const gone = Promise.withResolvers<string>();
    child?.once("exit", () => gone.resolve("the new control process ended before it had taken over"));
    const timer = setTimeout(
      () => gone.resolve(`the new control process did not take over within ${SERVING_MAX_MS / 1000} s`),
      SERVING_MAX_MS,
    );
    const fault = await Promise.race([this.#serving.promise.then(() => null), gone.promise]);
    clearTimeout(timer);
    this.#channel?.end();
    return fault;
  }

  /** Ends the process, for which its closed channel is the order to leave. Settles when it is gone. */
  async #endChild(): Promise<void> {
    const child = this.#child;
    this.#parts.fleet.lending.follow(null);
    this.#channel?.close("the upgrade has failed");
    if (child === null || child.pid === undefined) return;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    const timer = setTimeout(() => child.kill("SIGKILL"), END_MAX_MS);
    await exit;
    clearTimeout(timer);
  }
}
