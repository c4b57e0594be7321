/** Properties of what instances tell each other: whatever is lost, no request counts twice or long after. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { HeardAccount, OwnAccount } from "../../src/control/member_account.ts";
import { decodeAccount, encodeAccount } from "../../src/control/member_word.ts";
import { Sampler } from "../../src/control/sampler.ts";
import { decodeDocument } from "../../src/domain/document.ts";
import { latencyBucket } from "../../src/domain/latency.ts";
import type { Route } from "../../src/domain/route.ts";
import { NO_SAMPLE, type Sample } from "../../src/domain/window.ts";
import { ManualClock } from "../support/clock.ts";
import { IDLE_WORKER } from "../support/snapshots.ts";

/** As long as two words may be apart to be compared. */
const GAP_MAX_MS = 10_000;

const step = fc.record({
  waitMs: fc.oneof(
    { weight: 8, arbitrary: fc.constant(1_000) },
    fc.nat({ max: 12_000 }),
    fc.constant(70_000),
  ),
  requests: fc.array(fc.tuple(fc.nat({ max: 3 }), fc.integer({ min: 1, max: 1_000 })), { maxLength: 4 }),
  isHeard: fc.boolean(),
  isRestarted: fc.nat({ max: 20 }).map((chance) => chance === 0),
});

function shop(): Route {
  const decoded = decodeDocument({
    backends: { old: { endpoints: ["http://127.0.0.1:1"] }, fresh: { endpoints: ["http://127.0.0.1:2"] } },
    routes: [{ id: "shop", cutover: { legacy: "old", candidate: "fresh" }, split: { old: 100 } }],
  });
  const route = decoded.ok ? decoded.value.routes[0] : undefined;
  if (route === undefined) throw new Error("the table of this test is wrong");
  return route;
}

function sample(finished: number): Sample {
  return { ...NO_SAMPLE, started: finished, finished, latency: [[latencyBucket(1_000), finished]] };
}

test("of every two words that are heard, exactly what was counted between them is learnt", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clock = new ManualClock();
      const heard = new HeardAccount();
      let run = 0;
      let own = new OwnAccount(`run-${run}`, clock);
      /** What was counted since the last heard word of this run; null when there was none. */
      let between: Map<string, number> | null = null;
      let heardAtMs = 0;
      for (const { waitMs, requests, isHeard, isRestarted } of steps) {
        clock.advance(waitMs);
        if (isRestarted) {
          own = new OwnAccount(`run-${++run}`, clock);
          between = null;
        }
        for (const [pair, count] of requests) {
          const route = `r${pair}`;
          own.add({ route, backend: "old", delta: sample(count) });
          between?.set(route, count + (between.get(route) ?? 0));
        }
        const account = decodeAccount(encodeAccount(own.next()).text);
        if (!isHeard || account === null) continue;
        const isComparable = between !== null && clock.nowMs() - heardAtMs <= GAP_MAX_MS;
        const learnt = heard
          .hear(account, clock.nowMs())
          .filter(({ delta }) => delta.finished > 0)
          .map(({ route, delta }) => [route, delta.finished]);
        expect(new Map(learnt as [string, number][])).toEqual(isComparable ? between : new Map());
        between = new Map();
        heardAtMs = clock.nowMs();
      }
    }),
  );
});

test("the windows of every instance show the requests of all, each once", () => {
  const COUNT = 3;
  const events = fc.array(
    fc.record({ instance: fc.nat({ max: COUNT - 1 }), finished: fc.integer({ min: 1, max: 500 }) }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(events, (happened) => {
      const clock = new ManualClock();
      const instances = Array.from({ length: COUNT }, (_, n) => {
        const sampler = new Sampler(clock);
        const own = new OwnAccount(`run-${n}`, clock);
        sampler.watch((addition, isOwn) => {
          if (isOwn) own.add(addition);
        });
        // A worker that is taken over has a past, which is nobody's traffic now.
        const past = { ...sample(1_000_000 + n), route: "shop", backend: "old" };
        sampler.report(`0.${n}`, IDLE_WORKER, [past]);
        const others = Array.from({ length: COUNT }, () => new HeardAccount());
        return { sampler, own, others, counted: 1_000_000 + n };
      });
      const exchange = (): void => {
        const accounts = instances.map(({ own }) => own.next());
        for (const [n, { sampler, others }] of instances.entries()) {
          for (const [from, account] of accounts.entries()) {
            if (from !== n) sampler.addOthers(others[from]?.hear(account, clock.nowMs()) ?? []);
          }
        }
      };
      exchange();
      for (const { instance, finished } of happened) {
        const one = instances[instance];
        if (one === undefined) continue;
        one.counted += finished;
        const cell = { ...sample(one.counted), route: "shop", backend: "old" };
        one.sampler.report(`0.${instance}`, IDLE_WORKER, [cell]);
        clock.advance(1_000);
        exchange();
      }
      const sum = happened.reduce((total, { finished }) => total + finished, 0);
      const shown = instances.map(
        ({ sampler }) => sampler.health(shop()).backends[0]?.windows["60s"].requests,
      );
      expect(shown).toEqual(instances.map(() => sum));
    }),
    { numRuns: 50 },
  );
});
