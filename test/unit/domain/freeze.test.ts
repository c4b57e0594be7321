/** Freeze windows: how they are written, when they are in force, and what changes of the clocks do to them. */
import { describe, expect, test } from "vitest";
import { encodeFreeze, frozenUntil, readFreeze } from "../../../src/domain/freeze.ts";
import type { FreezeWindow } from "../../../src/domain/rollout_words.ts";
import { Findings } from "../../../src/domain/problems.ts";

function windowOf(input: unknown): FreezeWindow {
  const findings = new Findings();
  const window = readFreeze(input, [], findings);
  expect(findings.list()).toEqual([]);
  return window as FreezeWindow;
}

function problemsOf(input: unknown): Record<string, string> {
  const findings = new Findings();
  expect(readFreeze(input, [], findings)).toBe(null);
  return Object.fromEntries(findings.list().map(({ path, message }) => [path.join("/"), message]));
}

/** The end of the freeze at a moment, both as ISO texts; null when nothing is frozen. */
function end(at: string, ...windows: unknown[]): string | null {
  const freeze = frozenUntil(windows.map(windowOf), Date.parse(at));
  return freeze === null ? null : new Date(freeze.untilMs).toISOString().replace(".000Z", "Z");
}

const NIGHT = { days: ["fri", "sat"], from: "16:00", to: "08:00", zone: "Europe/Berlin" };

describe("a weekly window", () => {
  test("has all days, UTC and no reason unless told otherwise", () => {
    const window = windowOf({ from: "16:30", to: "24:00" });
    expect(window).toEqual({
      days: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
      fromMinute: 990,
      toMinute: 1440,
      zone: "UTC",
      why: null,
    });
    expect(encodeFreeze(window)).toEqual({ from: "16:30", to: "24:00" });
  });

  test("is written as it was read, its days in order and its zone as the zone spells itself", () => {
    const window = windowOf({
      ...NIGHT,
      days: ["sat", "fri"],
      zone: "europe/berlin",
      why: "nobody is there",
    });
    expect(encodeFreeze(window)).toEqual({ ...NIGHT, why: "nobody is there" });
  });

  test("holds from its first moment up to, but not including, its last", () => {
    const noon = { from: "12:00", to: "13:00" };
    expect(end("2026-08-21T11:59:59Z", noon)).toBe(null);
    expect(end("2026-08-21T12:00:00Z", noon)).toBe("2026-08-21T13:00:00Z");
    expect(end("2026-08-21T12:59:59Z", noon)).toBe("2026-08-21T13:00:00Z");
    expect(end("2026-08-21T13:00:00Z", noon)).toBe(null);
  });

  // 2026-08-21 is a Friday; Berlin is two hours ahead of UTC.
  test("that crosses midnight belongs to the day it begins on", () => {
    expect(end("2026-08-21T13:59:00Z", NIGHT)).toBe(null);
    expect(end("2026-08-21T14:00:00Z", NIGHT)).toBe("2026-08-22T06:00:00Z");
    expect(end("2026-08-22T05:59:00Z", NIGHT)).toBe("2026-08-22T06:00:00Z");
    expect(end("2026-08-22T06:00:00Z", NIGHT)).toBe(null);
    expect(end("2026-08-22T14:00:00Z", NIGHT)).toBe("2026-08-23T06:00:00Z");
    expect(end("2026-08-23T14:00:00Z", NIGHT)).toBe(null);
  });

  test("follows the clocks of its zone through the year", () => {
    const office = { from: "09:00", to: "17:00", zone: "America/New_York" };
    expect(end("2026-01-15T13:30:00Z", office)).toBe(null);
    expect(end("2026-01-15T14:00:00Z", office)).toBe("2026-01-15T22:00:00Z");
    expect(end("2026-07-15T13:30:00Z", office)).toBe("2026-07-15T21:00:00Z");
  });
});

// Berlin: 02:00 becomes 03:00 on 2026-03-29 (01:00 UTC); 03:00 becomes 02:00 on 2026-10-25 (01:00 UTC).
describe("when the clocks change", () => {
  const zone = "Europe/Berlin";

  test("a beginning in the gap of spring counts before it, and an end after it", () => {
    expect(end("2026-03-29T00:29:00Z", { from: "02:30", to: "04:00", zone })).toBe(null);
    expect(end("2026-03-29T00:30:00Z", { from: "02:30", to: "04:00", zone })).toBe("2026-03-29T02:00:00Z");
    expect(end("2026-03-29T00:00:00Z", { from: "01:00", to: "02:30", zone })).toBe("2026-03-29T01:30:00Z");
  });

  test("a window that lies within the gap is not lost", () => {
    expect(end("2026-03-29T01:00:00Z", { from: "02:15", to: "02:45", zone })).toBe("2026-03-29T01:45:00Z");
  });

  test("a time that comes twice in autumn counts early for a beginning and late for an end", () => {
    expect(end("2026-10-25T00:30:00Z", { from: "02:30", to: "04:00", zone })).toBe("2026-10-25T03:00:00Z");
    expect(end("2026-10-25T00:00:00Z", { from: "01:00", to: "02:30", zone })).toBe("2026-10-25T01:30:00Z");
  });

  test("a night is an hour shorter or longer", () => {
    const night = { from: "22:00", to: "06:00", zone };
    expect(end("2026-03-28T21:00:00Z", night)).toBe("2026-03-29T04:00:00Z");
    expect(end("2026-10-24T20:00:00Z", night)).toBe("2026-10-25T05:00:00Z");
  });

  test("a gap at midnight moves a beginning to the day before", () => {
    // Cairo: 00:00 becomes 01:00 on Friday 2026-04-24 (22:00 UTC of the day before).
    const friday = { days: ["fri"], from: "00:30", to: "02:00", zone: "Africa/Cairo" };
    expect(end("2026-04-23T21:45:00Z", friday)).toBe("2026-04-23T23:00:00Z");
  });
});

describe("a window between two moments", () => {
  const christmas = { from: "2026-12-24T00:00:00Z", to: "2027-01-02T01:00:00+01:00", why: "Christmas" };

  test("comes once, whatever the offsets it is written with", () => {
    expect(end("2026-12-23T23:59:59Z", christmas)).toBe(null);
    expect(end("2026-12-24T00:00:00Z", christmas)).toBe("2027-01-02T00:00:00Z");
    expect(end("2027-01-02T00:00:00Z", christmas)).toBe(null);
    expect(encodeFreeze(windowOf(christmas))).toEqual({ ...christmas, to: "2027-01-02T00:00:00Z" });
  });
});

describe("several windows", () => {
  test("that touch or overlap are one freeze, with the reason of the one open now", () => {
    const evening = { from: "16:00", to: "24:00", why: "evening" };
    const morning = { from: "00:00", to: "08:00", why: "morning" };
    const windows = [morning, evening].map(windowOf);
    expect(frozenUntil(windows, Date.parse("2026-08-21T20:00:00Z"))).toEqual({
      untilMs: Date.parse("2026-08-22T08:00:00Z"),
      why: "evening",
    });
  });

  test("that are open together last until the later of their ends, with its reason", () => {
    const windows = [
      { from: "16:00", to: "17:00", why: "short" },
      { from: "15:00", to: "20:00", why: "long" },
      { from: "16:00", to: "18:00", why: "middle" },
    ];
    expect(frozenUntil(windows.map(windowOf), Date.parse("2026-08-21T16:30:00Z"))).toEqual({
      untilMs: Date.parse("2026-08-21T20:00:00Z"),
      why: "long",
    });
  });

  test("without an end between them are followed only so far", () => {
    expect(end("2026-08-01T00:00:00Z", { from: "00:00", to: "24:00" })).toBe("2026-08-17T00:00:00Z");
  });

  test("none of which is open freeze nothing", () => {
    expect(end("2026-08-21T12:00:00.5Z")).toBe(null);
  });
});

describe("refused is", () => {
  test.each([
    ["an unknown zone", { zone: "Europe/Berln" }, { zone: /^unknown .*did you mean "Europe\/Berlin"\?$/ }],
    ["an offset as a zone", { zone: "+01:00" }, { zone: /^unknown time zone/ }],
    ["an empty window", { to: "16:00" }, { to: /empty; a whole day is from "00:00" to "24:00"/ }],
    ["a beginning at the end of a day", { from: "24:00" }, { from: /"00:00"/ }],
    ["a time that does not exist", { from: "25:00" }, { from: /is not a time/ }],
    ["no beginning", { from: undefined }, { from: /"from" is missing/ }],
    ["an unknown day", { days: ["fry"] }, { "days/0": /did you mean "fri"/ }],
    ["a day twice", { days: ["fri", "fri"] }, { "days/1": /the same as entry 0/ }],
    ["a list without days", { days: [] }, { days: /1 to 7 entries/ }],
    ["an unknown key", { zon: "UTC" }, { zon: /did you mean "zone"/ }],
    ["a reason of two lines", { why: "a\nb" }, { why: /one line/ }],
    ["a time and a date", { to: "2027-01-02T00:00:00Z" }, { to: /both/ }],
  ])("%s", (_, change, problems) => {
    const found = problemsOf({ ...NIGHT, ...change });
    expect(Object.keys(found)).toEqual(Object.keys(problems));
    for (const [path, pattern] of Object.entries(problems)) expect(found[path]).toMatch(pattern);
  });

  test("a period that ends before it begins, or has days and a zone", () => {
    const period = { from: "2026-12-24T00:00:00Z", to: "2026-12-24T00:00:00Z", days: ["fri"], zone: "UTC" };
    expect(Object.keys(problemsOf(period))).toEqual(["days", "zone", "to"]);
  });

  test.each(["2026-02-30T00:00:00Z", "2026-12-24", "2026-12-24T00:00:00", "2026-12-24T00:00:00.5Z"])(
    "%s as a moment",
    (from) => {
      expect(problemsOf({ from, to: "2027-01-01T00:00:00Z" })["from"]).toMatch(/is not a time/);
    },
  );
});
