/** What came of comparing two backends, for people: one sentence, the counts, and each field that differed. */
import type { ComparisonSays, FieldSays } from "./domain/comparison_report.ts";
import {
  clean,
  countText,
  cut,
  facts,
  localTime,
  paint,
  scoreText,
  smallPercentText,
  wrapped,
  type Cell,
  type Look,
  type Tone,
} from "./render.ts";

/** Fields that are shown one by one. Those that count most come first. */
const FIELDS_SHOWN_MAX = 20;
/** Characters of a backend's name before a sample, and the least that is left for the sample. */
const NAME_CHARS_MAX = 16;
const ROOM_CHARS_MIN = 20;
/** Where a side has no such thing. */
const NOTHING = "(nothing)";
const VERDICT_TONES: Readonly<Record<FieldSays["verdict"], Tone>> = {
  "real difference": "red",
  "difference, noise not measured": "red",
  "not decided yet": "yellow",
  "known noise": "dim",
};
/** The verdicts that say that a field differs. */
const DIFFERENCES: ReadonlySet<FieldSays["verdict"]> = new Set([
  "real difference",
  "difference, noise not measured",
]);

/** Whether any field is known to differ. */
export function hasDifference({ fields }: Pick<ComparisonSays, "fields">): boolean {
  return fields.some(({ verdict }) => DIFFERENCES.has(verdict));
}

/** A whole report, in lines that fit the terminal. */
export function differencesText(report: ComparisonSays, look: Look): string {
  const shown = report.fields.slice(0, FIELDS_SHOWN_MAX);
  const more = report.fields.length - shown.length;
  return [
    wrapped(clean(report.summary.text), look),
    "",
    countsText(report, look),
    ...shown.flatMap((field) => ["", fieldText(field, report, look)]),
    ...(more > 0 ? ["", `and ${countText(more)} more fields; --json has all of them`] : []),
    ...(shown.length === 0 && report.summary.compared > 0 ? ["", "no field differed"] : []),
  ].join("\n");
}

function countsText({ summary }: ComparisonSays, look: Look): string {
  const { matched, mismatched, failures, not_compared: notCompared } = summary;
  const reasons = Object.entries(notCompared).filter(([, count]) => count > 0);
  const left = reasons.reduce((sum, [, count]) => sum + count, 0);
  const failed = failures === 0 ? "" : `, the candidate failed in ${countText(failures)} of them`;
  const why = reasons.map(([reason, count]) => `${reason}: ${countText(count)}`).join(", ");
  const pairs: [string, Cell][] = [
    ["matched", countText(matched)],
    ["mismatched", { text: countText(mismatched) + failed, tone: failures > 0 ? "red" : "bold" }],
    ["not compared", countText(left) + (why === "" ? "" : ` (${why})`)],
  ];
  return facts(pairs, look);
}

function fieldText(field: FieldSays, report: ComparisonSays, look: Look): string {
  const { pairs, noise, verdict, samples } = field;
  const seen = [...new Set([localTime(field.first_seen), localTime(field.last_seen)])].join(" to ");
  const lines: [string, Cell][] = [
    ["differs", `in ${oftenText(pairs)}; evidence ${scoreText(field.evidence)}`],
    ["noise", noise.compared === 0 ? "not measured" : `in ${oftenText(noise)} between two answers of legacy`],
    ["seen", seen],
    ...samples.flatMap((sample, at) => sampleLines(sample, report, at === 0 ? "first" : "newest")),
  ];
  const head = `${paint(look, "bold", clean(field.field))}: ${paint(look, VERDICT_TONES[verdict], verdict)}`;
  return [head, indented(lines, look)].join("\n");
}

/** What both sides said, one below the other. */
function sampleLines(
  { kind, at, left, right }: FieldSays["samples"][number],
  { legacy, candidate }: ComparisonSays,
  title: string,
): [string, Cell][] {
  const [ours, theirs] = [cut(legacy, NAME_CHARS_MAX), cut(candidate, NAME_CHARS_MAX)];
  const width = Math.max(ours.length, theirs.length);
  return [
    [title, `${kind}, at ${localTime(at)}`],
    ["", `${ours.padEnd(width)}  ${left ?? NOTHING}`],
    ["", `${theirs.padEnd(width)}  ${right ?? NOTHING}`],
  ];
}

/** Names and values, below what they are about. On a terminal no line is longer than it is wide. */
function indented(pairs: readonly [string, Cell][], look: Look): string {
  const column = pairs.reduce((widest, [name]) => Math.max(widest, name.length), 0);
  const room = look.columns === null ? Infinity : Math.max(ROOM_CHARS_MIN, look.columns - column - 4);
  const short = (cell: Cell): Cell =>
    typeof cell === "string" ? cut(clean(cell), room) : { ...cell, text: cut(clean(cell.text), room) };
  const text = facts(
    pairs.map(([name, cell]) => [name, short(cell)]),
    look,
  );
  return text.replaceAll(/^/gm, "  ");
}

/** How often, and the part: `1,234 of 412,007 (0.3 %)`. */
function oftenText({ differing, compared }: FieldSays["pairs"]): string {
  const part =
    compared === 0 || differing === 0 ? "" : ` (${smallPercentText((100 * differing) / compared)})`;
  return `${countText(differing)} of ${countText(compared)}${part}`;
}
