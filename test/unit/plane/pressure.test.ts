/** What a worker gives up when it is pressed, in which order, and when it takes it up again. */
import { describe, expect, test } from "vitest";
import { Pressure, type Load } from "../../../src/plane/pressure.ts";

const CALM: Load = { lagMs: 0, utilization: 0.5, heap: 0.2, files: 0.1 };

function levelOf(pressure: Pressure, load: Load, nowMs: number): string {
  return pressure.feel(load, nowMs)?.level ?? "none";
}

describe("pressure", () => {
  test.each<[string, Partial<Load>, unknown]>([
    ["nothing", {}, null],
    ["a little lag", { lagMs: 50 }, null],
    ["lag", { lagMs: 51 }, { level: "mirrors", cause: "lag" }],
    ["a busy thread", { utilization: 0.96 }, { level: "mirrors", cause: "busy" }],
    ["more lag", { lagMs: 101 }, { level: "comparisons", cause: "lag" }],
    ["one long stall", { lagMs: 5_000 }, { level: "comparisons", cause: "lag" }],
    ["a filling heap", { heap: 0.76 }, { level: "mirrors", cause: "heap" }],
    ["a fuller heap", { heap: 0.86 }, { level: "comparisons", cause: "heap" }],
    ["a heap that is nearly full", { heap: 0.96 }, { level: "connections", cause: "heap" }],
    ["descriptors that run out", { files: 0.96 }, { level: "connections", cause: "files" }],
  ])("of %s", (_, part, due) => {
    expect(new Pressure().feel({ ...CALM, ...part }, 0)).toEqual(due);
  });

  test("turns clients away only after five late sweeps in a row", () => {
    const pressure = new Pressure();
    const levels = [201, 201, 201, 201, 150, 201, 201, 201, 201, 201].map((lagMs, index) =>
      levelOf(pressure, { ...CALM, lagMs }, 450 * index),
    );
    expect(levels.slice(0, -1)).not.toContain("connections");
    expect(levels.at(-1)).toBe("connections");
  });

  test("lasts for a second after it was last due, level by level", () => {
    const pressure = new Pressure();
    expect(levelOf(pressure, { ...CALM, heap: 0.96 }, 0)).toBe("connections");
    expect(levelOf(pressure, { ...CALM, heap: 0.86 }, 600)).toBe("connections");
    expect(levelOf(pressure, CALM, 999)).toBe("connections");
    expect(levelOf(pressure, CALM, 1_000)).toBe("comparisons");
    expect(levelOf(pressure, CALM, 1_599)).toBe("comparisons");
    expect(levelOf(pressure, CALM, 1_600)).toBe("none");
  });
});
