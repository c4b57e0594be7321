/** The goals, and whether a run meets them. */
import { median } from "../store/figures.ts";
import { NAMES, PLAIN_CROSSFADE, roundsOf, workloadsOf, type Results, type Round } from "./results.ts";
import { geometricMean, pairedDifference, pairedRatio } from "./statistics.ts";

/** One goal and what became of it. */
export interface Goal {
  readonly name: string;
  readonly figure: number;
  readonly unit: string;
  /** What the figure may be: at most, or where `isLeast`, at least. */
  readonly bound: number;
  readonly isLeast: boolean;
  /** `unknown`: what it takes was not measured, or cannot be on this machine. */
  readonly verdict: "met" | "missed" | "unknown";
}

/** A difference below this is not measurable in so few rounds. */
const MEASURABLE = 1.03;
/** Two workers and what makes the load need a processor each. */
const PROCESSORS_FOR_TWO = 3;
/** A mirror that copies fewer requests than this is another mirror. */
const COPIES_MIN = 0.99;

const CROSSFADE = "Crossfade";
const NGINX = "nginx";
const HTTP_PROXY = "http-proxy-3";

function perAnswer({ processorUs }: Round): number {
  return processorUs;
}

/** All goals, in the order in which people care for them. */
export function goalsOf(results: Results): Goal[] {
  const rounds = (workload: string, contender: string = CROSSFADE): readonly Round[] =>
    roundsOf(results, workload, contender);
  const toNginx = (workload: string): number =>
    pairedRatio(rounds(workload), rounds(workload, NGINX), perAnswer);
  const small = rounds(NAMES.small);
  const all = workloadsOf(results)
    .filter((workload) => workload !== NAMES.halfLoad)
    .map(toNginx)
    .filter((ratio) => !Number.isNaN(ratio));
  return [
    atMost("small GET, to nginx", toNginx(NAMES.small), 1.15),
    atMost("small GET, to http-proxy-3", pairedRatio(small, rounds(NAMES.small, HTTP_PROXY), perAnswer), 0.2),
    atMost("64 KB response, to nginx", toNginx(NAMES.medium), 1.05),
    atMost("1 MB response, to nginx", toNginx(NAMES.large), 1.05),
    atMost("mirror 100 %, to nginx", mirrorRatio(rounds(NAMES.mirrorAll), toNginx(NAMES.mirrorAll)), 0.55),
    atMost(`geometric mean of ${all.length} workloads, to nginx`, geometricMean(all), 1),
    atMost("new connection each, to nginx", toNginx(NAMES.connects), 2),
    atMost(
      "200 routes, to one",
      pairedRatio(rounds(NAMES.routes), rounds(NAMES.routes, PLAIN_CROSSFADE), perAnswer),
      1.03,
    ),
    atMost(
      "weight changes, workers only, to none",
      pairedRatio(rounds(NAMES.shifts), rounds(NAMES.shifts, PLAIN_CROSSFADE), (round) => round.servingUs),
      MEASURABLE,
    ),
    atMost("idle connection", idleKib(results), 8, "KB"),
    atMost(
      "p99 added at half load",
      pairedDifference(
        rounds(NAMES.halfLoad),
        rounds(NAMES.halfLoad, "no proxy"),
        (round) => round.latency?.p99 ?? Number.NaN,
      ),
      1,
      "ms",
    ),
    twoWorkers(results),
  ];
}

function atMost(name: string, figure: number, bound: number, unit = ""): Goal {
  return { name, figure, unit, bound, isLeast: false, verdict: verdictOf(figure, figure <= bound) };
}

function verdictOf(figure: number, isMet: boolean): Goal["verdict"] {
  if (Number.isNaN(figure)) return "unknown";
  return isMet ? "met" : "missed";
}

/** A ratio counts only where the copies were really made. */
function mirrorRatio(rounds: readonly Round[], ratio: number): number {
  return median(rounds.map(({ copies }) => copies)) >= COPIES_MIN ? ratio : Number.NaN;
}

function idleKib(results: Results): number {
  const found = results.memory.find(({ contender }) => contender === CROSSFADE);
  return found === undefined ? Number.NaN : found.idleConnectionBytes / 1024;
}

function twoWorkers(results: Results): Goal {
  const ratio =
    results.processors < PROCESSORS_FOR_TWO
      ? Number.NaN
      : pairedRatio(
          roundsOf(results, NAMES.twoWorkers, CROSSFADE),
          roundsOf(results, NAMES.twoWorkers, PLAIN_CROSSFADE),
          ({ answers, seconds }) => answers / seconds,
        );
  const name = "requests/s of two workers, to one";
  return {
    name,
    figure: ratio,
    unit: "",
    bound: 1.8,
    isLeast: true,
    verdict: verdictOf(ratio, ratio >= 1.8),
  };
}
