/** Measures instances that share a Redis, and what requests cost while it is away: `node bench/store.ts [--json]`. */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { redisMissing, startRedis } from "../test/support/redis.ts";
import { RedisStage } from "../test/support/redis_stage.ts";
import { measureChanges } from "./store/changes.ts";
import { measureDataPath, repetitionsOf, tableOf } from "./store/data_path.ts";
import { Load } from "./store/load.ts";

const EXIT_UNAVAILABLE = 69;

const INSTANCES = 3;
const WORKERS = 2;
/** Clients of each instance. */
const CLIENTS = 8;

const CHANGES = 500;
/** Changes before them, which are not counted: code that has just been started is slow. */
const WARM_UP = 50;
/** The changes end after this long, however many there were. */
const CHANGES_MS_MAX = 60_000;
/** What is aimed at on loopback, in milliseconds. */
const P99_GOAL_MS = 50;

const ROUNDS = 6;
const ROUND_MS = 3_000;

const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } });
const reason = redisMissing();
if (reason !== null) {
  process.stderr.write(`nothing can be measured: ${reason}\n`);
  process.exit(EXIT_UNAVAILABLE);
}

function say(text: string): void {
  if (!values.json) process.stdout.write(`${text}\n`);
}

const startedMs = performance.now();
await using redis = await startRedis({ isDurable: true });
await using stage = await RedisStage.start({
  redis: { url: redis.url },
  instances: INSTANCES,
  workers: WORKERS,
  clients: 0,
});
const processors = cpus();
const machine = `${processors.length} processors, ${processors[0]?.model ?? "unknown"}; Node ${process.version}`;
const setting = `${INSTANCES} instances of ${WORKERS} workers, ${CLIENTS} clients each`;
say(`${setting}; ${machine}, Redis ${(await redis.info("redis_version")) ?? "unknown"}\n`);

// A client's next request comes after the answer, which takes the backend so long: that leaves time for changes.
using steady = new Load(urlsOf("/delay/10"), CLIENTS);
await steady.during(() => measureChanges(stage, WARM_UP, CHANGES_MS_MAX));
const [changes, { latenciesMs, failed }] = await steady.during(() =>
  measureChanges(stage, CHANGES, CHANGES_MS_MAX),
);
const { medianMs, p99Ms, longestMs, p99OfHundredsMs, late } = changes;
say(
  `${changes.changes} changes, at each instance in turn, from the call until every worker of every instance has it:\n` +
    `median ${medianMs.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms (goal: below ${P99_GOAL_MS} ms), ` +
    `longest ${longestMs.toFixed(1)} ms, ${late} not in time; ` +
    `p99 of each hundred: ${p99OfHundredsMs.map((ms) => ms.toFixed(1)).join(", ")} ms; ` +
    `${latenciesMs.length} requests meanwhile, ${failed} failed\n`,
);

using load = new Load(urlsOf("/bytes/100"), CLIENTS);
const rounds = await measureDataPath({ stage, redis, load, roundMs: ROUND_MS }, ROUNDS);
say(tableOf(rounds).join("\n"));
say(
  `\nMedians (least to most) of ${ROUNDS} rounds of ${ROUND_MS / 1000} s; ratios to "running", round by round.\n`,
);
say(repetitionsOf(rounds).join("\n"));
say(`\n${Math.round((performance.now() - startedMs) / 1000)} s`);
if (values.json) {
  const report = { setting, machine, changes: { ...changes, failed }, rounds };
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
}
process.exitCode = failed + late + rounds.reduce((sum, round) => sum + round.failed, 0) > 0 ? 1 : 0;

function urlsOf(path: string): string[] {
  return stage.instances.map(({ url }) => url + path);
}
