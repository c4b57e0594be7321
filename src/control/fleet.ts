/** The fleet: binds the sockets or takes over who holds them; starts, watches, replaces and drains workers. */
import { assert } from "../base/fault.ts";
import type { TableSpec } from "../domain/route.ts";
import type { ChannelEvents, ControlChannel } from "../shared/channel.ts";
import { PROTOCOL, TICK_MS } from "../shared/messages.ts";
import type { DrainOptions, PlaneOptions, WorkerMessage } from "../shared/messages.ts";
import { Crew } from "./crew.ts";
import { Doorway, turnAway } from "./doorway.ts";
import type { FleetParts, FleetStart } from "./fleet_parts.ts";
import { FleetNews } from "./fleet_news.ts";
import type { Named } from "./fleet_news.ts";
import { Foothold } from "./foothold.ts";
import { countedMs, goneByMs, overdueCause, receive } from "./roster.ts";
import type { Hello, WorkerLimits } from "./roster.ts";
import { Latecomers } from "./latecomers.ts";
import { Lending } from "./lending.ts";
import { findWorkers, isWorker, killNow } from "./process.ts";
import { Rotation } from "./rotation.ts";
import { Slots } from "./slots.ts";
import { Staffing } from "./staffing.ts";
import { removePaths } from "./sockets.ts";
import { takeOver } from "./takeover.ts";
import { WorkerLink } from "./worker_link.ts";
import type { LinkEvents, Origin, WorkerStatus } from "./worker_link.ts";

export type { FleetParts, FleetStart } from "./fleet_parts.ts";
export type { WorkerStatus } from "./worker_link.ts";

/**
 * All worker processes of this instance.
 *
 * It either owns the listening sockets, and starts workers as its children, or has taken over workers of an earlier
 * control process, whose sockets only they have: then a worker is asked to start its sibling. If all of those die at
 * once, the addresses are free and are bound again.
 *
 * Starting: until the addresses are bound or taken over. Trying: as running, but another control process is in charge
 * until `takeCharge`. Running: every slot has a worker, or waits for its back-off.
 * Draining: nobody is replaced any more; left when the last worker is gone. Closed: the end; workers may outlive it.
 */
export class Fleet {
  readonly lending: Lending;
  readonly #parts: FleetParts;
  readonly #news: FleetNews;
  readonly #foothold: Foothold;
  readonly #slots: Slots;
  readonly #crew = new Crew();
  readonly #rotation = new Rotation(this.#crew);
  readonly #staffing: Staffing;
  readonly #latecomers: Latecomers;
  readonly #listeners = new Set<() => void>();
  readonly #emptied = Promise.withResolvers<void>();
  #phase: "starting" | "trying" | "running" | "draining" | "closed" = "starting";
  #doorway: Doorway | null = null;
  #plane: PlaneOptions;
  #limits: WorkerLimits;
  #spec: TableSpec | null = null;
  #order: { readonly options: DrainOptions; readonly now: boolean; readonly goneByMs: number } | null = null;
  #ticker: NodeJS.Timeout | null = null;
  #tickedAtMs = 0;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#news = new FleetNews(parts.journal, parts.log);
    this.#plane = parts.plane;
    this.#limits = parts.limits;
    this.#foothold = new Foothold(parts.listen, parts.log);
    this.#slots = new Slots(parts.workers, parts.clock, parts.pace);
    this.#latecomers = new Latecomers({
      isThere: (pid) => isWorker(pid, parts.socketPath),
      end: (late) => {
        killNow(late.pid);
        this.#news.neverCame(late);
      },
    });
    this.lending = new Lending({
      foothold: this.#foothold,
      crew: this.#crew,
      slots: parts.workers,
      onFollowed: () => this.#tell(),
    });
    const { workerFile: file, version, socketPath, predecessor } = parts;
    this.#staffing = new Staffing({
      slots: this.#slots,
      crew: this.#crew,
      foothold: this.#foothold,
      news: this.#news,
      program: { file, version },
      socketPath,
      askElsewhere: (slot, program) => this.#phase === "trying" && predecessor?.spawn(slot, program) === true,
      enrol: (slot, pid, origin) => this.#enrol(slot, pid, origin, false),
      isOpen: () => this.#isStaffed(),
    });
  }

  /** Binds the addresses or takes over who serves them, then starts the workers that are missing. */
  async start(): Promise<FleetStart> {
    const { clock, pace, listen, socketPath, log, inherited, predecessor } = this.#parts;
    if (predecessor !== undefined) return this.#try();
    const first = await this.#foothold.bind(inherited);
    if (!first.ok && !first.inUse) return { ok: false, detail: first.detail };
    // Not before the first attempt to bind: its outcome says whether a worker that comes can be taken over.
    this.#doorway = await Doorway.open(socketPath, (hello, channel) => this.#receive(hello, channel));
    if (!first.ok) {
      log.info({ detail: first.detail }, "waiting for workers of an earlier control process");
      const missing = () => this.#slots.count() - this.#crew.served().size;
      const takeover = await takeOver({ listen, clock, pace, missing, hung: () => findWorkers(socketPath) });
      if (!takeover.ok) {
        await this.close();
        return takeover;
      }
      this.#foothold.hold(takeover.sockets);
    }
    this.#run("running");
    return { ok: true };
  }

  /** Starts beside the control process that serves. Its workers keep their channels to it. */
  async #try(): Promise<FleetStart> {
    const { inherited, socketPath } = this.#parts;
    if (inherited.length > 0) {
      const binding = await this.#foothold.bind(inherited);
      if (!binding.ok) return { ok: false, detail: binding.detail };
    }
    this.#doorway = await Doorway.open(socketPath, (hello, channel) => this.#receive(hello, channel));
    this.#run("trying");
    return { ok: true };
  }

  #run(phase: "running" | "trying"): void {
    this.#phase = phase;
    this.#tickedAtMs = this.#parts.clock.nowMs();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#staffing.fill();
  }

  /**
   * From now on this is the only control process: `former`, the workers of the one before, are received and drained.
   * One that does not come in the time of a start hangs, and is killed.
   */
  takeCharge(former: readonly Named[]): void {
    assert(this.#phase === "trying", "there was another one in charge");
    this.#phase = "running";
    this.expect(former);
  }

  /** Workers of another control process, which has let go of them or has failed, come here and are drained. */
  expect(workers: readonly Named[]): void {
    this.#latecomers.expect(workers.filter(({ pid }) => this.#crew.byPid(pid) === undefined));
  }

  /** Ends workers that serve nobody yet: this process leaves before it was in charge. Others will find who is. */
  abandon(): void {
    for (const link of this.#crew.all()) {
      if (link.state === "starting" && !link.mayServe()) link.kill("the upgrade has failed");
    }
  }

  /** Gives every worker a table: the one it serves is replaced when it has compiled this one. */
  publish(spec: TableSpec): void {
    this.#spec = spec;
    for (const link of this.#crew.all()) link.publish(spec);
  }

  /** Gives every worker other options, and other limits to all of them. */
  configure(options: PlaneOptions, limits: WorkerLimits): void {
    this.#plane = options;
    this.#limits = limits;
    for (const link of this.#crew.all()) link.configure(options);
  }

  /**
   * Replaces every worker that serves, one after the other: its successor serves before it drains. Gives those that
   * will go. `cause` is shown as it is.
   */
  recycle(cause: string): Named[] {
    if (this.#phase !== "running") return [];
    const wanted = this.#rotation.wish(cause).map(({ worker, pid }) => ({ worker, pid }));
    this.#news.rotates(wanted, cause);
    this.#rotate();
    return wanted;
  }

  /** Every worker process, by slot. */
  status(): WorkerStatus[] {
    return this.#crew.status((slot) => this.#slots.restarts(slot));
  }

  /**
   * The workers whose table decides where requests go: those that serve, and those that were given a table and may
   * begin to serve with it at any moment.
   */
  followers(): WorkerStatus[] {
    return [...this.#crew.followers((slot) => this.#slots.restarts(slot)), ...this.lending.followers()];
  }

  /** Takes the control socket back from a new control process that has failed. */
  async reopenDoorway(): Promise<void> {
    if (this.#phase !== "closed") await this.#doorway?.reopen();
  }

  /** Where clients connect; as the settings say it when only the workers know the rest. */
  addresses(): readonly string[] {
    return this.#foothold.addresses();
  }

  /** What an operator should look at though requests are served. */
  warnings(): string[] {
    return [...this.#slots.warnings(), ...this.#rotation.warnings(), ...this.#crew.warnings()];
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
    this.#phase = "draining";
    this.#order = { options, now, goneByMs: goneByMs(options, now, this.#parts.clock.nowMs()) };
    // The workers accept until their grace is over; a copy that nobody accepts from would let clients hang.
    this.#foothold.close();
    for (const link of this.#crew.all()) {
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
    this.#foothold.close();
    await this.#doorway?.close();
  }

  #receive(hello: Hello, channel: ControlChannel): ChannelEvents<WorkerMessage> {
    this.#latecomers.forget(hello.pid);
    const known = this.#crew.byPid(hello.pid);
    // Whoever was not asked for, or has a table already, belongs to the one in charge.
    const isAwaited = hello.revision === 0 && this.#staffing.awaited().includes(hello.worker);
    if (this.#phase === "trying" && known === undefined && !isAwaited) return turnAway(channel);
    if (known !== undefined) return this.#welcome(known, hello, channel);
    const scene = {
      listen: this.#foothold.listen,
      ownsSockets: this.#foothold.isHeld(),
      free: this.#slots.numbers().filter((worker) => !this.#crew.isFilled(worker)),
      awaited: this.#staffing.awaited(),
    };
    const reception = receive(hello, scene);
    const worker = "worker" in reception ? reception.worker : hello.worker;
    const isSibling = reception.as === "member" && reception.awaited;
    const origin = isSibling ? "sibling" : "adopted";
    const link = this.#enrol(worker, hello.pid, origin, hello.protocol !== PROTOCOL);
    const greeting = { worker, pid: hello.pid, version: hello.version, revision: hello.revision };
    if (reception.as === "member") {
      this.#crew.seat(link);
      this.#staffing.arrive(worker);
      if (isSibling) this.#news.started(greeting);
      else this.#news.adopted(greeting);
    } else {
      this.#news.met(greeting, reception.as, reception.cause);
    }
    if (reception.as === "refused") this.#staffing.bury(worker, null, null);
    if (reception.as === "refused" || reception.as === "dismissed") link.drain(this.#promptDrain(), false);
    const events = this.#welcome(link, hello, channel);
    this.#staffing.fill();
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
    this.#crew.add(link);
    link.configure(this.#plane);
    if (this.#spec !== null) link.publish(this.#spec);
    return link;
  }

  #tick(): void {
    const { clock, pace } = this.#parts;
    const nowMs = clock.nowMs();
    const elapsedMs = countedMs(nowMs - this.#tickedAtMs);
    this.#tickedAtMs = nowMs;
    for (const link of this.#crew.all()) {
      link.look();
      const cause = overdueCause(link.wait(elapsedMs), pace, this.#limits.heartbeatMs);
      if (cause !== null) {
        if (link.kill(cause)) this.#news.hangs(link, cause);
      } else if (link.isOverdue(nowMs)) {
        link.kill("the deadline of the drain is over");
      } else if (link.readyAtMs !== null && this.#crew.isMember(link)) {
        this.#slots.lives(link.worker, link.readyAtMs);
      }
    }
    const patienceMs = nowMs > (this.#order?.goneByMs ?? Infinity) ? 0 : pace.startMaxMs;
    this.#latecomers.wait(elapsedMs, patienceMs);
    this.#staffing.wait(elapsedMs, patienceMs);
    this.#settleDrain();
    this.#rotate();
    this.#staffing.fill();
  }

  /** Begins the next planned replacement, when it is somebody's turn. */
  #rotate(): void {
    if (this.#phase !== "running") return;
    const { pace, clock } = this.#parts;
    const slots = this.#slots.count();
    const turn = this.#rotation.next({ slots, limits: this.#limits, pace, nowMs: clock.nowMs() });
    if (turn === null) return;
    const { link, cause } = turn;
    this.#crew.unseat(link);
    link.replacedBecause = cause;
    this.#news.replaces(link, cause);
    this.#staffing.fill();
  }

  readonly #events: LinkEvents = {
    onReady: (link) => {
      const predecessors = this.#crew.predecessors(link.worker);
      this.#news.ready(link, link.appliedRevision, this.#slots.replaced(link.worker));
      for (const predecessor of predecessors) {
        if (predecessor.replacedBecause !== null) this.#news.succeeds(link, predecessor);
        predecessor.drain(this.#promptDrain(), false);
      }
      this.#tell();
    },
    onApplied: () => this.#tell(),
    onRefused: (link, revision, reason) => {
      this.#news.refused(link, revision, reason);
      this.#tell();
    },
    onDraining: (link) => {
      if (this.#isStaffed() && this.#crew.unseat(link)) this.#staffing.fill();
      this.#tell();
    },
    onPressure: (link, cause) => this.#news.pressed(link, link.pressure, cause),
    onCounters: (link, ...counted) => this.#parts.sampler.report(link.key(), ...counted),
    onLost: (link, cause) => this.#lose(link, cause),
  };

  #lose(link: WorkerLink, cause: string): void {
    const { worker, pid } = link;
    // Whoever is left is another control process's, or the next start's.
    if (this.#phase === "closed") return;
    const isPredecessor = link.isPredecessor();
    this.#crew.remove(link);
    this.#rotation.forget(link);
    this.#parts.sampler.retire(link.key());
    const isMember = this.#crew.unseat(link);
    if (isPredecessor) this.#news.lost(link, cause);
    else if (isMember && (this.#isStaffed() || this.#phase === "starting")) {
      this.#news.lost(link, cause);
      this.#staffing.bury(worker, link.readyAtMs, pid);
    } else {
      this.#news.gone(link, cause);
    }
    this.#settleDrain();
    this.#staffing.fill();
    this.#tell();
  }

  /** For workers whose successors serve, or whose addresses nobody shall use: no grace. */
  #promptDrain(): DrainOptions {
    return { ...this.#plane.drain, graceMs: 0 };
  }

  /** Whether slots are kept filled. */
  #isStaffed(): boolean {
    return this.#phase === "running" || this.#phase === "trying";
  }

  #settleDrain(): void {
    const left = this.#crew.all().length + this.#staffing.awaited().length;
    if (this.#phase === "draining" && left === 0 && this.#latecomers.isEmpty) this.#emptied.resolve();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
