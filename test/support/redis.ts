/** Real Redis servers for tests: started, killed, paused and restarted by pid, and gone with whoever started them. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificates, type Certificates } from "./certificates.ts";
import { freePort } from "./fleet_stage.ts";
import { isInstalled, missing } from "./installed.ts";
import { askRedis, type RedisLogin, type RedisReply } from "./redis_link.ts";
import { until } from "./wait.ts";

/** The user by which tests look after a server, whatever its other users may do. */
export const KEEPER = { username: "keeper", password: "keeper" } as const satisfies RedisLogin;

/** What a server is started with. Everything has a default. */
export interface RedisOptions {
  /** The port; one that is free unless told. */
  readonly port?: number;
  /** Where its files are, kept afterwards; a directory of its own, removed afterwards, unless told. */
  readonly directory?: string;
  /** Further lines of its configuration. */
  readonly lines?: readonly string[];
  /** Every write is on the disk before it is answered. Otherwise only the command SAVE writes to the disk. */
  readonly isDurable?: boolean;
  /** Password of the default user, which has none unless told. */
  readonly password?: string;
  /** Users in the words of `ACL SETUSER`, such as `"writer on >secret ~cf:* &* +@all"`. */
  readonly users?: readonly string[];
  /** The port speaks TLS: clients need a certificate for `mutual`. The Unix socket stays in the clear. */
  readonly tls?: "server" | "mutual";
  /** Those of another server, so that both trust each other; new ones unless given. */
  readonly certificates?: Certificates | null;
  /** The primary that it follows. */
  readonly replicaOf?: RedisServer;
  /** Run as a sentinel. */
  readonly isSentinel?: boolean;
}

/** How a server is started again. */
export interface RestartOptions {
  /** Without anything that it had on the disk. */
  readonly isEmpty?: boolean;
  /** Its configuration is written anew, with these lines instead of the former further ones. */
  readonly lines?: readonly string[];
}

/** The programs that tests can start as a Redis, the first one that is installed. */
const PROGRAMS: readonly string[] = ["redis-server", "valkey-server"];

/** Why tests with Redis cannot run here, or null when they can. */
export function redisMissing(): string | null {
  return PROGRAMS.some(isInstalled) ? null : missing("redis-server");
}

/** Why tests with sentinels cannot run here, or null when they can: any Redis can be told to be one. */
export function sentinelMissing(): string | null {
  return isInstalled("redis-sentinel") ? null : redisMissing();
}

const LOG_CHARS_MAX = 20_000;
const STARTS_MAX = 5;
const PORT_TAKEN = /Address already in use|Failed listening on port/;

/** One server process and what it needs to be started again. */
export class RedisServer implements AsyncDisposable {
  readonly directory: string;
  readonly socketPath: string;
  /** Null when its port is in the clear. */
  readonly certificates: Certificates | null;
  readonly #options: RedisOptions;
  readonly #isOwnDirectory: boolean;
  #port: number;
  #child: ChildProcess | null = null;
  #exit: Promise<void> = Promise.resolve();
  /** What it last said about itself. */
  log = "";

  constructor(options: RedisOptions) {
    this.#options = options;
    this.#isOwnDirectory = options.directory === undefined;
    this.directory = options.directory ?? mkdtempSync(join(tmpdir(), "cf-redis-"));
    this.socketPath = join(this.directory, "redis.sock");
    this.certificates =
      options.tls === undefined ? null : (options.certificates ?? makeCertificates(this.directory));
    this.#port = options.port ?? 0;
  }

  get port(): number {
    return this.#port;
  }

  /** 0 when it does not run. */
  get pid(): number {
    return this.isRunning ? (this.#child?.pid ?? 0) : 0;
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Where clients find it, with the password of the default user if there is one. */
  get url(): string {
    const { password, tls } = this.#options;
    const login = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
    return `${tls === undefined ? "redis" : "rediss"}://${login}127.0.0.1:${this.#port}/0`;
  }

  /** One command, as a user who may do everything, over the Unix socket. */
  command(...command: readonly (string | number)[]): Promise<RedisReply> {
    return askRedis(this.socketPath, command, KEEPER);
  }

  /** One field of `INFO`, or undefined. */
  async info(field: string): Promise<string | undefined> {
    const text = String(await this.command("INFO", "everything"));
    return new RegExp(`^${field}:(.*?)\r?$`, "m").exec(text)?.[1];
  }

  /** Starts the process and waits until it answers. Throws with its last words when it ends instead. */
  async start(): Promise<this> {
    const isPortFree = this.#port === 0;
    for (let tries = 1; ; tries++) {
      if (isPortFree) {
        this.#port = await freePort();
        this.#configure(this.#options.lines ?? []);
      } else if (tries === 1) this.#configure(this.#options.lines ?? []);
      if (await this.#launch()) return this;
      if (tries === STARTS_MAX || !PORT_TAKEN.test(this.log)) {
        throw new Error(`redis-server ended at once: ${this.log}`);
      }
    }
  }

  /** Ends it as an operator would, and waits until it is gone. Its directory stays. */
  async stop(): Promise<void> {
    this.resume();
    this.#signal("SIGTERM");
    await this.#exit;
  }

  /** Ends it without warning, also when it is paused, and waits until it is gone. Its directory stays. */
  async kill(): Promise<void> {
    this.#signal("SIGKILL");
    await this.#exit;
  }

  /** Stops it in its tracks: connections stay open and nothing is answered. */
  pause(): void {
    this.#signal("SIGSTOP");
  }

  /** Lets it go on. */
  resume(): void {
    this.#signal("SIGCONT");
  }

  /** Ends it if it runs, and starts it at the same port, with what it has on the disk unless told. */
  async restart({ isEmpty = false, lines }: RestartOptions = {}): Promise<void> {
    await this.stop();
    if (isEmpty) {
      for (const name of readdirSync(this.directory)) {
        if (/^(?:dump\.rdb|appendonlydir|nodes\.conf)$/.test(name))
          rmSync(join(this.directory, name), { recursive: true });
      }
    }
    if (lines !== undefined) this.#configure(lines);
    // While it was away, the system may have lent its port to a connection.
    await until(`port ${this.#port} is free again`, async () => {
      if (await this.#launch()) return true;
      if (!PORT_TAKEN.test(this.log)) throw new Error(`redis-server ended at once: ${this.log}`);
      return false;
    });
  }

  /** Kills it and removes its directory unless that was given. May be called twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    if (this.#isOwnDirectory) rmSync(this.directory, { recursive: true, force: true });
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child?.kill(signal);
  }

  get #configPath(): string {
    return join(this.directory, "redis.conf");
  }

  #configure(lines: readonly string[]): void {
    const { isSentinel = false } = this.#options;
    const all = [...baseLines(this), ...(isSentinel ? [] : serverLines(this, this.#options)), ...lines];
    writeFileSync(this.#configPath, `${all.join("\n")}\n`);
  }

  /** Starts the process with the configuration as it stands. False when it ended before it answered. */
  async #launch(): Promise<boolean> {
    this.log = "";
    const hasSentinel = isInstalled("redis-sentinel");
    const server = PROGRAMS.find(isInstalled) ?? "redis-server";
    const [program, args] =
      this.#options.isSentinel !== true
        ? [server, [this.#configPath]]
        : hasSentinel
          ? ["redis-sentinel", [this.#configPath]]
          : [server, [this.#configPath, "--sentinel"]];
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    const note = (text: string): void => void (this.log = (this.log + text).slice(-LOG_CHARS_MAX));
    child.stdout.setEncoding("utf8").on("data", note);
    child.stderr.setEncoding("utf8").on("data", note);
    const guard = guardOf(child, this.#isOwnDirectory ? this.directory : null);
    this.#exit = new Promise((resolve) => {
      child.once("error", (error) => note(error.message));
      child.once("close", () => {
        guard?.kill("SIGKILL");
        resolve();
      });
    });
    return until(
      () => `redis-server at port ${this.#port} answers; it said: ${this.log}`,
      async () => {
        if (!this.isRunning || child.pid === undefined) return "ended";
        const pong = await this.command("PING").catch((error: unknown) => String(error));
        return pong === "PONG" && "answers";
      },
    ).then((state) => state === "answers" || this.#exit.then(() => false));
  }
}

/** Starts a server and waits until it answers, and until it follows if it is a replica. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const reason = redisMissing();
  if (reason !== null) throw new Error(reason);
  const server = new RedisServer(options);
  try {
    await server.start();
    if (options.replicaOf !== undefined) {
      await until("the replica follows", async () => (await server.info("master_link_status")) === "up");
    }
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

function baseLines({ port, directory, socketPath, certificates }: RedisServer): readonly string[] {
  return [
    "bind 127.0.0.1",
    ...(certificates === null ? [`port ${port}`] : ["port 0", `tls-port ${port}`]),
    `unixsocket ${socketPath}`,
    "unixsocketperm 700",
    `dir ${directory}`,
    "daemonize no",
    "protected-mode no",
    `user ${KEEPER.username} on >${KEEPER.password} ~* &* +@all`,
  ];
}

function serverLines({ certificates }: RedisServer, options: RedisOptions): readonly string[] {
  const { replicaOf, isDurable = false, password, users = [] } = options;
  const tls =
    certificates === null
      ? []
      : [
          `tls-cert-file ${certificates.server.certificatePath}`,
          `tls-key-file ${certificates.server.keyPath}`,
          `tls-ca-cert-file ${certificates.authority.certificatePath}`,
          `tls-auth-clients ${options.tls === "mutual" ? "yes" : "no"}`,
          "tls-replication yes",
        ];
  return [
    'save ""',
    ...(isDurable ? ["appendonly yes", "appendfsync always"] : ["appendonly no"]),
    "shutdown-timeout 0",
    "repl-diskless-sync-delay 0",
    "enable-debug-command yes",
    `masteruser ${KEEPER.username}`,
    `masterauth ${KEEPER.password}`,
    ...(password === undefined ? [] : [`requirepass ${password}`]),
    ...users.map((user) => `user ${user}`),
    ...tls,
    ...(replicaOf === undefined ? [] : [`replicaof 127.0.0.1 ${replicaOf.port}`]),
  ];
}

/** A shell that outlives this process just long enough to kill the server: its input ends when this process does. */
function guardOf(child: ChildProcess, directory: string | null): ChildProcess | null {
  if (child.pid === undefined) return null;
  const script = `trap '' INT TERM HUP; read _; kill -9 "$1"; [ -z "$2" ] || rm -rf "$2"`;
  const args = ["-c", script, "guard", String(child.pid), directory ?? ""];
  const guard = spawn("sh", args, { stdio: ["pipe", "ignore", "ignore"] });
  guard.unref();
  return guard;
}
