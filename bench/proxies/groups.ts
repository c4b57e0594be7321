/** Which contenders take which workloads, how they are set up, and who is measured at the same time. */
import { CROSSFADE } from "./contenders/crossfade.ts";
import { HAPROXY } from "./contenders/haproxy.ts";
import { NGINX } from "./contenders/nginx.ts";
import {
  FLOOR,
  FLOOR_WITH_HEADS,
  HTTP_PROXY_3_CONTENDER,
  NO_PROXY,
  UNDICI_CONTENDER,
} from "./contenders/node_programs.ts";
import { PLAIN_SETUP, type Contender, type Setup } from "./contender.ts";
import { NAMES, PLAIN_CROSSFADE } from "./results.ts";
import { PLAIN_WORKLOADS, SMALL, mirrored, smallAs, type Workload } from "./workloads.ts";

/** A contender as it is set up in a group. */
export interface Entrant {
  readonly name: string;
  readonly contender: Contender;
  readonly setup: Setup;
  /** Takes part only in the workloads of these names; null for all. */
  readonly only: readonly string[] | null;
}

/** Entrants that run side by side, and what each of them is asked for in turn. */
export interface Group {
  readonly entrants: readonly Entrant[];
  readonly workloads: readonly Workload[];
  /** Memory comes before the workloads, and latencies at half of what Crossfade can do after them. */
  readonly isMain: boolean;
}

/** Everybody, in the order of the tables. */
export const CONTENDERS: readonly Contender[] = [
  CROSSFADE,
  NGINX,
  HAPROXY,
  HTTP_PROXY_3_CONTENDER,
  UNDICI_CONTENDER,
  FLOOR,
  FLOOR_WITH_HEADS,
  NO_PROXY,
];

function allWith(setup: Setup): Entrant[] {
  return CONTENDERS.filter((contender) => contender.takes(setup)).map((contender) => ({
    name: contender.name,
    contender,
    setup,
    only: contender.only ?? null,
  }));
}

/** Crossfade once more, set up as in the main group or nearly so. */
function crossfadeAs(name: string, setup: Setup, only: readonly string[] | null = null): Entrant {
  return { name, contender: CROSSFADE, setup, only };
}

const REFERENCE = crossfadeAs(PLAIN_CROSSFADE, PLAIN_SETUP);

/** All groups of a full run. */
export function allGroups(): Group[] {
  const with200 = { ...PLAIN_SETUP, routes: 200 };
  const with2 = { ...PLAIN_SETUP, workers: 2 };
  const quiet = crossfadeAs("Crossfade, log off", { ...PLAIN_SETUP, hasLog: false }, [SMALL.name]);
  const mirrorGroup = (mirrorPercent: number): Group => ({
    entrants: allWith({ ...PLAIN_SETUP, mirrorPercent }),
    workloads: [mirrored(`mirror ${mirrorPercent} %`)],
    isMain: false,
  });
  return [
    { entrants: [...allWith(PLAIN_SETUP), quiet], workloads: PLAIN_WORKLOADS, isMain: true },
    mirrorGroup(10),
    mirrorGroup(100),
    { entrants: [...allWith(with200), REFERENCE], workloads: [smallAs(NAMES.routes)], isMain: false },
    {
      entrants: [crossfadeAs("Crossfade", { ...PLAIN_SETUP, shifts: true }), REFERENCE],
      workloads: [smallAs(NAMES.shifts)],
      isMain: false,
    },
    { entrants: [...allWith(with2), REFERENCE], workloads: [smallAs(NAMES.twoWorkers)], isMain: false },
  ];
}

/** What a shorter run is made of; empty lists mean everything. Crossfade set up otherwise belongs to Crossfade. */
export interface Choice {
  readonly contenders: readonly string[];
  readonly workloads: readonly string[];
}

/** The groups with what was chosen, without those that have nothing left. */
export function chosen(groups: readonly Group[], { contenders, workloads }: Choice): Group[] {
  const isWanted = (list: readonly string[], name: string): boolean =>
    list.length === 0 || list.includes(name);
  return groups
    .map((group) => ({
      ...group,
      entrants: group.entrants.filter(({ contender }) => isWanted(contenders, contender.name)),
      workloads: group.workloads.filter(({ name }) => isWanted(workloads, name)),
    }))
    .filter((group) => group.entrants.length > 0 && group.workloads.length > 0);
}

/** Whether an entrant takes a workload of its group. */
export function takes({ only }: Entrant, { name }: Workload): boolean {
  return only === null || only.includes(name);
}

/** Every name of a workload. */
export function workloadNames(): string[] {
  return allGroups().flatMap((group) => group.workloads.map(({ name }) => name));
}
