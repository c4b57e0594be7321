/** Measures rollbacks and a whole rollout on live processes: `node bench/rollback.ts [--rounds N] [--json]`. */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { redisMissing, startRedis } from "../test/support/redis.ts";
import { measureRollback, type RollbackRound, type Trouble } from "./rollback/rounds.ts";
import { measureRollout, type RolloutRound } from "./rollback/climb.ts";

const EXIT_UNAVAILABLE = 69;
/** From the entry in the audit log to the last request that went to the candidate, in milliseconds. */
const LAST_GOAL_MS = 1_000;

const TROUBLES: readonly Trouble[] = [
  { name: "5 % errors", perSecond: 500, weight: 5, path: "/", on: ["errors"], spoil: "errors" },
  {
    name: "ten times slower",
    perSecond: 500,
    weight: 5,
    path: "/delay/5",
    on: ["errors", "latency"],
    spoil: "slow",
  },
  { name: "dead", perSecond: 50, weight: 25, path: "/", on: ["errors"], spoil: "dead" },
];
const CLIMBS = [20, 2_000] as const;

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "3" }, json: { type: "boolean", default: false } },
});
const rounds = Number(values.rounds);
if (!Number.isSafeInteger(rounds) || rounds < 1) {
  process.stderr.write(`--rounds takes a whole number from 1, not ${values.rounds}\n`);
  process.exit(2);
}
const reason = redisMissing();
if (reason !== null) {
  process.stderr.write(`nothing can be measured: ${reason}\n`);
  process.exit(EXIT_UNAVAILABLE);
}

function say(text: string): void {
  if (!values.json) process.stdout.write(`${text}\n`);
}

/** What is wrong with a round; empty when it keeps every claim. */
function missed(round: RollbackRound): string[] {
  const slowest = Math.max(...round.lastOnNewMs);
  return [
    ...(round.rollbacks === 1 ? [] : [`rolled back ${round.rollbacks} times`]),
    ...(round.failedElsewhere === 0
      ? []
      : [`${round.failedElsewhere} requests failed that new did not fail`]),
    ...(slowest < LAST_GOAL_MS ? [] : [`a request went to new ${slowest} ms later`]),
    ...(round.spoil === "errors" || round.failed === 0 ? [] : [`${round.failed} requests failed`]),
  ];
}

/** The same for a rollout. */
function missedClimb({ phase, rollbacks, failed, isInOrder }: RolloutRound): string[] {
  return [
    ...(phase === "promoted" ? [] : [`it ended ${phase}`]),
    ...(isInOrder ? [] : ["the steps were not taken once and in order"]),
    ...(rollbacks === 0 ? [] : [`rolled back ${rollbacks} times`]),
    ...(failed === 0 ? [] : [`${failed} requests failed`]),
  ];
}

function verdictOf(faults: readonly string[]): string {
  return faults.length === 0 ? "ok" : `FAIL: ${faults.join(", ")}`;
}

const startedMs = performance.now();
await using redis = await startRedis({ isDurable: true });
const processors = cpus();
const machine = `${processors.length} processors, ${processors[0]?.model ?? "unknown"}; Node ${process.version}`;
say(`2 instances of 1 worker on a Redis ${(await redis.info("redis_version")) ?? ""}; ${machine}\n`);

const rollbacks: RollbackRound[] = [];
const climbs: RolloutRound[] = [];
let faults = 0;
say(
  "| candidate | requests/s, weight | from the trouble to the audit entry | requests then | failed | " +
    "from the entry to the last request on new, per instance | |\n|---|---|---|---|---|---|---|",
);
for (const trouble of TROUBLES) {
  for (let round = 0; round < rounds; round++) {
    await redis.command("FLUSHALL");
    const measured = await measureRollback(trouble, redis.url);
    rollbacks.push(measured);
    const wrong = missed(measured);
    faults += wrong.length;
    const { name, perSecond, weight } = trouble;
    say(
      `| ${name} | ${perSecond} (${measured.perSecond.toFixed(0)}), ${weight} % | ` +
        `${(measured.detectedMs / 1000).toFixed(1)} s | ${measured.requests} | ${measured.failed} | ` +
        `${measured.lastOnNewMs.map((ms) => `${ms} ms`).join(", ")} | ${verdictOf(wrong)} |`,
    );
  }
}
say(
  "\n| rollout | requests/s reached | steps, in percent | took | requests | failed | |\n|---|---|---|---|---|---|---|",
);
for (const perSecond of CLIMBS) {
  await redis.command("FLUSHALL");
  const measured = await measureRollout(perSecond, redis.url);
  climbs.push(measured);
  const wrong = missedClimb(measured);
  faults += wrong.length;
  say(
    `| ${perSecond} requests/s | ${measured.perSecond.toFixed(0)} (${measured.leftOut} left out) | ` +
      `${measured.weights.join(", ")} | ${(measured.tookMs / 1000).toFixed(1)} s | ${measured.requests} | ` +
      `${measured.failed} | ${verdictOf(wrong)} |`,
  );
}
say(`\n${Math.round((performance.now() - startedMs) / 1000)} s`);
if (values.json) process.stdout.write(`${JSON.stringify({ machine, rollbacks, climbs }, null, 2)}\n`);
process.exitCode = faults > 0 ? 1 : 0;
