/** What a service manager is told of this process: that it serves, reloads, stops, or that another is the main one. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Logger } from "./base/logger.ts";

/**
 * Node has no datagram sockets of the file system, over which the manager wants to be told, so its own program does it.
 * Source: sd_notify(3), systemd-notify(1).
 */
const PROGRAM = "systemd-notify";
/** It waits until the manager has read the message; one that never does must not hold anything up. In milliseconds. */
const TELL_MAX_MS = 5_000;

/** The environment in which a manager says that it wants to be told. */
export type ServiceEnv = Readonly<Record<string, string | undefined>>;

/** The service manager, or nobody. */
export class ServiceManager {
  readonly #env: ServiceEnv;
  readonly #log: Logger;
  readonly #program: string | null;

  constructor(env: ServiceEnv, log: Logger) {
    this.#env = env;
    this.#log = log;
    const wants = (env["NOTIFY_SOCKET"] ?? "") !== "";
    this.#program = wants ? findProgram(env["PATH"] ?? "") : null;
    if (wants && this.#program === null) {
      log.warn(
        { program: PROGRAM },
        "NOTIFY_SOCKET is set, but the program that writes to it is missing: the service manager is told nothing",
      );
    }
  }

  /** Whether it can be told that another process is the main one from now on. */
  get followsMainProcess(): boolean {
    return this.#program !== null;
  }

  /** It serves, or waits for its first table. */
  ready(status: string): Promise<void> {
    return this.#tell(["READY=1", `STATUS=${status}`]);
  }

  reloading(): Promise<void> {
    return this.#tell(["RELOADING=1"]);
  }

  stopping(): Promise<void> {
    return this.#tell(["STOPPING=1", "STATUS=draining"]);
  }

  /** The main process is another one, and serves. */
  follow(pid: number): Promise<void> {
    return this.#tell([`MAINPID=${pid}`, "READY=1"]);
  }

  async #tell(variables: readonly string[]): Promise<void> {
    const program = this.#program;
    if (program === null) return;
    const ended = Promise.withResolvers<string | null>();
    const child = spawn(program, variables, {
      env: { ...this.#env },
      stdio: ["ignore", "ignore", "inherit"],
      timeout: TELL_MAX_MS,
    });
    child.once("error", (error) => ended.resolve(error.message));
    child.once("exit", (code, signal) =>
      ended.resolve(code === 0 ? null : `it ended with ${signal ?? code}`),
    );
    const fault = await ended.promise;
    if (fault !== null) this.#log.warn({ variables, detail: fault }, "the service manager could not be told");
  }
}

function findProgram(path: string): string | null {
  const places = path
    .split(delimiter)
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, PROGRAM));
  return places.find((place) => existsSync(place)) ?? null;
}
