/** The demo's watch tells the crowd nothing that is not sure: which weight holds, and until when it did. */
import { afterEach, describe, expect, it } from "vitest";
import type { Answer, Call } from "../../src/client.ts";
import { Watch } from "../../src/demo_watch.ts";
import { until } from "../support/wait.ts";

/** What the API says at the moment. */
interface Said {
  revision: number;
  percent: number;
  braked: boolean;
  applied: number;
}

let watch: Watch | null = null;

afterEach(() => watch?.stop());

/** A watch over a route in this state. Each look is a millisecond of its clock. */
function stage(said: Said): { watch: Watch; told: string[]; asked: () => number } {
  const told: string[] = [];
  let nowMs = 0;
  let asked = 0;
  const call = (one: Call): Promise<Answer<unknown>> => {
    if (one.path === "/v1/fleet") {
      return Promise.resolve({ status: 200, body: { workers: [{ applied_revision: said.applied }] } });
    }
    asked++;
    const { revision, percent, braked } = said;
    const backends = [
      { role: "legacy", share_configured_percent: 100 - percent },
      { role: "candidate", share_configured_percent: percent },
    ];
    return Promise.resolve({ status: 200, body: { revision, braked, backends, rollout: null } });
  };
  watch = new Watch({
    route: "shop",
    admin: { call: call as never },
    crowd: {
      expect: (shares, isGrowing) => told.push(`expect ${shares} ${isGrowing}`),
      unsettle: () => told.push("unsettle"),
      confirm: (untilMs) => told.push(`confirm ${untilMs}`),
    },
    clock: { nowMs: () => ++nowMs, wallMs: () => 0 },
  });
  return { watch, told, asked: () => asked };
}

async function looks(asked: () => number, count: number): Promise<void> {
  const goal = asked() + count;
  await until("it has looked again", () => asked() >= goal);
}

describe("the watch", () => {
  it("expects a weight once every worker has it, and never confirms the time after the last look but one", async () => {
    const said = { revision: 1, percent: 25, braked: false, applied: 0 };
    const { watch: watching, told, asked } = stage(said);
    await until("it has asked", () => asked() > 0);
    expect(told).toEqual(["unsettle"]);
    said.applied = 1;
    await until("it has confirmed twice", () => told.length >= 4);
    // The clock: 1 begins the first look, 2 is when the table was known, 3 and 4 begin the others.
    expect(told.slice(0, 4)).toEqual(["unsettle", "expect 25000 true", "confirm 1", "confirm 3"]);
    expect(watching.now).toMatchObject({ revision: 1, percent: 25, sinceMs: 2, phase: null });
  });

  it("lets go of what it knew when the revision is another one, and knows a rise from a fall", async () => {
    const said = { revision: 1, percent: 50, braked: false, applied: 9 };
    const { watch: watching, told } = stage(said);
    await until("it knows the first table", () => watching.now.revision === 1);
    Object.assign(said, { revision: 2, percent: 0 });
    await until("it knows the second table", () => watching.now.revision === 2);
    const later = told.slice(told.lastIndexOf("unsettle"));
    expect(later.slice(0, 2)).toEqual(["unsettle", "expect 0 false"]);
  });

  it("knows nothing while a brake is on, and starts anew after it", async () => {
    const said = { revision: 1, percent: 50, braked: false, applied: 9 };
    const { watch: watching, told, asked } = stage(said);
    await until("it knows the table", () => watching.now.revision === 1);
    said.braked = true;
    await looks(asked, 2);
    told.length = 0;
    await looks(asked, 2);
    expect(new Set(told)).toEqual(new Set(["unsettle"]));
    said.braked = false;
    await until("it expects again", () => told.includes("expect 50000 true"));
  });

  it("is lost when the API cannot be read", async () => {
    const broken = new Watch({
      route: "shop",
      admin: { call: () => Promise.reject(new Error("no answer")) },
      crowd: { expect: () => undefined, unsettle: () => undefined, confirm: () => undefined },
      clock: { nowMs: () => 0, wallMs: () => 0 },
    });
    await expect(broken.lost).rejects.toThrow("no answer");
    await broken.stop();
  });
});
