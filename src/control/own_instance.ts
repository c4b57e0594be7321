/** What this instance says of itself to the others, from its fleet and its publisher. */
import type { Fleet } from "./fleet.ts";
import type { OwnInstance } from "./members.ts";
import type { Publisher } from "./publisher.ts";

/** The pieces. */
export interface OwnInstanceParts {
  readonly fleet: Pick<Fleet, "status" | "watch">;
  readonly publisher: Pick<Publisher, "readiness" | "waitApplied" | "appliedRevision" | "served">;
}

/** This instance, for Members. */
export function ownInstance({ fleet, publisher }: OwnInstanceParts): OwnInstance {
  return {
    appliedRevision: () => publisher.appliedRevision(),
    waitApplied: (revision, timeoutMs) => publisher.waitApplied(revision, timeoutMs),
    status() {
      const { ready, reason } = publisher.readiness();
      const { from, fault } = publisher.served();
      const state = ready ? "serving" : reason === "draining" ? "draining" : "not ready";
      return { state, servingFrom: from, store: fault, workers: fleet.status() };
    },
    warnings: () => publisher.readiness().warnings,
    watch: (listener) => fleet.watch(listener),
  };
}
