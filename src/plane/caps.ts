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
