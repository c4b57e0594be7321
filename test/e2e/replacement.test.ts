/** Workers replaced as planned under load of every kind: no request is lost, none is sent twice. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Crossfade, startCrossfade } from "../support/crossfade.ts";
import { Ledger, type LedgerBackend } from "../support/ledger.ts";
import { MixedClients } from "../support/mixed_clients.ts";
import { until } from "../support/wait.ts";

/** Two workers each time. */
const RECYCLES = 10;

let ledger: Ledger;
let legacy: LedgerBackend;
let candidate: LedgerBackend;
let crossfade: Crossfade;
let clients: MixedClients;

beforeEach(async () => {
  ledger = new Ledger();
  [legacy, candidate] = await Promise.all([ledger.backend("legacy"), ledger.backend("new")]);
  crossfade = await startCrossfade(
    { legacy: legacy.url, new: candidate.url },
    {
      settings: { drain: { grace: "0s", spread: "500ms", idle: "10s", deadline: "60s" } },
      route: { split: { legacy: 50, new: 50 } },
    },
  );
  await crossfade.servingWorkers(2);
  clients = new MixedClients(crossfade.url, 3);
  await until("every client was answered", () => clients.answersMin() > 0);
});

afterEach(async () => {
  await clients.stop();
  await crossfade.stop();
  await ledger.close();
});

describe("twenty planned replacements under load", () => {
  test("lose no request, send none twice, and follow the table all the while", async () => {
    for (let n = 0; n < RECYCLES; n++) {
      await crossfade.recycle();
      const share = n % 2 === 0 ? 100 : 50;
      const split = { legacy: 100 - share, new: share, reason: "a test" };
      await crossfade.admin("PUT", "/v1/routes/shop/split?wait=applied", split);
    }
    const { answered, sent, sockets, lost, losses, statuses } = await clients.stop();
    expect({ lost, losses, doubled: ledger.doubled }).toEqual({ lost: 0, losses: [], doubled: [] });
    expect(Object.keys(statuses)).toEqual(["200"]);
    expect(answered).toBe(sent);
    expect(sockets).toMatchObject({ echoed: sockets.sent, lost: 0 });
    const recycled = crossfade.lines.filter(({ msg }) => msg === "worker serves in place of another");
    expect(recycled).toHaveLength(2 * RECYCLES);
    expect(crossfade.lines.filter(({ msg }) => msg === "worker lost")).toEqual([]);
    await crossfade.servingWorkers(2);
  });
});
