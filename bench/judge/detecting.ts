/** Rows about failures that must be found, and how soon. */
import { Spending, RatioDetector } from "../../src/domain/evidence.ts";
import type { Chance } from "./chance.ts";
import { quantile, Road, SECOND_MS, TICK_MS, type Detection, type Traffic } from "./road.ts";
import { bounded, type Effort, type Outcome, type Row } from "./row.ts";

const LIMIT_SECONDS = 20_000;

/** 0.1 % of legacy's requests fail and 5 % of the candidate's. */
function failing(rps: number, weight = 0.05, candidateRate = 0.05): Traffic {
  return { rps, weight, legacyRate: 0.001, candidateRate };
}

function healthy(traffic: Traffic): Traffic {
  return { ...traffic, candidateRate: traffic.legacyRate };
}

/** What few runs may miss a bound by: the error of a median of so few. */
function slack(runs: number): number {
  return runs >= 250 ? 1 : 1 + 1.5 / Math.sqrt(runs);
}

/** Detections of a failure that begins `hours` after the stage. */
function detect(runs: number, chance: Chance, traffic: Traffic, hours = 0): readonly (Detection | null)[] {
  return Array.from({ length: runs }, () => {
    const road = new Road(chance);
    road.begin(traffic);
    road.run(hours * 3600, SECOND_MS, healthy(traffic), () => {});
    return road.detect(LIMIT_SECONDS, TICK_MS, traffic);
  });
}

function seconds(detections: readonly (Detection | null)[]): readonly number[] {
  return detections.map((detection) => detection?.seconds ?? Infinity);
}

const fromStart =
  (rps: number, median: number, p90: number): Row =>
  (effort, chance) => {
    const found = seconds(detect(effort.detections, chance, failing(rps)));
    return bounded(`0.1 -> 5 % at stage start, ${rps} rps, 5 %: seconds`, [
      { name: "median", value: quantile(found, 0.5), most: median * slack(effort.detections) },
      { name: "p90", value: quantile(found, 0.9), most: p90 * slack(effort.detections) },
    ]);
  };

const afterHours =
  (rps: number, median: number): Row =>
  ({ warmDetections }, chance) => {
    const after1 = quantile(seconds(detect(warmDetections, chance, failing(rps), 1)), 0.5);
    const after6 = quantile(seconds(detect(warmDetections, chance, failing(rps), 6)), 0.5);
    // It must not grow with uptime: by a quarter at most, or by one tick where that is more.
    const grown = Math.max(1.25 * after1, after1 + TICK_MS / 1000);
    return bounded(`0.1 -> 5 % after hours of health, ${rps} rps, 5 %: median seconds`, [
      { name: "after 1 h", value: after1, most: median * slack(warmDetections) },
      { name: "after 6 h", value: after6, most: Math.min(median, grown) * slack(warmDetections) },
    ]);
  };

function totalFailure(effort: Effort, chance: Chance): Outcome {
  const found = seconds(detect(effort.detections, chance, failing(5, 0.05, 0.999)));
  return bounded("total failure of the candidate, 5 rps, 5 %: seconds", [
    { name: "median", value: quantile(found, 0.5), most: 25 * slack(effort.detections) },
  ]);
}

const failedUsers =
  (rps: number, weight: number): Row =>
  (effort, chance) => {
    const failed = detect(effort.detections, chance, failing(rps, weight)).map(
      (one) => one?.failed ?? Infinity,
    );
    return bounded(`failed requests of users before rollback, ${rps} rps, ${100 * weight} %`, [
      { name: "median", value: quantile(failed, 0.5), most: 10 },
      { name: "p90", value: quantile(failed, 0.9), most: 16 },
    ]);
  };

/** Everybody is on the candidate: an hour at 50 % tells what legacy does, then the weight is 100 %. */
const alone =
  (rps: number, median: number): Row =>
  (effort, chance) => {
    const found = Array.from({ length: effort.detections }, () => {
      const road = new Road(chance);
      const half = healthy(failing(rps, 0.5));
      road.begin(half);
      road.run(3600, 10 * SECOND_MS, half, () => {});
      road.beginStage();
      return road.detect(LIMIT_SECONDS, TICK_MS, failing(rps, 1))?.seconds ?? Infinity;
    });
    return bounded(`0.1 -> 5 % at 100 %, ${rps} rps: seconds`, [
      { name: "median", value: quantile(found, 0.5), most: median * slack(effort.detections) },
    ]);
  };

/** (kNew, k) of ten ticks of a second, and the logarithm of the mean R after each. */
const VECTOR: readonly (readonly [number, number, number])[] = [
  [1, 1, -5.510448],
  [0, 1, -6.647226],
  [1, 1, -4.612611],
  [2, 2, -0.170042],
  [0, 0, -0.170042],
  [1, 2, 0.640775],
  [1, 1, 2.895891],
  [1, 1, 5.204264],
  [2, 2, 9.932311],
  [1, 1, 12.336239],
];

function codeVector(): Outcome {
  const spending = new Spending({ falseAlarm: 0.001, runLengthSeconds: 2_592_000 });
  const detector = new RatioDetector(1.5, spending);
  const offs = VECTOR.map(([kNew, k, logMean], second) => {
    detector.add(second, [{ kNew, k, w: 0.05 }]);
    return Math.abs(detector.logMean - logMean);
  });
  return bounded("code vector of ten ticks", [
    { name: "largest error", value: Math.max(...offs), most: 1e-6 },
  ]);
}

/** The rows, in order. */
export const detectionRows: readonly Row[] = [
  codeVector,
  fromStart(5, 380, 780),
  fromStart(50, 42, 85),
  fromStart(500, 6, 9),
  fromStart(5000, 1, 2),
  fromStart(20_000, 1, 1),
  afterHours(50, 85),
  afterHours(5000, 2),
  totalFailure,
  failedUsers(5, 0.05),
  failedUsers(5, 0.25),
  failedUsers(50, 0.05),
  failedUsers(50, 0.25),
  failedUsers(500, 0.05),
  failedUsers(500, 0.25),
  alone(5, 45),
  alone(50, 5),
];
