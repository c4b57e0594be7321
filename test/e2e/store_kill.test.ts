/** Processes that are killed, many writers, a full disk: the store loses nothing that it acknowledged. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { systemRandom } from "../../src/base/random.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { makeDirectory } from "../support/directory.ts";
import { documentOf } from "../support/numbered_document.ts";
import { seededRandom } from "../support/random.ts";
import { until } from "../support/wait.ts";

const COMMITTER = new URL("../support/store_committer.ts", import.meta.url).pathname;
const COMMITS = 200;
const ROUNDS = 8;

/** To repeat a failure: CROSSFADE_SEED=<seed of the failure>. It decides after which line each round is killed. */
const SEED = Number(process.env["CROSSFADE_SEED"] ?? systemRandom().draw(2 ** 32));

/** A process that commits, and the lines that it has said so far. */
interface Committer {
  readonly process: ChildProcess;
  readonly lines: string[];
  /** Kills it and waits until everything it said has been read. */
  kill(): Promise<void>;
}

/** `prefix`: a command that starts the rest of its arguments. */
function startCommitter(path: string, commits: number, prefix: readonly string[] = []): Committer {
  const [command, ...rest] = [...prefix, process.execPath, COMMITTER, path, String(commits)];
  const child = spawn(command, rest, { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  const lines: string[] = [];
  let unfinished = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const pieces = `${unfinished}${text}`.split("\n");
    unfinished = pieces.pop() ?? "";
    lines.push(...pieces);
  });
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await closed;
  };
  onTestFinished(kill);
  return { process: child, lines, kill };
}

function lastAcknowledged(lines: readonly string[]): number {
  const line = lines.findLast((one) => one.startsWith("acknowledged "));
  return Number(line?.split(" ")[1] ?? 0);
}

/** Opens the store after its process is gone: it must be whole, and every revision must have its own document. */
async function checkStore(path: string, least: number, most: number): Promise<number> {
  const store = openSqliteStore({ path, clock: systemClock });
  const revision = (await store.read())?.revision ?? 0;
  expect(revision).toBeGreaterThanOrEqual(least);
  expect(revision).toBeLessThanOrEqual(most);
  for (let number = 1; number <= revision; number++) {
    const stored = await store.at(number);
    expect(stored).toMatchObject({ revision: number, fromRevision: number - 1, reason: `commit ${number}` });
    expect(stored?.document).toEqual(documentOf(number));
  }
  await store.close();
  const database = new DatabaseSync(path);
  expect(database.prepare("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
  database.close();
  return revision;
}

describe("a store whose process is killed", () => {
  it(`keeps every acknowledged revision, killed at any of ${COMMITS} commits (seed ${SEED})`, async () => {
    const random = seededRandom(SEED);
    for (let round = 0; round < ROUNDS; round++) {
      const path = join(makeDirectory(), "store.db");
      // Line 0 is said before the file is made, so opening is killed at times too.
      const line = round === 0 ? 0 : random.draw(COMMITS);
      const committer = startCommitter(path, COMMITS);
      await until(`line ${line} of round ${round}`, () => committer.lines.length > line);
      await committer.kill();
      expect(committer.process.signalCode).toBe("SIGKILL");
      const acknowledged = lastAcknowledged(committer.lines);
      expect(acknowledged).toBeGreaterThanOrEqual(line);
      await checkStore(path, acknowledged, acknowledged + 1);
    }
  });

  it(`goes on where it was, however often it is killed (seed ${SEED})`, async () => {
    const random = seededRandom(SEED + 1);
    const path = join(makeDirectory(), "store.db");
    let revision = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const line = 1 + random.draw(30);
      const committer = startCommitter(path, COMMITS);
      await until(`line ${line} of round ${round}`, () => committer.lines.length > line);
      await committer.kill();
      const acknowledged = lastAcknowledged(committer.lines);
      expect(acknowledged).toBeGreaterThanOrEqual(revision + line);
      revision = await checkStore(path, acknowledged, acknowledged + 1);
    }
  });
});

describe("a store that several processes write to", () => {
  it("loses no commit of any: each revision was acknowledged to exactly one", async () => {
    const path = join(makeDirectory(), "store.db");
    const committers = Array.from({ length: 3 }, () => startCommitter(path, COMMITS));
    const isDone = ({ lines }: Committer): boolean => lines.some((line) => /^(?:done|fault)/.test(line));
    await until("all to be done", () => committers.every(isDone));
    const said = committers.flatMap(({ lines }) => lines);
    expect(said.filter((line) => line.startsWith("fault"))).toEqual([]);
    const acknowledged = said
      .filter((line) => line.startsWith("acknowledged "))
      .map((line) => Number(line.split(" ")[1]))
      .toSorted((a, b) => a - b);
    expect(acknowledged).toEqual(Array.from(acknowledged, (_, index) => index + 1));
    for (const committer of committers) await committer.kill();
    await checkStore(path, acknowledged.length, acknowledged.length);
  });
});

describe("a store on a full disk", () => {
  it("refuses with STORE_UNAVAILABLE and keeps what it acknowledged", async () => {
    const path = join(makeDirectory(), "store.db");
    // A limit on the size of files stands in for the disk. Its signal must be ignored for writes to fail instead.
    const limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "sh"];
    const committer = startCommitter(path, COMMITS, limited);
    const fault = await until("a fault", () => committer.lines.find((line) => line.startsWith("fault ")));
    expect(fault).toContain(`fault STORE_UNAVAILABLE cannot write the file ${path}: `);
    await committer.kill();
    const acknowledged = lastAcknowledged(committer.lines);
    expect(acknowledged).toBeGreaterThan(0);
    await checkStore(path, acknowledged, acknowledged);
  });
});
