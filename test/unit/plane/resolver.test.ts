/** The resolver with a clock moved by hand and lookups that the test answers. */
import { beforeEach, describe, expect, test } from "vitest";
import { Deadlines } from "../../../src/plane/deadlines.ts";
import { Resolver } from "../../../src/plane/resolver.ts";
import { ManualClock } from "../../support/clock.ts";

interface Question {
  readonly host: string;
  answer(...addresses: string[]): Promise<void>;
  fail(): Promise<void>;
}

let clock: ManualClock;
let deadlines: Deadlines;
let questions: Question[];
let gone: string[];
let lines: string[];
let resolver: Resolver;

beforeEach(() => {
  clock = new ManualClock();
  deadlines = new Deadlines();
  questions = [];
  gone = [];
  lines = [];
  const note = (_: object, message: string): void => void lines.push(message);
  resolver = new Resolver({
    clock,
    deadlines,
    lookup: (host) =>
      new Promise((resolve, reject) => {
        questions.push({
          host,
          answer: (...addresses) => settled(() => resolve(addresses)),
          fail: () => settled(() => reject(new Error("no answer"))),
        });
      }),
    log: { debug: note, info: note, warn: note, error: note },
    onGone: (host) => gone.push(host),
  });
});

/** Does something and lets everything that follows from it happen. */
async function settled(act: () => void): Promise<void> {
  act();
  await new Promise(setImmediate);
}

/** What whoever asks for a name has got: null while it waits. */
function ask(host = "a.test"): { got: readonly string[] | string | null } {
  const asked: { got: readonly string[] | string | null } = { got: null };
  resolver.find(host, (addresses, error) => {
    asked.got = error === null ? addresses : error.message;
  });
  return asked;
}

function pass(ms: number): void {
  clock.advance(ms);
  deadlines.sweep(clock.nowMs());
}

/** The question that was asked last. */
function last(): Question {
  return questions.at(-1) as Question;
}

describe("a name", () => {
  test("is asked for once, however many wait for it", async () => {
    const both = [ask(), ask()];
    expect(questions).toHaveLength(1);
    await last().answer("192.0.2.1", "192.0.2.2", "192.0.2.1");
    expect(both.map(({ got }) => got)).toEqual([
      ["192.0.2.1", "192.0.2.2"],
      ["192.0.2.2", "192.0.2.1"],
    ]);
  });

  test("is known for 5 s, then asked for again", async () => {
    ask();
    await last().answer("192.0.2.1");
    pass(4_999);
    expect(ask().got).toEqual(["192.0.2.1"]);
    expect(questions).toHaveLength(1);
    pass(1);
    const late = ask();
    expect(late.got).toBeNull();
    await last().answer("192.0.2.2");
    expect(late.got).toEqual(["192.0.2.2"]);
    expect(gone).toEqual(["a.test"]);
    expect(resolver.isCurrent("a.test", "192.0.2.1")).toBe(false);
    expect(resolver.isCurrent("a.test", "192.0.2.2")).toBe(true);
  });

  test("that only gains addresses takes none away", async () => {
    ask();
    await last().answer("192.0.2.1");
    pass(5_000);
    ask();
    await last().answer("192.0.2.2", "192.0.2.1");
    expect(gone).toEqual([]);
  });

  test("in use is asked for again when that is due, and not before", async () => {
    ask();
    await last().answer("192.0.2.1");
    resolver.touch("a.test");
    expect(questions).toHaveLength(1);
    pass(5_000);
    resolver.touch("a.test");
    resolver.touch("a.test");
    expect(questions).toHaveLength(2);
    resolver.touch("unheard.test");
    expect(questions).toHaveLength(2);
  });

  test("whose new answer is slow to come keeps the last good one meanwhile", async () => {
    ask();
    await last().answer("192.0.2.1");
    pass(5_000);
    const patient = ask();
    pass(499);
    expect(patient.got).toBeNull();
    pass(1);
    expect(patient.got).toEqual(["192.0.2.1"]);
    await last().answer("192.0.2.2");
    expect(ask().got).toEqual(["192.0.2.2"]);
  });
});

describe("a failure", () => {
  test("is told to whoever waits, and not asked again at once", async () => {
    const first = ask();
    await last().fail();
    expect(first.got).toBe("no answer");
    expect(ask().got).toBe("no answer");
    expect(questions).toHaveLength(1);
    pass(1_000);
    ask();
    expect(questions).toHaveLength(2);
    expect(resolver.failures).toBe(1);
  });

  test("of an answer without addresses is one too", async () => {
    const first = ask();
    await last().answer();
    expect(first.got).toBe("a.test has no address");
  });

  test("leaves the last good answer in use for 5 minutes", async () => {
    ask();
    await last().answer("192.0.2.1");
    for (let ms = 0; ms < 300_000; ms += 60_000) {
      pass(60_000);
      const kept = ask();
      await last().fail();
      expect(kept.got).toEqual(["192.0.2.1"]);
    }
    pass(60_000);
    const forgotten = ask();
    pass(10_000);
    expect(forgotten.got).toBeNull();
    await last().fail();
    expect(forgotten.got).toBe("no answer");
    expect(resolver.isCurrent("a.test", "192.0.2.1")).toBe(true);
  });

  test("is logged once until it is over", async () => {
    for (let i = 0; i < 3; i++) {
      ask();
      await last().fail();
      pass(1_000);
    }
    ask();
    await last().answer("192.0.2.1");
    expect(lines).toEqual(["a name could not be resolved", "a name is resolved again"]);
    expect(resolver.failures).toBe(3);
  });
});

describe("many names", () => {
  test("are asked for two at a time, in their order", async () => {
    const asked = ["a", "b", "c", "d"].map((host) => ask(host));
    expect(questions.map(({ host }) => host)).toEqual(["a", "b"]);
    await (questions[0] as Question).fail();
    await (questions[1] as Question).answer("192.0.2.2");
    expect(questions.map(({ host }) => host)).toEqual(["a", "b", "c", "d"]);
    expect(asked.map(({ got }) => got)).toEqual(["no answer", ["192.0.2.2"], null, null]);
  });

  test("beyond the bound push the oldest out", async () => {
    for (let i = 0; i <= 4_096; i++) {
      ask(`h${i}`);
      await last().answer("192.0.2.1");
    }
    const before = questions.length;
    expect(ask("h4096").got).toEqual(["192.0.2.1"]);
    expect(ask("h0").got).toBeNull();
    expect(questions).toHaveLength(before + 1);
  });
});
