/** The same requests through nginx and HAProxy: what each lets through that Crossfade does not, and the other way. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { requestVectors, type RequestVector } from "../support/corpus.ts";
import { makeDirectory } from "../support/directory.ts";
import { findPeers, outcomeOf, runPeer, type Outcome } from "../support/peers.ts";
import { RULES, WRITES_TABLES, readBlock, tableOf, writeBlock } from "../support/readme_table.ts";

/** One vector a line: what became of it when the tables were written. */
const RECORD = join(import.meta.dirname, "../corpus/peers.jsonl");
const NAMES_SHOWN = 3;
const PEERS = ["nginx", "HAProxy"] as const;

interface Recorded {
  readonly name: string;
  readonly nginx?: Outcome;
  readonly HAProxy?: Outcome;
}

const vectors = requestVectors();
const peers = findPeers();
const outcomes = new Map<string, Map<string, Outcome>>();

function readRecord(): Map<string, Recorded> {
  const lines = readFileSync(RECORD, "utf8")
    .split("\n")
    .filter((line) => line !== "");
  return new Map(lines.map((line) => JSON.parse(line) as Recorded).map((one) => [one.name, one]));
}

/** A row for every rule: how many of its vectors each proxy keeps out, and what is let through. */
function rowsOf(
  chosen: readonly RequestVector[],
  record: ReadonlyMap<string, Recorded>,
  wanted: Outcome,
): string[][] {
  const rules = [...new Set(chosen.map(({ rule = 0 }) => rule))].toSorted((one, other) => one - other);
  return rules.map((rule) => {
    const own = chosen.filter((vector) => (vector.rule ?? 0) === rule);
    const alike = (peer: (typeof PEERS)[number]): number =>
      own.filter(({ name }) => record.get(name)?.[peer] === wanted).length;
    const differing = own.filter(({ name }) => {
      const one = record.get(name);
      return one !== undefined && PEERS.some((peer) => one[peer] !== undefined && one[peer] !== wanted);
    });
    const shown = differing.slice(0, NAMES_SHOWN).map(({ name }) => {
      const one = record.get(name) as Recorded;
      const who = PEERS.filter((peer) => one[peer] !== undefined && one[peer] !== wanted).join(" and ");
      return `${who}: ${name.replace(/(?: and| is| are) (?:refused|accepted)$/, "")}`;
    });
    // The other tests hold Crossfade to its verdicts, all but those that it does not keep yet.
    const kept = own.filter(({ pending }) => pending === undefined).length;
    const counts = [own.length, kept, alike("nginx"), alike("HAProxy")].map(String);
    return [`${rule}`, RULES[rule] ?? "", ...counts, shown.join("; ")];
  });
}

function tables(record: ReadonlyMap<string, Recorded>): string {
  const heading = (what: string): string[] => [
    "rule",
    "what it is about",
    "vectors",
    "Crossfade",
    "nginx",
    "HAProxy",
    what,
  ];
  const refused = vectors.filter((vector) => outcomeOf(vector) === "refuses");
  const accepted = vectors.filter((vector) => outcomeOf(vector) === "forwards");
  const keptOut = tableOf([heading("what gets through, such as"), ...rowsOf(refused, record, "refuses")]);
  const passedOn = tableOf([
    heading("what is refused or changed, such as"),
    ...rowsOf(accepted, record, "forwards"),
  ]);
  return `Kept out:\n\n${keptOut}\n\nPassed on unchanged:\n\n${passedOn}`;
}

describe("the corpus through another proxy", () => {
  test.for(peers)("$name takes all of it", async (peer, context) => {
    if (peer.version === "") context.skip(`${peer.name} is not installed`);
    const found = await runPeer(peer, vectors, makeDirectory());
    outcomes.set(peer.name, found);
    expect(found.size).toBe(vectors.length);
    expect(found.get("the plainest request is accepted")).toBe("forwards");
    expect(found.get("two different Hosts are refused")).toBe("refuses");
  });
});

describe("test/README.md", () => {
  test("says what each lets through", () => {
    if (WRITES_TABLES) {
      // What is not installed here keeps what was found elsewhere.
      const before = readRecord();
      const lines = vectors.map(({ name }) => {
        const found = PEERS.map((peer) => [peer, outcomes.get(peer)?.get(name) ?? before.get(name)?.[peer]]);
        return JSON.stringify({ name, ...Object.fromEntries(found) });
      });
      writeFileSync(RECORD, `${lines.join("\n")}\n`);
      writeBlock("peers", tables(readRecord()));
    }
    expect(readBlock("peers")).toBe(tables(readRecord()));
  });
});
