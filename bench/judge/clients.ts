/** Simulated clients that are not alike, and the salt that divides them most evenly. */
import { SHARES_TOTAL } from "../../src/domain/route.ts";
import { bucketOf, isInCohort } from "../../src/domain/split.ts";
import type { Chance } from "./chance.ts";
import type { Traffic } from "./road.ts";

const SALTS = 200;
const HISTORY_SECONDS = 86_400;
/** This fraction of the clients has errors of its own, this often. */
const BAD_CLIENTS = 0.02;
const BAD_RATE = 0.04;

/** Requests per second and failure rate of one side. */
interface Group {
  readonly rps: number;
  readonly rate: number;
}

/** Both sides of a split by client. */
export interface Cohort {
  readonly legacy: Group;
  readonly candidate: Group;
}

interface Client {
  readonly rps: number;
  readonly rate: number;
  /** What the last day showed of it. */
  readonly requests: number;
  readonly failures: number;
}

/**
 * The cohort of the salt, of 200, that on the last day's figures had most nearly its share of requests and failures.
 *
 * Traffic of clients follows Zipf's law; the same backend failure rate holds for all, and a few add their own.
 */
export function bestSalted(chance: Chance, clients: number, { rps, weight, legacyRate }: Traffic): Cohort {
  let harmonic = 0;
  for (let rank = 1; rank <= clients; rank++) harmonic += 1 / rank;
  const all = Array.from({ length: clients }, (_, i): Client => {
    const own = rps / ((i + 1) * harmonic);
    const rate = legacyRate + (chance.uniform() < BAD_CLIENTS ? BAD_RATE : 0);
    const requests = chance.poisson(own * HISTORY_SECONDS);
    return { rps: own, rate, requests, failures: chance.poisson(requests * rate) };
  });
  const salt = chance.draw(1e9);
  let best: readonly boolean[] = [];
  let least = Infinity;
  for (let i = 0; i < SALTS; i++) {
    const isIn = all.map((_, j) =>
      isInCohort(bucketOf(`${salt}-${i}`, `client-${j}`), weight * SHARES_TOTAL),
    );
    const imbalance = imbalanceOf(all, isIn, weight);
    if (imbalance >= least) continue;
    least = imbalance;
    best = isIn;
  }
  return {
    legacy: groupOf(all.filter((_, j) => best[j] === false)),
    candidate: groupOf(all.filter((_, j) => best[j] === true)),
  };
}

/** How far a cohort's requests and failures are from its share of them, both relative. */
function imbalanceOf(all: readonly Client[], isIn: readonly boolean[], weight: number): number {
  const sums = { requests: 0, failures: 0, cohortRequests: 0, cohortFailures: 0 };
  all.forEach(({ requests, failures }, j) => {
    sums.requests += requests;
    sums.failures += failures;
    if (isIn[j] !== true) return;
    sums.cohortRequests += requests;
    sums.cohortFailures += failures;
  });
  const off = (part: number, whole: number): number => Math.abs(part / (whole * weight) - 1);
  return off(sums.cohortRequests, sums.requests) + off(sums.cohortFailures, sums.failures);
}

function groupOf(clients: readonly Client[]): Group {
  let rps = 0;
  let failures = 0;
  for (const client of clients) {
    rps += client.rps;
    failures += client.rps * client.rate;
  }
  return { rps, rate: rps === 0 ? 0 : failures / rps };
}
