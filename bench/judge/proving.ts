/** Rows about promotion: how often it is proven wrongly, and how many requests it takes. */
import { Proof } from "../../src/domain/evidence.ts";
import type { Chance } from "./chance.ts";
import { quantile } from "./road.ts";
import { bounded, type Effort, type Outcome, type Row } from "./row.ts";

/** Requests between two looks. */
const LOOK = 20;
const REQUESTS_MAX = 20_000;

/** Requests until the proof is complete, Infinity if it is not by REQUESTS_MAX. */
function prove(chance: Chance, margin: number, rate: number): number {
  const proof = new Proof(margin);
  for (let requests = LOOK; requests <= REQUESTS_MAX; requests += LOOK) {
    proof.add({ requests: LOOK, failures: chance.binomial(LOOK, rate) });
    if (proof.isComplete) return requests;
  }
  return Infinity;
}

function atTheMargin({ proofRuns }: Effort, chance: Chance): Outcome {
  let wrong = 0;
  for (let run = 0; run < proofRuns; run++) if (prove(chance, 0.01, 0.01) < Infinity) wrong++;
  const error = 3 * Math.sqrt((0.05 * 0.95) / proofRuns);
  return bounded(`failing exactly at the margin, looked at every ${LOOK} requests`, [
    { name: "% proven", value: (100 * wrong) / proofRuns, most: 100 * (0.05 + error) },
  ]);
}

const needed =
  (margin: number, median: number): Row =>
  ({ proofRuns }, chance) => {
    const requests = Array.from({ length: Math.ceil(proofRuns / 4) }, () => prove(chance, margin, 0.001));
    return bounded(`requests to prove 0.1 % to be below ${100 * margin} %`, [
      { name: "median", value: quantile(requests, 0.5), most: median },
      { name: "p90", value: quantile(requests, 0.9), most: 2.2 * median },
    ]);
  };

/** The rows, in order. */
export const proofRows: readonly Row[] = [atTheMargin, needed(0.01, 420), needed(0.005, 1400)];
