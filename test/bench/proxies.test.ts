/** The measurement of proxies, as short as can be: that it measures, not what. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { readResults, roundsOf, type Round } from "../../bench/proxies/results.ts";
import { makeDirectory } from "../support/directory.ts";
import { runProgram } from "../support/program.ts";

const PROGRAM = new URL("../../bench/proxies.ts", import.meta.url).pathname;
const COMPARE = new URL("../../bench/compare.ts", import.meta.url).pathname;
const SHORT = ["--rounds", "1", "--seconds", "0.2", "--idle", "20"];

test.skipIf(process.platform !== "linux")(
  "a short run measures every contender that was asked for",
  async () => {
    const out = join(makeDirectory(), "results.json");
    const contenders = ["Crossfade", "no proxy"].flatMap((name) => ["--contender", name]);
    const args = [...SHORT, ...contenders, "--workload", "small GET", "--out", out];
    const ended = await runProgram(args, { program: PROGRAM });
    expect(ended).toMatchObject({ code: 0, err: "" });
    expect(ended.out).toContain("| small GET, to nginx");
    const results = readResults(out);
    const [ours] = roundsOf(results, "small GET", "Crossfade") as [Round];
    const [direct] = roundsOf(results, "small GET", "no proxy") as [Round];
    expect(ours.answers).toBeGreaterThan(0);
    expect(ours.failed + direct.failed).toBe(0);
    expect(ours.processorUs).toBeGreaterThanOrEqual(ours.servingUs);
    expect(ours.servingUs).toBeGreaterThan(0);
    expect(direct.processorUs).toBe(0);
    expect(roundsOf(results, "small GET at half load", "Crossfade")[0]?.latency?.p99).toBeGreaterThan(0);
    expect(results.memory.map(({ contender }) => contender)).toEqual(["Crossfade"]);
    const compared = await runProgram([out, out], { program: COMPARE });
    expect(compared.code).toBe(0);
    expect(compared.out).toMatch(/small GET +\| Crossfade .*\| unclear/);
  },
);

test("an unknown contender is refused with the names of those that there are", async () => {
  const ended = await runProgram(["--contender", "varnish"], { program: PROGRAM });
  expect(ended.code).toBe(2);
  expect(ended.err).toContain('there is no contender "varnish": Crossfade, nginx');
});
