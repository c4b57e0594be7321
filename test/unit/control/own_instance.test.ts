/** What an instance says of itself: its state in one word, and where its table is from. */
import { expect, test } from "vitest";
import { ownInstance } from "../../../src/control/own_instance.ts";
import type { Readiness } from "../../../src/control/publisher.ts";

test("the state follows readiness, and the table's source is as it is told", async () => {
  let readiness: Readiness = { ready: true, reason: "", warnings: ["the disk is full"] };
  const listener = (): void => undefined;
  const watched: unknown[] = [];
  const own = ownInstance({
    fleet: {
      status: () => [],
      watch: (heard) => {
        watched.push(heard);
        return () => undefined;
      },
    },
    publisher: {
      appliedRevision: () => 7,
      readiness: () => readiness,
      waitApplied: (revision, timeoutMs) =>
        Promise.resolve({ applied: false, missing: [`${revision} in ${timeoutMs}`] }),
      served: () => ({ revision: 7, from: "disk", fault: "no answer" }),
    },
  });
  expect(own.status()).toEqual({ state: "serving", servingFrom: "disk", store: "no answer", workers: [] });
  expect([own.appliedRevision(), own.warnings()]).toEqual([7, ["the disk is full"]]);
  readiness = { ready: false, reason: "no worker serves yet", warnings: [] };
  expect(own.status().state).toBe("not ready");
  readiness = { ready: false, reason: "draining", warnings: [] };
  expect(own.status().state).toBe("draining");
  expect(await own.waitApplied(3, 5)).toEqual({ applied: false, missing: ["3 in 5"] });
  own.watch(listener);
  expect(watched).toEqual([listener]);
});
