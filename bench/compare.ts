/** Says what changed between two runs of `bench/proxies.ts`: `node bench/compare.ts BEFORE AFTER`. */
import { changesOf, changeTable, missingOf } from "./proxies/changes.ts";
import { readResults } from "./proxies/results.ts";

const EXIT_USAGE = 2;

const [before, after, ...rest] = process.argv.slice(2);
if (before === undefined || after === undefined || rest.length > 0) {
  process.stderr.write(
    "usage: npm run bench:compare BEFORE AFTER, two files that npm run bench has written\n",
  );
  process.exit(EXIT_USAGE);
}
const [former, latter] = [readResults(before), readResults(after)];
process.stdout.write(`${changeTable(changesOf(former, latter)).join("\n")}\n`);
const missing = missingOf(former, latter);
if (missing.length > 0) process.stdout.write(`only in one of the runs: ${missing.join(", ")}\n`);
