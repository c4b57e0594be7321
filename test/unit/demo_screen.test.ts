/** The demo's rows fit the terminal, and whatever Crossfade said cannot command it. */
import { describe, expect, it } from "vitest";
import type { Tally } from "../../src/demo_clients.ts";
import { Screen } from "../../src/demo_screen.ts";
import { ManualClock } from "../support/clock.ts";

const FULL: Tally = {
  sides: {
    legacy: { answers: 1_234_567, failures: 123_456, latenciesMs: [1234.5] },
    new: { answers: 1_234_567, failures: 0, latenciesMs: [] },
  },
  lost: 0,
};

function written(columns: number | null, tell: (screen: Screen) => void): string[] {
  let text = "";
  const out = (words: string): void => void (text += words);
  tell(new Screen({ out, look: { colour: false, columns }, clock: new ManualClock() }));
  return text.trimEnd().split("\n");
}

describe("the screen", () => {
  it.each([80, 91, 92, 200])(
    "keeps the rows within %i columns, their titles above their figures",
    (columns) => {
      const lines = written(columns, (screen) => {
        screen.columns();
        screen.row(FULL, 100);
      });
      expect(lines).toHaveLength(3);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
      expect(lines[2]?.includes("\u2588")).toBe(columns >= 92);
      expect(lines[1]?.indexOf("answers")).toBe(lines[2]?.indexOf("1234567"));
    },
  );

  it("shows what a row has lost, and no control characters of others", () => {
    const [row, note] = written(null, (screen) => {
      screen.row({ ...FULL, lost: 3 }, 5);
      screen.note("why: \u001b[2J");
    });
    expect(row).toMatch(/ 5 % .*3 lost$/);
    expect(note).toBe("  why: \\u{1b}[2J");
  });

  it("marks the claims that do not hold", () => {
    const claims = [
      { says: "one", holds: true, figures: "0 of 9" },
      { says: "another", holds: false, figures: "1 of 9" },
    ];
    expect(written(null, (screen) => screen.claims(claims))).toEqual([
      "  ok  one      0 of 9",
      "  NO  another  1 of 9",
    ]);
  });
});
