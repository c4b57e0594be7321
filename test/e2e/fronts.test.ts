/** Load balancers that keep connections to Crossfade, while its workers and its control process are replaced. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { makeDirectory } from "../support/directory.ts";
import { FRONTS, startFront, type Front } from "../support/fronts.ts";
import { missing } from "../support/installed.ts";
import { Ledger, type LedgerBackend } from "../support/ledger.ts";
import { MixedClients } from "../support/mixed_clients.ts";
import { until } from "../support/wait.ts";

const RECYCLES = 3;

let ledger: Ledger;
let legacy: LedgerBackend;
let candidate: LedgerBackend;
let crossfade: Crossfade;
const fronts: Front[] = [];

beforeEach(async () => {
  ledger = new Ledger();
  [legacy, candidate] = await Promise.all([ledger.backend("legacy"), ledger.backend("new")]);
  crossfade = await startCrossfade(
    { legacy: legacy.url, new: candidate.url },
    {
      settings: { drain: { grace: "0s", spread: "500ms", idle: "1s", deadline: "60s" } },
      route: { split: { legacy: 50, new: 50 } },
    },
  );
  await crossfade.servingWorkers(2);
});

afterEach(async () => {
  for (const front of fronts.splice(0)) await front.stop();
  await crossfade.stop();
  await ledger.close();
});

describe.each(FRONTS)("$name in front", (program) => {
  test("sees no error while workers are replaced, and in an upgrade", async ({ skip }) => {
    const reason = missing(program.program);
    if (reason !== null) return skip(reason);
    const front = await startFront(program, makeDirectory(), new URL(crossfade.url).host);
    fronts.push(front);
    const clients = new MixedClients(front.url, 2);
    await until("every client was answered", () => clients.answersMin() > 0);
    for (let n = 0; n < RECYCLES; n++) {
      await crossfade.recycle();
      // The former ones are gone too.
      await crossfade.servingWorkers(2);
    }
    await crossfade.upgrade();
    const { answered, sent, sockets, losses, statuses } = await clients.stop();
    expect({ losses, doubled: ledger.doubled }).toEqual({ losses: [], doubled: [] });
    expect(Object.keys(statuses)).toEqual(["200"]);
    expect(answered).toBe(sent);
    expect(sockets).toMatchObject({ echoed: sockets.sent, lost: 0 });
  });
});
