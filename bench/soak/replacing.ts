/** Many planned replacements, of workers or of everything, under load of every kind. */
import type { SocketAccount } from "../../test/support/socket_client.ts";
import { SoakStage } from "./stage.ts";

/** What one part did, and what the clients and backends saw. */
export interface ReplacingReport {
  readonly done: number;
  readonly seconds: number;
  readonly sent: number;
  readonly answered: number;
  readonly sockets: SocketAccount;
  readonly lost: number;
  readonly losses: readonly string[];
  readonly doubled: number;
  /** Answers that were not 200. */
  readonly strange: number;
}

/** Replaces workers until so many were, two at a time. */
export function replaceWorkers(count: number, say: (text: string) => void): Promise<ReplacingReport> {
  return underLoad(count, say, ({ crossfade }) => crossfade.recycle());
}

/** Upgrades so many times, and waits each time until the former workers are gone. */
export function upgrade(count: number, say: (text: string) => void): Promise<ReplacingReport> {
  return underLoad(count, say, async ({ crossfade }) => {
    await crossfade.upgrade();
    return 1;
  });
}

async function underLoad(
  count: number,
  say: (text: string) => void,
  step: (stage: SoakStage) => Promise<number>,
): Promise<ReplacingReport> {
  await using stage = await SoakStage.start();
  const startedMs = performance.now();
  let done = 0;
  for (let tenth = 1; done < count;) {
    done += await step(stage);
    if (done < (count * tenth) / 10) continue;
    tenth++;
    const { sent, lost } = stage.clients.account();
    say(`  ${done} of ${count}: ${sent} requests, ${lost} lost, ${stage.ledger.doubled.length} doubled`);
  }
  const { sent, answered, sockets, lost, losses, statuses } = await stage.clients.stop();
  return {
    done,
    seconds: Math.round((performance.now() - startedMs) / 1000),
    sent,
    answered,
    sockets,
    lost,
    losses,
    doubled: stage.ledger.doubled.length,
    strange: answered - (statuses[200] ?? 0),
  };
}
