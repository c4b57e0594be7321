/** Rows about slow answers. */
import { lognormal, SAME, type Slowdown } from "./answers.ts";
import type { Chance } from "./chance.ts";
import { quantile, Road, SECOND_MS, TICK_MS, type Traffic } from "./road.ts";
import { bounded, type Effort, type Outcome, type Row } from "./row.ts";

const TRAFFIC: Traffic = { rps: 50, weight: 0.05, legacyRate: 0.001, candidateRate: 0.001 };
const BEFORE_SECONDS = 900;
const LIMIT_SECONDS = 7200;

/** A slowdown that begins after a quarter of an hour. It must be found for what it is. */
const slower =
  (name: string, slowdown: Slowdown, median: number): Row =>
  ({ latencyRuns }, chance) => {
    const found = Array.from({ length: latencyRuns }, () => detectSlowdown(chance, slowdown));
    const right = found.filter(({ signal }) => signal === "latency").length;
    return bounded(`${name}, 50 rps, 5 %: seconds`, [
      {
        name: "median",
        value: quantile(
          found.map((one) => one.seconds),
          0.5,
        ),
        most: median,
      },
      { name: "called errors", value: found.length - right, most: Math.ceil(0.02 * found.length) },
    ]);
  };

function detectSlowdown(chance: Chance, slowdown: Slowdown): { seconds: number; signal: string | null } {
  let now = SAME;
  const road = new Road(
    chance,
    lognormal(chance, () => now),
  );
  road.begin(TRAFFIC);
  road.run(BEFORE_SECONDS, SECOND_MS, TRAFFIC, () => {});
  now = slowdown;
  const found = road.detect(LIMIT_SECONDS, TICK_MS, TRAFFIC);
  return { seconds: found?.seconds ?? Infinity, signal: found?.verdict.signal ?? null };
}

/** Both sides answer alike. */
function nothingSlower({ latencyNullDays }: Effort, chance: Chance): Outcome {
  const road = new Road(
    chance,
    lognormal(chance, () => SAME),
  );
  road.begin(TRAFFIC);
  let rollbacks = 0;
  let holds = 0;
  let before = "none";
  road.run(latencyNullDays * 86_400, SECOND_MS, TRAFFIC, ({ action }) => {
    if (action === "rollback" && before !== "rollback") rollbacks++;
    if (action === "hold" && before === "none") holds++;
    before = action;
  });
  return bounded(`nothing wrong, latency and errors, 50 rps, 5 %: in ${latencyNullDays} days`, [
    { name: "rollbacks", value: rollbacks, most: 0 },
    { name: "holds", value: holds, most: 2 },
  ]);
}

/** The rows, in order. */
export const latencyRows: readonly Row[] = [
  slower("latency x 2", { ...SAME, factor: 2 }, 35),
  slower("2 % of requests + 1 s", { factor: 1, someRate: 0.02, someUs: 1_000_000 }, 150),
  nothingSlower,
];
