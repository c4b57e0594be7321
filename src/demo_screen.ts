/** How the demo's story looks: titles, hints to try, and a row of figures each second. */
import type { Clock } from "./base/clock.ts";
import type { Claim } from "./demo_claims.ts";
import { quantileOf, shareOfNew, type SideTally, type Tally } from "./demo_clients.ts";
import { bar, clean, paint, percentText, shareText, type Look, type Tone } from "./render.ts";

/** Where the story is told. */
export interface ScreenOptions {
  /** Writes text to standard output. */
  readonly out: (text: string) => void;
  readonly look: Look;
  readonly clock: Clock;
}

const BAR_WIDTH = 8;
/** As wide as a row with its bar. */
const COLUMNS_FOR_BAR = 92;

/** Writes the story, line by line. Its clock begins with it. */
export class Screen {
  readonly #options: ScreenOptions;
  readonly #startMs: number;
  readonly #isWide: boolean;
  /** Between the parts of a row. A terminal of 80 columns has room for rows without the bar. */
  readonly #gap: string;

  constructor(options: ScreenOptions) {
    this.#options = options;
    this.#startMs = options.clock.nowMs();
    this.#isWide = (options.look.columns ?? Infinity) >= COLUMNS_FOR_BAR;
    this.#gap = this.#isWide ? "  " : " ";
  }

  /** One line. */
  say(line: string): void {
    this.#options.out(`${line}\n`);
  }

  /** A new act. */
  title(title: string, words = ""): void {
    this.say(`\n${this.#tint("bold", title)}`);
    if (words !== "") this.say(`  ${words}`);
  }

  /** A line beside the story. It may be what Crossfade said. */
  note(words: string, tone: Tone = "dim"): void {
    this.say(`  ${this.#tint(tone, clean(words))}`);
  }

  /** One of the parts that run. */
  place(name: string, address: string, words: string): void {
    this.say(`  ${name.padEnd(10)} ${address.padEnd(24)} ${this.#tint("dim", words)}`);
  }

  /** What a person can type. */
  try(...lines: readonly string[]): void {
    for (const [at, line] of lines.entries()) {
      this.say(`  ${at === 0 ? "try: " : "     "}${this.#tint("cyan", line)}`);
    }
  }

  /** The titles of the rows. */
  columns(): void {
    const side = "answers failed p50 ms p99 ms";
    const space = " ".repeat(this.#head("", "", "", "").length);
    this.say(this.#tint("dim", [space, "legacy".padEnd(side.length), "new"].join(this.#gap)));
    this.say(this.#tint("dim", [this.#head("time", "weight", "on new", ""), side, side].join(this.#gap)));
  }

  /** What the clients saw since the last row. */
  row(tally: Tally, percent: number): void {
    const share = shareOfNew(tally);
    const time = `${((this.#options.clock.nowMs() - this.#startMs) / 1000).toFixed(1)} s`;
    const head = this.#head(time, percentText(percent), shareText(share), bar(share ?? 0, BAR_WIDTH));
    const lost = tally.lost === 0 ? "" : this.#tint("red", `  ${tally.lost} lost`);
    const { sides } = tally;
    this.say([head, this.#side(sides.legacy), this.#side(sides.new)].join(this.#gap) + lost);
  }

  /** Each claim on a line. */
  claims(claims: readonly Claim[]): void {
    const width = Math.max(...claims.map((claim) => claim.says.length));
    for (const { says, holds, figures } of claims) {
      const mark = holds ? this.#tint("green", "ok  ") : this.#tint("red", "NO  ");
      this.say(`  ${mark}${says.padEnd(width)}  ${this.#tint("dim", figures)}`);
    }
  }

  /** The left part of a row. Only a wide terminal has room for the bar. */
  #head(time: string, weight: string, share: string, picture: string): string {
    const figures = `${time.padStart(6)} ${weight.padStart(6)} ${share.padStart(7)}`;
    return this.#isWide ? `  ${figures} ${picture.padEnd(BAR_WIDTH)}` : figures;
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

  #tint(tone: Tone, text: string): string {
    return paint(this.#options.look, tone, text);
  }
}
