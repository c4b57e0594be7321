/** The workers in the settings: how many there are, and what makes one be replaced. */
import { availableParallelism } from "node:os";
import { z } from "zod";
import type { WorkerLimits } from "./control/roster.ts";
import { closed, examine, examineKeys, isMap } from "./domain/examine.ts";
import type { Findings } from "./domain/problems.ts";
import { durationMs, limitMs, readLimit, readSize, sizeBytes } from "./domain/quantity.ts";
import { text } from "./domain/schema_parts.ts";

/** What the settings say of the workers, complete and checked. */
export interface WorkersSettings {
  readonly count: number;
  readonly limits: WorkerLimits;
}

const COUNT_MAX = 256;
/** Below it a worker that only just started could be over its limit. */
const MEMORY_BYTES_MIN = 134_217_728;
/** Replacing takes a second of a processor. */
const AGE_MS_MIN = 60_000;
/** Workers report four times a second; a busy machine must not look like a hang. */
const HEARTBEAT_MS_MIN = 1_000;
const HEARTBEAT_MS_MAX = 600_000;

const WORKERS = ["workers"];

const countError = `write auto or a whole number from 1 to ${COUNT_MAX}`;

/** How many. */
export const workerCountSchema = z.union(
  [
    z.literal("auto"),
    z.int({ error: countError }).min(1, { error: countError }).max(COUNT_MAX, { error: countError }),
  ],
  { error: countError },
);

const memory = text((value) =>
  value === "off" || (readSize(value) ?? 0) >= MEMORY_BYTES_MIN
    ? null
    : 'write a size from 128MiB on, such as "1024MiB", or "off"',
);

const age = text((value) =>
  value === "off" || (readLimit(value) ?? 0) >= AGE_MS_MIN
    ? null
    : 'write a duration from 1m to 24h, such as "12h", or "off"',
);

const heartbeat = text((value) => {
  const ms = readLimit(value) ?? 0;
  return ms >= HEARTBEAT_MS_MIN && ms <= HEARTBEAT_MS_MAX
    ? null
    : 'write a duration from 1s to 10m, such as "10s"';
});

const workersMap = closed({
  count: workerCountSchema.default("auto"),
  max_memory: memory.default("off"),
  max_age: age.default("off"),
  heartbeat_timeout: heartbeat.default("10s"),
});

/** The number alone, or a map with it and the limits. */
export const workersSchema = z.union([workerCountSchema, workersMap]);

/** Reads the key `workers`. `count` is what a flag or the environment says instead. Null with findings. */
export function readWorkers(
  written: unknown,
  count: "auto" | number | undefined,
  findings: Findings,
): WorkersSettings | null {
  const keys = isMap(written)
    ? examineKeys(workersMap, written, WORKERS, findings)
    : { ...workersMap.parse({}), count: examine(workerCountSchema, written ?? "auto", WORKERS, findings) };
  const counted = count ?? keys?.count;
  const { max_memory: memoryMax, max_age: ageMax, heartbeat_timeout: heartbeatMax } = keys ?? {};
  if (counted === undefined || memoryMax === undefined) return null;
  if (ageMax === undefined || heartbeatMax === undefined) return null;
  return {
    count: counted === "auto" ? Math.min(COUNT_MAX, availableParallelism()) : counted,
    limits: {
      memoryBytesMax: memoryMax === "off" ? null : sizeBytes(memoryMax),
      ageMsMax: ageMax === "off" ? null : limitMs(ageMax),
      heartbeatMs: durationMs(heartbeatMax),
    },
  };
}
