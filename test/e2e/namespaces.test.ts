/** A candidate on another host, whose link goes dark: packets vanish, and nobody is told. */
import { expect, test } from "vitest";
import { readBalance } from "../support/balance.ts";
import { startCrossfade } from "../support/crossfade.ts";
import { Ledger } from "../support/ledger.ts";
import { MixedClients } from "../support/mixed_clients.ts";
import { OtherHost, noNamespaces } from "../support/namespaces.ts";
import { until } from "../support/wait.ts";

const LEDGER = new URL("../support/ledger_process.ts", import.meta.url).pathname;
/** Answers that each client must get before something else happens. */
const FEW = 5;

test("requests under way on a dark link are answered in time, and once it is up again all is well", async ({
  skip,
}) => {
  const reason = noNamespaces();
  if (reason !== null) return skip(reason);
  await using everything = new AsyncDisposableStack();
  const host = everything.use(new OtherHost());
  const candidate = everything.use(host.run(LEDGER, host.address));
  const { url } = await candidate.line<{ url: string }>();
  const ledger = new Ledger();
  everything.defer(() => ledger.close());
  const legacy = await ledger.backend("legacy");
  const crossfade = await startCrossfade(
    { legacy: legacy.url, new: url },
    {
      route: {
        split: { legacy: 50, new: 50 },
        rollback: "off",
        timeouts: { connect: "500ms", response: "1s", idle: "1s" },
      },
    },
  );
  everything.defer(() => crossfade.stop());
  const clients = new MixedClients(crossfade.url, 3);
  everything.defer(async () => void (await clients.stop()));
  const more = (answers: number): Promise<unknown> => {
    const before = clients.answersMin();
    return until("every client was answered", () => clients.answersMin() >= before + answers);
  };
  await more(FEW);
  host.link(false);
  await until("somebody was told that the candidate did not answer", () => clients.account().statuses[504]);
  host.link(true);
  await more(FEW);
  const { statuses, losses, sockets } = await clients.stop();
  // Streams that had begun break off; a WebSocket only waits until its packets arrive again.
  expect(losses.filter((loss) => !loss.startsWith("stream"))).toEqual([]);
  expect(losses.filter((loss) => loss.includes("bytes came"))).toEqual([]);
  expect(sockets).toMatchObject({ echoed: sockets.sent, lost: 0 });
  expect(Object.keys(statuses).filter((status) => !["200", "502", "504"].includes(status))).toEqual([]);
  await until("nothing is in flight", async () => (await readBalance(crossfade.adminUrl)).inFlight === 0);
  expect((await readBalance(crossfade.adminUrl)).isEven).toBe(true);
  candidate.end();
  const { doubled } = await candidate.line<{ doubled: string[] }>();
  expect([...ledger.doubled, ...doubled]).toEqual([]);
});
