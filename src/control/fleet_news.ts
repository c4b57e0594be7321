/** What people hear of the fleet: every happening is one journal event and one log line, named and filled here. */
import type { Logger } from "../base/logger.ts";
import type { PressureCause, PressureLevel } from "../shared/counters.ts";
import type { Slot } from "./roster.ts";

const NEVER_CAME = "it did not come over from the other control process";

/** Takes events for `GET /v1/events`. */
export interface EventSink {
  append(type: string, data: Readonly<Record<string, unknown>>): void;
}

/** A worker process, as events name it. */
export interface Named {
  readonly worker: number;
  readonly pid: number;
}

/** A worker that said hello. */
export interface Greeting extends Named {
  readonly version: string;
  readonly revision: number;
}

/** The fleet's voice. Durations are in milliseconds. */
export class FleetNews {
  readonly #journal: EventSink;
  readonly #log: Logger;

  constructor(journal: EventSink, log: Logger) {
    this.#journal = journal;
    this.#log = log;
  }

  started({ worker, pid }: Named): void {
    this.#journal.append("worker.started", { worker, pid });
    this.#log.debug({ worker, pid }, "worker started");
  }

  adopted(greeting: Greeting): void {
    this.#journal.append("worker.adopted", { ...greeting });
    this.#log.info({ ...greeting }, "worker taken over");
  }

  /** A worker of an earlier control process that can not be part of this fleet, or not for long. */
  met(greeting: Greeting, as: string, cause: string): void {
    this.#log.info({ ...greeting, as, cause }, "worker of an earlier control process came");
  }

  /** A worker of another control process that was awaited, hung and was killed. */
  neverCame(worker: Named): void {
    this.hangs(worker, NEVER_CAME);
    this.lost(worker, NEVER_CAME);
  }

  /** `loss`: whom it replaces, if its slot lost a worker before. */
  ready({ worker, pid }: Named, revision: number, loss: { pid: number; afterMs: number } | null): void {
    this.#journal.append("worker.ready", { worker, pid, revision });
    this.#log.info({ worker, pid, revision }, "worker ready");
    if (loss === null) return;
    const replacement = { worker, pid, former_pid: loss.pid, after_ms: Math.round(loss.afterMs) };
    this.#journal.append("worker.replaced", replacement);
    this.#log.info(replacement, "worker replaced");
  }

  /** The workers that are to be replaced one after the other, and why. */
  rotates(workers: readonly Named[], cause: string): void {
    this.#journal.append("fleet.recycling", { workers: workers.length, cause });
    this.#log.info({ workers: workers.length, cause }, "replacing every worker, one after the other");
  }

  /** A worker that serves on until its successor does. */
  replaces({ worker, pid }: Named, cause: string): void {
    this.#journal.append("worker.recycling", { worker, pid, cause });
    this.#log.info({ worker, pid, cause }, "worker is to be replaced");
  }

  /** The successor of a planned replacement serves, and the other one drains. */
  succeeds({ worker, pid }: Named, former: Named): void {
    this.#journal.append("worker.recycled", { worker, pid, former_pid: former.pid });
    this.#log.info({ worker, pid, former_pid: former.pid }, "worker serves in place of another");
  }

  refused({ worker, pid }: Named, revision: number, reason: string): void {
    this.#journal.append("table.refused", { worker, pid, revision, reason });
    this.#log.error({ worker, pid, revision, reason }, "worker refused a table");
  }

  /** `level`: what the worker gives up from now on, to have more for the rest. */
  pressed({ worker, pid }: Named, level: PressureLevel, cause: PressureCause | null): void {
    const facts = { worker, pid, level, ...(cause === null ? {} : { cause }) };
    this.#journal.append("worker.pressure", facts);
    if (level === "none") this.#log.info(facts, "worker is not pressed any more");
    else this.#log.warn(facts, "worker is pressed and gives something up");
  }

  hangs({ worker, pid }: Named, cause: string): void {
    this.#log.error({ worker, pid, cause }, "worker hangs and is killed");
  }

  lost({ worker, pid }: Named, cause: string): void {
    this.#journal.append("worker.lost", { worker, pid, cause });
    this.#log.error({ worker, pid, cause }, "worker lost");
  }

  /** The end of a worker that was to end. */
  gone({ worker, pid }: Named, cause: string): void {
    this.#log.info({ worker, pid, cause }, "worker gone");
  }

  crashLoop({ worker, quickDeaths }: Slot, nextStartMs: number): void {
    const facts = { worker, deaths: quickDeaths, next_start_ms: Math.round(nextStartMs) };
    this.#journal.append("worker.crash_loop", facts);
    this.#log.error(facts, "worker keeps dying soon after its start");
  }
}
