/** The demo's claims hold of a faultless course of events, and each of them fails by whatever would refute it. */
import { describe, expect, it } from "vitest";
import { claimsOf, rollbackOf, type Facts, type Move } from "../../src/demo_claims.ts";

function move(revision: number, actor: string, action: string, percent: number): Move {
  return { revision, actor, action, percent, reason: "" };
}

const MOVES: readonly Move[] = [
  move(1, "crossfade", "start", 0),
  move(2, "operator", "shift", 25),
  move(3, "operator", "shift", 50),
  move(4, "crossfade", "rollback", 0),
  move(5, "operator", "rollout.put", 0),
  move(6, "operator", "rollout.start", 0),
  move(7, "crossfade", "rollout.step", 10),
  move(8, "crossfade", "rollout.step", 100),
  move(9, "crossfade", "rollout.promote", 100),
];

const GOOD: Facts = {
  clients: 40,
  account: {
    compared: 900,
    misplaced: 0,
    jumpedBack: 0,
    lost: 0,
    answers: { legacy: 700, new: 300 },
    failures: { legacy: 0, new: 9 },
  },
  moves: MOVES,
  brokenRevision: 3,
  rolledBackMs: 500,
  beforeBreak: { asked: 400, failed: 0 },
  atRollback: { asked: 500, failed: 9 },
  beforePlan: { asked: 600, failed: 9 },
  atEnd: { asked: 1000, failed: 9 },
  failuresOfNew: 9,
  reachedNew: 0,
  steps: [10, 100],
  startRevision: 6,
  phase: "promoted",
  onNewAtEnd: 40,
};

/** What the claims say that do not hold. */
function refuted(part: Partial<Facts>): string[] {
  return claimsOf({ ...GOOD, ...part })
    .filter(({ holds }) => !holds)
    .map(({ says }) => says);
}

function withMoves(change: (moves: readonly Move[]) => readonly Move[]): Partial<Facts> {
  return { moves: change(MOVES) };
}

function replaced(revision: number, part: Partial<Move>): Partial<Facts> {
  return withMoves((moves) => moves.map((one) => (one.revision === revision ? { ...one, ...part } : one)));
}

const { account } = GOOD;
const ROLLBACK = "Crossfade rolled back, once and by itself";
const PLAN = "the plan took each of its steps, once and by itself";

const REFUTATIONS: readonly (readonly [string, Partial<Facts>, string])[] = [
  [
    "legacy failed once",
    { account: { ...account, failures: { legacy: 1, new: 9 } } },
    "no request to legacy failed",
  ],
  [
    "legacy was never asked",
    { account: { ...account, answers: { legacy: 0, new: 9 } } },
    "no request to legacy failed",
  ],
  ["an answer got lost", { account: { ...account, lost: 1 } }, "no request was left without an answer"],
  [
    "an answer came from elsewhere",
    { account: { ...account, misplaced: 1 } },
    "every client was on the side of its bucket",
  ],
  [
    "nothing was compared",
    { account: { ...account, compared: 0 } },
    "every client was on the side of its bucket",
  ],
  [
    "a client went back",
    { account: { ...account, jumpedBack: 1 } },
    "no client went back while the weight grew, in either rise",
  ],
  [
    "something failed early",
    { beforeBreak: { asked: 400, failed: 1 } },
    "nothing failed before the new backend broke",
  ],
  ["a person rolled back", replaced(4, { actor: "operator" }), ROLLBACK],
  ["the rollback left something", replaced(4, { percent: 5 }), ROLLBACK],
  ["nobody rolled back", replaced(4, { action: "shift" }), ROLLBACK],
  ["nothing had failed", { failuresOfNew: 0 }, ROLLBACK],
  ["it rolled back before the break", replaced(2, { actor: "crossfade", action: "rollback" }), ROLLBACK],
  ["something failed later", { atEnd: { asked: 1000, failed: 10 } }, "nothing failed after that"],
  [
    "a request reached the new backend",
    { reachedNew: 1 },
    "nothing reached the new backend until the plan began",
  ],
  [
    "nobody asked meanwhile",
    { beforePlan: { asked: 500, failed: 9 } },
    "nothing reached the new backend until the plan began",
  ],
  ["a step is missing", withMoves((moves) => moves.filter(({ revision }) => revision !== 7)), PLAN],
  [
    "a step came twice",
    withMoves((moves) => moves.flatMap((one) => (one.revision === 7 ? [one, one] : [one]))),
    PLAN,
  ],
  ["a step had another weight", replaced(7, { percent: 20 }), PLAN],
  ["a person helped", replaced(8, { actor: "operator" }), PLAN],
  ["it did not end promoted", { phase: "held" }, PLAN],
  ["the log has no promotion", withMoves((moves) => moves.slice(0, -1)), PLAN],
  ["a client is missing at the end", { onNewAtEnd: 39 }, "every client ended on the new backend"],
];

describe("the claims", () => {
  it("all hold when everything went well", () => {
    expect(refuted({})).toEqual([]);
  });

  it.each(REFUTATIONS)("when %s, one of them fails", (_, part, says) => {
    expect(refuted(part)).toEqual([says]);
  });

  it("count a rollback of the plan as a second one", () => {
    expect(refuted(replaced(8, { action: "rollout.rollback", percent: 0 }))).toEqual([ROLLBACK, PLAN]);
  });

  it("take the first rollback after the break for the one to tell of", () => {
    expect(rollbackOf(GOOD)?.revision).toBe(4);
    expect(rollbackOf({ ...GOOD, brokenRevision: 4 })).toBeNull();
  });
});
