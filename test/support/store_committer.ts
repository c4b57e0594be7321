/** A process that commits one revision after the other and names each one that was acknowledged. */
import { writeSync } from "node:fs";
import { systemClock } from "../../src/base/clock.ts";
import { Fault } from "../../src/base/fault.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { documentOf } from "./numbered_document.ts";

const [path = "", count = "0"] = process.argv.slice(2);

/** Straight to the descriptor: a line that waits in a buffer would die with the process. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

async function commitAll(): Promise<void> {
  say("opening");
  const store = openSqliteStore({ path, clock: systemClock });
  let revision = (await store.read())?.revision ?? 0;
  const last = revision + Number(count);
  while (revision < last) {
    const next = revision + 1;
    const author = {
      actor: "committer",
      action: "apply",
      reason: `commit ${next}`,
      difference: [`to ${next}`],
    };
    const outcome = await store.commit(revision, { ...author, document: documentOf(next) });
    revision = outcome.ok ? outcome.revision : outcome.currentRevision;
    say(outcome.ok ? `acknowledged ${revision}` : `conflict ${revision}`);
  }
  say("done");
}

try {
  await commitAll();
} catch (error) {
  if (!(error instanceof Fault)) throw error;
  say(`fault ${error.code} ${error.message}`);
}
// Whoever started it ends it.
process.stdin.resume();
