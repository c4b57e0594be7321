/** The thread in which answers are compared: batches in, counts out, nothing kept but policies. */
import { parentPort } from "node:worker_threads";
import { assert } from "../base/fault.ts";
import { compareCaptured } from "../domain/compare_captured.ts";
import type { ComparePolicy } from "../domain/compare_words.ts";
import { ComparisonTally } from "../domain/comparison_counts.ts";
import type { CompareBatch, CompareJob, CompareResult } from "./compare_job.ts";

/** Policies that are remembered; over it the one that was told first is forgotten, which no route of a table meets. */
const POLICIES_MAX = 10_000;

const policies = new Map<string, ComparePolicy>();

function work({ jobs, policies: told }: CompareBatch): CompareResult[] {
  for (const [basis, policy] of told) policies.set(basis, policy);
  for (const oldest of policies.keys()) {
    if (policies.size <= POLICIES_MAX) break;
    policies.delete(oldest);
  }
  const tallies = new Map<string, { readonly job: CompareJob; readonly tally: ComparisonTally }>();
  for (const job of jobs) {
    const key = `${job.route} ${job.basis}`;
    const entry = tallies.get(key) ?? { job, tally: new ComparisonTally() };
    tallies.set(key, entry);
    take(job, entry.tally);
  }
  return [...tallies.values()].map(({ job: { route, basis }, tally }) => ({
    route,
    basis,
    counts: tally.counts,
  }));
}

function take({ basis, atMs, legacy, candidate, second }: CompareJob, tally: ComparisonTally): void {
  const policy = policies.get(basis);
  assert(policy !== undefined, "a basis comes with its policy");
  if (candidate !== null) tally.add(compareCaptured(legacy, candidate, policy), atMs);
  if (second !== null) tally.addNoise(compareCaptured(legacy, second, policy), atMs);
}

assert(parentPort !== null, "it is started as a thread");
const port = parentPort;
port.on("message", (batch: CompareBatch) => port.postMessage(work(batch)));
