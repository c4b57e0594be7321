/** Measures what mirroring costs the requests themselves, whatever the shadow does: `node bench/mirror.ts [--json]`. */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { startBackend, startCrossfade } from "../test/support/crossfade.ts";
import { HARM_HEAD, failedOf, measureHarm, p99RatioOf, rowOf, type Harm } from "./mirror/harm.ts";
import { MISDEEDS, type Misdeed } from "./mirror/shadows.ts";
import { Load } from "./store/load.ts";

const CLIENTS = 8;
/** An answer of legacy takes so long: a backend that does some work, so that the machine is not what is measured. */
const DELAY_MS = 20;
/** What is aimed at: p99 with a mirror over p99 without it, in the same run. */
const P99_RATIO_GOAL = 1.05;

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    pairs: { type: "string", default: "8" },
    seconds: { type: "string", default: "3" },
    /** Only this row, such as "sends rubbish". */
    shadow: { type: "string" },
  },
});
const [pairs, seconds] = [Number(values.pairs), Number(values.seconds)];
if (!(pairs >= 1 && pairs <= 50 && seconds > 0 && seconds <= 60)) {
  process.stderr.write("--pairs is 1 to 50, --seconds more than 0 and at most 60\n");
  process.exit(2);
}

const misdeeds = (Object.keys(MISDEEDS) as Misdeed[]).filter((name) => (values.shadow ?? name) === name);
if (misdeeds.length === 0) {
  process.stderr.write(`--shadow is one of: ${Object.keys(MISDEEDS).join(", ")}\n`);
  process.exit(2);
}

function say(text: string): void {
  if (!values.json) process.stdout.write(`${text}\n`);
}

const processors = cpus();
const machine = `${processors.length} processors, ${processors[0]?.model ?? "unknown"}; Node ${process.version}`;
const legacy = await startBackend("legacy");
const crossfade = await startCrossfade({ legacy: legacy.url, new: legacy.url }, {});
const harms: Harm[] = [];
try {
  await crossfade.servingWorkers(2);
  using load = new Load([`${crossfade.url}/delay/${DELAY_MS}`], CLIENTS);
  const setting = `${CLIENTS} clients, 2 workers, legacy answers after ${DELAY_MS} ms, every request mirrored`;
  say(`${setting}; ${pairs} pairs of rounds of ${seconds} s each; ${machine}\n`);
  say(`| ${HARM_HEAD.join(" | ")} |\n|${" --- |".repeat(HARM_HEAD.length)}`);
  for (const misdeed of misdeeds) {
    const at = { crossfade, legacy: legacy.url, load, roundMs: seconds * 1000 };
    const harm = await measureHarm(at, misdeed, pairs);
    harms.push(harm);
    say(`| ${rowOf(harm).join(" | ")} |`);
  }
} finally {
  await crossfade.stop();
  await legacy.stop();
}
const failed = harms.reduce((sum, harm) => sum + failedOf(harm.pairs), 0);
const slower = harms.filter((harm) => p99RatioOf(harm) > P99_RATIO_GOAL).map(({ misdeed }) => misdeed);
say(
  `\np99 with a mirror over p99 without, median of the pairs: at most ${P99_RATIO_GOAL} is aimed at; ` +
    `${slower.length === 0 ? "kept in every row" : `missed where the shadow ${slower.join(", ")}`}. ` +
    `${failed} requests failed.`,
);
if (values.json) process.stdout.write(`${JSON.stringify({ machine, pairs, seconds, harms }, null, 2)}\n`);
process.exitCode = failed > 0 ? 1 : 0;
