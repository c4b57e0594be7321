/** Comparison on simulated traffic: harmless noise is never reported, seeded bugs are found after some requests. */
import { describe, expect, test } from "vitest";
import { Chance } from "../../../bench/judge/chance.ts";
import { compare } from "../../../src/domain/compare.ts";
import { DEFAULT_COMPARE } from "../../../src/domain/compare_policy.ts";
import type { AnswerSummary } from "../../../src/domain/compare_words.ts";
import { ComparisonTally } from "../../../src/domain/comparison_counts.ts";
import { ComparisonJudge } from "../../../src/domain/comparison.ts";
import { jsonAnswer, totalsOf } from "../../support/answers.ts";

/** How many of some pairs differ, also where nearly all do. */
function drawn(chance: Chance, pairs: number, rate: number): number {
  return rate > 0.5 ? pairs - chance.binomial(pairs, 1 - rate) : chance.binomial(pairs, rate);
}

/** A hundred harmless fields: one in ten differs always, the others from 1 in 10,000 pairs to nearly all. */
const NOISE_RATES = Array.from({ length: 100 }, (_, i) => (i < 10 ? 1 : 10 ** (-4 * ((i - 9) / 90))));

interface Null {
  readonly name: string;
  readonly ticks: number;
  readonly pairs: number;
  readonly noiseShare: number;
  /** By what the rates of all fields are multiplied, and the share of noise pairs, in a tick. */
  readonly storm?: (tick: number) => number;
  readonly shed?: (tick: number) => number;
}

/** The judge after a run in which nothing really differs. */
function judgeOfNull(
  { ticks, pairs, noiseShare, storm = () => 1, shed = () => 1 }: Null,
  seed: number,
): ComparisonJudge {
  const chance = new Chance(seed);
  const judge = new ComparisonJudge();
  const sums = NOISE_RATES.map((_, i): [string, number, number] => [`f${i}`, 0, 0]);
  let [allPairs, allNoise] = [0, 0];
  for (let tick = 1; tick <= ticks; tick++) {
    const now = chance.poisson(pairs);
    const noise = chance.binomial(now, noiseShare * shed(tick));
    for (const [i, sum] of sums.entries()) {
      const rate = Math.min(1, (NOISE_RATES[i] as number) * storm(tick));
      sum[1] += drawn(chance, now, rate);
      sum[2] += drawn(chance, noise, rate);
    }
    allPairs += now;
    allNoise += noise;
    judge.tick(1000 * tick, totalsOf(allPairs, allNoise, sums));
  }
  return judge;
}

describe("a hundred harmless fields", () => {
  test.each<Null>([
    { name: "for an hour", ticks: 3600, pairs: 50, noiseShare: 0.1 },
    { name: "with hardly any traffic", ticks: 6000, pairs: 0.5, noiseShare: 0.1 },
    { name: "with much traffic", ticks: 200, pairs: 2000, noiseShare: 0.05 },
    {
      name: "through storms of noise",
      ticks: 2000,
      pairs: 50,
      noiseShare: 0.1,
      storm: (tick) => (tick % 500 < 60 ? 50 : 1),
    },
    {
      name: "while noise is shed in storms",
      ticks: 2000,
      pairs: 50,
      noiseShare: 0.1,
      storm: (tick) => (tick % 500 < 60 ? 50 : 1),
      shed: (tick) => (tick % 500 < 50 ? 0.01 : 1),
    },
  ])("are never reported $name", (plan) => {
    const { fields } = judgeOfNull(plan, 1);
    expect(fields.filter(({ verdict }) => verdict === "real difference")).toEqual([]);
    // A real difference stays one, so this looked at every tick. Evidence of 3 is 77 times where it starts, so by
    // Markov's inequality one field in 77 may have it: a far finer look at the same bets.
    expect(fields.filter(({ evidence }) => evidence >= 3).length).toBeLessThanOrEqual(3);
  });
});

/** An answer of a shop: ids and times of its own, ten items in any order, now and then a slow stock. */
function shopAnswer(chance: Chance, order: number): AnswerSummary {
  const items = Array.from({ length: 10 }, (_, i) => ({
    sku: `s${i}`,
    price: 10 + ((order * 7 + i) % 100) / 4,
    stock: chance.uniform() < 0.02 ? null : 5,
    reservation: chance.draw(1e9),
  }));
  const sorted = items.toSorted((a, b) => a.reservation - b.reservation);
  return jsonAnswer({ order, requestId: chance.draw(1e9), at: chance.draw(3), items: sorted });
}

const SHOP_POLICY = { ...DEFAULT_COMPARE, ignore: [["items", "*", "reservation"]], unordered: [["items"]] };

type Bug = (answer: AnswerSummary, body: ReturnType<typeof JSON.parse>, chance: Chance) => AnswerSummary;

/** The requests after which a field was found to differ really; none other ever may be. */
function requestsToFind(bug: Bug, field: string, seed: number, noiseShare = 0.1): number {
  const chance = new Chance(seed);
  const tally = new ComparisonTally();
  const judge = new ComparisonJudge();
  const verdict = noiseShare === 0 ? "difference, noise not measured" : "real difference";
  for (let request = 1; request <= 60_000; request++) {
    const legacy = shopAnswer(chance, request);
    const right = shopAnswer(chance, request);
    const candidate = bug(right, JSON.parse(new TextDecoder().decode(right.body ?? undefined)), chance);
    tally.add(compare(legacy, candidate, SHOP_POLICY), request);
    if (chance.uniform() < noiseShare) {
      tally.addNoise(compare(legacy, shopAnswer(chance, request), SHOP_POLICY), request);
    }
    if (request % 50 > 0) continue;
    judge.tick(20 * request, tally.counts);
    const found = judge.fields.filter((one) => one.verdict === verdict).map((one) => one.field);
    if (found.includes(field)) {
      if (noiseShare > 0) expect(found).toEqual([field]);
      return request;
    }
    expect(noiseShare === 0 ? [] : found).toEqual([]);
  }
  return Infinity;
}

describe("a seeded bug", () => {
  test.each<[string, string, number, number, Bug]>([
    ["a missing field", "body /order", 0.1, 1000, (_, { order: _order, ...rest }) => jsonAnswer(rest)],
    [
      "a price off by a cent in one item",
      "body /items/*/price",
      0.1,
      1000,
      (_, body) => {
        body.items[0].price += 0.01;
        return jsonAnswer(body);
      },
    ],
    [
      "a wrong status in 5 % of requests",
      "status",
      0.1,
      10_000,
      (answer, _, chance) => (chance.uniform() < 0.05 ? { ...answer, status: 404 } : answer),
    ],
    [
      "a wrong status in 1 %",
      "status",
      0.1,
      40_000,
      (answer, _, chance) => (chance.uniform() < 0.01 ? { ...answer, status: 404 } : answer),
    ],
    [
      "a wrong status in 1 % without noise pairs",
      "status",
      0,
      4000,
      (answer, _, chance) => (chance.uniform() < 0.01 ? { ...answer, status: 404 } : answer),
    ],
    [
      "stock missing in 10 % where 2 % is noise",
      "body /items/*/stock",
      1,
      5000,
      (_, body, chance) => {
        for (const item of body.items) if (chance.uniform() < 0.1) item.stock = null;
        return jsonAnswer(body);
      },
    ],
  ])(
    "%s is found",
    (name, field, noiseShare, most, bug) => {
      const requests = requestsToFind(bug, field, 1, noiseShare);
      process.stdout.write(`comparison: ${name} found after ${requests} requests\n`);
      expect(requests).toBeLessThanOrEqual(most);
    },
    30_000,
  );
});
