/** Directories that last as long as one test. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Makes an empty directory of the running test, removed with all that is in it when the test has finished. */
export function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "crossfade-test-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
