/** The demo: a cutover told as it happens, with real processes and real requests, that checks its own claims. */
import { setTimeout as wait } from "node:timers/promises";
import type { Clock } from "./base/clock.ts";
import type { AnswerOf } from "./cli_shell.ts";
import { ApiFailure } from "./client.ts";
import { Crowd, quantileOf, shareOfNew, sharesOf, type SideTally } from "./demo_clients.ts";
import { LATENCY_MS, ROUTE, SALT, servedBy, setFailing, setStage, type Stage } from "./demo_stage.ts";
import { bar, countText, msText, paint, percentText, shareText, type Look, type Tone } from "./render.ts";
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

/** One thing the demo promises, and what came of it. */
interface Claim {
  readonly says: string;
  readonly holds: boolean;
  readonly figures: string;
}

const CLIENTS = 400;
const REQUESTS_PER_SECOND = 200;
/** After the story, so that what a person tries has something to show. */
const REQUESTS_PER_SECOND_STAYING = 40;
/** The weights of the cutover, in percent. */
const STEPS = [5, 25, 50];
/** How long each act is shown at least: every client asks once in two seconds. */
const ACT_MS = 4_000;
const ROW_MS = 1_000;
/** An act waits for clients that were not heard of yet, but not for ever. */
const ACT_MS_MAX = 20_000;
const BAR_WIDTH = 8;
/** As wide as a row with its bar. */
const COLUMNS_FOR_BAR = 91;
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
    return await Promise.race([story.tell(), stage.lost]);
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
  readonly #crowd: Crowd;
  readonly #startMs: number;
  readonly #appliedMs: number[] = [];
  readonly #ending = new AbortController();
  #percent = 0;

  constructor(stage: Stage, options: DemoOptions) {
    this.#stage = stage;
    this.#options = options;
    this.#crowd = new Crowd({ port: stage.proxyPort, clients: CLIENTS, salt: SALT, clock: options.clock });
    this.#startMs = options.clock.nowMs();
  }

  async tell(): Promise<number> {
    this.#introduce();
    this.#crowd.expect(0, true);
    this.#crowd.send(REQUESTS_PER_SECOND);
    this.#title("Before the cutover", "The new backend runs, but every client is still served by legacy.");
    this.#columns();
    await this.#act();
    for (const percent of STEPS) await this.#shift(percent);
    const { failures } = this.#crowd.account;
    const failuresBefore = failures.legacy + failures.new + this.#crowd.account.lost;
    await this.#breakNew();
    const brokenFailures = failures.new;
    const after = await this.#rollBack();
    const claims = this.#claims(failuresBefore, brokenFailures, after);
    this.#conclude(claims);
    if (this.#options.isStaying) await this.#stay();
    return claims.every((claim) => claim.holds) ? 0 : 1;
  }

  /** Ends the traffic, and the story if it is still told. */
  async end(): Promise<void> {
    this.#ending.abort();
    await this.#crowd.stop();
  }

  #introduce(): void {
    const { backends, proxyPort, adminUrl } = this.#stage;
    const place = (name: string, address: string, words: string): void =>
      this.#say(`  ${name.padEnd(10)} ${address.padEnd(24)} ${this.#tint("dim", words)}`);
    this.#say("");
    place(
      "legacy",
      backends.legacy.address,
      `answers in ${LATENCY_MS.legacy} to ${1.5 * LATENCY_MS.legacy} ms`,
    );
    place("new", backends.new.address, `answers in ${LATENCY_MS.new} to ${1.5 * LATENCY_MS.new} ms`);
    place(
      "proxy",
      `http://127.0.0.1:${proxyPort}`,
      `${CLIENTS} clients send ${REQUESTS_PER_SECOND} requests a second`,
    );
    place("admin API", adminUrl, "where the operator gives orders");
    this.#try(`curl -s -b uid=client-7 http://127.0.0.1:${proxyPort}/api/stock`);
  }

  async #shift(percent: number): Promise<void> {
    const weights = { legacy: 100 - percent, new: percent };
    const path = `/v1/routes/${ROUTE}/split`;
    await this.#order("PUT", path, { ...weights, reason: "demo" }, percent, true);
    const clients = this.#crowd.reach().meant;
    this.#title(
      `${percentText(percent)} to the new backend`,
      `By bucket these are ${clients} of the ${CLIENTS} clients. Who has moved stays; the others notice nothing.`,
    );
    this.#say(`  ${this.#tint("dim", this.#appliedText())}`);
    this.#try(
      `${this.#options.program} shift ${ROUTE} ${percent} --url ${this.#stage.adminUrl}`,
      `curl -X PUT '${this.#stage.adminUrl}${path}?wait=applied' \\\n` +
        `         -H 'content-type: application/json' -d '${JSON.stringify(weights)}'`,
    );
    this.#columns();
    await this.#act();
  }

  async #breakNew(): Promise<void> {
    await setFailing(this.#stage.backends.new, true);
    this.#title(
      "The new backend breaks",
      "It answers every request with 500 from now on. Its clients see that; those of legacy do not.",
    );
    this.#try(`${this.#options.program} health ${ROUTE} --url ${this.#stage.adminUrl}`);
    this.#columns();
    await this.#act();
    await this.#showHealth();
  }

  /** What Crossfade itself has counted, beside what the clients saw. */
  async #showHealth(): Promise<void> {
    const path = `/v1/routes/${ROUTE}/health`;
    const { body } = await this.#stage.admin.call<AnswerOf<"HealthAnswer">>({ method: "GET", path });
    const words = body.backends.map(({ backend, windows }) => {
      const { failures, requests } = windows["10s"];
      return `${backend} failed ${countText(failures)} of ${countText(requests)}`;
    });
    this.#say(`  ${this.#tint("dim", `Crossfade counted the same, in the last 10 s: ${words.join(", ")}`)}`);
  }

  /** Gives how many requests the new backend received after the rollback was applied, by its own count. */
  async #rollBack(): Promise<number> {
    const path = `/v1/routes/${ROUTE}/rollback`;
    await this.#order("POST", path, { reason: "the new backend answers 500" }, 0, false);
    await this.#crowd.settled();
    const before = await servedBy(this.#stage.backends.new);
    this.#title("The operator rolls back", "One call, and every client is on legacy again, wherever it was.");
    this.#say(`  ${this.#tint("dim", this.#appliedText())}`);
    this.#try(
      `${this.#options.program} rollback ${ROUTE} --reason "new answers 500" --url ${this.#stage.adminUrl}`,
      `curl -X POST '${this.#stage.adminUrl}${path}?wait=applied'`,
    );
    this.#columns();
    await this.#act();
    return (await servedBy(this.#stage.backends.new)) - before;
  }

  /** Gives an order to the admin API and waits until every worker has it. */
  async #order(
    method: "PUT" | "POST",
    path: string,
    body: unknown,
    percent: number,
    isGrowing: boolean,
  ): Promise<void> {
    this.#crowd.unsettle();
    const { body: answer } = await this.#stage.admin.call<{ applied_ms: number }>({
      method,
      path,
      query: { wait: "applied", timeout: "5s" },
      body,
    });
    this.#crowd.expect(sharesOf(percent), isGrowing);
    this.#percent = percent;
    this.#appliedMs.push(answer.applied_ms);
  }

  /** Shows a row each second, until the act is over and every client was heard of. */
  async #act(): Promise<void> {
    const { clock } = this.#options;
    const signal = AbortSignal.any([this.#options.signal, this.#ending.signal]);
    const startMs = clock.nowMs();
    // The row belongs to this act: what came in before it is in the account, not in the picture.
    this.#crowd.collect();
    for (;;) {
      await wait(ROW_MS, undefined, { signal });
      this.#row();
      const lastedMs = clock.nowMs() - startMs;
      const { seen, clients } = this.#crowd.reach();
      if (lastedMs >= ACT_MS_MAX || (lastedMs >= ACT_MS && seen === clients)) return;
    }
  }

  /** Everything is undone and the traffic goes on, so that a person can try it. */
  async #stay(): Promise<void> {
    await setFailing(this.#stage.backends.new, false);
    this.#crowd.unsettle();
    this.#crowd.send(REQUESTS_PER_SECOND_STAYING);
    const { program } = this.#options;
    const { adminUrl } = this.#stage;
    this.#title(
      "Your turn",
      "The new backend is repaired and the clients go on, more slowly. In another terminal:",
    );
    this.#try(
      `export CROSSFADE_URL=${adminUrl}`,
      `${program} status --watch`,
      `${program} shift ${ROUTE} 10`,
      `${program} history`,
    );
    this.#say(`  ${this.#tint("bold", "Ctrl-C ends everything.")}`);
    await new Promise<void>((resolve) => {
      this.#options.signal.addEventListener("abort", () => resolve(), { once: true });
      if (this.#options.signal.aborted) resolve();
    });
    this.#say("");
  }

  #claims(failuresBefore: number, brokenFailures: number, reachedNew: number): Claim[] {
    const { account } = this.#crowd;
    const answers = account.answers.legacy + account.answers.new;
    const none = (says: string, count: number, of: string): Claim => ({
      says,
      holds: count === 0,
      figures: `${countText(count)} of ${of}`,
    });
    const all = `${countText(answers + account.lost)} requests`;
    return [
      none(
        "no request to legacy failed",
        account.failures.legacy,
        `${countText(account.answers.legacy)} answers`,
      ),
      none("no request failed before the new backend broke", failuresBefore, all),
      none("no request was left without an answer", account.lost, all),
      none(
        "every client was on the side of its bucket",
        account.misplaced,
        `${countText(account.compared)} answers elsewhere`,
      ),
      none("no client went back while the weight grew", account.jumpedBack, `${CLIENTS} clients`),
      {
        says: "the broken backend showed in the figures",
        holds: brokenFailures > 0,
        figures: `${countText(brokenFailures)} failed answers, all from new`,
      },
      none("nothing reached the new backend after the rollback", reachedNew, "its requests"),
    ];
  }

  #conclude(claims: readonly Claim[]): void {
    const held = claims.filter((claim) => claim.holds).length;
    this.#title("What was promised, and what came of it", "");
    const width = Math.max(...claims.map((claim) => claim.says.length));
    for (const { says, holds, figures } of claims) {
      const mark = holds ? this.#tint("green", "ok  ") : this.#tint("red", "NO  ");
      this.#say(`  ${mark}${says.padEnd(width)}  ${this.#tint("dim", figures)}`);
    }
    const times = this.#appliedMs.map((ms) => msText(ms)).join(", ");
    this.#say(`\n  ${held} of ${claims.length} held. Changes were in effect in every worker after ${times}.`);
  }

  #appliedText(): string {
    return `in effect in every worker ${msText(this.#appliedMs.at(-1) ?? null)} after the call`;
  }

  #columns(): void {
    const side = "answers failed p50 ms p99 ms";
    const names = `${" ".repeat(this.#head("", "", "", "").length)}  ${"legacy".padEnd(side.length)}  new`;
    this.#say(this.#tint("dim", names));
    this.#say(this.#tint("dim", `${this.#head("time", "weight", "on new", "")}  ${side}  ${side}`));
  }

  #row(): void {
    const tally = this.#crowd.collect();
    const share = shareOfNew(tally);
    const time = `${((this.#options.clock.nowMs() - this.#startMs) / 1000).toFixed(1)} s`;
    const head = this.#head(time, percentText(this.#percent), shareText(share), bar(share ?? 0, BAR_WIDTH));
    const lost = tally.lost === 0 ? "" : this.#tint("red", `  ${tally.lost} lost`);
    this.#say(`${head}  ${this.#side(tally.sides.legacy)}  ${this.#side(tally.sides.new)}${lost}`);
  }

  /** The left part of a row. Only a wide terminal has room for the bar. */
  #head(time: string, weight: string, share: string, picture: string): string {
    const { columns } = this.#options.look;
    const room = columns !== null && columns < COLUMNS_FOR_BAR ? "" : ` ${picture.padEnd(BAR_WIDTH)}`;
    return `  ${time.padStart(6)} ${weight.padStart(6)} ${share.padStart(6)}${room}`;
  }

  #side(tally: SideTally): string {
    const failed = String(tally.failures).padStart(6);
    const quantile = (ratio: number): string =>
      (quantileOf(tally.latenciesMs, ratio)?.toFixed(1) ?? "-").padStart(6);
    return (
      `${String(tally.answers).padStart(7)} ${tally.failures > 0 ? this.#tint("red", failed) : failed} ` +
      `${quantile(0.5)} ${quantile(0.99)}`
    );
  }

  #title(title: string, words: string): void {
    this.#say(`\n${this.#tint("bold", title)}`);
    if (words !== "") this.#say(`  ${words}`);
  }

  #try(...lines: readonly string[]): void {
    for (const [at, line] of lines.entries()) {
      this.#say(`  ${at === 0 ? "try: " : "     "}${this.#tint("cyan", line)}`);
    }
  }

  #say(line: string): void {
    this.#options.out(`${line}\n`);
  }

  #tint(tone: Tone, text: string): string {
    return paint(this.#options.look, tone, text);
  }
}
