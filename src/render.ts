/** How the command line looks: aligned tables, colours, numbers with their units. Plain text when nobody watches. */
import { stripVTControlCharacters, styleText } from "node:util";

/** What the place that text goes to can show. */
export interface Look {
  readonly colour: boolean;
  /** How wide the terminal is; null when the text goes into a file or a pipe and must not be cut. */
  readonly columns: number | null;
}

/** A colour or a weight of type. */
export type Tone = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** One cell of a table: plain text, or text with a tone. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

/** One column of a table. Numbers stand on the right. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** A column of numbers. */
export function right(title: string): Column {
  return { title, align: "right" };
}

/** Text for a pipe: no colour, any width. */
export const PLAIN: Look = { colour: false, columns: null };

/** Between two columns. */
const GAP = "  ";
/** A terminal that does not tell its width. */
const COLUMNS_DEFAULT = 80;
/** C0 and C1 control characters: what another person wrote must not command this terminal. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

/**
 * What a stream can show.
 *
 * NO_COLOR (any value but an empty one) takes colours away, FORCE_COLOR (not "0") gives them to a pipe too, and a
 * dumb terminal has none. Source: https://no-color.org and https://force-color.org.
 */
export function lookOf(
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): Look {
  const isTerminal = stream.isTTY === true;
  const columns = isTerminal ? (stream.columns ?? COLUMNS_DEFAULT) : null;
  if ((env["NO_COLOR"] ?? "") !== "") return { colour: false, columns };
  const force = env["FORCE_COLOR"];
  if (force !== undefined) return { colour: force !== "0" && force !== "false", columns };
  return { colour: isTerminal && env["TERM"] !== "dumb", columns };
}

/** Text in a tone, or as it is when the look has no colours. */
export function paint(look: Look, tone: Tone, text: string): string {
  return look.colour ? styleText(tone, text, { validateStream: false }) : text;
}

/** Text from elsewhere on one line, its control characters made visible as `\u{9}`. */
export function clean(text: string): string {
  return text.replace(CONTROL, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);
}

/** How many columns a text takes, without the colours. */
export function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}

/**
 * A table with a line of titles. Ends without a line break.
 *
 * On a terminal the last column is cut at the edge; in a pipe nothing is. Cells are cleaned.
 */
export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[], look: Look): string {
  const texts = rows.map((row) => columns.map((_, at) => cellText(row[at] ?? "")));
  const widths = columns.map((column, at) =>
    texts.reduce((widest, row) => Math.max(widest, (row[at] as string).length), column.title.length),
  );
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + GAP.length, 0);
  // Cutting below a few characters would say nothing: then the terminal wraps.
  const lastMax = look.columns === null ? Infinity : Math.max(12, look.columns - before);
  const line = (cells: readonly Cell[], tone: Tone | null): string =>
    columns
      .map((column, at) => {
        const isLast = at === columns.length - 1;
        const cell = cells[at] ?? "";
        const text = isLast ? cut(cellText(cell), lastMax) : cellText(cell);
        const space = " ".repeat(Math.max(0, Math.min(widths[at] as number, lastMax) - text.length));
        const shown = tone === null ? toned(look, cell, text) : paint(look, tone, text);
        if (column.align === "right") return space + shown;
        return isLast ? shown : shown + space;
      })
      .join(GAP)
      .trimEnd();
  const title = line(
    columns.map((column) => column.title),
    "dim",
  );
  return [title, ...rows.map((row) => line(row, null))].join("\n");
}

/** Names and values one under the other, the values aligned. */
export function facts(pairs: readonly (readonly [string, Cell])[], look: Look): string {
  const width = pairs.reduce((widest, [name]) => Math.max(widest, name.length), 0);
  return pairs
    .map(
      ([name, cell]) => `${paint(look, "dim", name.padEnd(width))}${GAP}${toned(look, cell, cellText(cell))}`,
    )
    .join("\n");
}

/** A bar of `width` characters, filled by `percent`. Anything above zero shows at least a trace. */
export function bar(percent: number, width: number): string {
  const eighths = Math.round((Math.min(100, Math.max(0, percent)) / 100) * width * 8);
  const shown = percent > 0 ? Math.max(1, eighths) : 0;
  const full = Math.floor(shown / 8);
  const part = shown % 8;
  // U+2588 is a full block; the seven after it get thinner by an eighth each.
  const edge = part === 0 ? "" : String.fromCharCode(0x2588 + 8 - part);
  return ("\u2588".repeat(full) + edge).padEnd(width, "\u2591");
}

/** A percentage with at most three decimals, as weights have: `25 %`, `0.125 %`. */
export function percentText(percent: number): string {
  return `${Number(percent.toFixed(3))} %`;
}

/** A measured percentage with one decimal, or a dash when nothing was measured. */
export function shareText(percent: number | null): string {
  return percent === null ? "-" : `${percent.toFixed(1)} %`;
}

/** Milliseconds with about three digits, or a dash when nothing was measured. */
export function msText(ms: number | null): string {
  if (ms === null) return "-";
  if (!Number.isFinite(ms)) return "> 100 s";
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}

/** A measured percentage with the two digits that count, however small it is: `0.0024 %`. 100 is all of them. */
export function smallPercentText(percent: number): string {
  const rounded = Number(percent.toPrecision(2));
  return rounded === 100 && percent < 100 ? "> 99 %" : `${rounded} %`;
}

/** Evidence with one decimal, rounded down: all ten are said of nothing that is not decided. */
export function scoreText(score: number): string {
  return `${(Math.floor(score * 10) / 10).toFixed(1)} of 10`;
}

/** Text in lines that end at the terminal's edge, broken at spaces; in a pipe it stays one line. */
export function wrapped(text: string, look: Look): string {
  if (look.columns === null) return text;
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) as string;
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= look.columns) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.join("\n");
}

/** A count with its thousands apart: `12,345`. */
export function countText(count: number): string {
  return count.toLocaleString("en-US");
}

/** Bytes as mebibytes. */
export function mebibytesText(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(0)} MiB`;
}

/** A moment (ISO 8601) in this machine's time zone: `2026-08-21T14:03:11+02:00`. Text that is no date stays. */
export function localTime(iso: string): string {
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return iso;
  const offset = -moment.getTimezoneOffset();
  const shifted = new Date(moment.getTime() + offset * 60_000).toISOString().slice(0, 19);
  const sign = offset < 0 ? "-" : "+";
  return `${shifted}${sign}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`;
}

function two(value: number): string {
  return String(Math.trunc(value)).padStart(2, "0");
}

function cellText(cell: Cell): string {
  return clean(typeof cell === "string" ? cell : cell.text);
}

function toned(look: Look, cell: Cell, text: string): string {
  return typeof cell === "string" ? text : paint(look, cell.tone, text);
}

/** Text of `max` characters at most; what is left out is a single sign. */
export function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}\u2026`;
}
