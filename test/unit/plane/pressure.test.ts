/** What a worker gives up when it is pressed, in which order, and when it takes it up again. */
import { describe, expect, test } from "vitest";
import { Pressure, type Load } from "../../../src/plane/pressure.ts";

const CALM: Load = { lagMs: 0, utilization: 0.5, heap: 0.2 };

describe("pressure", () => {
  test.each<[string, Partial<Load>, string]>([
    ["nothing", {}, "none"],
    ["a little lag", { lagMs: 50 }, "none"],
    ["lag", { lagMs: 51 }, "mirrors"],
    ["a busy thread", { utilization: 0.96 }, "mirrors"],
    ["more lag", { lagMs: 101 }, "comparisons"],
    ["one long stall", { lagMs: 5_000 }, "comparisons"],
    ["a filling heap", { heap: 0.76 }, "mirrors"],
    ["a fuller heap", { heap: 0.86 }, "comparisons"],
    ["a heap that is nearly full", { heap: 0.96 }, "connections"],
  ])("of %s", (_, part, level) => {
    expect(new Pressure().feel({ ...CALM, ...part }, 0)).toBe(level);
  });

  test("turns clients away only after five late sweeps in a row", () => {
    const pressure = new Pressure();
    const levels = [201, 201, 201, 201, 150, 201, 201, 201, 201, 201].map((lagMs, index) =>
      pressure.feel({ ...CALM, lagMs }, 450 * index),
    );
    expect(levels.slice(0, -1)).not.toContain("connections");
    expect(levels.at(-1)).toBe("connections");
  });

  test("lasts for a second after it was last due, level by level", () => {
    const pressure = new Pressure();
    expect(pressure.feel({ ...CALM, heap: 0.96 }, 0)).toBe("connections");
    expect(pressure.feel({ ...CALM, heap: 0.86 }, 600)).toBe("connections");
    expect(pressure.feel(CALM, 999)).toBe("connections");
    expect(pressure.feel(CALM, 1_000)).toBe("comparisons");
    expect(pressure.feel(CALM, 1_599)).toBe("comparisons");
    expect(pressure.feel(CALM, 1_600)).toBe("none");
  });
});
