/** The share of requests that the candidate really got in the last minute. */

/** Whole seconds before the one under way. */
const SHARE_SECONDS = 60;
const SLOTS = SHARE_SECONDS + 1;

/** Requests of both sides in the last 60 whole seconds and the one under way: 61 slots, about 1 KiB. */
export class ShareWindow {
  readonly #candidate = new Float64Array(SLOTS);
  readonly #legacy = new Float64Array(SLOTS);
  #candidateSum = 0;
  #legacySum = 0;
  #first: number | null = null;
  #newest = 0;

  /** Adds requests in a second. Seconds never go back. */
  add(second: number, candidate: number, legacy: number): void {
    this.#first ??= second;
    this.#advance(second);
    const slot = second % SLOTS;
    this.#candidate[slot] = (this.#candidate[slot] as number) + candidate;
    this.#legacy[slot] = (this.#legacy[slot] as number) + legacy;
    this.#candidateSum += candidate;
    this.#legacySum += legacy;
  }

  /** 0 to 1; 0 without requests. */
  get candidateShare(): number {
    const all = this.#candidateSum + this.#legacySum;
    return all === 0 ? 0 : this.#candidateSum / all;
  }

  /** Requests per second of the candidate. */
  get candidatePerSecond(): number {
    const seconds = this.#newest - (this.#first ?? this.#newest) + 1;
    return this.#candidateSum / Math.min(SLOTS, seconds);
  }

  #advance(second: number): void {
    const gone = Math.min(SLOTS, second - this.#newest);
    for (let i = 0; i < gone; i++) {
      const slot = (second - i) % SLOTS;
      this.#candidateSum -= this.#candidate[slot] as number;
      this.#legacySum -= this.#legacy[slot] as number;
      this.#candidate[slot] = 0;
      this.#legacy[slot] = 0;
    }
    this.#newest = Math.max(this.#newest, second);
  }
}
