/** Whether a body arrives at a tolerable pace: a trickle that resets every idle timeout must still end. */

/** A body has this long to get going. */
const START_MS = 10_000;
/** And must then have brought so many bytes a second on average. */
const BYTES_PER_SECOND_MIN = 240;

/** The pace of one body, from its first wait on. Time during which nobody reads it does not count. */
export class Pace {
  #sinceMs: number;
  #bytes = 0;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** Counts bytes. Gives whether they come too slowly. */
  isTooSlow(bytes: number, nowMs: number): boolean {
    this.#bytes += bytes;
    const elapsedMs = nowMs - this.#sinceMs;
    return elapsedMs > START_MS && this.#bytes < (elapsedMs / 1000) * BYTES_PER_SECOND_MIN;
  }

  /** When the sender is cut unless much more comes: for one that trickles already, before its idle time is over. */
  limitMs(nowMs: number): number {
    const isTrickle = this.#bytes < ((nowMs - this.#sinceMs) / 1000) * BYTES_PER_SECOND_MIN;
    return isTrickle ? this.#sinceMs + START_MS : Infinity;
  }

  /** Begins anew: reading was held back until now. */
  restart(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#bytes = 0;
  }
}
