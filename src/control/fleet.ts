/** The fleet: binds the sockets or takes over who holds them; starts, watches, replaces and drains workers. */
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { TableSpec } from "../domain/route.ts";
import type { ChannelEvents, ControlChannel } from "../shared/channel.ts";
import { PROTOCOL, TICK_MS } from "../shared/messages.ts";
import type { DrainOptions, PlaneOptions, WorkerMessage } from "../shared/messages.ts";
import { Doorway } from "./doorway.ts";
import { FleetNews } from "./fleet_news.ts";
import type { EventSink } from "./fleet_news.ts";
import { startWorker } from "./process.ts";
import { countedMs, overdueCause, receive } from "./roster.ts";
import type { Hello, Pace } from "./roster.ts";
import type { Sampler } from "./sampler.ts";
import { Slots } from "./slots.ts";
import { bindSockets, removePaths } from "./sockets.ts";
import type { ListenAddress, ListeningSockets } from "./sockets.ts";
import { takeOver } from "./takeover.ts";
import { WorkerLink } from "./worker_link.ts";
import type { LinkEvents, Origin, WorkerStatus } from "./worker_link.ts";

export type { WorkerStatus } from "./worker_link.ts";

/** After the deadline of a drain, what is left is killed this much later. */
const DRAIN_SLACK_MS = 2_000;

/** What the fleet works with. */
export interface FleetParts {
  readonly listen: readonly ListenAddress[];
  /** How many workers there shall be. */
  readonly workers: number;
  /** Where workers reach this process: a Unix socket in a directory of its own. */
  readonly socketPath: string;
  /** Crossfade's version, which workers are told and say again in their hello. */
  readonly version: string;
  /** The workers' entry file. */
  readonly workerFile: string;
  readonly plane: PlaneOptions;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: EventSink;
  readonly sampler: Pick<Sampler, "report" | "retire">;
}

/** What became of a start. `detail` says in the operator's words what is in the way. */
export type FleetStart = { readonly ok: true } | { readonly ok: false; readonly detail: string };

/**
 * All worker processes of this instance.
 *
 * It either owns the listening sockets, and starts workers as its children, or has taken over workers of an earlier
 * control process, whose sockets only they have: then a worker is asked to start its sibling. If all of those die at
 * once, the addresses are free and are bound again.
 *
 * Starting: until the addresses are bound or taken over. Running: every slot has a worker, or waits for its back-off.
 * Draining: nobody is replaced any more; left when the last worker is gone. Closed: the end; workers may outlive it.
 */
export class Fleet {
  readonly #parts: FleetParts;
  readonly #news: FleetNews;
  readonly #listen: readonly string[];
  readonly #slots: Slots;
  /** Every worker process that is known, by pid: members, and those that leave. */
  readonly #links = new Map<number, WorkerLink>();
  /** Who fills each slot. */
  readonly #members = new Map<number, WorkerLink>();
  /** Slots for which a worker was asked to start a sibling, and for how long that has not come, in milliseconds. */
  readonly #awaited = new Map<number, number>();
  readonly #listeners = new Set<() => void>();
  readonly #emptied = Promise.withResolvers<void>();
  #phase: "starting" | "running" | "draining" | "closed" = "starting";
  #doorway: Doorway | null = null;
  #sockets: ListeningSockets | null = null;
  #isBinding = false;
  #plane: PlaneOptions;
  #spec: TableSpec | null = null;
  #order: { readonly options: DrainOptions; readonly now: boolean; readonly killAtMs: number } | null = null;
  #ticker: NodeJS.Timeout | null = null;
  #tickedAtMs = 0;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#news = new FleetNews(parts.journal, parts.log);
    this.#plane = parts.plane;
    this.#listen = parts.listen.map(({ text }) => text);
    this.#slots = new Slots(parts.workers, parts.clock, parts.pace);
  }

  /** Binds the addresses or takes over who serves them, then starts the workers that are missing. */
  async start(): Promise<FleetStart> {
    const { clock, pace, listen, socketPath, log } = this.#parts;
    const first = await bindSockets(listen);
    if (first.ok) this.#sockets = first.sockets;
    else if (!first.inUse) return { ok: false, detail: first.detail };
    // Not before the first attempt to bind: its outcome says whether a worker that comes can be taken over.
    this.#doorway = await Doorway.open(socketPath, (hello, channel) => this.#receive(hello, channel));
    if (!first.ok) {
      log.info({ detail: first.detail }, "waiting for workers of an earlier control process");
      const takeover = await takeOver({
        listen,
        clock,
        pace,
        missing: () => this.#missing(),
      });
      if (!takeover.ok) {
        await this.close();
        return takeover;
      }
      this.#sockets = takeover.sockets;
    }
    this.#phase = "running";
    this.#tickedAtMs = clock.nowMs();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#fill();
    return { ok: true };
  }

  /** Gives every worker a table: the one it serves is replaced when it has compiled this one. */
  publish(spec: TableSpec): void {
    this.#spec = spec;
    for (const link of this.#links.values()) link.publish(spec);
  }

  /** Gives every worker other options. */
  configure(options: PlaneOptions): void {
    this.#plane = options;
    for (const link of this.#links.values()) link.configure(options);
  }

  /** Every worker process, by slot. */
  status(): WorkerStatus[] {
    return [...this.#links.values()]
      .map((link) => link.status(this.#slots.restarts(link.worker)))
      .toSorted((one, other) => one.worker - other.worker || one.pid - other.pid);
  }

  /**
   * The workers whose table decides where requests go: those that serve, and those that were given a table and may
   * begin to serve with it at any moment.
   */
  followers(): WorkerStatus[] {
    const followers = new Set(
      [...this.#links.values()].filter((link) => link.mayServe()).map(({ pid }) => pid),
    );
    return this.status().filter(({ pid }) => followers.has(pid));
  }

  /** Where clients connect; as the settings say it when only the workers know the rest. */
  addresses(): readonly string[] {
    return this.#sockets?.addresses() ?? this.#listen;
  }

  /** What an operator should look at though requests are served. */
  warnings(): string[] {
    const refusals = [...this.#links.values()].flatMap(({ worker, pid, refused }) =>
      refused === null
        ? []
        : [`worker ${worker} (pid ${pid}) refused revision ${refused.revision}: ${refused.reason}`],
    );
    return [...this.#slots.warnings(), ...refusals];
  }

  /** Calls `listener` whenever a worker became ready, answered a table, drains or is gone. Gives what ends it. */
  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Makes all workers drain, and settles when the last one is gone and everything is closed.
   *
   * Not before `start` has settled. May be called again with `now` to cut short. Workers that are left 2 s after the
   * deadline, that of WebSockets included, are killed.
   */
  async drain(options: DrainOptions, now: boolean): Promise<void> {
    const lastMs = Math.max(options.deadlineMs, options.tunnelsMs);
    const killAtMs = this.#parts.clock.nowMs() + (now ? 0 : lastMs) + DRAIN_SLACK_MS;
    this.#phase = "draining";
    this.#order = { options, now, killAtMs };
    // The workers accept until their grace is over; a copy that nobody accepts from would let clients hang.
    this.#sockets?.close();
    this.#sockets = null;
    for (const link of this.#links.values()) {
      if (link.version === "") link.kill("the fleet stops");
      else link.drain(options, now);
    }
    this.#settleDrain();
    await this.#emptied.promise;
    await this.close();
    removePaths(this.#parts.listen);
  }

  /** Lets go of everything but the workers, which go on by themselves. */
  async close(): Promise<void> {
    this.#phase = "closed";
    if (this.#ticker !== null) clearInterval(this.#ticker);
    this.#sockets?.close();
    this.#sockets = null;
    await this.#doorway?.close();
  }

  /** How many slots nobody serves for, not even an outdated worker. */
  #missing(): number {
    const outdated = [...this.#links.values()].filter((link) => link.isOutdated).map(({ worker }) => worker);
    return this.#slots.count() - new Set([...this.#members.keys(), ...outdated]).size;
  }

  #receive(hello: Hello, channel: ControlChannel): ChannelEvents<WorkerMessage> {
    const known = this.#links.get(hello.pid);
    if (known !== undefined) return this.#welcome(known, hello, channel);
    const scene = {
      listen: this.#listen,
      ownsSockets: this.#sockets !== null,
      free: this.#slots.numbers().filter((worker) => !this.#members.has(worker)),
      awaited: [...this.#awaited.keys()],
    };
    const reception = receive(hello, scene);
    const worker = "worker" in reception ? reception.worker : hello.worker;
    const isSibling = reception.as === "member" && reception.awaited;
    const origin = isSibling ? "sibling" : "adopted";
    const link = this.#enrol(worker, hello.pid, origin, hello.protocol !== PROTOCOL);
    const greeting = { worker, pid: hello.pid, version: hello.version, revision: hello.revision };
    if (reception.as === "member") {
      this.#members.set(worker, link);
      this.#awaited.delete(worker);
      if (isSibling) this.#news.started(greeting);
      else this.#news.adopted(greeting);
    } else {
      this.#news.met(greeting, reception.as, reception.cause);
    }
    if (reception.as === "refused") this.#recordDeath(worker, null, null);
    if (reception.as === "refused" || reception.as === "dismissed") link.drain(this.#promptDrain(), false);
    const events = this.#welcome(link, hello, channel);
    this.#fill();
    return events;
  }

  #welcome(link: WorkerLink, hello: Hello, channel: ControlChannel): ChannelEvents<WorkerMessage> {
    if (this.#order !== null) link.drain(this.#order.options, this.#order.now);
    const events = link.attach(hello, channel);
    if (link.origin === "child" && hello.protocol !== PROTOCOL) {
      link.kill(
        `it speaks protocol ${hello.protocol}, not ${PROTOCOL}: Crossfade's files changed, restart it`,
      );
    }
    return events;
  }

  #enrol(worker: number, pid: number, origin: Origin, isOutdated: boolean): WorkerLink {
    const link = new WorkerLink({ worker, pid, origin, isOutdated, clock: this.#parts.clock }, this.#events);
    if (pid > 0) this.#links.set(pid, link);
    link.configure(this.#plane);
    if (this.#spec !== null) link.publish(this.#spec);
    return link;
  }

  /** Starts a worker for every slot that is free and whose back-off is over. */
  #fill(): void {
    if (this.#phase !== "running") return;
    for (const worker of this.#slots.due()) {
      if (this.#members.has(worker) || this.#awaited.has(worker)) continue;
      if (this.#sockets !== null) this.#startChild(worker, this.#sockets);
      else this.#askForSibling(worker);
    }
  }

  #startChild(worker: number, sockets: ListeningSockets): void {
    const { workerFile, socketPath, version } = this.#parts;
    const descriptors = sockets.descriptors();
    const child = startWorker({
      file: workerFile,
      worker,
      version,
      socketPath,
      listen: this.#listen,
      descriptors,
    });
    const link = this.#enrol(worker, child.pid, "child", false);
    this.#members.set(worker, link);
    this.#news.started(link);
    void child.ended.then((cause) => link.lose(cause));
  }

  #askForSibling(worker: number): void {
    const spawner = [...this.#links.values()].find((link) => link.maySpawn() && link.spawn(worker));
    if (spawner !== undefined) this.#awaited.set(worker, 0);
    else if (this.#members.size === 0) void this.#bindAgain();
  }

  /** Nobody is left who has the sockets, so the addresses are free, or will be in a moment. */
  async #bindAgain(): Promise<void> {
    if (this.#isBinding) return;
    this.#isBinding = true;
    const binding = await bindSockets(this.#parts.listen);
    this.#isBinding = false;
    if (!binding.ok)
      return this.#parts.log.warn({ detail: binding.detail }, "the addresses cannot be bound yet");
    if (this.#phase !== "running") return binding.sockets.close();
    this.#sockets = binding.sockets;
    this.#awaited.clear();
    this.#fill();
  }

  #tick(): void {
    const { clock, pace } = this.#parts;
    const nowMs = clock.nowMs();
    const elapsedMs = countedMs(nowMs - this.#tickedAtMs);
    this.#tickedAtMs = nowMs;
    for (const link of this.#links.values()) {
      link.look();
      const cause = overdueCause(link.wait(elapsedMs), pace);
      if (cause !== null) {
        if (link.kill(cause)) this.#news.hangs(link, cause);
      } else if (this.#order !== null && nowMs > this.#order.killAtMs) {
        link.kill("the deadline of the drain is over");
      } else if (link.readyAtMs !== null && this.#members.get(link.worker) === link) {
        this.#slots.lives(link.worker, link.readyAtMs);
      }
    }
    for (const [worker, waitedMs] of this.#awaited) {
      this.#awaited.set(worker, waitedMs + elapsedMs);
      if (waitedMs <= pace.startMaxMs && nowMs <= (this.#order?.killAtMs ?? Infinity)) continue;
      this.#awaited.delete(worker);
      this.#recordDeath(worker, null, null);
    }
    this.#settleDrain();
    this.#fill();
  }

  #recordDeath(worker: number, readyAtMs: number | null, pid: number | null): void {
    const death = this.#slots.died(worker, readyAtMs, pid);
    if (death === null) return;
    // Timers may fire a little early.
    setTimeout(() => this.#fill(), death.backoffMs + 1).unref();
    if (death.isCrashLoop) this.#news.crashLoop(death.slot, death.backoffMs);
  }

  readonly #events: LinkEvents = {
    onReady: (link) => {
      this.#news.ready(link, link.appliedRevision, this.#slots.replaced(link.worker));
      for (const other of this.#links.values()) {
        if (other.isOutdated && other.worker === link.worker) other.drain(this.#promptDrain(), false);
      }
      this.#tell();
    },
    onApplied: () => this.#tell(),
    onRefused: (link, revision, reason) => {
      this.#news.refused(link, revision, reason);
      this.#tell();
    },
    onDraining: (link) => {
      if (this.#members.get(link.worker) === link && this.#phase === "running") {
        this.#members.delete(link.worker);
        this.#fill();
      }
      this.#tell();
    },
    onCounters: (link, ...counted) => this.#parts.sampler.report(link.key(), ...counted),
    onLost: (link, cause) => this.#lose(link, cause),
  };

  #lose(link: WorkerLink, cause: string): void {
    const { worker, pid } = link;
    this.#links.delete(pid);
    this.#parts.sampler.retire(link.key());
    const isMember = this.#members.get(worker) === link;
    if (isMember) this.#members.delete(worker);
    if (isMember && (this.#phase === "running" || this.#phase === "starting")) {
      this.#news.lost(link, cause);
      this.#recordDeath(worker, link.readyAtMs, pid);
    } else {
      this.#news.gone(link, cause);
    }
    this.#settleDrain();
    this.#fill();
    this.#tell();
  }

  /** For workers whose successors serve, or whose addresses nobody shall use: no grace. */
  #promptDrain(): DrainOptions {
    return { ...this.#plane.drain, graceMs: 0 };
  }

  #settleDrain(): void {
    if (this.#phase === "draining" && this.#links.size + this.#awaited.size === 0) this.#emptied.resolve();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
