/** A Crossfade with backends that keep account of every request, and clients of every kind. */
import { startCrossfade, type Crossfade } from "../../test/support/crossfade.ts";
import { Ledger, type LedgerBackend } from "../../test/support/ledger.ts";
import { MixedClients } from "../../test/support/mixed_clients.ts";
import { until } from "../../test/support/wait.ts";

/** Clients of each kind. */
const CLIENTS_EACH = 3;
/**
 * The control process has the young generation that workers have: V8's own may grow by 48 MB at any time, whenever much
 * is going on, which would pass for a leak.
 */
const YOUNG_GENERATION = "--max-semi-space-size=8";
/** Workers; two so that there is always another one. */
const WORKERS = 2;

/** What all parts of the soak use. Everything ends with it. */
export class SoakStage {
  readonly crossfade: Crossfade;
  readonly ledger: Ledger;
  readonly backends: readonly LedgerBackend[];
  readonly clients: MixedClients;
  /** When and what each client lost, as it happens. */
  onLoss: (loss: string) => void = () => undefined;

  private constructor(crossfade: Crossfade, ledger: Ledger, backends: readonly LedgerBackend[]) {
    this.crossfade = crossfade;
    this.ledger = ledger;
    this.backends = backends;
    this.clients = new MixedClients(crossfade.url, CLIENTS_EACH, (loss) => this.onLoss(loss));
  }

  static async start(): Promise<SoakStage> {
    const ledger = new Ledger();
    const [legacy, candidate] = await Promise.all([ledger.backend("legacy"), ledger.backend("new")]);
    const crossfade = await startCrossfade(
      { legacy: legacy.url, new: candidate.url },
      {
        settings: { drain: { grace: "0s", spread: "500ms", idle: "10s", deadline: "60s" }, workers: WORKERS },
        // A backend that is restarted must not be taken for a bad candidate.
        route: { split: { legacy: 50, new: 50 }, rollback: "off" },
        env: { NODE_OPTIONS: YOUNG_GENERATION },
      },
    );
    await crossfade.servingWorkers(WORKERS);
    const stage = new SoakStage(crossfade, ledger, [legacy, candidate]);
    await until("every client was answered", () => stage.clients.answersMin() > 0);
    return stage;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clients.stop();
    await this.crossfade.stop();
    await this.ledger.close();
  }
}
