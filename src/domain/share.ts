/** What both sides got in the last minute: requests, failures, and the share of the candidate. */
import type { Seen } from "./evidence.ts";

/** Whole seconds before the one under way. */
const SHARE_SECONDS = 60;
const SLOTS = SHARE_SECONDS + 1;

/** One side's requests and failures of the last 60 whole seconds and the one under way. */
class SideWindow {
  readonly #requests = new Float64Array(SLOTS);
  readonly #failures = new Float64Array(SLOTS);
  requests = 0;
  failures = 0;

  add(slot: number, { requests, failures }: Seen): void {
    this.#requests[slot] = (this.#requests[slot] as number) + requests;
    this.#failures[slot] = (this.#failures[slot] as number) + failures;
    this.requests += requests;
    this.failures += failures;
  }

  clear(slot: number): void {
    this.requests -= this.#requests[slot] as number;
    this.failures -= this.#failures[slot] as number;
    this.#requests[slot] = 0;
    this.#failures[slot] = 0;
  }
}

/** Both sides in the last 60 whole seconds and the one under way: 61 slots, about 2 KiB. */
export class ShareWindow {
  readonly #candidate = new SideWindow();
  readonly #legacy = new SideWindow();
  #first: number | null = null;
  #newest = 0;

  /** Adds what happened in a second. Seconds never go back. */
  add(second: number, candidate: Seen, legacy: Seen): void {
    this.#first ??= second;
    this.#advance(second);
    const slot = second % SLOTS;
    this.#candidate.add(slot, candidate);
    this.#legacy.add(slot, legacy);
  }

  /** The requests and failures of both sides. */
  get recent(): { readonly candidate: Seen; readonly legacy: Seen } {
    const { requests, failures } = this.#candidate;
    return {
      candidate: { requests, failures },
      legacy: { requests: this.#legacy.requests, failures: this.#legacy.failures },
    };
  }

  /** 0 to 1; 0 without requests. */
  get candidateShare(): number {
    const all = this.#candidate.requests + this.#legacy.requests;
    return all === 0 ? 0 : this.#candidate.requests / all;
  }

  /** Requests per second of the candidate. */
  get candidatePerSecond(): number {
    const seconds = this.#newest - (this.#first ?? this.#newest) + 1;
    return this.#candidate.requests / Math.min(SLOTS, seconds);
  }

  #advance(second: number): void {
    const gone = Math.min(SLOTS, second - this.#newest);
    for (let i = 0; i < gone; i++) {
      const slot = (second - i) % SLOTS;
      this.#candidate.clear(slot);
      this.#legacy.clear(slot);
    }
    this.#newest = Math.max(this.#newest, second);
  }
}
