/** Hours of use in minutes: weights change, workers are killed, backends restart; nothing may grow or get lost. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { killNow } from "../../src/control/process.ts";
import type { SocketAccount } from "../../test/support/socket_client.ts";
import { readBalance, type Balance } from "../../test/support/balance.ts";
import { until } from "../../test/support/wait.ts";
import { SoakStage } from "./stage.ts";

/** How often each thing happens, in milliseconds. */
const WEIGHT_MS = 2_000;
const KILL_MS = 20_000;
const RESTART_MS = 30_000;
const LOOK_MS = 3_000;
/** A backend is away for so long. */
const AWAY_MS = 500;
/** What is lost so soon after a kill or a restart is explained by it. */
const EXPLAINED_MS = 3_000;
/** Until then code is compiled and memory grows: what is compared comes later. */
const WARM_PART = 0.2;
const KIB = 1024;
const MIB = 1024 * KIB;
/** Memory that may come and go with the garbage collector. */
const MEMORY_SLACK = 16 * MIB;
const MEMORY_RATIO = 1.15;
/** Connections to backends come and go with the weights, one per client at most; a leak is one per kill or restart. */
const DESCRIPTORS_SLACK = 12;

/** One look at a process. */
interface Look {
  readonly rssBytes: number;
  readonly descriptors: number;
}

/** What a process was at first, warmed up, and at the end: medians. */
export interface Growth {
  readonly name: string;
  readonly first: Look;
  readonly last: Look;
  readonly isFlat: boolean;
}

/** What came of it. */
export interface EnduringReport {
  readonly seconds: number;
  readonly weights: number;
  readonly kills: number;
  readonly restarts: number;
  readonly sent: number;
  readonly answered: number;
  readonly sockets: SocketAccount;
  readonly statuses: Readonly<Record<number, number>>;
  readonly lost: number;
  /** Answers that passed for whole and were not right. */
  readonly wrong: number;
  /** Those that no kill and no restart explains. */
  readonly unexplained: readonly string[];
  readonly doubled: number;
  readonly growths: readonly Growth[];
  /** Looks at the counters at which started = finished + aborted + in flight did not hold. */
  readonly unbalanced: readonly string[];
  readonly looks: number;
}

/** Runs for so long. */
export async function endure(minutes: number, say: (text: string) => void): Promise<EnduringReport> {
  await using stage = await SoakStage.start();
  const run = new Endurance(stage);
  const untilMs = performance.now() + minutes * 60_000;
  const steps: readonly (readonly [number, () => Promise<void>])[] = [
    [WEIGHT_MS, () => run.shift()],
    [LOOK_MS, () => run.look()],
    [KILL_MS, () => run.kill()],
    [RESTART_MS, () => run.restart()],
  ];
  const due = steps.map(([everyMs]) => performance.now() + everyMs);
  let saidMs = performance.now();
  while (performance.now() < untilMs) {
    for (const [index, [everyMs, step]] of steps.entries()) {
      if (performance.now() < (due[index] ?? 0)) continue;
      due[index] = performance.now() + everyMs;
      await step();
    }
    if (performance.now() - saidMs > 60_000) {
      saidMs = performance.now();
      say(`  ${run.progress()}`);
    }
    await pause(50);
  }
  // Awaited here: the stage ends with this function.
  return await run.report();
}

class Endurance {
  readonly #stage: SoakStage;
  readonly #startedMs = performance.now();
  readonly #control: Look[] = [];
  readonly #worker: Look[] = [];
  readonly #unbalanced: string[] = [];
  readonly #unexplained: string[] = [];
  #disturbedMs = -Infinity;
  #weights = 0;
  #kills = 0;
  #restarts = 0;
  #looks = 0;
  /** The worker that is never killed. */
  #survivor = 0;

  constructor(stage: SoakStage) {
    this.#stage = stage;
    stage.onLoss = (loss) => {
      if (performance.now() - this.#disturbedMs > EXPLAINED_MS) this.#unexplained.push(loss);
    };
  }

  async shift(): Promise<void> {
    const share = (this.#weights++ * 10) % 101;
    const split = { legacy: 100 - share, new: share, reason: "soak" };
    await this.#stage.crossfade.admin("PUT", "/v1/routes/shop/split?wait=applied", split);
  }

  async kill(): Promise<void> {
    const { crossfade } = this.#stage;
    const victim = (await crossfade.workers()).find(
      ({ worker, state }) => worker === 0 && state === "serving",
    );
    if (victim === undefined) return;
    this.#kills++;
    this.#disturbedMs = performance.now();
    killNow(victim.pid);
    await until("it is replaced", async () => {
      const workers = await crossfade.workers();
      const serving = workers.filter(({ pid, state }) => pid !== victim.pid && state === "serving");
      return serving.length === 2;
    });
    this.#disturbedMs = performance.now();
  }

  async restart(): Promise<void> {
    const { backends } = this.#stage;
    const backend = backends[this.#restarts++ % backends.length];
    this.#disturbedMs = performance.now();
    await backend?.stop();
    await pause(AWAY_MS);
    await backend?.start();
    this.#disturbedMs = performance.now();
  }

  async look(): Promise<void> {
    const { crossfade } = this.#stage;
    this.#looks++;
    const fleet = await crossfade.fleet();
    const survivor = fleet?.workers.find(({ worker }) => worker === 1)?.pid ?? 0;
    if (this.#survivor === 0) this.#survivor = survivor;
    if (survivor !== this.#survivor) this.#unexplained.push(`worker 1 (pid ${this.#survivor}) is gone`);
    this.#control.push(lookAt(fleet?.pid ?? crossfade.pid));
    if (survivor > 0) this.#worker.push(lookAt(survivor));
    await this.#balance();
  }

  progress(): string {
    const { sent, lost } = this.#stage.clients.account();
    const minutes = ((performance.now() - this.#startedMs) / 60_000).toFixed(1);
    const [control, worker] = [this.#control.at(-1), this.#worker.at(-1)].map(textOf);
    const losses = `${lost} lost, ${this.#unexplained.length} unexplained`;
    return `${minutes} min: ${sent} requests, ${losses}; control ${control}, worker ${worker}`;
  }

  async report(): Promise<EnduringReport> {
    const { clients, ledger } = this.#stage;
    const { sent, answered, sockets, statuses, lost, wrong } = await clients.stop();
    await until("nothing is in flight", async () => (await this.#balance()).inFlight === 0);
    return {
      seconds: Math.round((performance.now() - this.#startedMs) / 1000),
      weights: this.#weights,
      kills: this.#kills,
      restarts: this.#restarts,
      sent,
      answered,
      sockets,
      statuses,
      lost,
      wrong,
      unexplained: this.#unexplained,
      doubled: ledger.doubled.length,
      growths: [growthOf("control process", this.#control), growthOf("worker", this.#worker)],
      unbalanced: this.#unbalanced,
      looks: this.#looks,
    };
  }

  async #balance(): Promise<Balance> {
    const balance = await readBalance(this.#stage.crossfade.adminUrl);
    const { started, finished, aborted, inFlight, isEven } = balance;
    if (!isEven) this.#unbalanced.push(`${started} started, ${finished} + ${aborted} + ${inFlight}`);
    return balance;
  }
}

function lookAt(pid: number): Look {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const rssBytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * KIB;
  return { rssBytes, descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

function growthOf(name: string, looks: readonly Look[]): Growth {
  const warm = looks.slice(Math.floor(looks.length * WARM_PART));
  const part = Math.max(1, Math.floor(warm.length / 4));
  const [first, last] = [medianOf(warm.slice(0, part)), medianOf(warm.slice(-part))];
  const isFlat =
    last.rssBytes <= first.rssBytes * MEMORY_RATIO + MEMORY_SLACK &&
    last.descriptors <= first.descriptors + DESCRIPTORS_SLACK;
  return { name, first, last, isFlat };
}

function medianOf(looks: readonly Look[]): Look {
  const median = (values: readonly number[]): number =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
  return {
    rssBytes: median(looks.map(({ rssBytes }) => rssBytes)),
    descriptors: median(looks.map(({ descriptors }) => descriptors)),
  };
}

/** A look in words. */
export function textOf(look: Look | undefined): string {
  return look === undefined
    ? "unknown"
    : `${Math.round(look.rssBytes / MIB)} MiB and ${look.descriptors} descriptors`;
}
