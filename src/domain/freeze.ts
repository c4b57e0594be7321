/** Freeze windows: when no rollout may go on, every week in local time or once between two moments. */
import { z } from "zod";
import { closed, examineKeys } from "./examine.ts";
import { nearestName, refuseRepeats, type Findings, type PathPart } from "./problems.ts";
import { DAYS, type Day, type Freeze, type FreezeWindow, type WeeklyFreeze } from "./rollout_words.ts";
import { list, text } from "./schema_parts.ts";
import { shorten } from "./syntax.ts";

/** The most windows of one plan. */
export const FREEZE_WINDOWS_MAX = 16;

/** So many windows are followed when one begins before the other has ended. */
const CHAIN_MAX = 16;
const WHY_CHARS_MAX = 200;
const DAY_MINUTES = 1440;
const ZONE_DEFAULT = "UTC";

const TIME_OF_DAY = /^(?:([01]\d|2[0-3]):([0-5]\d)|24:00)$/;
/** Source: RFC 3339 section 5.6, without fractions of a second. */
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)$/;

/** A freeze window in the operator's form. `days` and `zone` go with times of day only. */
export const freezeSchema = closed({
  days: list(z.enum(DAYS), 1, DAYS.length)
    .optional()
    .meta({ description: "The days on which a window begins", default: DAYS }),
  from: text(timeFault).meta({ description: 'A time of day such as "16:00", or a moment with its offset' }),
  to: text(timeFault).meta({ description: 'A time of day up to "24:00", or a moment with its offset' }),
  zone: text(zoneFault).optional().meta({ default: ZONE_DEFAULT }),
  why: text(whyFault).optional().meta({ description: "What people read while it is in force" }),
});

/** Reads a window. Gives null after everything wrong was added to `findings`, with paths that start with `path`. */
export function readFreeze(
  input: unknown,
  path: readonly PathPart[],
  findings: Findings,
): FreezeWindow | null {
  const before = findings.count;
  const keys = examineKeys(freezeSchema, input, path, findings);
  const { days, from, to, zone, why } = keys ?? {};
  refuseRepeats(days ?? [], [...path, "days"], findings);
  if (from === undefined || to === undefined) return null;
  if (TIME_OF_DAY.test(from) !== TIME_OF_DAY.test(to)) {
    findings.add([...path, "to"], '"from" and "to" must both be times of day, or both moments with a date');
    return null;
  }
  if (TIME_OF_DAY.test(from)) {
    const fromMinute = minuteOf(from);
    const toMinute = minuteOf(to);
    if (fromMinute === DAY_MINUTES) findings.add([...path, "from"], 'a window begins at "00:00" of a day');
    if (fromMinute === toMinute) {
      findings.add([...path, "to"], 'the window is empty; a whole day is from "00:00" to "24:00"');
    }
    if (findings.count > before) return null;
    return {
      // Their order means nothing, so they have only one.
      days: DAYS.filter((day) => days?.includes(day) ?? true),
      fromMinute,
      toMinute,
      zone: canonicalZone(zone ?? ZONE_DEFAULT) ?? ZONE_DEFAULT,
      why: why ?? null,
    };
  }
  const fromMs = momentMs(from) ?? 0;
  const toMs = momentMs(to) ?? 0;
  if (days !== undefined) findings.add([...path, "days"], "a window between two dates has no days", "key");
  if (zone !== undefined) findings.add([...path, "zone"], "moments have an offset and need no zone", "key");
  if (toMs <= fromMs) findings.add([...path, "to"], "the window is empty: it ends before it begins");
  return findings.count > before ? null : { fromMs, toMs, why: why ?? null };
}

/** A window in the operator's form; readFreeze gives the same window again. */
export function encodeFreeze(window: FreezeWindow): unknown {
  const why = window.why === null ? {} : { why: window.why };
  if ("fromMs" in window) return { from: writeMoment(window.fromMs), to: writeMoment(window.toMs), ...why };
  return {
    ...(window.days.length === DAYS.length ? {} : { days: window.days }),
    from: writeMinute(window.fromMinute),
    to: writeMinute(window.toMinute),
    ...(window.zone === ZONE_DEFAULT ? {} : { zone: window.zone }),
    ...why,
  };
}

/**
 * Whether `nowMs` (Unix time) lies in a window, and until when it is frozen; null when it is not.
 *
 * Windows that touch or overlap count as one, whose `why` is that of the window open now that ends last. Only
 * CHAIN_MAX are followed: of a freeze without end, `untilMs` is when to look again.
 */
export function frozenUntil(windows: readonly FreezeWindow[], nowMs: number): Freeze | null {
  let freeze: Freeze | null = null;
  for (let followed = 0; followed < CHAIN_MAX; followed++) {
    const next = lastEnd(windows, freeze?.untilMs ?? Math.floor(nowMs));
    if (next === null) break;
    freeze = { untilMs: next.untilMs, why: freeze === null ? next.why : freeze.why };
  }
  return freeze;
}

/** The end of the window that is open at a moment and ends last. */
function lastEnd(windows: readonly FreezeWindow[], atMs: number): Freeze | null {
  let last: Freeze | null = null;
  for (const window of windows) {
    const untilMs = "fromMs" in window ? endOf(window.fromMs, window.toMs, atMs) : weeklyEnd(window, atMs);
    if (untilMs !== null && untilMs > (last?.untilMs ?? atMs)) last = { untilMs, why: window.why };
  }
  return last;
}

function endOf(fromMs: number, toMs: number, atMs: number): number | null {
  return fromMs <= atMs && atMs < toMs ? toMs : null;
}

function weeklyEnd(window: WeeklyFreeze, atMs: number): number | null {
  const { days, fromMinute, toMinute, zone } = window;
  const today = Temporal.Instant.fromEpochMilliseconds(atMs).toZonedDateTimeISO(zone).toPlainDate();
  let last: number | null = null;
  // A change of the clocks near midnight moves a beginning to the day before and an end to the day after.
  for (let offset = -2; offset <= 1; offset++) {
    const date = today.add({ days: offset });
    if (!days.includes(DAYS[date.dayOfWeek - 1] as Day)) continue;
    const lastDate = toMinute > fromMinute ? date : date.add({ days: 1 });
    const fromMs = localMs(date, fromMinute, zone, "earlier");
    const untilMs = endOf(fromMs, localMs(lastDate, toMinute, zone, "later"), atMs);
    if (untilMs !== null && untilMs > (last ?? atMs)) last = untilMs;
  }
  return last;
}

function localMs(
  date: Temporal.PlainDate,
  minute: number,
  zone: string,
  disambiguation: "earlier" | "later",
): number {
  const midnight = minute === DAY_MINUTES ? date.add({ days: 1 }) : date;
  const time = { hour: Math.floor((minute % DAY_MINUTES) / 60), minute: minute % 60 };
  return midnight.toPlainDateTime(time).toZonedDateTime(zone, { disambiguation }).epochMilliseconds;
}

function timeFault(value: string): string | null {
  if (TIME_OF_DAY.test(value) || momentMs(value) !== null) return null;
  const what = 'write "16:00", or a date and time with its offset such as "2026-12-24T00:00:00Z"';
  return `"${shorten(value)}" is not a time: ${what}`;
}

function zoneFault(value: string): string | null {
  if (canonicalZone(value) !== null) return null;
  const nearest = nearestName(value, Intl.supportedValuesOf("timeZone"));
  const advice = nearest === null ? 'write one such as "Europe/Berlin"' : `did you mean "${nearest}"?`;
  return `unknown time zone "${shorten(value)}"; ${advice}`;
}

function whyFault(value: string): string | null {
  const isPlain = value.length <= WHY_CHARS_MAX && !/[\x00-\x1f\x7f]/.test(value);
  return isPlain ? null : `write at most ${WHY_CHARS_MAX} characters on one line`;
}

/** The name of a zone in its own spelling, or null. An offset is no zone: it knows no change of the clocks. */
function canonicalZone(name: string): string | null {
  return /^[A-Za-z]/.test(name) ? unlessRange(() => new Temporal.ZonedDateTime(0n, name).timeZoneId) : null;
}

function momentMs(value: string): number | null {
  return MOMENT.test(value) ? unlessRange(() => Temporal.Instant.from(value).epochMilliseconds) : null;
}

function writeMoment(ms: number): string {
  return Temporal.Instant.fromEpochMilliseconds(ms).toString();
}

function minuteOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

function writeMinute(minute: number): string {
  const part = (value: number): string => String(value).padStart(2, "0");
  return `${part(Math.floor(minute / 60))}:${part(minute % 60)}`;
}

/** Temporal refuses what it does not know by throwing. */
function unlessRange<Value>(read: () => Value): Value | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
