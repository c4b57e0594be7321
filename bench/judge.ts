/** Simulates the judge against its pass figures and prints a table: `node bench/judge.ts [--short] [--seed N]`. */
import { parseArgs } from "node:util";
import { FULL, runPlan, SHORT } from "./judge/plan.ts";
import type { Outcome } from "./judge/row.ts";

const { values } = parseArgs({
  options: { short: { type: "boolean", default: false }, seed: { type: "string", default: "1" } },
});
const seed = Number(values.seed);
if (!Number.isSafeInteger(seed)) {
  process.stderr.write(`--seed takes a whole number, not ${values.seed}\n`);
  process.exit(2);
}

function print({ test, figure, bound, isOk }: Outcome): void {
  process.stdout.write(`| ${test} | ${figure} | ${bound} | ${isOk ? "ok" : "FAIL"} |\n`);
}

const startedMs = performance.now();
process.stdout.write("| test | figure | at most | |\n|---|---|---|---|\n");
const outcomes = runPlan(values.short ? SHORT : FULL, seed, print);
const failed = outcomes.filter(({ isOk }) => !isOk).length;
const seconds = Math.round((performance.now() - startedMs) / 1000);
process.stdout.write(
  `\n${outcomes.length - failed} of ${outcomes.length} rows ok, seed ${seed}, ${seconds} s\n`,
);
process.exitCode = failed > 0 ? 1 : 0;
