/** Tables in test/README.md that tests compute: compared in every run, written anew when that is asked for. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const README = join(import.meta.dirname, "../README.md");

/** Whether the tables are to be written instead of compared: CROSSFADE_WRITE_TABLE=1. */
export const WRITES_TABLES = process.env["CROSSFADE_WRITE_TABLE"] === "1";

/** What stands between the marks of this name in test/README.md, without them; empty when there is nothing. */
export function readBlock(name: string): string {
  const text = readFileSync(README, "utf8");
  return new RegExp(`<!-- ${name}:begin -->\n\n([^]*?)\n\n<!-- ${name}:end -->`).exec(text)?.[1] ?? "";
}

/** Replaces what stands between the marks. */
export function writeBlock(name: string, block: string): void {
  const text = readFileSync(README, "utf8");
  const marks = new RegExp(`(<!-- ${name}:begin -->\n)[^]*?(\n<!-- ${name}:end -->)`);
  writeFileSync(
    README,
    text.replace(marks, (_, begin: string, end: string) => `${begin}\n${block}\n${end}`),
  );
}

/** A table as the formatter writes it. The first row is the heading. */
export function tableOf(rows: readonly (readonly string[])[]): string {
  const escaped = rows.map((row) => row.map((cell) => cell.replaceAll("|", String.raw`\|`)));
  const widths = (escaped[0] ?? []).map((_, column) =>
    Math.max(3, ...escaped.map((row) => (row[column] ?? "").length)),
  );
  const lines = escaped.map(
    (row) => `| ${widths.map((width, i) => (row[i] ?? "").padEnd(width)).join(" | ")} |`,
  );
  const ruler = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [lines[0], ruler, ...lines.slice(1)].join("\n");
}

/** What the strict rules are about, by their numbers: the words of the tables. */
export const RULES: Readonly<Record<number, string>> = {
  1: "lines end in CRLF, nothing else",
  2: "one empty line before a request, no more",
  3: "no white space before the first field",
  4: "the request line and its single spaces",
  5: "methods: tokens of 32 letters, neither TRACE nor CONNECT",
  6: "versions 1.0 and 1.1 only",
  7: "characters and escapes of a target",
  8: "forms of a target; the absolute form agrees with Host",
  9: "exactly one Host, and a good one",
  10: "names are tokens and stand before their colon",
  11: "no control bytes in values",
  12: "no folded lines",
  13: "sizes have limits",
  14: "one length of plain digits",
  15: "one coding, exactly chunked",
  16: "never both length and coding",
  17: "no coding in HTTP/1.0",
  18: "a request without framing has no body",
  19: "bodies where none is expected",
  20: "chunk sizes and extensions",
  21: "a chunk ends where it says",
  22: "framing is written anew",
  23: "trailers are no header fields",
  24: "fields of one connection stay on it",
  25: "what Connection may not name",
  26: "TE says trailers or nothing",
  27: "the only expectation is 100-continue",
  28: "a WebSocket handshake is complete",
  29: "no other upgrade, and none without asking",
  30: "at most eight interim responses",
  31: "responses that have no body",
  32: "nothing after a response",
  33: "half a response never looks whole",
  34: "bodies up to the end of the connection",
  35: "requests one after the other",
  36: "answers before the end of a request",
  37: "names that pass for others",
  38: "who the client is, only proxies say",
  39: "one Authorization",
  40: "paths that can be read in two ways",
  41: "no loops",
  42: "after an error nothing is read",
};
