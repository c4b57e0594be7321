/** One worker process as the control process sees it: its channel, what it has been told and what it answered. */
import type { Clock } from "../base/clock.ts";
import type { TableSpec } from "../domain/route.ts";
import type { ChannelEvents, ControlChannel } from "../shared/channel.ts";
import type {
  CellSnapshot,
  DrainProgress,
  PressureCause,
  PressureLevel,
  ShadowCount,
  WorkerSnapshot,
} from "../shared/counters.ts";
import type { ComparisonReport, DrainOptions, PlaneOptions, WorkerMessage } from "../shared/messages.ts";
import { isRunning, killNow } from "./process.ts";
import { goneByMs } from "./roster.ts";
import type { Hello, Waits } from "./roster.ts";

/** What the fleet tells about one of its workers. */
export interface WorkerStatus {
  /** The slot in the fleet, 0 and up. */
  readonly worker: number;
  readonly pid: number;
  /** Empty until the worker has connected. */
  readonly version: string;
  readonly state: "starting" | "serving" | "draining";
  /** It was started for an earlier control process and taken over. */
  readonly adopted: boolean;
  /** The revision it serves; 0 for none. */
  readonly appliedRevision: number;
  /** The last revision, if this worker could not compile it. */
  readonly refused?: { readonly revision: number; readonly reason: string };
  readonly connectionsOpen: number;
  /** Workers that died in this slot since this control process started. */
  readonly restarts: number;
  readonly rssBytes: number;
  /** 0 to 1. */
  readonly loopUtilization: number;
  /** Why it is replaced as planned: until its successor serves it goes on, then it drains. */
  readonly replacedBecause?: string;
  /** What it gives up because it is pressed; absent for nothing. */
  readonly pressure?: PressureLevel;
  /** While it drains, and has said how far it is. */
  readonly drain?: DrainProgress;
}

/** Who hears what one worker does. */
export interface LinkEvents {
  /** Once: it accepts connections. */
  onReady(link: WorkerLink): void;
  onApplied(link: WorkerLink): void;
  onRefused(link: WorkerLink, revision: number, reason: string): void;
  /** It began to drain, told or not. */
  onDraining(link: WorkerLink): void;
  /** It gives up more than before, or less. */
  onPressure(link: WorkerLink, cause: PressureCause | null): void;
  onCounters(
    link: WorkerLink,
    worker: WorkerSnapshot,
    cells: readonly CellSnapshot[],
    shadows?: readonly ShadowCount[],
    comparisons?: readonly ComparisonReport[],
  ): void;
  /** Once, and nothing after it: the process is gone. */
  onLost(link: WorkerLink, cause: string): void;
}

/** What a worker is started from: its entry file, and the version that it says. */
export interface WorkerProgram {
  readonly file: string;
  readonly version: string;
}

/** Who started a worker: this process, another worker for it, or an earlier control process. */
export type Origin = "child" | "sibling" | "adopted";

/**
 * A worker from its start, or from its first hello, to the end of its process.
 *
 * Starting: entered at first; left when it says ready, which one that serves already does on every new channel.
 * Serving: takes part in readiness and in what "applied" means. Draining: entered when it is told to drain or says
 * that it does, and from the start by an outdated one; it still follows tables. Lost: the end; the process is gone.
 * At most one table is under way to a worker; while it is, only the newest of the others is remembered.
 */
export class WorkerLink {
  readonly worker: number;
  readonly pid: number;
  readonly origin: Origin;
  /** It speaks another protocol: it is only ever told to spawn and to drain, and is no part of what counts. */
  readonly isOutdated: boolean;
  version = "";
  state: WorkerStatus["state"] = "starting";
  appliedRevision = 0;
  refused: { readonly revision: number; readonly reason: string } | null = null;
  /** On the clock's `nowMs`; null until it was ready. */
  readyAtMs: number | null = null;
  /** It is replaced as planned: it serves until its successor does. Null while it is not. */
  replacedBecause: string | null = null;
  /** What it gives up now. */
  pressure: PressureLevel = "none";
  readonly #clock: Clock;
  readonly #events: LinkEvents;
  #channel: ControlChannel | null = null;
  #options: PlaneOptions | null = null;
  #wanted: TableSpec | null = null;
  /** Another table of the same revision is another one: a brake changes the table and not its revision. */
  #sent: TableSpec | null = null;
  #isOwed = false;
  #drainOrder: { readonly options: DrainOptions; readonly now: boolean } | null = null;
  /** When its drain must be over, on the clock's `nowMs`. */
  #goneByMs = Infinity;
  #leavesByItself = false;
  #isLost = false;
  #killCause: string | null = null;
  #waits = { startingMs: 0, silentMs: 0, quietMs: 0, owedMs: 0 };
  #snapshot: WorkerSnapshot | null = null;

  constructor(
    facts: { worker: number; pid: number; origin: Origin; isOutdated: boolean; clock: Clock },
    events: LinkEvents,
  ) {
    this.worker = facts.worker;
    this.pid = facts.pid;
    this.origin = facts.origin;
    this.isOutdated = facts.isOutdated;
    this.#clock = facts.clock;
    this.#events = events;
  }

  /** Unique among all workers there ever were here: what counters are summed under. */
  key(): string {
    return `${this.worker}.${this.pid}`;
  }

  isConnected(): boolean {
    return this.#channel !== null;
  }

  /** Takes the channel on which the worker said hello, the first or a new one, and tells it what it must know. */
  attach(hello: Hello, channel: ControlChannel): ChannelEvents<WorkerMessage> {
    this.#channel?.close("the worker opened another channel");
    this.#channel = channel;
    this.version = hello.version;
    this.appliedRevision = hello.revision;
    this.#waits = { startingMs: 0, silentMs: 0, quietMs: 0, owedMs: 0 };
    this.#isOwed = false;
    this.#sent = null;
    if (this.#options !== null) this.configure(this.#options);
    this.#pump();
    const order = this.#drainOrder;
    this.#leavesByItself = hello.draining;
    if (hello.draining || this.isOutdated) this.state = "draining";
    // A drain that goes on must not start anew because this process did.
    if (order !== null && (order.now || !hello.draining)) this.drain(order.options, order.now);
    return {
      onMessage: (message) => {
        if (this.#channel === channel && !this.isOutdated) this.#receive(message);
      },
      onClose: () => {
        if (this.#channel !== channel) return;
        this.#channel = null;
        this.look();
      },
    };
  }

  /** The options it works with, now and after every reconnection. */
  configure(options: PlaneOptions): void {
    this.#options = options;
    if (!this.isOutdated) this.#channel?.send({ type: "configure", options });
  }

  /** The table it shall serve. */
  publish(spec: TableSpec): void {
    this.#wanted = spec;
    this.#pump();
  }

  /** Whether it serves, or may begin to before it hears of the next table. */
  mayServe(): boolean {
    return this.state === "serving" || (this.state === "starting" && this.#sent !== null);
  }

  /** Whether it certainly has the listening sockets, and a channel to be asked on. */
  maySpawn(): boolean {
    const listens = this.state === "serving" || (this.isOutdated && !this.isLeaving());
    return listens && this.#channel !== null;
  }

  /** Makes it start another worker with its own sockets. False when it cannot be asked. */
  spawn(worker: number, program: WorkerProgram): boolean {
    return this.#channel?.send({ type: "spawn", worker, ...program }) ?? false;
  }

  /** Whether it serves on only until its successor does. */
  isPredecessor(): boolean {
    if (this.isLeaving()) return false;
    return this.isOutdated || (this.replacedBecause !== null && this.state === "serving");
  }

  /** Whether it was told to drain, or does so by itself. */
  isLeaving(): boolean {
    return this.#drainOrder !== null || this.#leavesByItself;
  }

  /**
   * Makes it drain and exit. One that cannot be told is told when it reconnects, or killed when it does not. It is
   * overdue 2 s after the deadline, that of WebSockets included.
   */
  drain(options: DrainOptions, now: boolean): void {
    this.state = "draining";
    this.#drainOrder = { options, now };
    this.#goneByMs = Math.min(this.#goneByMs, goneByMs(options, now, this.#clock.nowMs()));
    this.#channel?.send({ type: "drain", options, now });
  }

  /** Whether it should have ended its drain by now. */
  isOverdue(nowMs: number): boolean {
    return nowMs > this.#goneByMs;
  }

  /** Resident memory in bytes, as it said last. */
  rssBytes(): number {
    return this.#snapshot?.rssBytes ?? 0;
  }

  /**
   * Ends the process at once; false when that was done before. A child is lost when the system reports its exit,
   * others are from here on.
   */
  kill(cause: string): boolean {
    if (this.#isLost || this.#killCause !== null) return false;
    this.#killCause = cause;
    if (this.pid > 0) killNow(this.pid);
    if (this.origin !== "child") this.lose(cause);
    return true;
  }

  /** The process is gone. */
  lose(cause: string): void {
    if (this.#isLost) return;
    this.#isLost = true;
    const channel = this.#channel;
    this.#channel = null;
    channel?.close("the worker is gone");
    this.#events.onLost(this, this.#killCause ?? cause);
  }

  /** Notices the end of a process that is no child of ours, once it has lost its channel. */
  look(): void {
    if (this.origin !== "child" && this.#channel === null && !isRunning(this.pid))
      this.lose("its process ended");
  }

  /** Lets so much time pass and gives what it keeps us waiting for. */
  wait(countedMs: number): Waits {
    const isConnected = this.#channel !== null;
    const wasConnected = this.version !== "";
    // Without a table there is nothing that it could become ready with.
    const isStarting = this.state === "starting" && (!wasConnected || this.#wanted !== null);
    const reports = isConnected && !this.isOutdated;
    const add = (waited: number, expected: boolean): number => (expected ? waited + countedMs : 0);
    this.#waits = {
      startingMs: add(this.#waits.startingMs, isStarting),
      silentMs: add(this.#waits.silentMs, wasConnected && !isConnected),
      quietMs: add(this.#waits.quietMs, reports),
      owedMs: add(this.#waits.owedMs, reports && this.#isOwed),
    };
    return this.#waits;
  }

  status(restarts: number): WorkerStatus {
    return {
      worker: this.worker,
      pid: this.pid,
      version: this.version,
      state: this.state,
      adopted: this.origin === "adopted",
      appliedRevision: this.appliedRevision,
      ...(this.refused === null ? {} : { refused: this.refused }),
      connectionsOpen: this.#snapshot?.connectionsOpenNow ?? 0,
      restarts,
      rssBytes: this.rssBytes(),
      loopUtilization: this.#snapshot?.loopUtilization ?? 0,
      ...(this.replacedBecause === null ? {} : { replacedBecause: this.replacedBecause }),
      ...(this.pressure === "none" ? {} : { pressure: this.pressure }),
      ...(this.#snapshot?.drain === undefined ? {} : { drain: this.#snapshot.drain }),
    };
  }

  #receive(message: WorkerMessage): void {
    switch (message.type) {
      case "ready":
        return this.#becomeReady();
      case "applied":
        this.appliedRevision = message.revision;
        this.refused = null;
        this.#acknowledge(message.revision);
        return this.#events.onApplied(this);
      case "refused":
        this.refused = { revision: message.revision, reason: message.reason };
        this.#acknowledge(message.revision);
        return this.#events.onRefused(this, message.revision, message.reason);
      case "counters":
        this.#waits.quietMs = 0;
        this.#notePressure(message.worker);
        this.#snapshot = message.worker;
        return this.#events.onCounters(
          this,
          message.worker,
          message.cells,
          message.shadows,
          message.comparisons,
        );
      case "draining":
        this.state = "draining";
        this.#leavesByItself = true;
        return this.#events.onDraining(this);
      case "hello":
        return this.#channel?.close("the worker said hello twice");
    }
  }

  #notePressure({ pressure = "none", pressedBy }: WorkerSnapshot): void {
    if (pressure === this.pressure) return;
    this.pressure = pressure;
    this.#events.onPressure(this, pressedBy ?? null);
  }

  #becomeReady(): void {
    if (this.readyAtMs !== null) return;
    this.readyAtMs = this.#clock.nowMs();
    if (this.state !== "starting") return;
    this.state = "serving";
    this.#events.onReady(this);
  }

  #acknowledge(revision: number): void {
    if (revision !== this.#sent?.revision) return;
    this.#isOwed = false;
    this.#waits.owedMs = 0;
    this.#pump();
  }

  #pump(): void {
    if (this.#wanted === null || this.#isOwed || this.isOutdated) return;
    if (this.#wanted === this.#sent || this.#channel === null) return;
    this.#sent = this.#wanted;
    this.#isOwed = true;
    this.#channel.send({ type: "table", spec: this.#wanted });
  }
}
