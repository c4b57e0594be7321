/** The closing lines of a test run: every skipped test with its reason, then one line that counts. */
import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from "vitest/node";

/** What the closing line counts. `failed` is above zero whenever the run failed, whatever the cause. */
export interface Tally {
  passed: number;
  failed: number;
  readonly skipped: string[];
}

/** The closing line: `12 passed, 0 failed`, and `, 1 skipped` where there are any. */
export function closingLine(tally: Tally): string {
  const skipped = tally.skipped.length === 0 ? "" : `, ${tally.skipped.length} skipped`;
  return `${tally.passed} passed, ${tally.failed} failed${skipped}`;
}

/** Prints after vitest's own summary, because it comes after `default` in the list of reporters. */
export default class ClosingReporter implements Reporter {
  #vitest: Vitest | null = null;

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    // An error outside all tests fails the run too, so it must not read as "0 failed".
    const tally: Tally = { passed: 0, failed: unhandledErrors.length, skipped: [] };
    for (const module of modules) countModule(module, tally);
    // With a filter of names nearly everything is skipped, and the reason is known.
    const isFiltered = this.#vitest?.config.testNamePattern !== undefined;
    for (const line of isFiltered ? [] : tally.skipped) this.#vitest?.logger.log(`skipped: ${line}`);
    this.#vitest?.logger.log(closingLine(tally));
  }
}

function countModule(module: TestModule, tally: Tally): void {
  for (const broken of [module, ...module.children.allSuites()]) if (hasOwnError(broken)) tally.failed++;
  for (const test of module.children.allTests()) countTest(test, tally);
}

/** A file that could not be loaded, or a hook that failed: its tests say nothing of that themselves. */
function hasOwnError(entity: TestModule | TestSuite): boolean {
  return entity.errors().length > 0;
}

function countTest(test: TestCase, tally: Tally): void {
  const result = test.result();
  if (result.state === "passed") tally.passed++;
  else if (result.state === "failed") tally.failed++;
  else {
    const note = result.state === "skipped" ? result.note : "it never ran";
    tally.skipped.push(
      `${test.module.relativeModuleId} > ${test.fullName}: ${note ?? "no reason was given"}`,
    );
  }
}
