/** What happened lately: the newest events of this run, kept for those who lost their connection, and told at once. */
import type { Clock } from "../base/clock.ts";

/** One thing that happened. `id` orders the events of one run: `<start of the run in Unix ms>.<n>`, n from 1. */
export interface JournalEvent {
  readonly id: string;
  /** Such as `table.changed` or `worker.lost`. */
  readonly type: string;
  /** Unix time in milliseconds. */
  readonly atMs: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** How many events are remembered; the oldest are forgotten first. */
export const EVENTS_MAX = 1000;

/** The newest EVENTS_MAX events of this run. Nothing is written to disk: what must last is in the store's audit log. */
export class Journal {
  readonly #clock: Clock;
  readonly #startMs: number;
  /** Oldest first. The last one has number #count. */
  readonly #events: JournalEvent[] = [];
  readonly #listeners = new Set<(event: JournalEvent) => void>();
  #count = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startMs = Math.trunc(clock.wallMs());
  }

  /** Records an event and tells every subscriber before it returns. */
  append(type: string, data: Readonly<Record<string, unknown>>): void {
    this.#count++;
    const event = {
      id: `${this.#startMs}.${this.#count}`,
      type,
      atMs: Math.trunc(this.#clock.wallMs()),
      data,
    };
    this.#events.push(event);
    if (this.#events.length > EVENTS_MAX) this.#events.shift();
    for (const listener of this.#listeners) listener(event);
  }

  /**
   * The remembered events after the one with this id, oldest first; all of them for null.
   *
   * `gap`: there may have been others in between, because the id is of another run, forgotten or no id at all. Then
   * everything that is remembered is given.
   */
  after(id: string | null): { events: JournalEvent[]; gap: boolean } {
    if (id === null) return { events: [...this.#events], gap: false };
    const number = this.#numberOf(id);
    const forgotten = this.#count - this.#events.length;
    if (number === null || number < forgotten || number > this.#count) {
      return { events: [...this.#events], gap: true };
    }
    return { events: this.#events.slice(number - forgotten), gap: false };
  }

  /** Calls `listener` with each new event. Gives the function that ends it. Listeners must not throw. */
  subscribe(listener: (event: JournalEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #numberOf(id: string): number | null {
    const parts = /^(\d{1,16})\.(\d{1,15})$/.exec(id);
    if (parts === null || Number(parts[1]) !== this.#startMs) return null;
    return Number(parts[2]);
  }
}
