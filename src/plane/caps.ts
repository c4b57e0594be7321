/** How much of a worker one client address may hold: connections, and requests that are slow to begin. */

/** What one address holds now. */
interface Holding {
  open: number;
  /** Connections on which a head has begun and is not complete. */
  heads: number;
}

/** The holdings of every address with a connection. Bound: one entry per open connection at most. */
export class AddressCaps {
  connectionsMax = Infinity;
  headsMax = Infinity;
  readonly #holdings = new Map<string, Holding>();

  /** Counts a new connection. Gives false, and counts nothing, when the address holds its share already. */
  open(address: string): boolean {
    const holding = this.#holdings.get(address);
    if (holding === undefined) this.#holdings.set(address, { open: 1, heads: 0 });
    else if (holding.open >= this.connectionsMax) return false;
    else holding.open++;
    return true;
  }

  close(address: string): void {
    const holding = this.#holdings.get(address);
    if (holding === undefined) return;
    holding.open--;
    if (holding.open === 0) this.#holdings.delete(address);
  }

  /** Counts a head that has begun but did not arrive whole. Gives false when there are too many of them. */
  beginHead(address: string): boolean {
    const holding = this.#holdings.get(address);
    if (holding === undefined || holding.heads >= this.headsMax) return false;
    holding.heads++;
    return true;
  }

  endHead(address: string): void {
    const holding = this.#holdings.get(address);
    if (holding !== undefined) holding.heads--;
  }
}

/** The place of one connection among the heads of its address: taken while a head arrives, and given back once. */
export class HeadPlace {
  readonly #caps: AddressCaps;
  readonly #address: string;
  readonly #isCounted: boolean;
  #isTaken = false;

  /** Without `isCounted` there is always room. */
  constructor(caps: AddressCaps, address: string, isCounted: boolean) {
    this.#caps = caps;
    this.#address = address;
    this.#isCounted = isCounted;
  }

  /** Gives whether there is room. */
  take(): boolean {
    if (!this.#isCounted) return true;
    this.#isTaken = this.#caps.beginHead(this.#address);
    return this.#isTaken;
  }

  give(): void {
    if (this.#isTaken) this.#caps.endHead(this.#address);
    this.#isTaken = false;
  }
}
