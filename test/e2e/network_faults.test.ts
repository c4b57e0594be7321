/** Networks that are slow, break and fall silent, before and behind Crossfade, under load of every kind. */
import { readdirSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readBalance } from "../support/balance.ts";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { startFaultProxy, type FaultProxy } from "../support/fault_proxy.ts";
import { Ledger } from "../support/ledger.ts";
import { MixedClients } from "../support/mixed_clients.ts";
import { until } from "../support/wait.ts";

/** Answers that each client must get before something else happens. */
const FEW = 5;
/** How often a network breaks in a test. */
const BREAKS = 10;
/** A backend that is silent for so long has failed. */
const RESPONSE = "2s";
/** Connections that a worker may have more than before: those to backends come and go. */
const DESCRIPTORS_SLACK = 8;
/** The clients of each kind. */
const EACH = 3;

let ledger: Ledger;
let crossfade: Crossfade;
/** In front of the two backends. */
let toLegacy: FaultProxy;
let toNew: FaultProxy;
/** In front of Crossfade. */
let front: FaultProxy;
let clients: MixedClients;
/** Of each worker, while all was well. */
let descriptorsBefore: readonly number[];

beforeEach(async () => {
  ledger = new Ledger();
  const [legacy, candidate] = await Promise.all([ledger.backend("legacy"), ledger.backend("new")]);
  toLegacy = await startFaultProxy(portOf(legacy.url));
  toNew = await startFaultProxy(portOf(candidate.url));
  crossfade = await startCrossfade(
    { legacy: `http://127.0.0.1:${toLegacy.port}`, new: `http://127.0.0.1:${toNew.port}` },
    {
      settings: { drain: { grace: "0s", spread: "500ms", idle: "10s", deadline: "60s" } },
      route: {
        split: { legacy: 50, new: 50 },
        rollback: "off",
        timeouts: { connect: "2s", response: RESPONSE, idle: RESPONSE },
      },
    },
  );
  await crossfade.servingWorkers(2);
  front = await startFaultProxy(portOf(crossfade.url));
  clients = new MixedClients(`http://127.0.0.1:${front.port}`, EACH);
  await more(FEW);
  descriptorsBefore = await descriptors();
});

afterEach(async () => {
  // First, so that nobody waits for what a fault holds.
  await heal();
  await clients.stop();
  await crossfade.stop();
  for (const proxy of [front, toLegacy, toNew]) await proxy[Symbol.asyncDispose]();
  await ledger.close();
});

function portOf(url: string): number {
  return Number(new URL(url).port);
}

async function heal(): Promise<void> {
  await Promise.all([front, toLegacy, toNew].map((proxy) => proxy.heal()));
}

/** Waits until each client has got so many more answers. */
async function more(answers: number): Promise<void> {
  const before = clients.answersMin();
  await until("every client was answered again", () => clients.answersMin() >= before + answers);
}

/** Waits until each client that sends requests has got so many more answers. */
async function moreAnswers(answers: number): Promise<void> {
  const before = clients.requestAnswersMin();
  await until("every client was answered again", () => clients.requestAnswersMin() >= before + answers);
}

/** Waits until so many more requests were sent, with whatever success. */
async function moreTries(tries: number): Promise<void> {
  const { sent } = clients.account();
  await until("requests were sent", () => clients.account().sent >= sent + tries);
}

/** What came of it all. `statuses`: which ones there were. */
interface Outcome {
  readonly lost: number;
  readonly losses: readonly string[];
  readonly statuses: string[];
}

/** Nobody noticed anything. */
const NOTHING_LOST: Outcome = { lost: 0, losses: [], statuses: ["200"] };

/**
 * All is well again: everybody is answered, nothing is left over, and the counters add up. Whatever broke off did so
 * visibly: nothing that was short, or for another one, passed for an answer.
 */
async function healed(): Promise<Outcome> {
  await heal();
  await more(FEW);
  const { sockets, wrong, lost, losses, statuses, answered } = await clients.stop();
  expect({ doubled: ledger.doubled, wrong, losses: wrong === 0 ? [] : losses }).toEqual({
    doubled: [],
    wrong: 0,
    losses: [],
  });
  expect(sockets.sent - sockets.echoed).toBeLessThanOrEqual(sockets.lost);
  const { finished, isEven } = await until("nothing is in flight", async () => {
    const balance = await readBalance(crossfade.adminUrl);
    return balance.inFlight === 0 ? balance : null;
  });
  expect(isEven).toBe(true);
  expect(finished).toBeGreaterThanOrEqual(answered);
  await until("workers hold no more descriptors than before", async () => {
    const now = await descriptors();
    return now.every((count, at) => count <= (descriptorsBefore[at] ?? 0) + DESCRIPTORS_SLACK);
  });
  return { lost, losses, statuses: Object.keys(statuses) };
}

/** Of both workers, once no others are there. */
async function descriptors(): Promise<number[]> {
  const pids = (await crossfade.servingWorkers(2)).map(({ pid }) => pid);
  return pids.map((pid) => readdirSync(`/proc/${pid}/fd`).length);
}

describe("a network that is slow", () => {
  test("loses nothing, whether late, narrow or slow to close, while workers are replaced", async () => {
    for (const proxy of [front, toLegacy, toNew]) {
      proxy.delay(10);
      proxy.bandwidth(200_000);
      proxy.closeLate(200);
    }
    await more(FEW);
    for (let n = 0; n < 2; n++) await crossfade.recycle();
    await more(FEW);
    expect(await healed()).toEqual(NOTHING_LOST);
  });

  test("and then silent for a while loses nothing if it is less than the timeouts", async () => {
    toNew.stall(true);
    // Others are answered meanwhile.
    await moreTries(20);
    toNew.stall(false);
    expect(await healed()).toEqual(NOTHING_LOST);
  });
});

describe("a network behind Crossfade", () => {
  test("that refuses connections to the candidate costs no client anything", async () => {
    await toNew.refuse(true);
    // Kept connections go on; new ones are needed when they are replaced.
    await crossfade.recycle();
    await more(2 * FEW);
    expect(await healed()).toEqual(NOTHING_LOST);
  });

  test("that resets all connections doubles nothing, and says so where it can't help", async () => {
    for (let n = 0; n < BREAKS; n++) {
      toNew.cut();
      await moreTries(20);
    }
    // A request that changes data may have arrived, so it is not sent again.
    expect(["200", "502"]).toEqual(expect.arrayContaining((await healed()).statuses));
    expect(toNew.counts.cut).toBeGreaterThan(0);
  });

  test("that loses answers doubles nothing", async () => {
    toNew.dropAnswers(true);
    await moreTries(50);
    expect((await healed()).statuses).toEqual(["200", "502"]);
  });

  test("that cuts answers short never lets one pass for whole", async () => {
    for (let n = 0; n < BREAKS; n++) {
      const { cut } = toNew.counts;
      toNew.truncateNextAnswer(n % 2 === 0 ? 20 : 400);
      await until("an answer was cut", () => toNew.counts.cut > cut);
    }
    expect(["200", "502"]).toEqual(expect.arrayContaining((await healed()).statuses));
  });

  test("that falls silent, with connections that stay open on one side, ends in an answer in time", async () => {
    toNew.vanish();
    await until("somebody was told that the backend did not answer", () => clients.account().statuses[504]);
    // The other machine is there again, and knows nothing of its connections: WebSockets hear of it only now.
    toNew.cut();
    expect(["200", "502", "504"]).toEqual(expect.arrayContaining((await healed()).statuses));
  });

  test("that holds answers until nobody waits for them gives no late answer to another request", async () => {
    toNew.stall(true);
    await until("somebody was told that the backend did not answer", () => clients.account().statuses[504]);
    // All of them arrive now, on connections that nobody reads any more.
    toNew.stall(false);
    await more(FEW);
    expect(["200", "502", "504"]).toEqual(expect.arrayContaining((await healed()).statuses));
  });

  test("that refuses connections to both backends ends in answers that say so, and all is well after it", async () => {
    for (const proxy of [toLegacy, toNew]) {
      await proxy.refuse(true);
      proxy.cut();
    }
    await moreAnswers(FEW);
    await moreTries(50);
    expect((await healed()).statuses).toEqual(["200", "502"]);
  });
});

describe("a network before Crossfade", () => {
  test("that falls silent and comes back loses nothing", async () => {
    front.stall(true);
    await until("Crossfade has nothing to do", async () => {
      const { started, inFlight } = await readBalance(crossfade.adminUrl);
      // WebSockets are in flight for as long as they are open.
      return started > 0 && inFlight <= EACH;
    });
    front.stall(false);
    expect(await healed()).toEqual(NOTHING_LOST);
  });

  test("that refuses connections, and cuts those that there are, leaves nothing behind", async () => {
    await front.refuse(true);
    front.cut();
    await moreTries(50);
    expect((await healed()).statuses).toEqual(["200"]);
  });

  test("that resets its clients' connections doubles nothing and leaves nothing behind", async () => {
    for (let n = 0; n < BREAKS; n++) {
      front.cut();
      await moreTries(20);
    }
    expect((await healed()).statuses).toEqual(["200"]);
  });

  test("that cuts answers short leaves nothing behind", async () => {
    for (let n = 0; n < BREAKS; n++) {
      const { cut } = front.counts;
      front.truncateNextAnswer(100);
      await until("an answer was cut", () => front.counts.cut > cut);
    }
    expect((await healed()).statuses).toEqual(["200"]);
  });
});
