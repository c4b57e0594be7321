/** Rows about what happens to both backends alike, or only looks like a difference: none of it may roll back. */
import type { Chance } from "./chance.ts";
import { bestSalted, type Cohort } from "./clients.ts";
import { count, Road, SECOND_MS, TICK_MS, type Counted, type Traffic } from "./road.ts";
import { bounded, type Effort, type Outcome, type Row } from "./row.ts";

const QUIET: Traffic = { rps: 50, weight: 0.05, legacyRate: 0.001, candidateRate: 0.001 };
const HOURS_6 = 6 * 3600;
/** A burst of one client: this many errors on average, this far apart. */
const BURST_ERRORS = 10;
const BURST_GAP_SECONDS = 0.05;

/** What one run sees. */
interface Sight {
  isRolledBack: boolean;
}

/** Runs a situation again and again, each time on a route of its own whose stage has just begun. */
function repeat(
  runs: number,
  chance: Chance,
  traffic: Traffic,
  situation: (road: Road, sight: Sight) => void,
): number {
  let rollbacks = 0;
  for (let run = 0; run < runs; run++) {
    const road = new Road(chance);
    road.begin(traffic);
    const sight = { isRolledBack: false };
    situation(road, sight);
    if (sight.isRolledBack) rollbacks++;
  }
  return rollbacks;
}

function watch(road: Road, sight: Sight, seconds: number, ms: number, traffic: Traffic): void {
  road.run(seconds, ms, traffic, ({ action }) => {
    sight.isRolledBack ||= action === "rollback";
  });
}

function look(road: Road, sight: Sight, ms: number, weight: number, counted: Counted): void {
  sight.isRolledBack ||= road.tick(ms, weight, counted).action === "rollback";
}

const sharedIncident =
  (rps: number): Row =>
  ({ robustRuns }, chance) => {
    const traffic = { ...QUIET, rps };
    const rollbacks = repeat(robustRuns, chance, traffic, (road, sight) => {
      watch(road, sight, 600, TICK_MS, traffic);
      watch(road, sight, 120, TICK_MS, { ...traffic, legacyRate: 0.05, candidateRate: 0.05 });
      watch(road, sight, 600, TICK_MS, traffic);
    });
    return bounded(`both sides 5 % for 120 s, ${rps} rps, 5 %: in ${robustRuns} runs`, [
      { name: "rollbacks", value: rollbacks, most: 0 },
    ]);
  };

/** 10 to 90 rps and 0.05 to 0.5 % on both sides, a day long, an hour apart from each other. */
function dayAndNight({ robustRuns }: Effort, chance: Chance): Outcome {
  const rollbacks = repeat(robustRuns, chance, QUIET, (road, sight) => {
    for (let minute = 0; minute < 1440; minute++) {
      const wave = (1 - Math.cos((2 * Math.PI * minute) / 1440)) / 2;
      const later = (1 - Math.cos((2 * Math.PI * (minute - 60)) / 1440)) / 2;
      const rate = 0.0005 + 0.0045 * later;
      const traffic = { ...QUIET, rps: 10 + 80 * wave, legacyRate: rate, candidateRate: rate };
      watch(road, sight, 60, SECOND_MS, traffic);
    }
  });
  return bounded(`a day of 10-90 rps and 0.05-0.5 % on both sides: in ${robustRuns} runs`, [
    { name: "rollbacks", value: rollbacks, most: 0 },
  ]);
}

/** Unplanned weights, each for 10 min; traffic follows 2 s later. */
function weightChange({ robustRuns }: Effort, chance: Chance): Outcome {
  const rollbacks = repeat(robustRuns, chance, QUIET, (road, sight) => {
    let share = 0;
    for (const weight of [0.05, 0.25, 0.1, 0.5, 0.01, 0.9, 0.05]) {
      watch(road, sight, 2, TICK_MS, { ...QUIET, weight, share });
      share = weight;
      watch(road, sight, 598, SECOND_MS, { ...QUIET, weight });
    }
  });
  return bounded(`weight changes mid-stream, 50 rps: in ${robustRuns} runs`, [
    { name: "rollbacks", value: rollbacks, most: 0 },
  ]);
}

/** Three instances; one says nothing for 5 min and then everything at once, and later loses 5 min for good. */
function silentInstance({ robustRuns }: Effort, chance: Chance): Outcome {
  const part = { ...QUIET, rps: QUIET.rps / 3 };
  const rollbacks = repeat(robustRuns, chance, QUIET, (road, sight) => {
    let held: Counted | null = null;
    for (let second = 0; second < 7200; second++) {
      const others = count(chance, 1, { ...QUIET, rps: 2 * part.rps });
      const own = count(chance, 1, part);
      const isLate = second >= 1800 && second < 2100;
      const isLost = second >= 3600 && second < 3900;
      if (isLate) held = held === null ? own : both(held, own);
      const arrived: Counted = isLate || isLost ? others : both(others, own);
      look(road, sight, SECOND_MS, QUIET.weight, held === null || isLate ? arrived : both(arrived, held));
      if (!isLate) held = null;
    }
  });
  return bounded(`one of three instances late, then lost, for 5 min: in ${robustRuns} runs`, [
    { name: "rollbacks", value: rollbacks, most: 0 },
  ]);
}

function both(a: Counted, b: Counted): Counted {
  const add = (side: "legacy" | "candidate"): Counted["legacy"] => ({
    requests: a[side].requests + b[side].requests,
    failures: a[side].failures + b[side].failures,
    latency: [],
  });
  return { legacy: add("legacy"), candidate: add("candidate") };
}

/** Which errors of a burst count: at these seconds after the one under way began. */
type Counting = (times: readonly number[]) => readonly number[];

/** At most one in each second of the clock. */
const oncePerSecond: Counting = (times) => [...new Set(times.map(Math.floor))];
/** The same, and none in the second after one that counted: a burst across the end of a second counts once too. */
const notTwiceRunning: Counting = (times) => {
  let last = -Infinity;
  return oncePerSecond(times).filter((second) => {
    const isApart = second - last > 1;
    if (isApart) last = second;
    return isApart;
  });
};
const raw: Counting = (times) => times.map(Math.floor);

/** Every failure is a client that tries again and again. */
function storm(runs: number, chance: Chance, counting: Counting): number {
  const well = { ...QUIET, legacyRate: 0, candidateRate: 0 };
  return repeat(runs, chance, QUIET, (road, sight) => {
    let coming: Counted[] = [];
    for (let second = 0; second < HOURS_6; second++) {
      for (const side of ["legacy", "candidate"] as const) {
        const share = side === "legacy" ? 1 - QUIET.weight : QUIET.weight;
        const bursts = chance.poisson(QUIET.rps * share * QUIET.legacyRate);
        for (let i = 0; i < bursts; i++) coming = addFailures(coming, side, counting(burst(chance)));
      }
      const [now = NOTHING, ...rest] = coming;
      coming = rest;
      look(road, sight, SECOND_MS, QUIET.weight, both(count(chance, 1, well), now));
    }
  });
}

const NOTHING: Counted = {
  legacy: { requests: 0, failures: 0, latency: [] },
  candidate: { requests: 0, failures: 0, latency: [] },
};

/** When the errors of a burst come, in seconds after the one under way began. */
function burst(chance: Chance): readonly number[] {
  const times: number[] = [];
  let at = chance.uniform();
  do {
    times.push(at);
    at -= BURST_GAP_SECONDS * Math.log(chance.uniform());
  } while (chance.uniform() > 1 / BURST_ERRORS);
  return times;
}

function addFailures(
  coming: readonly Counted[],
  side: "legacy" | "candidate",
  seconds: readonly number[],
): Counted[] {
  const added = [...coming];
  for (const second of seconds) {
    while (added.length <= second) added.push(NOTHING);
    const one = { ...NOTHING, [side]: { requests: 1, failures: 1, latency: [] } };
    added[second] = both(added[second] ?? NOTHING, one);
  }
  return added;
}

/**
 * Bursts last half a second, so every other one crosses the end of a second and would count twice. The other ways to
 * count are shown beside the one that is required: they are why.
 */
function retryStorms({ robustRuns }: Effort, chance: Chance): Outcome {
  const percent = (runs: number, counting: Counting): number => (100 * storm(runs, chance, counting)) / runs;
  const outcome = bounded(
    `retry storms, a client not counted twice running, 50 rps, 5 %, 6 h: % of ${robustRuns} runs`,
    [{ name: "rolled back", value: percent(robustRuns, notTwiceRunning), most: 1 }],
  );
  const others = [
    `once per second of the clock ${percent(robustRuns, oncePerSecond)}`,
    `raw ${percent(Math.ceil(robustRuns / 10), raw)}`,
  ];
  return { ...outcome, figure: `${outcome.figure} (${others.join(", ")})` };
}

/** Clients with Zipf traffic, some with errors of their own, in a cohort whose salt was the best of 200. */
const unequalClients =
  (clients: number): Row =>
  ({ robustRuns }, chance) => {
    let rollbacks = 0;
    for (let run = 0; run < robustRuns; run++) {
      const cohort: Cohort = bestSalted(chance, clients, QUIET);
      const share = cohort.candidate.rps / QUIET.rps;
      const { legacy, candidate } = cohort;
      const traffic = { ...QUIET, share, legacyRate: legacy.rate, candidateRate: candidate.rate };
      rollbacks += repeat(1, chance, QUIET, (road, sight) => watch(road, sight, HOURS_6, SECOND_MS, traffic));
    }
    return bounded(`${clients} unequal clients, balanced salt, 6 h: % of ${robustRuns} runs`, [
      { name: "rolled back", value: (100 * rollbacks) / robustRuns, most: 1 },
    ]);
  };

/** The rows, in order. */
export const robustnessRows: readonly Row[] = [
  sharedIncident(50),
  sharedIncident(5000),
  dayAndNight,
  weightChange,
  silentInstance,
  retryStorms,
  unequalClients(2000),
];
