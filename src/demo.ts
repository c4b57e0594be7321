/** The demo: a cutover told as it happens, with real processes and real requests, that checks its own claims. */
import { setTimeout as wait } from "node:timers/promises";
import type { Clock } from "./base/clock.ts";
import type { AnswerOf } from "./cli_shell.ts";
import { ApiFailure } from "./client.ts";
import { claimsOf, rollbackOf, type Facts, type Move, type Sum } from "./demo_claims.ts";
import { Crowd } from "./demo_clients.ts";
import { Screen } from "./demo_screen.ts";
import { LATENCY_MS, ROUTE, SALT, servedBy, setFailing, setStage, type Stage } from "./demo_stage.ts";
import { Watch } from "./demo_watch.ts";
import { countText, msText, percentText, type Look } from "./render.ts";
import { CliFailure, EXIT } from "./terminal.ts";

/** Where the story is told and what ends it. */
export interface DemoOptions {
  /** Writes text to standard output. */
  readonly out: (text: string) => void;
  readonly look: Look;
  readonly clock: Clock;
  /** Stay up after the story until `signal`: for a person at a terminal. */
  readonly isStaying: boolean;
  readonly signal: AbortSignal;
  /** How the person calls this program, such as `node bin/crossfade.mjs`. */
  readonly program: string;
}

/** What the story has seen of the break and of what followed. */
type Fall = Pick<
  Facts,
  | "brokenRevision"
  | "rolledBackMs"
  | "beforeBreak"
  | "atRollback"
  | "beforePlan"
  | "failuresOfNew"
  | "reachedNew"
>;

const CLIENTS = 400;
const REQUESTS_PER_SECOND = 200;
/** After the story, so that what a person tries has something to show. */
const REQUESTS_PER_SECOND_STAYING = 40;
/** The weights that the operator sets, in percent. */
const SHIFTS = [5, 25, 50];
/** What Crossfade does by itself afterwards: a tenth of the clients send 20 requests a second. */
const PLAN = { steps: [10, 50, 100], bake: "3s", min_requests: 20 };
/** How long each act is shown at least: every client asks once in two seconds. */
const ACT_MS = 4_000;
const ROW_MS = 1_000;
/** An act waits for clients that were not heard of yet, or for Crossfade, but not for ever. */
const ACT_MS_MAX = 20_000;
/** The plan has three bakes, and may have to wait for more requests than usual. */
const PLAN_MS_MAX = 40_000;
/** Between two looks at what the watch knows. */
const LOOK_MS = 20;
/** More entries than the demo makes. */
const AUDIT_MAX = 100;
/** Ended by Ctrl-C before the end: 128 + SIGINT. */
const EXIT_INTERRUPTED = 130;

/**
 * Plays the demo. Gives 0 when every claim held, 1 when one did not, 130 when `signal` came before the end.
 *
 * Every process that it starts is gone afterwards, and so is the directory. Throws CliFailure when something did not
 * start, or ended too early.
 */
export async function runDemo(options: DemoOptions): Promise<number> {
  options.out("Starting two backends and Crossfade ...\n");
  const stage = await setStage();
  const story = new Story(stage, options);
  try {
    return await Promise.race([story.tell(), story.lost, stage.lost]);
  } catch (error) {
    if (options.signal.aborted) {
      options.out("\nInterrupted.\n");
      return EXIT_INTERRUPTED;
    }
    if (!(error instanceof ApiFailure)) throw error;
    throw new CliFailure(EXIT.failure, `Crossfade refused an order of the demo: ${error.message}`, stage.log);
  } finally {
    await story.end();
    await stage.close();
    options.out("Every process of the demo has ended, and its directory is gone.\n");
  }
}

/** The course of events, act by act. */
class Story {
  readonly #stage: Stage;
  readonly #options: DemoOptions;
  readonly #screen: Screen;
  readonly #crowd: Crowd;
  readonly #watch: Watch;
  readonly #appliedMs: number[] = [];
  readonly #ending = new AbortController();
  readonly #signal: AbortSignal;

  constructor(stage: Stage, options: DemoOptions) {
    const { admin, proxyPort } = stage;
    const { clock } = options;
    this.#stage = stage;
    this.#options = options;
    this.#screen = new Screen(options);
    this.#crowd = new Crowd({ port: proxyPort, clients: CLIENTS, salt: SALT, clock });
    this.#watch = new Watch({ route: ROUTE, admin, crowd: this.#crowd, clock });
    this.#signal = AbortSignal.any([options.signal, this.#ending.signal]);
  }

  /** Rejects when nothing more can be known of the table; never resolves. */
  get lost(): Promise<never> {
    return this.#watch.lost;
  }

  async tell(): Promise<number> {
    this.#introduce();
    await this.#inEffect(1);
    this.#crowd.send(REQUESTS_PER_SECOND);
    this.#screen.title(
      "Before the cutover",
      "The new backend runs, but every client is still served by legacy.",
    );
    await this.#act();
    for (const percent of SHIFTS) await this.#shift(percent);
    const fall = await this.#breakNew();
    const startRevision = await this.#goByPlan();
    const claims = claimsOf({
      ...fall,
      clients: CLIENTS,
      account: this.#crowd.account,
      atEnd: this.#sum(),
      moves: await this.#moves(),
      steps: PLAN.steps,
      startRevision,
      phase: this.#watch.now.phase,
      onNewAtEnd: this.#watch.now.percent === 100 ? this.#crowd.reach().onNew : 0,
    });
    this.#screen.title("What was promised, and what came of it");
    this.#screen.claims(claims);
    const held = claims.filter(({ holds }) => holds).length;
    const times = this.#appliedMs.map((ms) => msText(ms)).join(", ");
    this.#screen.say(
      `\n  ${held} of ${claims.length} held. The operator's changes were in effect in every worker after ${times}.`,
    );
    if (this.#options.isStaying) await this.#stay();
    return held === claims.length ? 0 : 1;
  }

  /** Ends the traffic, and the story if it is still told. */
  async end(): Promise<void> {
    this.#ending.abort();
    await this.#watch.stop();
    await this.#crowd.stop();
  }

  #introduce(): void {
    const { backends, proxyPort, adminUrl } = this.#stage;
    const latency = (ms: number): string => `answers in ${ms} to ${1.5 * ms} ms`;
    this.#screen.say("");
    this.#screen.place("legacy", backends.legacy.address, latency(LATENCY_MS.legacy));
    this.#screen.place("new", backends.new.address, latency(LATENCY_MS.new));
    this.#screen.place(
      "proxy",
      `http://127.0.0.1:${proxyPort}`,
      `${CLIENTS} clients send ${REQUESTS_PER_SECOND} requests a second`,
    );
    this.#screen.place("admin API", adminUrl, "where the operator gives orders");
    this.#screen.try(`curl -s -b uid=client-7 http://127.0.0.1:${proxyPort}/api/stock`);
  }

  async #shift(percent: number): Promise<void> {
    const weights = { legacy: 100 - percent, new: percent };
    const path = `/v1/routes/${ROUTE}/split`;
    await this.#order("PUT", path, { ...weights, reason: "demo" });
    this.#screen.title(
      `${percentText(percent)} to the new backend`,
      `By bucket these are ${this.#crowd.reach().meant} of the ${CLIENTS} clients. ` +
        "Who has moved stays; the others notice nothing.",
    );
    this.#screen.note(`in effect in every worker ${msText(this.#appliedMs.at(-1) ?? null)} after the call`);
    this.#screen.try(
      `${this.#options.program} shift ${ROUTE} ${percent} --url ${this.#stage.adminUrl}`,
      `curl -X PUT '${this.#stage.adminUrl}${path}?wait=applied' \\\n` +
        `         -H 'content-type: application/json' -d '${JSON.stringify(weights)}'`,
    );
    await this.#act();
  }

  /** The new backend fails until Crossfade has taken the traffic back, which nobody tells it to. */
  async #breakNew(): Promise<Fall> {
    const { failures } = this.#crowd.account;
    const { program, clock } = this.#options;
    const brokenRevision = this.#watch.now.revision;
    const beforeBreak = this.#sum();
    const newBefore = failures.new;
    const brokenMs = clock.nowMs();
    await setFailing(this.#stage.backends.new, true);
    this.#screen.title(
      "The new backend breaks",
      "It answers every request with 500 from now on. Its clients see that; those of legacy do not.",
    );
    this.#screen.try(
      `${program} health ${ROUTE} --url ${this.#stage.adminUrl}`,
      `${program} rollback ${ROUTE} --url ${this.#stage.adminUrl}   # what a person could do`,
    );
    await this.#rows(ACT_MS_MAX, () => this.#watch.now.percent === 0);
    const rolledBackMs = this.#watch.now.sinceMs - brokenMs;
    await this.#crowd.settled();
    const atRollback = this.#sum();
    const failuresOfNew = failures.new - newBefore;
    const servedBefore = await servedBy(this.#stage.backends.new);
    await this.#showRollback({ brokenRevision, rolledBackMs, failuresOfNew });
    await this.#act();
    const beforePlan = this.#sum();
    const reachedNew = (await servedBy(this.#stage.backends.new)) - servedBefore;
    return { brokenRevision, rolledBackMs, beforeBreak, atRollback, beforePlan, failuresOfNew, reachedNew };
  }

  async #showRollback(fall: Pick<Facts, "brokenRevision" | "rolledBackMs" | "failuresOfNew">): Promise<void> {
    const rollback = rollbackOf({ ...fall, moves: await this.#moves() });
    if (rollback === null) {
      this.#screen.title("Crossfade does not roll back", `It had ${ACT_MS_MAX / 1000} s for that.`);
      return;
    }
    this.#screen.title(
      "Crossfade rolls back by itself",
      `In effect in every worker ${msText(fall.rolledBackMs)} after the break. ` +
        `Until then ${countText(fall.failuresOfNew)} requests to new had failed, and ` +
        `${countText(this.#crowd.account.failures.legacy)} to legacy. In its own words:`,
    );
    this.#screen.note(`revision ${rollback.revision} by ${rollback.actor}: ${rollback.reason}`, "bold");
    this.#screen.try(`${this.#options.program} audit --url ${this.#stage.adminUrl}`);
  }

  /** Repairs the new backend and leaves the rest to Crossfade. Gives the revision with which the plan was started. */
  async #goByPlan(): Promise<number> {
    const { program } = this.#options;
    const { backends, adminUrl } = this.#stage;
    await setFailing(backends.new, false);
    const path = `/v1/routes/${ROUTE}/rollout`;
    await this.#order("PUT", path, PLAN, { reason: "demo" });
    const startRevision = await this.#order("POST", `${path}/start`, { reason: "repaired" });
    this.#screen.title(
      "The new backend is repaired, and a plan moves the traffic",
      `Steps of ${PLAN.steps.map(percentText).join(", ")}, for ${PLAN.bake} and ${PLAN.min_requests} requests ` +
        "at least. The operator has started it, and looks on.",
    );
    this.#screen.try(
      `echo '${JSON.stringify(PLAN)}' | ${program} rollout ${ROUTE} set - --url ${adminUrl}`,
      `${program} rollout ${ROUTE} start --url ${adminUrl}`,
      `${program} rollout ${ROUTE} --url ${adminUrl}`,
    );
    await this.#rows(PLAN_MS_MAX, () => this.#isAtEnd());
    for (const line of this.#watch.now.lines) this.#screen.note(line);
    return startRevision;
  }

  #isAtEnd(): boolean {
    const { phase, percent } = this.#watch.now;
    return phase === "promoted" && percent === 100 && this.#crowd.reach().onNew === CLIENTS;
  }

  /** Gives an order to the admin API and waits until every worker has it. Gives its revision. */
  async #order(
    method: "PUT" | "POST",
    path: string,
    body: unknown,
    query: Readonly<Record<string, string>> = {},
  ): Promise<number> {
    const { body: answer } = await this.#stage.admin.call<AnswerOf<"WriteAnswer">>({
      method,
      path,
      query: { ...query, wait: "applied", timeout: "5s" },
      body,
    });
    this.#appliedMs.push(answer.applied_ms ?? 0);
    await this.#inEffect(answer.revision);
    return answer.revision;
  }

  /** Waits until the watch has seen that every worker has a table. */
  async #inEffect(revision: number): Promise<void> {
    while (this.#watch.now.revision < revision) await wait(LOOK_MS, undefined, { signal: this.#signal });
  }

  /** Shows rows until every client was heard of. */
  async #act(): Promise<void> {
    const startMs = this.#options.clock.nowMs();
    await this.#rows(ACT_MS_MAX, () => {
      const { seen, clients } = this.#crowd.reach();
      return this.#options.clock.nowMs() - startMs >= ACT_MS && seen === clients;
    });
  }

  /** Shows a row each second, and what a plan says when it goes on, until `isOver` or for `maxMs`. */
  async #rows(maxMs: number, isOver: () => boolean): Promise<void> {
    const { clock } = this.#options;
    const startMs = clock.nowMs();
    let told: string | undefined;
    this.#screen.columns();
    // The row belongs to this act: what came in before it is in the account, not in the picture.
    this.#crowd.collect();
    do {
      await wait(ROW_MS, undefined, { signal: this.#signal });
      const { lines, percent } = this.#watch.now;
      const why = lines.at(-1);
      if (why !== undefined && why !== told) this.#screen.note(why, "green");
      told = why;
      this.#screen.row(this.#crowd.collect(), percent);
    } while (!isOver() && clock.nowMs() - startMs < maxMs);
  }

  /** What came of the clients' requests so far. */
  #sum(): Sum {
    const { answers, failures, lost } = this.#crowd.account;
    return {
      asked: answers.legacy + answers.new + lost,
      failed: failures.legacy + failures.new + lost,
    };
  }

  /** The audit log, oldest first, each entry with the weight of its table. */
  async #moves(): Promise<Move[]> {
    const { admin } = this.#stage;
    const query = { limit: AUDIT_MAX };
    const { body } = await admin.call<AnswerOf<"AuditPage">>({ method: "GET", path: "/v1/audit", query });
    const moves = body.entries.map(async ({ revision, actor, action, reason }): Promise<Move> => {
      const path = `/v1/history/${revision}`;
      const past = await admin.call<AnswerOf<"PastTable">>({ method: "GET", path });
      const percent = past.body.table.routes?.find(({ id }) => id === ROUTE)?.split?.["new"] ?? 0;
      return { revision, actor, action, reason, percent };
    });
    return (await Promise.all(moves)).toReversed();
  }

  /** The traffic goes on, so that a person can try it. */
  async #stay(): Promise<void> {
    await this.#watch.stop();
    this.#crowd.send(REQUESTS_PER_SECOND_STAYING);
    const { program, signal } = this.#options;
    this.#screen.title("Your turn", "The clients go on, more slowly. In another terminal:");
    this.#screen.try(
      `export CROSSFADE_URL=${this.#stage.adminUrl}`,
      `${program} status --watch`,
      `${program} rollback ${ROUTE} --reason "to see it"`,
      `${program} rollout ${ROUTE} start`,
      `${program} audit`,
    );
    this.#screen.note("Ctrl-C ends everything.", "bold");
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (signal.aborted) resolve();
    });
    this.#screen.say("");
  }
}
