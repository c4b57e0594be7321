/** The texts of a word: what is written can be read, what cannot be meant is refused, and more may come later. */
import { describe, expect, test } from "vitest";
import {
  decodeAccount,
  decodeStatus,
  encodeAccount,
  encodeStatus,
  type MemberStatus,
  type PairAccount,
} from "../../../src/control/member_word.ts";
import { LATENCY_BUCKETS } from "../../../src/domain/latency.ts";
import { INSTANCE_TEXT_MAX } from "../../../src/store/instances.ts";

const STATUS: MemberStatus = {
  run: "018f",
  word: 7,
  version: "1.2.3",
  startedMs: 1_767_225_600_000,
  pid: 42,
  state: "serving",
  servingFrom: "store",
  store: null,
  workers: [
    {
      worker: 0,
      pid: 43,
      version: "1.2.3",
      state: "draining",
      adopted: true,
      appliedRevision: 5,
      refused: { revision: 6, reason: "no sense" },
      connectionsOpen: 2,
      restarts: 1,
      rssBytes: 1_000,
      loopUtilization: 0.5,
      pressure: "comparisons",
      drain: {
        open: { idle: 1, requests: 2, tunnels: 3, streams: 4 },
        requestsUntilMs: 1_000,
        tunnelsUntilMs: 2_000,
      },
    },
  ],
  warnings: ["the disk is full"],
};

const PAIR: PairAccount = {
  route: "shop",
  backend: "old",
  since: 3,
  started: 12,
  finished: 10,
  aborted: 1,
  failures: 2,
  retries: 3,
  durationUsSum: 4_000,
  codes: [
    [200, 8],
    [503, 2],
  ],
  latency: [
    [0, 1],
    [LATENCY_BUCKETS - 1, 9],
  ],
  faults: [["UPSTREAM_RESET", 2]],
  judged: { requests: 9, failures: 1, latency: [[4, 8]] },
};

/** A written text with one value in it exchanged. */
function altered(text: string, path: readonly (string | number)[], value: unknown): string {
  const root = JSON.parse(text) as Record<string | number, unknown>;
  let place = root;
  for (const step of path.slice(0, -1)) place = place[step] as Record<string | number, unknown>;
  place[path.at(-1) ?? ""] = value;
  return JSON.stringify(root);
}

describe("a status", () => {
  const text = encodeStatus(STATUS);

  test("is read as it was written", () => {
    expect(decodeStatus(text)).toEqual(STATUS);
    const calm = { ...STATUS, store: "no answer", workers: [], warnings: [] };
    expect(decodeStatus(encodeStatus(calm))).toEqual(calm);
  });

  test("may say more than this version knows", () => {
    expect(decodeStatus(altered(altered(text, ["zone"], "eu"), ["workers", 0, "cpu"], 3))).toEqual(STATUS);
  });

  test.each([
    [["format"], 2],
    [["run"], ""],
    [["word"], -1],
    [["version"], "x".repeat(201)],
    [["state"], "dreaming"],
    [["serving_from"], "memory"],
    [["store"], 7],
    [["workers"], {}],
    [["workers", 0, "state"], "asleep"],
    [["workers", 0, "loop_utilization"], 1.5],
    [["workers", 0, "refused"], { revision: "6", reason: "" }],
    [["warnings"], Array.from({ length: 101 }, () => "w")],
    [["warnings"], ["x".repeat(1_001)]],
  ])("with %j as %j cannot be read", (path, value) => {
    expect(decodeStatus(altered(text, path, value))).toBeNull();
  });

  test.each(["", "{", "null", "[]", "7", '"x"'])("that is %j cannot be read", (broken) => {
    expect(decodeStatus(broken)).toBeNull();
    expect(decodeAccount(broken)).toBeNull();
  });

  test("is cut where it is longer than what can be read", () => {
    const warnings = Array.from({ length: 200 }, () => "x".repeat(2_000));
    const read = decodeStatus(encodeStatus({ ...STATUS, warnings, store: "y".repeat(2_000) }));
    expect([read?.warnings.length, read?.warnings[0]?.length, read?.store?.length]).toEqual([
      100, 1_000, 1_000,
    ]);
  });
});

describe("an account", () => {
  const account = { run: "018f", word: 7, pairs: [PAIR] };
  const { text } = encodeAccount(account);

  test("is read as it was written", () => {
    expect(decodeAccount(text)).toEqual(account);
    const empty = { run: "018f", word: 1, pairs: [] };
    expect(decodeAccount(encodeAccount(empty).text)).toEqual(empty);
  });

  test("may say more than this version knows, and faults that it does not know are left out", () => {
    const more = altered(altered(text, ["zone"], "eu"), ["pairs", 0, 13], "new");
    expect(decodeAccount(more)).toEqual(account);
    const unknown = altered(text, ["pairs", 0, 11], ["FROM_THE_FUTURE", 4, "UPSTREAM_RESET", 2]);
    expect(decodeAccount(unknown)).toEqual(account);
  });

  test.each([
    [["format"], 2],
    [["run"], 5],
    [["word"], 1.5],
    [["pairs"], {}],
    [["pairs", 0], {}],
    [["pairs", 0, 0], "two words"],
    [["pairs", 0, 1], ""],
    [["pairs", 0, 2], 8],
    [["pairs", 0, 4], -1],
    [["pairs", 0, 6], 2 ** 53],
    [["pairs", 0, 8], null],
    [["pairs", 0, 9], [200]],
    [
      ["pairs", 0, 9],
      [503, 2, 200, 8],
    ],
    [
      ["pairs", 0, 9],
      [200, 1, 200, 1],
    ],
    [
      ["pairs", 0, 9],
      [1_000, 1],
    ],
    [
      ["pairs", 0, 10],
      [LATENCY_BUCKETS, 1],
    ],
    [
      ["pairs", 0, 10],
      [3, 0],
    ],
    [["pairs", 0, 11], ["UPSTREAM_RESET"]],
    [
      ["pairs", 0, 11],
      [7, 7],
    ],
    [
      ["pairs", 0, 12],
      [9, 1],
    ],
    [
      ["pairs", 0, 12],
      [9, 1.5, []],
    ],
  ])("with %j as %j cannot be read", (path, value) => {
    expect(decodeAccount(altered(text, path, value))).toBeNull();
  });

  test("that does not fit says the busiest pairs and how many are left out", () => {
    const pairs = Array.from({ length: 50 }, (_, n) => ({ ...PAIR, route: `r${n}`, finished: n }));
    const one = encodeAccount({ ...account, pairs: pairs.slice(0, 1) }).text.length;
    const { text: short, leftOut } = encodeAccount({ ...account, pairs }, 10 * one);
    const kept = decodeAccount(short)?.pairs.map(({ finished }) => finished) ?? [];
    expect(short.length).toBeLessThanOrEqual(10 * one);
    expect(kept.length).toBeGreaterThanOrEqual(10);
    expect(kept).toEqual(Array.from(kept, (_, n) => 49 - n));
    expect(leftOut).toBe(50 - kept.length);
  });

  test("longer than a word may be is not even looked at", () => {
    expect(decodeAccount(text + " ".repeat(INSTANCE_TEXT_MAX - text.length))).toEqual(account);
    expect(decodeAccount(text + " ".repeat(INSTANCE_TEXT_MAX - text.length + 1))).toBeNull();
  });
});
