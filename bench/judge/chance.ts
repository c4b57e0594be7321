/** Seeded chance for simulations: uniform, normal and Poisson numbers, fast enough for months of traffic. */

/** What is drawn exactly one by one below this mean, and by rejection from it on. */
const POISSON_SMALL = 10;

/** Random numbers that can be repeated: sfc32 (Doty-Humphrey, PractRand), 128 bits of state. */
export class Chance {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** From a whole number; each gives a stream of its own. */
  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = 0x9e3779b9 | 0;
    this.#c = 0x243f6a88 | 0;
    for (let i = 0; i < 15; i++) this.uniform();
  }

  /** A number between 0 and 1, neither of them. */
  uniform(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return ((sum >>> 0) + 0.5) / 0x1_0000_0000;
  }

  /** A whole number from 0 up to, but not including, `below`. */
  draw(below: number): number {
    return Math.floor(this.uniform() * below);
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** How many events happen where `mean` are expected. Hörmann's PTRS (1993) for large means. */
  poisson(mean: number): number {
    if (mean <= 0) return 0;
    return mean < POISSON_SMALL ? this.#poissonSmall(mean) : this.#poissonLarge(mean);
  }

  /** How many of `trials` events happen that are each as likely as `rate`, for rates far below 1 or few trials. */
  binomial(trials: number, rate: number): number {
    if (rate <= 0) return 0;
    // Jumps from event to event: as many steps as there are events.
    let events = 0;
    const log = Math.log1p(-Math.min(rate, 1 - 1e-12));
    for (let at = Math.floor(Math.log(this.uniform()) / log); at < trials; events++) {
      at += 1 + Math.floor(Math.log(this.uniform()) / log);
    }
    return events;
  }

  #poissonSmall(mean: number): number {
    const least = Math.exp(-mean);
    let events = 0;
    for (let product = this.uniform(); product > least; events++) product *= this.uniform();
    return events;
  }

  #poissonLarge(mean: number): number {
    const b = 0.931 + 2.53 * Math.sqrt(mean);
    const a = -0.059 + 0.02483 * b;
    const inverse = 1.1239 + 1.1328 / (b - 3.4);
    for (;;) {
      const u = this.uniform() - 0.5;
      const v = this.uniform();
      const us = 0.5 - Math.abs(u);
      const k = Math.floor(((2 * a) / us + b) * u + mean + 0.43);
      if (us >= 0.07 && v <= 0.9277 - 3.6224 / (b - 2)) return k;
      if (k < 0 || (us < 0.013 && v > us)) continue;
      const left = Math.log(v) + Math.log(inverse) - Math.log(a / (us * us) + b);
      if (left <= k * Math.log(mean) - mean - logFactorial(k)) return k;
    }
  }
}

function logFactorial(k: number): number {
  if (k < 10) {
    let product = 1;
    for (let i = 2; i <= k; i++) product *= i;
    return Math.log(product);
  }
  const x = k + 1;
  return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * x) - 1 / (360 * x ** 3);
}
