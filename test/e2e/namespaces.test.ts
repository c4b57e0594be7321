/** A candidate on another host: its link goes dark, for a moment or for long, or loses packets. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { readBalance } from "../support/balance.ts";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { Ledger } from "../support/ledger.ts";
import { MixedClients, type MixedAccount } from "../support/mixed_clients.ts";
import { OtherHost, noNamespaces, type HostProgram } from "../support/namespaces.ts";
import { until } from "../support/wait.ts";

const LEDGER = new URL("../support/ledger_process.ts", import.meta.url).pathname;
/** Answers that each client must get before something else happens. */
const FEW = 5;
/** Of each kind. */
const CLIENTS = 3;
const PATIENT = { connect: "10s", response: "20s", idle: "20s" };
/** What came of it when nobody noticed anything. */
const NOTHING_LOST = { lost: 0, losses: [], statuses: ["200"] };
const IMPATIENT = { connect: "500ms", response: "1s", idle: "1s" };

let everything: AsyncDisposableStack;
let host: OtherHost;
let candidate: HostProgram;
let ledger: Ledger;
let crossfade: Crossfade;
let clients: MixedClients;

beforeEach(({ skip }) => {
  const reason = noNamespaces();
  if (reason !== null) skip(reason);
  everything = new AsyncDisposableStack();
});

afterEach(() => everything.disposeAsync());

async function setUp(timeouts: Readonly<Record<string, string>>): Promise<void> {
  host = everything.use(new OtherHost());
  candidate = everything.use(host.run(LEDGER, host.address));
  const { url } = await candidate.line<{ url: string }>();
  ledger = new Ledger();
  everything.defer(() => ledger.close());
  const legacy = await ledger.backend("legacy");
  crossfade = await startCrossfade(
    { legacy: legacy.url, new: url },
    { route: { split: { legacy: 50, new: 50 }, rollback: "off", timeouts } },
  );
  everything.defer(() => crossfade.stop());
  clients = new MixedClients(crossfade.url, CLIENTS);
  everything.defer(async () => {
    host.link(true);
    await clients.stop();
  });
  await more(FEW);
}

/** Waits until each client has got so many more answers. */
async function more(answers: number): Promise<void> {
  const before = clients.answersMin();
  await until("every client was answered", () => clients.answersMin() >= before + answers);
}

/** Ends the clients. Nothing was doubled, nothing passed for whole that was not, and the counters add up. */
async function end(): Promise<MixedAccount> {
  const account = await clients.stop();
  const { inFlight, isEven, finished } = await until("nothing is in flight", async () => {
    const balance = await readBalance(crossfade.adminUrl);
    return balance.inFlight === 0 ? balance : null;
  });
  expect({ inFlight, isEven, wrong: account.wrong }).toEqual({ inFlight: 0, isEven: true, wrong: 0 });
  expect(finished).toBeGreaterThanOrEqual(account.answered);
  candidate.end();
  const { doubled } = await candidate.line<{ doubled: string[] }>();
  expect([...ledger.doubled, ...doubled]).toEqual([]);
  return account;
}

test("requests under way on a dark link are answered in time, and once it is up again all is well", async () => {
  await setUp(IMPATIENT);
  const before = clients.requestAnswersMin();
  host.link(false);
  await until("somebody was told that the candidate did not answer", () => clients.account().statuses[504]);
  await until("every request was answered", () => clients.requestAnswersMin() > before + 1);
  host.link(true);
  await more(FEW);
  const { statuses, losses, sockets } = await end();
  // Streams that had begun break off; a WebSocket only waits until its packets arrive again.
  expect(losses.filter((loss) => !loss.startsWith("stream"))).toEqual([]);
  expect(sockets).toMatchObject({ echoed: sockets.sent, lost: 0 });
  expect(["200", "502", "504"]).toEqual(expect.arrayContaining(Object.keys(statuses)));
});

test("a link that is dark for less than the timeouts loses nothing", async () => {
  await setUp(PATIENT);
  for (let n = 0; n < 3; n++) {
    const { sent } = clients.account();
    host.link(false);
    // Until whoever asks the candidate waits, and others were answered.
    await until("requests were sent", () => clients.account().sent >= sent + 10 * CLIENTS);
    host.link(true);
    await more(FEW);
  }
  const { lost, losses, statuses } = await end();
  expect({ lost, losses, statuses: Object.keys(statuses) }).toEqual(NOTHING_LOST);
});

test("a link that loses packets loses no request", async ({ skip }) => {
  await setUp(PATIENT);
  const reason = host.narrow(30_000, 4);
  if (reason !== null) skip(reason);
  await until("packets were lost", async () => (await host.dropped()) > 20);
  await more(2 * FEW);
  const { lost, losses, statuses } = await end();
  expect({ lost, losses, statuses: Object.keys(statuses) }).toEqual(NOTHING_LOST);
});
