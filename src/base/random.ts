/** The only source of chance: draws for routing, and identifiers. */
import { randomFillSync, randomUUIDv7 } from "node:crypto";

/** A source of chance that tests replace by a seeded one. */
export interface Random {
  /** An integer from 0 up to, but not including, `below` (at most 2^32). */
  draw(below: number): number;
  /** A time-ordered UUID (RFC 9562 section 5.7), used as a request id. */
  id(): string;
}

/** 1,024 draws per refill: one system call is spread over many requests. */
const POOL_DRAWS = 1024;

/** Chance from the operating system's generator. */
export function systemRandom(): Random {
  const pool = new Uint32Array(POOL_DRAWS);
  let next = POOL_DRAWS;
  return {
    draw(below) {
      if (next === POOL_DRAWS) {
        randomFillSync(pool);
        next = 0;
      }
      const value = pool[next++] as number;
      return Math.floor((value / 0x1_0000_0000) * below);
    },
    id: () => randomUUIDv7(),
  };
}
