/** Chance that can be repeated: the same seed gives the same draws and the same ids. */
import type { Random } from "../../src/base/random.ts";

/** Constants of mulberry32, a generator with 32 bits of state: plenty for tests, useless for secrets. */
const STEP = 0x6d2b79f5;
const DRAWS_BELOW = 0x1_0000_0000;

/** Random numbers from `seed`, an integer. A test that draws its own seed names it in its failure message. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const word = (): number => {
    state = (state + STEP) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const hex = (): string => word().toString(16).padStart(8, "0");
  return {
    draw: (below) => Math.floor((word() / DRAWS_BELOW) * below),
    id: () => {
      const digits = hex() + hex() + hex() + hex();
      const parts = [
        [0, 8],
        [8, 12],
        [13, 16],
        [17, 20],
        [20, 32],
      ].map(([from, to]) => digits.slice(from, to));
      // Version 7 and variant 10 in their places, so that whoever checks the shape of an id is content.
      return [parts[0], parts[1], `7${parts[2]}`, `8${parts[3]}`, parts[4]].join("-");
    },
  };
}
