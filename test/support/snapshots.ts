/** Reports of workers for tests, to be varied where a test cares. */
import type { WorkerSnapshot } from "../../src/shared/counters.ts";

/** A worker that has done nothing yet. */
export const IDLE_WORKER: WorkerSnapshot = {
  connectionsAccepted: 0,
  connectionsRefused: 0,
  connectionsOpenNow: 0,
  upstreamNow: [],
  upstreamExcess: 0,
  logLinesDropped: 0,
  fieldsDropped: 0,
  lookupsFailed: 0,
  loopUtilization: 0,
  rssBytes: 0,
};
