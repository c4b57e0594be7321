/** Memory that everything of one kind shares. */

/** How much all of them hold together, within a bound. */
export class Room {
  /** Bytes that are taken now. */
  held = 0;
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Takes so many bytes, if they are there. */
  take(bytes: number): boolean {
    if (this.held + bytes > this.#bytesMax) return false;
    this.held += bytes;
    return true;
  }

  give(bytes: number): void {
    this.held -= bytes;
  }
}
