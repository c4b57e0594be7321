/** Who is started, replaced, killed or taken over: the decisions alone. */
import { describe, expect, test } from "vitest";
import {
  PACE,
  countedMs,
  excessCause,
  goneByMs,
  isCrashLooping,
  isCrowded,
  openSlot,
  overdueCause,
  receive,
  recordDeath,
  recordLife,
  type Hello,
  type Scene,
  type Slot,
} from "../../../src/control/roster.ts";
import { PROTOCOL, TICK_MS } from "../../../src/shared/messages.ts";

const HEARTBEAT_MS = 10_000;

describe("a slot", () => {
  test("whose worker lived long starts the next one at once", () => {
    const slot = recordDeath(openSlot(3), PACE.quickLifeMs, 5_000, PACE);
    expect(slot).toEqual({ worker: 3, quickDeaths: 0, restarts: 1, startAtMs: 5_000 });
  });

  test("backs off from 100 ms, doubling up to 10 s, while workers die young", () => {
    let slot = openSlot(0);
    const waits: number[] = [];
    for (let n = 0; n < 9; n++) {
      slot = recordDeath(slot, n % 2 === 0 ? null : PACE.quickLifeMs - 1, 0, PACE);
      waits.push(slot.startAtMs);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    expect(slot.restarts).toBe(9);
  });

  test("is in a crash loop from the third young death in a row until a worker lives long", () => {
    let slot: Slot = openSlot(0);
    const loops = [1, 2, 3].map(() => {
      slot = recordDeath(slot, 0, 0, PACE);
      return isCrashLooping(slot);
    });
    expect(loops).toEqual([false, false, true]);
    expect(isCrashLooping(recordLife(slot, PACE.quickLifeMs - 1, PACE))).toBe(true);
    expect(isCrashLooping(recordLife(slot, PACE.quickLifeMs, PACE))).toBe(false);
    expect(recordLife(slot, PACE.quickLifeMs, PACE).restarts).toBe(3);
  });
});

describe("a worker", () => {
  const patient = { startingMs: 0, silentMs: 0, quietMs: 0, owedMs: 0 };

  test("is left alone up to every limit", () => {
    const { startMaxMs, silentMaxMs, owedMaxMs } = PACE;
    const waits = { startingMs: startMaxMs, silentMs: silentMaxMs, quietMs: HEARTBEAT_MS, owedMs: owedMaxMs };
    expect(overdueCause(waits, PACE, HEARTBEAT_MS)).toBeNull();
  });

  test.each([
    ["startingMs", PACE.startMaxMs, "not ready"],
    ["silentMs", PACE.silentMaxMs, "lost its channel"],
    ["quietMs", HEARTBEAT_MS, "no counters"],
    ["owedMs", PACE.owedMaxMs, "did not acknowledge"],
  ])("is overdue when %s is over its limit", (wait, limit, words) => {
    expect(overdueCause({ ...patient, [wait]: limit + 1 }, PACE, HEARTBEAT_MS)).toContain(words);
  });

  test("is not blamed for the time that the control process itself stood still", () => {
    expect(countedMs(TICK_MS)).toBe(TICK_MS);
    expect(countedMs(3_600_000)).toBe(2 * TICK_MS);
  });
});

describe("a planned replacement", () => {
  const limits = { memoryBytesMax: 256 * 1024 * 1024, ageMsMax: 3_600_000, heartbeatMs: HEARTBEAT_MS };
  const worker = { rssBytes: limits.memoryBytesMax, livedMs: limits.ageMsMax };

  test("is due for whoever is over a limit, and for nobody at it or without one", () => {
    expect(excessCause(worker, limits, PACE)).toBeNull();
    expect(excessCause({ ...worker, rssBytes: worker.rssBytes + 1 }, limits, PACE)).toBe(
      "it uses 257 MiB of memory; 256 MiB are allowed",
    );
    expect(excessCause({ ...worker, livedMs: worker.livedMs + 1 }, limits, PACE)).toBe(
      "it is older than 3600 s",
    );
    const none = { ...limits, memoryBytesMax: null, ageMsMax: null };
    expect(excessCause({ rssBytes: 2 ** 40, livedMs: 2 ** 40 }, none, PACE)).toBeNull();
  });

  test("never strikes a young worker: its successor would need as much", () => {
    const young = { rssBytes: 2 ** 40, livedMs: PACE.limitsAfterMs - 1 };
    expect(excessCause(young, limits, PACE)).toBeNull();
  });

  test("waits while twice as many drain as there are slots", () => {
    expect([isCrowded(3, 2), isCrowded(4, 2), isCrowded(5, 2)]).toEqual([false, true, true]);
  });

  test("gives a drain until its last deadline and 2 s, or 2 s when it is cut short", () => {
    const options = { graceMs: 1, spreadMs: 0, idleMs: 2, deadlineMs: 3_000, tunnelsMs: 9_000 };
    expect(goneByMs(options, false, 100)).toBe(11_100);
    expect(goneByMs({ ...options, tunnelsMs: 0 }, false, 100)).toBe(5_100);
    expect(goneByMs(options, true, 100)).toBe(2_100);
  });
});

describe("an unknown worker that says hello", () => {
  const hello: Hello = {
    type: "hello",
    protocol: PROTOCOL,
    version: "1",
    pid: 10,
    worker: 1,
    listen: ["a:1", "b:2"],
    revision: 4,
    draining: false,
  };
  const scene: Scene = { listen: ["a:1", "b:2"], ownsSockets: false, free: [0, 1, 2], awaited: [] };

  test("keeps its slot when that is free", () => {
    expect(receive(hello, scene)).toEqual({ as: "member", worker: 1, awaited: false });
  });

  test("gets another slot when its own is taken", () => {
    expect(receive(hello, { ...scene, free: [0, 2] })).toEqual({ as: "member", worker: 0, awaited: false });
  });

  test("is the one that a sibling was asked for", () => {
    expect(receive(hello, { ...scene, awaited: [1] })).toEqual({ as: "member", worker: 1, awaited: true });
  });

  test.each([
    ["every slot has a worker", {}, { free: [] }],
    ["it serves fewer addresses", { listen: ["a:1"] }, {}],
    ["it serves other addresses", { listen: ["a:1", "b:3"] }, {}],
    ["this process has sockets of its own", {}, { ownsSockets: true }],
  ])("is dismissed when %s", (_, words, change) => {
    expect(receive({ ...hello, ...words }, { ...scene, ...change }).as).toBe("dismissed");
  });

  test("is left to its end when it drains already", () => {
    expect(receive({ ...hello, draining: true }, { ...scene, free: [] }).as).toBe("leaving");
  });

  test("of another protocol serves until its successor does", () => {
    const outdated = receive({ ...hello, protocol: PROTOCOL + 1 }, scene);
    expect(outdated).toMatchObject({ as: "outdated", worker: 1 });
  });

  test("of another protocol is refused when it was to be that successor", () => {
    const refused = receive({ ...hello, protocol: PROTOCOL + 1 }, { ...scene, awaited: [1] });
    expect(refused).toMatchObject({ as: "refused", worker: 1 });
  });
});
