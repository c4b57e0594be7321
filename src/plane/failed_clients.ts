/** The clients whose failures count as evidence: each once per route, backend and second, and not twice running. */
import { hashOf } from "../domain/split.ts";
import type { Cell } from "../shared/counters.ts";

/** Failures that one worker counts as evidence in a second, over all routes and backends. */
export const FAILED_CLIENTS_MAX = 4096;

/**
 * Who has failed at which cell in the second under way, and in the one before.
 *
 * A client that was counted in one second is not counted in the next: a burst of tries that crosses the end of a
 * second would count twice otherwise, which was seen to roll back without a cause in simulations of retry storms.
 *
 * One client in trouble that tries again and again says no more than one that tries once, and tests that take every
 * failure for a new one would be sure of what is chance. Once per cell, not per backend: two routes that share a legacy
 * backend but not the candidate would otherwise take away each other's failures on one side only.
 *
 * Each worker keeps its own: a client that fails at two workers, or at two instances, in one second counts at both.
 * A client that makes up identities counts as often as it does so. What is kept is a hash of 32 bits: of a million
 * first failures in a full second, one passes for a repeated one.
 *
 * Bound: twice FAILED_CLIENTS_MAX numbers. In a second that is full nothing more is evidence, answers no more than
 * failures and of either backend, so the rates stay as they are and a verdict only comes later.
 */
export class FailedClients {
  #hashes = new Set<number>();
  /** Those counted in the second before. */
  #before = new Set<number>();
  #second = -Infinity;

  /** Whether nothing more is evidence in this second. */
  isFull(nowMs: number): boolean {
    return this.#hashes.size >= FAILED_CLIENTS_MAX && Math.floor(nowMs / 1000) === this.#second;
  }

  /** Takes a failure of a client. Gives whether it counts: it has not at this cell in this second or the last. */
  add(cell: Cell, client: string, nowMs: number): boolean {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#second) {
      const isNext = second === this.#second + 1;
      [this.#before, this.#hashes] = [this.#hashes, this.#before];
      this.#hashes.clear();
      if (!isNext) this.#before.clear();
      this.#second = second;
    }
    const hash = hashOf(`${cell.route} ${cell.backend}`, client);
    if (this.#hashes.has(hash) || this.#before.has(hash)) return false;
    this.#hashes.add(hash);
    return true;
  }
}
