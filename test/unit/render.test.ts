/** The look of the command line: widths, colours, units, and what other people's text may not do to a terminal. */
import { describe, expect, it } from "vitest";
import {
  bar,
  clean,
  countText,
  facts,
  localTime,
  lookOf,
  mebibytesText,
  msText,
  paint,
  percentText,
  PLAIN,
  shareText,
  table,
  widthOf,
  type Look,
} from "../../src/render.ts";

const COLOURED: Look = { colour: true, columns: 40 };
const ESCAPE = "\u001b";

describe("lookOf", () => {
  it("gives a pipe no colours and no width", () => {
    expect(lookOf({}, { TERM: "xterm" })).toEqual({ colour: false, columns: null });
  });

  it("gives a terminal colours and its width", () => {
    expect(lookOf({ isTTY: true, columns: 120 }, { TERM: "xterm" })).toEqual({ colour: true, columns: 120 });
    expect(lookOf({ isTTY: true }, {})).toEqual({ colour: true, columns: 80 });
  });

  it("honours NO_COLOR above all, but not an empty one", () => {
    const terminal = { isTTY: true, columns: 80 };
    expect(lookOf(terminal, { NO_COLOR: "1", FORCE_COLOR: "1" }).colour).toBe(false);
    expect(lookOf(terminal, { NO_COLOR: "" }).colour).toBe(true);
  });

  it("colours a pipe when FORCE_COLOR says so, and no dumb terminal", () => {
    expect(lookOf({}, { FORCE_COLOR: "1" })).toEqual({ colour: true, columns: null });
    expect(lookOf({ isTTY: true }, { FORCE_COLOR: "0" }).colour).toBe(false);
    expect(lookOf({ isTTY: true }, { TERM: "dumb" }).colour).toBe(false);
  });
});

describe("paint", () => {
  it("adds colours only where they are seen", () => {
    expect(paint(PLAIN, "red", "no")).toBe("no");
    expect(paint(COLOURED, "red", "no")).toBe(`${ESCAPE}[31mno${ESCAPE}[39m`);
    expect(widthOf(paint(COLOURED, "bold", "four"))).toBe(4);
  });
});

describe("table", () => {
  const columns = [{ title: "ROUTE" }, { title: "WEIGHT", align: "right" as const }, { title: "REASON" }];

  it("aligns its columns and leaves no space at the end of a line", () => {
    const text = table(
      columns,
      [
        ["shop", "5 %", "a"],
        ["account", "100 %", ""],
      ],
      PLAIN,
    );
    expect(text.split("\n")).toEqual(["ROUTE    WEIGHT  REASON", "shop        5 %  a", "account   100 %"]);
  });

  it("cuts the last column at the edge of a terminal, and nothing in a pipe", () => {
    const reason = "because of the long story that nobody reads on a small screen";
    const narrow: Look = { colour: false, columns: 40 };
    const [, cut] = table(columns, [["shop", "5 %", reason]], narrow).split("\n");
    expect(cut).toHaveLength(40);
    expect(cut?.endsWith("\u2026")).toBe(true);
    expect(table(columns, [["shop", "5 %", reason]], PLAIN)).toContain(reason);
  });

  it("aligns by what is seen when cells have colours", () => {
    const text = table(columns, [[{ text: "shop", tone: "green" }, "5 %", "a"]], COLOURED);
    expect(text).toContain(`${ESCAPE}[32mshop`);
    expect(text.split("\n").map(widthOf)).toEqual([21, 16]);
  });

  it("lets nobody's text command the terminal or break a line", () => {
    const text = table(columns, [[`a${ESCAPE}[2J`, "1\n2", "\u009b"]], COLOURED);
    expect(text).toContain("a\\u{1b}[2J");
    expect(text).toContain("1\\u{a}2");
    expect(text.split("\n")).toHaveLength(2);
  });

  it("shows missing cells as empty", () => {
    expect(table(columns, [["shop"]], PLAIN).split("\n")[1]).toBe("shop");
  });
});

describe("facts", () => {
  it("aligns values under each other", () => {
    expect(
      facts(
        [
          ["route", "shop"],
          ["to", { text: "new", tone: "green" }],
        ],
        PLAIN,
      ),
    ).toBe("route  shop\nto     new");
  });
});

describe("bar", () => {
  it("is always as wide as asked", () => {
    for (let percent = 0; percent <= 100; percent += 0.5) expect(bar(percent, 10)).toHaveLength(10);
  });

  it("is empty only at zero and full only near a hundred", () => {
    expect(bar(0, 4)).toBe("\u2591\u2591\u2591\u2591");
    expect(bar(0.001, 4)).not.toBe(bar(0, 4));
    expect(bar(50, 4)).toBe("\u2588\u2588\u2591\u2591");
    expect(bar(100, 4)).toBe("\u2588\u2588\u2588\u2588");
    expect(bar(250, 4)).toBe(bar(100, 4));
  });
});

describe("numbers", () => {
  it("have their unit and as many digits as mean something", () => {
    expect([0, 5, 12.5, 0.125, 100].map(percentText)).toEqual(["0 %", "5 %", "12.5 %", "0.125 %", "100 %"]);
    expect([null, 0, 33.333].map(shareText)).toEqual(["-", "0.0 %", "33.3 %"]);
    expect([null, 0.5, 12.34, 250, 12_000, Infinity].map(msText)).toEqual([
      "-",
      "0.50 ms",
      "12.3 ms",
      "250 ms",
      "12.0 s",
      "> 100 s",
    ]);
    expect(countText(1234567)).toBe("1,234,567");
    expect(mebibytesText(52_428_800)).toBe("50 MiB");
  });
});

describe("localTime", () => {
  it("keeps the moment and names the zone", () => {
    const iso = "2026-08-21T12:03:11.500Z";
    const text = localTime(iso);
    expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/);
    expect(new Date(text).getTime()).toBe(new Date("2026-08-21T12:03:11Z").getTime());
  });

  it("leaves what is no date as it is", () => {
    expect(localTime("soon")).toBe("soon");
  });
});

describe("clean", () => {
  it("keeps letters of every language", () => {
    expect(clean("größer – 更大")).toBe("größer – 更大");
  });
});
